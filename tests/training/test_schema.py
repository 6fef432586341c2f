"""What a checkpoint says of itself: each wrong field gets one sentence."""

import json
import re

import numpy as np
import pytest
import safetensors.numpy

from numpy_shufflenet.data import Dataset
from numpy_shufflenet.models import shufflenet_v2
from numpy_shufflenet.training import (
    SGD,
    Trainer,
    cosine_schedule,
    load_checkpoint,
    save_checkpoint,
)
from numpy_shufflenet.training.checkpoint import FORMAT

REMOVED = object()


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The description and the arrays of a checkpoint after one of two epochs."""
    path = tmp_path_factory.mktemp("schema") / "good.safetensors"
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 1, 8, 8), np.uint8)
    train_set = Dataset(images, np.arange(8) % 2, ("dark", "bright"))
    model = shufflenet_v2(
        scale=0.5, in_channels=1, num_classes=2, stem="small", dropout=0.1, seed=0
    )
    trainer = Trainer(
        model,
        SGD(model, learning_rate=0.001, momentum=0.9),
        train_set,
        train_set,
        epochs=2,
        batch_size=4,
        schedule=cosine_schedule(0.001, 4, 1),
        augmentation={"flip": True, "crop_padding": 1},
        checkpoint=path,
    )
    trainer.epochs = 1
    trainer.run()
    trainer.epochs = 2
    save_checkpoint(path, trainer.state())
    with safetensors.safe_open(path, framework="numpy") as file:
        return (
            json.loads(file.metadata()["checkpoint"]),
            safetensors.numpy.load_file(path),
            train_set,
        )


def write(path, description, arrays):
    metadata = {"format": FORMAT, "checkpoint": json.dumps(description)}
    safetensors.numpy.save_file(arrays, path, metadata=metadata)


def changed(description, field, value):
    """A copy in which the field "a.b.0" has another value."""
    copy = json.loads(json.dumps(description))
    *outer, last = (int(name) if name.isdigit() else name for name in field.split("."))
    inner = copy
    for name in outer:
        inner = inner[name]
    if value is REMOVED:
        del inner[last]
    else:
        inner[last] = value
    return copy


def test_a_right_one_is_read(parts, tmp_path):
    description, arrays, train_set = parts
    write(tmp_path / "a.safetensors", description, arrays)
    assert load_checkpoint(tmp_path / "a.safetensors").epoch == 1
    assert Trainer.resume(tmp_path / "a.safetensors", train_set).step == 2


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epoch", REMOVED, "it lacks the field epoch"),
        ("more", 1, "it has a field more, which is unknown"),
        ("settings.batch_size", [4], r"field settings.batch_size holds \[4\]; a whole number of"),
        (
            "settings.batch_size",
            0,
            "field settings.batch_size holds 0; a whole number of at least 1",
        ),
        ("settings.epochs", True, "field settings.epochs holds True; a whole"),
        ("settings.epochs", 10**400, "field settings.epochs holds 1000"),
        (
            "settings.label_smoothing",
            1.5,
            "label_smoothing holds 1.5; a finite number of at least 0",
        ),
        (
            "settings.augmentation",
            3,
            "augmentation holds 3; an object with flip, crop_padding, cutout is",
        ),
        ("settings.augmentation.crop_padding", 10**6, "crop_padding holds 1000000; .* from 0 to 8"),
        ("settings.augmentation.cutout", -1, "augmentation.cutout holds -1; .* of at least 0"),
        ("settings.average", 1, "settings.average holds 1; .* of at least 0 and below 1"),
        ("settings.augmentation.flip", "yes", "flip holds 'yes'; true or false is needed"),
        ("history.loss", [1.0], "the length of history.loss holds 1; 2 .step. is needed"),
        ("history.loss.1", float("nan"), r"history.loss\[1\] holds nan; a finite number is needed"),
        ("history.loss.0", 10**400, r"history.loss\[0\] holds 1000"),
        ("history.learning_rate", None, "history.learning_rate holds None; a list is needed"),
        ("history.epochs", [], "the length of history.epochs holds 0; 1 .epoch. is needed"),
        ("history.epochs.0.steps", 3, r"epochs\[0\].steps holds 3; 2 .step=2 steps in epoch=1"),
        ("history.epochs.0.epoch", 2, r"epochs\[0\].epoch holds 2; 1 .they are counted"),
        ("history.epochs.0.test_loss", REMOVED, r"lacks the field history.epochs\[0\].test_loss"),
        ("rng.trainer", REMOVED, r"field rng holds .*; an object with trainer is needed"),
        ("rng.trainer.state.inc", REMOVED, "it lacks the field rng.trainer.state.inc"),
        ("rng.trainer.state.state", -1, "state.state holds -1; a whole number from 0 to"),
        ("rng.trainer.bit_generator", "Mersenne", "bit_generator holds 'Mersenne'; one of 'PCG64'"),
        ("rng.trainer", None, "field rng.trainer holds None; the state of a random generator"),
        ("rng.other", {}, "it has a field rng.other, which is unknown"),
        ("optimiser.momentum", 1, "momentum holds 1; a finite number of at least 0 and below 1"),
        ("optimiser.momentum", 0, "it has 170 velocities; no velocities are needed"),
        ("schedule.shape", "step", "schedule.shape holds 'step'; one of 'linear', 'cosine'"),
        ("schedule.warmup", 9, "schedule.warmup holds 9; less than steps=4 is needed"),
        ("standardise", [[0.5, 0.5], [1, 1]], r"standardise\[0\] holds \[0.5, 0.5\]; a list of 1"),
        ("standardise.1.0", 0, r"standardise\[1\]\[0\] holds 0; a finite number above 0"),
        ("image_shape", [1, 8], r"image_shape holds \[1, 8\]; a list of 3 is needed"),
        ("image_shape.1", 10**6, r"image_shape\[1\] holds 1000000; a whole number from 1 to 4096"),
        ("fingerprint", "x", "fingerprint holds 'x'; a whole number from 0 to 4294967295"),
        ("classes", ["dark"], "architecture.num_classes holds 2; 1 .the length of classes. is"),
        ("classes", "ab", "classes holds 'ab'; a list is needed"),
        ("architecture.in_channels", 3, r"in_channels holds 3; 1 .image_shape\[0\]. is needed"),
        (
            "architecture.num_classes",
            10**9,
            "num_classes holds 1000000000; 2 .the length of classes",
        ),
        (
            "architecture.name",
            "alexnet",
            "architecture.name holds 'alexnet'; one of 'shufflenet_v1'",
        ),
        ("architecture.depth", 3, "it has a field architecture.depth, which is unknown"),
        ("epoch", 3, "field epoch holds 3; at most settings.epochs=2 is needed"),
    ],
)
def test_a_wrong_field_is_named_with_what_would_fit(parts, tmp_path, field, value, message):
    description, arrays, _ = parts
    path = tmp_path / "a.safetensors"
    write(path, changed(description, field, value), arrays)
    with pytest.raises(ValueError, match=r"a\.safetensors is a damaged checkpoint: ") as caught:
        load_checkpoint(path)
    assert re.search(message, str(caught.value))
    assert len(str(caught.value)) < 400 + len(str(path))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("architecture.name", "se_shufflenet_v2_164", "architecture.* unknown"),
        ("architecture.scale", 2.0, "state doesn't fit this ShuffleNetV2"),
        ("architecture.scale", 0.3, "scale=0.3 is not one of"),
        ("settings.batch_size", 8, "with which 1 epochs of 8 images are 1 steps; .* step holds 2"),
        (
            "rng.model.x",
            "copy",
            "field rng has trainer, model.dropout, model.x; trainer, model.drop",
        ),
    ],
)
def test_what_does_not_fit_the_network_or_the_images_names_the_file(
    parts, tmp_path, field, value, message
):
    description, arrays, train_set = parts
    path = tmp_path / "a.safetensors"
    if value == "copy":
        description = json.loads(json.dumps(description))
        description["rng"]["model.x"] = description["rng"]["trainer"]
    else:
        description = changed(description, field, value)
    write(path, description, arrays)
    with pytest.raises(ValueError, match=message) as caught:
        Trainer.resume(path, train_set)
    assert str(path) in str(caught.value)


def test_arrays_that_do_not_belong_together_are_named(parts, tmp_path):
    description, arrays, _ = parts
    path = tmp_path / "a.safetensors"
    name = "conv1.0.weight"
    for wrong, message in (
        (
            {f"velocity.{name}": np.zeros(3, np.float32)},
            r"has shape \(3,\) and dtype float32; \(24,",
        ),
        ({"velocity.x": np.zeros(3, np.float32)}, "velocity.x has no model.x beside it"),
        ({f"model.{name}": np.zeros((24, 1, 3, 3))}, "dtypes float32, float64; float32 or float64"),
        ({"other": np.zeros(3)}, "it has the tensor other; only model"),
    ):
        write(path, description, arrays | wrong)
        with pytest.raises(ValueError, match=message):
            load_checkpoint(path)
    write(path, description, arrays | {f"model.{name}": np.zeros((24, 1, 3, 3), np.int32)})
    with pytest.raises(ValueError, match=r"velocity.* has shape .* as model\.conv1"):
        load_checkpoint(path)


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 100_000, "9" * 5000])
def test_a_description_that_is_no_object_is_refused(parts, tmp_path, text):
    path = tmp_path / "a.safetensors"
    metadata = {"format": FORMAT, "checkpoint": text}
    safetensors.numpy.save_file(parts[1], path, metadata=metadata)
    with pytest.raises(ValueError, match=r"a\.safetensors is a damaged checkpoint"):
        load_checkpoint(path)
