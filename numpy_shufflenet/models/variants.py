"""Differences of other libraries' networks: padding at stride 2, and folded batch norms.

TensorFlow pads an even number of pixels by (0, 1) where PyTorch pads by (1, 1), and its average
pooling doesn't count the padding. Networks that are exported for inference have no batch
normalisation any more: it is folded into the convolutions, which have a bias instead.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

from numpy_shufflenet.nn import AvgPool2d, Conv2d, Layer, fold
from numpy_shufflenet.ops.checks import as_padding, is_sequence

L = TypeVar("L", bound=Layer)
PLACES = ("conv1", "stage2.0", "stage3.0", "stage4.0")


def check_padding(name: str, padding: Any) -> list[list[int]]:
    """Return [[top, bottom], [left, right]], or raise unless it can pad a 3x3 window."""
    try:
        sides = [list(side) for side in as_padding(padding)]
    except ValueError:
        sides = [[2]]
    if max(map(max, sides)) > 1:
        raise ValueError(
            f"{name}={padding!r} is not one of 0, 1, or [[top, bottom], [left, right]] of them"
        )
    return sides


def as_config_says(model: L, config: dict[str, Any]) -> L:
    """Return the network with the padding and without the batch norms that a config names.

    `model` has the children conv1, stage2, stage3 and stage4, and may be changed. Of the config,
    this function uses "stride2_padding", "count_include_pad" and "batch_norm".
    """
    paddings = config.get("stride2_padding")
    if paddings is not None:
        if not is_sequence(paddings) or len(paddings) != len(PLACES):
            raise ValueError(
                f"stride2_padding={paddings!r}; a list of {len(PLACES)} is needed, for the stem "
                "and the first units of the three stages"
            )
        checked = [check_padding("stride2_padding", padding) for padding in paddings]
        config["stride2_padding"] = checked
        for place, padding in zip(PLACES, checked, strict=True):
            for window in _strided(model, place):
                window.pad(padding)
    if not config.get("count_include_pad", True):
        for _, layer in model.named_layers():
            if isinstance(layer, AvgPool2d):
                layer.hyperparameters["count_include_pad"] = False
    return model if config.get("batch_norm", True) else fold(model)


def _strided(model: Layer, place: str) -> Iterator[Conv2d | AvgPool2d]:
    """Yield the layers of stride 2 in a part of the network."""
    for name, layer in model.named_layers():
        if not name.startswith(f"{place}.") or not isinstance(layer, Conv2d | AvgPool2d):
            continue
        if layer.hyperparameters.get("stride") == 2:
            yield layer
