"""The network in the package, its model card, and files of networks with all that they need."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from PIL import Image

from numpy_shufflenet import cli
from numpy_shufflenet.data import CIFAR10_CLASSES, PREPROCESSINGS, Dataset
from numpy_shufflenet.models import shufflenet_v2
from numpy_shufflenet.training import SHIPPED, Trained, evaluate, load_trained, save_trained

SAMPLE = Path(__file__).parent / "cifar10_sample.png"  # a row for each class
CARD = SHIPPED.with_suffix(".md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sample():
    """The first five test images of each class."""
    pixels = np.array(Image.open(SAMPLE)).reshape(10, 32, 5, 32, 3).transpose(0, 2, 4, 1, 3)
    return Dataset(pixels.reshape(50, 3, 32, 32), np.arange(50) // 5, CIFAR10_CLASSES)


def share(pattern):
    """A percentage of the card, from 0 to 1."""
    return float(re.search(pattern, CARD)[1]) / 100


def test_the_figures_of_the_card_are_those_of_the_network(sample):
    model, preprocessing, classes = load_trained()
    assert classes == CIFAR10_CLASSES
    assert SHIPPED.stat().st_size <= 1_000_000
    accuracy = share(r"\*\*(\d+\.\d+) %\*\* of the 10,000 test images")
    rows = dict(re.findall(r"^\| (\w+) \| (\d+\.\d) % \|", CARD, re.MULTILINE))
    assert tuple(rows) == classes
    assert np.mean([float(value) for value in rows.values()]) == pytest.approx(100 * accuracy)
    parameters = sum(array.size for array in model.parameters().values())
    assert f"{parameters:,} parameters" in CARD
    found = evaluate(model, sample, preprocessing.standardise)
    right = int((found.predictions == sample.labels).sum())
    assert f"right on {right} of these 50" in CARD
    spread = np.sqrt(accuracy * (1 - accuracy) / 50)
    assert abs(right / 50 - accuracy) < 3 * spread


def test_evaluate_prints_what_the_network_gets_right(sample, tmp_path, capsys):
    """On an archive in the binary version, of which the training part isn't looked at."""
    images = sample.images.reshape(50, -1)
    data = np.hstack([sample.labels[:, None].astype(np.uint8), images]).tobytes()
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        (tmp_path / f"{name}.bin").write_bytes(data)
    assert cli.main(["evaluate", "--data", f"cifar10:{tmp_path}"]) == 0
    right = int(re.search(r"right on (\d+) of these 50", CARD)[1])
    assert f"test accuracy {right / 50:.2%}" in capsys.readouterr().out


def test_predict_needs_no_training(sample, tmp_path, capsys):
    """On a large photograph, wider than high, from an image that the network gets right."""
    model, preprocessing, _ = load_trained()
    found = evaluate(model, sample, preprocessing.standardise)
    sure = np.where(found.predictions == sample.labels, found.probabilities.max(axis=1), 0).argmax()
    square = Image.fromarray(sample.images[sure].transpose(1, 2, 0)).resize((480, 480))
    photo = Image.new("RGB", (640, 480))
    photo.paste(square, (80, 0))
    photo.save(tmp_path / "photo.jpg")
    assert cli.main(["predict", str(tmp_path / "photo.jpg"), "--top", "1"]) == 0
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if "photo.jpg" in line)
    assert row.split()[1] == CIFAR10_CLASSES[sample.labels[sure]]
    assert f"network: {SHIPPED}, shufflenet_v2 with" in shown
    assert f"knows only {', '.join(CIFAR10_CLASSES)}; {SHIPPED.with_suffix('.md')}" in shown


def network(**config):
    return shufflenet_v2(widths=(4, 8, 12, 16, 16), num_classes=3, stem="small", seed=0, **config)


def test_a_saved_network_is_read_back_with_all_it_needs(tmp_path):
    fitted = replace(load_trained().preprocessing, crop=28, resize=28)
    for preprocessing, half in ((PREPROCESSINGS["authors"], True), (fitted, False)):
        trained = Trained(network(), preprocessing, ("a b", "c", "ä"))
        save_trained(trained, tmp_path / "a.safetensors", half=half)
        found = load_trained(tmp_path / "a.safetensors")
        assert found[1:] == trained[1:]
        assert found.model.config == trained.model.config
        for name, array in trained.model.state_dict().items():
            expected = array.astype(np.float16) if half and array.dtype.kind == "f" else array
            got = found.model.state_dict()[name]
            np.testing.assert_array_equal(got, expected.astype(array.dtype), strict=True)


def test_what_can_not_be_saved(tmp_path):
    path, model = tmp_path / "a.safetensors", network()
    with pytest.raises(ValueError, match=r"preprocessing=None .*; both are needed"):
        save_trained(Trained(model, None, ("a", "b", "c")), path)
    with pytest.raises(ValueError, match=r"classes=None; both are needed"):
        save_trained(Trained(model, PREPROCESSINGS["cifar10"], None), path)
    model.fc.bias.value[1] = -1e5
    with pytest.raises(ValueError, match=r"fc\.bias holds 100000, beyond float16"):
        save_trained(Trained(model, PREPROCESSINGS["cifar10"], ("a", "b", "c")), path, half=True)
    assert not path.exists()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("classes", ["a", "b"], "field classes .* a list of 3"),
        ("classes", None, "field classes holds None"),
        ("crop", 0, r"field preprocessing\.crop holds 0"),
        ("style", "best", r"field preprocessing\.style holds 'best'"),
        ("standardise", [[0.5, 0.5], [1.0]], r"field preprocessing\.standardise\[1\] holds \[1"),
        ("standardise", [[0.5], [0]], r"field preprocessing\.standardise\[1\]\[0\] holds 0"),
    ],
)
def test_a_damaged_description_is_named(tmp_path, field, value, message):
    path = tmp_path / "a.safetensors"
    save_trained(Trained(network(), PREPROCESSINGS["cifar10"], ("a", "b", "c")), path)
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    if field == "classes":
        metadata["classes"] = json.dumps(value)
    else:
        metadata["preprocessing"] = json.dumps(
            json.loads(metadata["preprocessing"]) | {field: value}
        )
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), path, metadata=metadata)
    with pytest.raises(ValueError, match=message) as caught:
        load_trained(path)
    assert str(path) in str(caught.value)
