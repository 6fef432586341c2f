"""The command that converts files of weights."""

import numpy as np
import pytest

from numpy_shufflenet import models, weights
from numpy_shufflenet.cli import main

SUFFIXES = ("safetensors", "npz", "pth")


@pytest.fixture(scope="module")
def model():
    model = models.shufflenet_v2(scale=0.5, num_classes=5, seed=0)
    rng = np.random.default_rng(0)
    model.load_state_dict(
        {
            name: rng.uniform(0.5, 2, a.shape).astype(a.dtype)
            for name, a in model.state_dict().items()
        }
    )
    return model


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("to", SUFFIXES)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("layout", [None, "native", "torchvision"])
def test_all_pairs_of_formats(model, tmp_path, capsys, suffix, to, layout):
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{to}"
    model.save(source, "torchvision")
    options = [] if layout is None else ["--layout", layout]
    assert main(["convert", str(source), str(target), *options]) == 0
    assert str(target) in capsys.readouterr().out
    assert_same(weights.load(target), model.state_dict())
    assert_same(models.from_weights(target).state_dict(), model.state_dict())


def test_to_the_authors_and_back(tmp_path):
    first = models.shufflenet_v1(
        scale=0.25, groups=8, num_classes=5, classifier_bias=False, shuffle_order="authors", seed=0
    )
    theirs, back = tmp_path / "b.pth", tmp_path / "c.safetensors"
    first.save(theirs, "authors")
    assert main(["convert", str(theirs), str(back), "--layout", "native"]) == 0
    found = models.from_weights(back)
    assert found.config["shuffle_order"] == "authors"
    assert_same(found.state_dict(), first.state_dict())
    assert main(["convert", str(back), str(tmp_path / "d.pth"), "--layout", "authors"]) == 0
    assert_same(weights.load(tmp_path / "d.pth"), weights.load(theirs))


def test_what_can_not_be_converted(model, tmp_path, capsys):
    model.save(tmp_path / "a.npz")
    for options, message in (
        (["a.npz", "b.bin"], "ends in '.bin'"),
        (["none.npz", "b.npz"], "does not exist"),
        (["a.npz", "b.npz", "--layout", "authors"], "build it with shuffle_order='authors'"),
    ):
        source, target, *rest = options
        assert main(["convert", str(tmp_path / source), str(tmp_path / target), *rest]) == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
