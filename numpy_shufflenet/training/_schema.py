"""The fields that a checkpoint's description must have, and how the fields depend on each other."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_shufflenet import models
from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.layers import ACTIVATIONS
from numpy_shufflenet.training._kinds import (
    Kind,
    bits,
    finite_number,
    flag,
    list_of,
    maybe,
    object_with,
    one_of,
    refuse,
    text,
    whole_number,
)
from numpy_shufflenet.training.schedule import SHAPES

MOST_CHANNELS, LARGEST_SIDE = 1024, 4096  # limits for the training images

_BUFFERED = {"has_uint32": whole_number(0, 1), "uinteger": bits(32)}
_PCG64 = {"state": object_with({"state": bits(128), "inc": bits(128)}), **_BUFFERED}
GENERATORS: dict[str, dict[str, Kind]] = {
    "PCG64": _PCG64,
    "PCG64DXSM": _PCG64,
    "MT19937": {"state": object_with({"key": list_of(bits(32), 624), "pos": whole_number(0, 624)})},
    "SFC64": {"state": object_with({"state": list_of(bits(64), 4)}), **_BUFFERED},
    "Philox": {
        "state": object_with({"counter": list_of(bits(64), 4), "key": list_of(bits(64), 2)}),
        "buffer": list_of(bits(64), 4),
        "buffer_pos": whole_number(0, 4),
        **_BUFFERED,
    },
}


def generator(value: Any, field: str) -> None:
    """Check the state of a bit generator of NumPy."""
    if not isinstance(value, dict):
        refuse(field, value, "the state of a random generator")
    one_of(*GENERATORS)(value.get("bit_generator"), f"{field}.bit_generator")
    name = value["bit_generator"]
    object_with({"bit_generator": text, **GENERATORS[name]})(value, field)


def generators(value: Any, field: str) -> None:
    """Check the states of the random generators of the trainer and of layers."""
    if not isinstance(value, dict) or "trainer" not in value:
        refuse(field, value, "an object with trainer")
    for name, state in value.items():
        if name != "trainer" and not name.startswith("model."):
            raise ValueError(f"it has a field {field}.{name!s:.60}, which is unknown")
        generator(state, f"{field}.{name}")
    one_of("PCG64")(value["trainer"]["bit_generator"], f"{field}.trainer.bit_generator")


def padding(value: Any, field: str) -> None:
    """Check the padding of a 3x3 window: 0, 1, or one of them for each side."""
    if isinstance(value, list):
        list_of(list_of(whole_number(0, 1), 2), 2)(value, field)
    else:
        whole_number(0, 1)(value, field)


ARGUMENTS: dict[str, Kind] = {
    "groups": one_of(1, 2, 3, 4, 8),
    "scale": finite_number(0, 2, above=True),
    "num_classes": whole_number(1),
    "in_channels": whole_number(1, MOST_CHANNELS),
    "stem": one_of("imagenet", "small"),
    "layout": one_of(*models.LAYOUTS),
    "shuffle_order": one_of("paper", "authors"),
    "activation": one_of(*ACTIVATIONS),
    "widths": maybe(list_of(whole_number(1, MOST_CHANNELS * 8))),
    "pool_padding": padding,
    "stride2_padding": maybe(list_of(padding, 4)),
    "dropout": finite_number(0, 1, below=True),
    "seed": maybe(bits(1024)),
}  # arguments of the functions that build a network; all other arguments are true or false


def architecture(value: Any, field: str) -> None:
    """Check the `config` of one of our networks."""
    if not isinstance(value, dict):
        refuse(field, value, "an object with name, or null,")
    one_of(*models.MODELS)(value.get("name"), f"{field}.name")
    arguments = inspect.signature(models.MODELS[value["name"]]).parameters
    fields = {name: ARGUMENTS.get(name, flag) for name in arguments}
    object_with({"name": text, **fields}, optional=True)(value, field)


count = whole_number()
rate = finite_number(0)
fraction = finite_number(0, 1)
EPOCH = {
    "epoch": whole_number(1),
    "steps": whole_number(1),
    "train_loss": rate,
    "train_accuracy": fraction,
    "test_loss": maybe(rate),
    "test_accuracy": maybe(fraction),
    "seconds": rate,
}
FIELDS: dict[str, Kind] = {
    "architecture": maybe(architecture),
    "optimiser": object_with(
        {
            "learning_rate": rate,
            "momentum": finite_number(0, 1, below=True),
            "nesterov": flag,
            "weight_decay": rate,
        }
    ),
    "schedule": maybe(
        object_with(
            {
                "shape": one_of(*SHAPES),
                "peak": finite_number(0, above=True),
                "steps": whole_number(1),
                "warmup": count,
            }
        )
    ),
    "settings": object_with(
        {
            "epochs": whole_number(1),
            "batch_size": whole_number(1),
            "label_smoothing": fraction,
            "accumulation": whole_number(1),
            "augmentation": maybe(
                object_with({"flip": flag, "crop_padding": count, "cutout": count}, optional=True)
            ),
            "average": finite_number(0, 1, below=True),
        }
    ),
    "standardise": list_of(list_of(finite_number()), 2),
    "fingerprint": bits(32),
    "image_shape": list_of(whole_number(1, LARGEST_SIDE), 3),
    "classes": list_of(text),
    "epoch": count,
    "step": count,
    "history": object_with(
        {
            "loss": list_of(finite_number()),
            "learning_rate": list_of(rate),
            "epochs": list_of(object_with(EPOCH)),
        }
    ),
    "rng": generators,
    "frozen": list_of(text),
}


def check_description(
    description: Any,
    weights: Mapping[str, Array],
    velocity: Mapping[str, Array],
    latest: Mapping[str, Array],
) -> None:
    """Raise ValueError if a field is wrong, or contradicts another field or the arrays."""
    object_with(FIELDS)(description, "")
    _check_progress(description)
    _check_images(description)
    _check_arrays(description, weights, velocity)
    _check_latest(description["settings"]["average"], weights, latest)


def _equal(field: str, value: Any, needed: Any, why: str) -> None:
    if value != needed:
        refuse(field, value, f"{needed} ({why})")


def _check_progress(description: dict[str, Any]) -> None:
    epoch, step, history = (description[name] for name in ("epoch", "step", "history"))
    if epoch > description["settings"]["epochs"]:
        refuse("epoch", epoch, f"at most settings.epochs={description['settings']['epochs']}")
    for name in ("loss", "learning_rate"):
        _equal(f"the length of history.{name}", len(history[name]), step, "step")
    records = history["epochs"]
    _equal("the length of history.epochs", len(records), epoch, "epoch")
    for index, row in enumerate(records):
        field = f"history.epochs[{index}]"
        _equal(f"{field}.epoch", row["epoch"], index + 1, "they are counted from 1")
        # All epochs have the same number of steps, because images and batch size stay the same.
        if row["steps"] * epoch != (index + 1) * step:
            needed = f"{(index + 1) * step / epoch:g} (step={step} steps in epoch={epoch} epochs)"
            refuse(f"{field}.steps", row["steps"], needed)
    if not epoch:
        _equal("step", step, 0, "no epoch is done")
    schedule = description["schedule"]
    if schedule and schedule["warmup"] >= schedule["steps"]:
        refuse("schedule.warmup", schedule["warmup"], f"less than steps={schedule['steps']}")


def _check_images(description: dict[str, Any]) -> None:
    channels, *sides = description["image_shape"]
    whole_number(1, MOST_CHANNELS)(channels, "image_shape[0]")
    mean, std = description["standardise"]
    for index, values in enumerate((mean, std)):
        list_of(finite_number(0, above=index == 1), channels)(values, f"standardise[{index}]")
    augmentation = description["settings"]["augmentation"] or {}
    whole_number(0, max(sides))(
        augmentation.get("crop_padding", 0), "settings.augmentation.crop_padding"
    )
    whole_number(0, 2 * max(sides))(augmentation.get("cutout", 0), "settings.augmentation.cutout")
    config = description["architecture"]
    if config and "num_classes" in config:
        classes = len(description["classes"])
        _equal("architecture.num_classes", config["num_classes"], classes, "the length of classes")
    if config and "in_channels" in config:
        _equal("architecture.in_channels", config["in_channels"], channels, "image_shape[0]")


def _check_arrays(
    description: dict[str, Any], weights: Mapping[str, Array], velocity: Mapping[str, Array]
) -> None:
    floats = {array.dtype for array in weights.values() if array.dtype.kind == "f"}
    if floats not in ({np.dtype(np.float32)}, {np.dtype(np.float64)}):
        held = ", ".join(sorted(map(str, floats))) or "no weights"
        raise ValueError(
            f"its weights have the dtypes {held}; float32 or float64 for all is needed"
        )
    optimiser = description["optimiser"]
    if optimiser["nesterov"] and not optimiser["momentum"]:
        refuse("optimiser.nesterov", True, "false without momentum")
    if bool(velocity) != (optimiser["momentum"] > 0):
        needed = "velocities" if optimiser["momentum"] else "no velocities"
        raise ValueError(
            f"it has {len(velocity)} velocities; {needed} are needed with its momentum"
        )
    _check_alike("velocity", velocity, weights)


def _check_latest(
    average: float, weights: Mapping[str, Array], latest: Mapping[str, Array]
) -> None:
    needed = weights.keys() if average else set()
    if latest.keys() != needed:
        name = sorted(latest.keys() ^ needed)[0]
        raise ValueError(
            f"it {'has' if name in latest else 'lacks'} the tensor latest.{name!s:.60}, with "
            f"settings.average={average}; those of model.* are needed with an average, else none"
        )
    _check_alike("latest", latest, weights)


def _check_alike(prefix: str, arrays: Mapping[str, Array], weights: Mapping[str, Array]) -> None:
    for name, v in arrays.items():
        if name not in weights:
            raise ValueError(f"{prefix}.{name!s:.60} has no model.{name!s:.60} beside it")
        w = weights[name]
        if (v.shape, v.dtype) != (w.shape, w.dtype):
            raise ValueError(
                f"{prefix}.{name} has shape {v.shape} and dtype {v.dtype}; "
                f"{w.shape} and {w.dtype} are needed, as model.{name}"
            )
