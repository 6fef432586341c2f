"""The command that converts files of weights."""

import pickle

import numpy as np
import pytest
from peers import need

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
    said = capsys.readouterr().out
    assert f"read {source}: " in said
    assert "282 arrays" in said or "338 arrays" in said
    assert "recognised as torchvision's V2" in said
    assert f"wrote {target}: " in said
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
        (["a.npz", "b.onnx", "--layout", "native"], "--layout native is for weights"),
        (["a.npz", "b.npz", "--batch", "1"], "--batch and --size are for .onnx"),
        (["a.npz", "a.npz"], "a.npz exists; --overwrite replaces it"),
        (["a.npz", "b.npz", "--layout", "authors"], "it has a bias in its classifier"),
        (["a.npz", "b.npz", "--activation", "swish"], "--activation needs --layout"),
    ):
        source, target, *rest = options
        assert main(["convert", str(tmp_path / source), str(tmp_path / target), *rest]) == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def renamed_as_paddle(state):
    """The arrays of PaddlePaddle's network, which has no counters."""
    from published_networks import renamed_v2

    arrays = {renamed_v2(name, "paddle"): value for name, value in state.items()}
    arrays["_fc.weight"] = arrays["_fc.weight"].T
    return {name: a for name, a in arrays.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("to", SUFFIXES)
def test_from_formats_that_are_only_read(model, tmp_path, capsys, to):
    """The old format of PyTorch, PaddlePaddle's, and ONNX's initialisers."""
    torch, onnx = need("torch"), need("onnx")
    state = model.state_dict()
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
    torch.save({"model": tensors}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(renamed_as_paddle(state), 2))
    initialisers = [onnx.numpy_helper.from_array(value, name) for name, value in state.items()]
    graph = onnx.helper.make_graph([], "graph", [], [], initializer=initialisers)
    (tmp_path / "a.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    for source in ("a.pt", "a.pdparams", "a.onnx"):
        target = str(tmp_path / f"b.{to}")
        command = ["convert", str(tmp_path / source), target, "--overwrite", "--layout"]
        assert main([*command, "torchvision"]) == 0
        found = weights.load(target)
        counters = {name: a for name, a in found.items() if name.endswith("tracked")}
        if source == "a.pdparams":
            assert not any(counters.values())
            found |= {name: state[name] for name in counters}
        assert_same(found, state)
    assert "recognised as PaddlePaddle's V2" in capsys.readouterr().out


def test_an_activation_is_told_and_kept(model, tmp_path, capsys):
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps(renamed_as_paddle(model.state_dict()), 2))
    command = ["convert", str(tmp_path / "a.pdparams"), str(tmp_path / "b.safetensors")]
    assert main([*command, "--layout", "native", "--activation", "swish"]) == 0
    assert "activation='swish'" in capsys.readouterr().out
    assert models.from_weights(tmp_path / "b.safetensors").config["activation"] == "swish"
    assert main([*command[:2], str(tmp_path / "b.npz"), *["--layout", "native"]]) == 0
    assert main(["convert", str(tmp_path / "b.safetensors"), str(tmp_path / "c.npz")]) == 0
    assert ".npz has no place for architecture, which is left out" in capsys.readouterr().out


def test_channels_are_relabelled_for_the_authors_code(tmp_path):
    first = models.shufflenet_v1(scale=0.5, groups=3, num_classes=5, seed=0).astype(np.float64)
    first.save(tmp_path / "a.npz")
    assert (
        main(["convert", str(tmp_path / "a.npz"), str(tmp_path / "b.pth"), "--layout=authors"]) == 0
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 64))
    found = models.from_weights(tmp_path / "b.pth")
    assert found.config["shuffle_order"] == "authors"
    np.testing.assert_allclose(found.forward(x), first.forward(x), rtol=1e-9, atol=1e-18)


def test_arrays_of_any_network_are_converted_by_their_names(tmp_path, capsys):
    arrays = {"features.1.conv.0.0.weight": np.ones((2, 1, 3, 3), np.float32)}
    weights.save(tmp_path / "a.npz", arrays)
    assert main(["convert", str(tmp_path / "a.npz"), str(tmp_path / "b.pth")]) == 0
    assert "this looks like MobileNetV2: it has features.1.conv" in capsys.readouterr().out
    assert_same(weights.load(tmp_path / "b.pth"), arrays)
