"""`train --weights`: a trained network on other images."""

import numpy as np
import published_networks as published
import pytest
from networks import randomised
from PIL import Image

from numpy_shufflenet import cli, models
from numpy_shufflenet.commands import _finetune
from numpy_shufflenet.data import PREPROCESSINGS, load_image
from numpy_shufflenet.training import load_checkpoint, load_trained

torch = published.torch


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path):
    """Six made-up images of each of two classes."""
    rng = np.random.default_rng(0)
    for name, brightness in (("dark", 60), ("bright", 190)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 60, (32, 32, 3)).astype(np.uint8) + np.uint8(brightness)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def weights(tmp_path):
    """A network as of CIFAR-10, in a file of torchvision's layout."""
    model = models.shufflenet_v2(
        scale=0.5, layout="torchvision", stem="small", num_classes=10, seed=0
    )
    randomised(model).astype("float32").save(tmp_path / "small.pth", "torchvision")
    return tmp_path / "small.pth"


def test_fine_tuning_then_resuming_then_predicting(folder, weights, tmp_path, capsys):
    out = tmp_path / "out"
    common = ["train", "--data", f"folder:{folder}", "--batch-size", 4]
    start = [*common, "--weights", weights, "--freeze", "stage2,conv1"]
    assert run(*start, "--epochs", 2, "--out", out) == 0
    printed = capsys.readouterr().out
    assert f"fine-tuning {weights} with a new classifier for 2 classes; frozen: conv1, stage2" in (
        printed
    )
    found = load_checkpoint(out / "checkpoint.safetensors")
    before = models.from_weights(weights).state_dict()
    for name, array in found.model.items():
        if name.startswith(("conv1.", "stage2.")):
            np.testing.assert_array_equal(array, before[name], err_msg=name)
        elif name.startswith("fc."):
            assert len(array) == 2
        elif array.ndim == 4:
            assert (array != before[name]).any(), name
    assert found.frozen == ("conv1", "stage2")
    assert found.image_shape == (3, 32, 32)
    assert found.standardise == PREPROCESSINGS["cifar10"].standardise
    assert found.schedule["peak"] == _finetune.LEARNING_RATE

    # In two parts, it ends with the same weights.
    again = tmp_path / "again"
    assert run(*start, "--epochs", 1, "--out", again) == 0
    resume = [*common, "--resume", "--epochs", 2, "--out", again]
    for wrong, message in (
        (["--weights", weights], "--weights starts a new training"),
        (["--freeze", "stage2"], "--freeze stage2, but the checkpoint has conv1,stage2"),
    ):
        assert run(*resume, *wrong) == 2
        assert message in capsys.readouterr().err
    assert run(*resume, "--freeze", "conv1,stage2") == 0
    resumed = load_checkpoint(again / "checkpoint.safetensors")
    assert resumed.frozen == found.frozen

    # The names of classes are the same now, so the classifier stays.
    last = tmp_path / "last"
    checkpoint = out / "checkpoint.safetensors"
    everything = "conv1,stage2,stage3,stage4,conv5"
    next_start = [*common, "--weights", checkpoint, "--epochs", 1, "--learning-rate", 1e-30]
    assert run(*next_start, "--freeze", everything, "--out", last) == 0
    assert f"fine-tuning {checkpoint} with its classifier; frozen" in capsys.readouterr().out
    kept = load_checkpoint(last / "checkpoint.safetensors").model
    for name, array in found.model.items():
        np.testing.assert_allclose(kept[name], array, rtol=1e-6, atol=1e-12, err_msg=name)

    assert run("predict", folder / "dark" / "0.png", "--weights", checkpoint) == 0
    assert "bright" in capsys.readouterr().out


def test_a_network_for_blue_green_red_becomes_one_for_red_green_blue(folder, tmp_path):
    network = published.authors_v2(0.5)
    torch.save(network.state_dict(), tmp_path / "authors.pth")
    trained = load_trained(tmp_path / "authors.pth")
    assert trained.preprocessing.bgr
    out = tmp_path / "out"
    start = ["train", "--data", f"folder:{folder}", "--weights", tmp_path / "authors.pth"]
    everything = "conv1,stage2,stage3,stage4,conv5"
    small = ["--size", 64, "--epochs", 1, "--batch-size", 5, "--out", out]
    assert run(*start, "--freeze", everything, *small) == 0
    found = load_trained(out / "checkpoint.safetensors")
    pixels = load_image(folder / "dark" / "0.png", size=64)[None]
    expected = trained.model.stage_outputs(trained.preprocessing(pixels))
    outputs = found.model.stage_outputs(found.preprocessing(pixels))
    for name, array in expected.items():
        np.testing.assert_allclose(outputs[name], array, atol=1e-4 * np.abs(array).max())


def test_what_does_not_fit_is_named(folder, weights, tmp_path, capsys):
    start = ["train", "--data", f"folder:{folder}", "--out", tmp_path / "out"]
    frozen = "conv1,stage2,stage3,stage4,conv5,fc"
    for arguments, message in (
        (["--freeze", "stage2"], "--freeze stage2 would freeze random weights; give --weights"),
        (["--weights", weights, "--scale", 1, "--no-shuffle"], "--scale, --no-shuffle can't"),
        (["--weights", weights, "--freeze", "head"], "no layer 'head' to freeze; there are conv1"),
        (["--weights", weights, "--freeze", frozen], "every parameter of the model is frozen"),
        (["--weights", weights, "--data", "embedded"], "images of 1 channels, but the network of"),
        (["--weights", tmp_path / "none.pth"], "none.pth does not exist"),
    ):
        assert run(*start, *arguments) == 2, arguments
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_a_new_classifier_for_any_network():
    model = randomised(models.shufflenet_v2(scale=0.5, num_classes=3, stem="small"))
    new = model.with_classes(4, seed=1, dropout=0.1)
    assert new.config == model.config | {"num_classes": 4, "seed": 1, "dropout": 0.1}
    for name, array in model.state_dict().items():
        if name.startswith("fc."):
            assert len(new.state_dict()[name]) == 4
        else:
            np.testing.assert_array_equal(new.state_dict()[name], array, strict=True)
    again = model.with_classes(4, seed=1)
    np.testing.assert_array_equal(again.parameters()["fc.weight"], new.parameters()["fc.weight"])
    backbone = models.shufflenet_v2(scale=0.5, classifier=False, seed=0)
    whole = backbone.with_classes(2)
    assert whole.infer(np.zeros((1, 3, 64, 64), np.float32)).shape == (1, 2)
    np.testing.assert_array_equal(
        whole.parameters()["stage4.3.branch2.5.weight"],
        backbone.parameters()["stage4.3.branch2.5.weight"],
    )
    with pytest.raises(ValueError, match="doesn't fit this ShuffleNetV2"):
        model.with_classes(4, scale=1.0)
