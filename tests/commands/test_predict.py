"""The command `predict` with networks of other libraries, beside PyTorch's predictions."""

import numpy as np
import published_networks as published
import pytest
from networks import randomised
from PIL import Image

from numpy_shufflenet import cli, models, plots, weights
from numpy_shufflenet.data import CIFAR10_CLASSES, PREPROCESSINGS, imagenet_classes
from numpy_shufflenet.training import load_trained
from numpy_shufflenet.training.trained import SOURCES
from numpy_shufflenet.weights.layouts import LAYOUTS

torchvision = published.torchvision()
torch = published.torch


def run(*arguments):
    return cli.main(["predict", *map(str, arguments)])


def with_statistics(network):
    """The network with weights and statistics by which images get different classes."""
    torch.manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(0, 0.3)
        elif value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5)
    return network.eval()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("predict") / "photo.png"
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    small.resize((301, 227), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    """A network of torchvision, and a file of its weights."""
    network = with_statistics(torchvision.models.shufflenet_v2_x0_5())
    path = tmp_path_factory.mktemp("weights") / "shufflenetv2_x0.5.pth"
    torch.save(network.state_dict(), path)
    return network, path


def expected_rows(probabilities, names, top=5):
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [[*names[k].split(), f"{probabilities[k]:.1%}"] for k in order]


def printed_rows(capsys, path):
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "%" in line]
    assert lines[0][0] == str(path)
    return [lines[0][1:], *lines[1:]]


def test_torchvisions_network_says_what_it_says_in_torchvision(vision, photo, capsys):
    network, path = vision
    preset = torchvision.transforms._presets.ImageClassification(crop_size=224)
    with torch.no_grad():
        logits = network(preset(Image.open(photo))[None])[0]
    probabilities = logits.double().softmax(0).numpy()
    assert probabilities.max() > 10 * probabilities.mean()
    assert run(photo, "--weights", path) == 0
    assert printed_rows(capsys, photo) == expected_rows(probabilities, imagenet_classes())


def test_the_authors_network_gets_blue_first(photo, tmp_path, capsys):
    network = with_statistics(published.authors_v2(0.5))
    network.classifier[0].weight.data /= 100  # the network gets large numbers, 0 to 255
    wrapped = {f"module.{name}": array for name, array in network.state_dict().items()}
    torch.save({"state_dict": wrapped}, tmp_path / "ShuffleNetV2.0.5x.pth.tar")
    blue_first = PREPROCESSINGS["authors"].load(photo)[::-1].copy()
    with torch.no_grad():
        logits = network(torch.tensor(blue_first).float()[None])[0]
    probabilities = logits.double().softmax(0).numpy()
    assert run(photo, "--weights", tmp_path / "ShuffleNetV2.0.5x.pth.tar", "--top", 7) == 0
    names = [f"class {k}" for k in range(len(probabilities))]
    assert printed_rows(capsys, photo) == expected_rows(probabilities, names, 7)


def test_each_source_has_its_preprocessing(tmp_path):
    backbones = {"FastestDet's backbone"}
    assert {layout.title for layout in LAYOUTS} - backbones - {"our V1"} == set(SOURCES)
    for config, name, classes in (
        ({"scale": 0.5}, "imagenet-256", imagenet_classes()),
        ({"scale": 1.5}, "imagenet-232", imagenet_classes()),
        ({"scale": 0.5, "stem": "small", "num_classes": 10}, "cifar10", CIFAR10_CLASSES),
        ({"scale": 0.5, "stem": "small", "num_classes": 100}, "cifar100", None),
    ):
        model = models.shufflenet_v2(layout="torchvision", **config)
        model.save(tmp_path / "a.npz", "torchvision")
        found = load_trained(tmp_path / "a.npz")
        assert found.preprocessing == PREPROCESSINGS[name]
        assert found.classes == classes
    other = load_trained(tmp_path / "a.npz", preprocessing="authors", stem="imagenet")
    assert other.preprocessing == PREPROCESSINGS["authors"]
    assert other.model.config["stem"] == "imagenet"
    v1 = models.shufflenet_v1(scale=0.25, num_classes=7, seed=0)
    v1.save(tmp_path / "v1.safetensors")
    assert load_trained(tmp_path / "v1.safetensors")[1:] == (None, None)
    grey = models.shufflenet_v2(scale=0.5, layout="torchvision", in_channels=1)
    grey.save(tmp_path / "grey.npz", "torchvision")
    assert load_trained(tmp_path / "grey.npz").preprocessing is None
    with pytest.raises(ValueError, match="for images of 1 channels; preprocessing='cifar10' makes"):
        load_trained(tmp_path / "grey.npz", preprocessing="cifar10")


def test_what_can_not_be_predicted(vision, photo, tmp_path, capsys):
    network, path = vision
    broken = {name: array.numpy().copy() for name, array in network.state_dict().items()}
    broken["conv1.0.weight"][0] = np.nan
    weights.save(tmp_path / "nan.npz", broken)
    own = models.shufflenet_v2(scale=0.5, seed=0)
    own.save(tmp_path / "own.safetensors")
    backbone = models.shufflenet_v2(scale=0.5, classifier=False)
    backbone.save(tmp_path / "backbone.safetensors")
    for arguments, message in (
        (["--weights", tmp_path / "nan.npz"], "weights that are NaN or infinite (conv1.0.weight)"),
        (["--weights", tmp_path / "own.safetensors"], "doesn't say how images are prepared for"),
        (["--weights", tmp_path / "backbone.safetensors"], "a network without a classifier"),
        (["--weights", path, "--preprocessing", "none"], "'none' is not one of imagenet-256, "),
        (["--weights", tmp_path / "missing.pth"], "missing.pth does not exist"),
        ([photo, "--weights", path, "--explain", tmp_path / "a.png"], "2 are given"),
    ):
        assert run(photo, *arguments) == 2
        assert message in capsys.readouterr().err
    assert run(photo, "--weights", tmp_path / "own.safetensors", "--preprocessing", "authors") == 0
    assert "authors: short side 256" in capsys.readouterr().out


@pytest.mark.parametrize("size", [32, 45])
def test_explain_draws_where_the_probability_falls(photo, tmp_path, capsys, monkeypatch, size):
    model = models.shufflenet_v2(
        scale=0.5, layout="torchvision", stem="small", num_classes=10, seed=0
    )
    randomised(model).astype("float32").save(tmp_path / "a.npz", "torchvision")
    maps, draw = [], plots.occlusion

    def noted(image, fallen, **how):
        maps.append(fallen)
        return draw(image, fallen, **how)

    monkeypatch.setattr(plots, "occlusion", noted)
    command = [photo, "--weights", tmp_path / "a.npz", "--size", size]
    assert run(*command, "--explain", tmp_path / "map.png") == 0
    assert f"{tmp_path / 'map.png'}: where a covered part" in capsys.readouterr().out
    assert maps[0].shape == (size, size)
    assert np.isfinite(maps[0]).all()  # some square covers every pixel
    assert np.ptp(maps[0]) > 0
    with Image.open(tmp_path / "map.png") as drawn:
        assert drawn.format == "PNG"
        assert min(drawn.size) > 200
