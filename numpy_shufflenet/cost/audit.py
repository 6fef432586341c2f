"""Where a network departs from the four guidelines of ShuffleNet V2, layer by layer.

Take a convolution with a k x k kernel and g groups, from c1 to c2 channels, on h w pixels. Let
least(g) be the smallest memory access (MAC) of a convolution with g groups and the same number of
multiply-adds. The smallest one has c1 = c2. Then

    MAC = h w (c1 + c2) + k^2 c1 c2 / g
        = least(1) * [least(g) / least(1)] * [MAC / least(g)]
                      G2                      G1

G1 is the factor that unequal channels add, and G2 the factor that groups add. G3 counts the
convolutions and pools of a building block. G4 is the share of ReLU and additions in the memory
access of the network. Batch normalisation is folded into the convolutions, as in deployment.

G1 and G2 do not apply to depthwise convolutions, which have one group for each channel by design,
nor to strided convolutions, which change the number of pixels.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy_shufflenet.cost.kinds import ADDITION
from numpy_shufflenet.cost.network import LayerCost, count
from numpy_shufflenet.nn import Conv2d, Layer, OperationLayer, Parallel, Sequential

LIMITS = {"G1": 1.05, "G2": 1.05, "G3": 3.5, "G4": 0.25}
"""The largest mean at which a network still follows a guideline.

G1 and G2 allow 5 % more memory access than needed. G3 allows the three convolutions of a
bottleneck, and a few more in strided units. G4 allows a quarter of all memory access. The paper
gives no limits; we chose these numbers."""

MEASURES = {
    "G1": "memory access / minimum, due to unequal channels",
    "G2": "memory access / minimum, due to groups",
    "G3": "convolutions and pools in a block",
    "G4": "share of ReLU and additions in memory access",
}
"""What is measured for each guideline."""

SUGGESTIONS = {
    "G1": "give 1x1 convolutions as many output as input channels; start with {worst}",
    "G2": "use fewer groups, on fewer channels, at the same cost; start with {worst}",
    "G3": "use fewer and larger convolutions in a block; start with {worst}",
    "G4": "remove ReLUs and shortcuts, or pass channels on unchanged; start with {worst}",
}

FRAGMENTS = (
    *("conv2d", "group_conv2d", "pointwise_conv2d", "depthwise_conv2d"),
    *("max_pool2d", "avg_pool2d"),
)
ELEMENT_WISE = ("ReLU", ADDITION)
FOLDED = "batch norm"


@dataclass(frozen=True)
class AuditRow:
    """One layer that computes something; counts are for one image."""

    name: str
    text: str  #: class and settings of the layer
    block: str  #: name of the building block that contains the layer
    multiply_adds: int
    memory_access: int
    channels: float | None  #: G1: factor on the memory access; None where G1 does not apply
    groups: float | None  #: G2: factor on the memory access; None where G2 does not apply
    fragments: int  #: G3: number of convolutions and pools in the block
    element_wise: bool  #: G4: whether the layer is a ReLU or an addition


@dataclass(frozen=True)
class Audit:
    """The result of `audit`."""

    title: str
    image_shape: tuple[int, ...]
    rows: tuple[AuditRow, ...]  #: all layers except batch normalisation, in the order of forward

    def means(self) -> dict[str, float]:
        """Return the mean of each guideline's measure, weighted by memory access."""
        return {
            "G1": self._mean([row.channels for row in self.rows]),
            "G2": self._mean([row.groups for row in self.rows]),
            "G3": self._mean([row.fragments or None for row in self.rows]),
            "G4": self._mean([row.element_wise for row in self.rows]),
        }

    def _mean(self, values: list[Any]) -> float:
        """Return the weighted mean of the values that are not None; 0 if there are none."""
        known = [
            (value, row.memory_access)
            for value, row in zip(values, self.rows, strict=True)
            if value is not None
        ]
        total = sum(weight for _, weight in known)
        return sum(value * weight for value, weight in known) / total if total else 0.0

    def departures(self) -> tuple[str, ...]:
        """Return the guidelines whose mean is above its limit."""
        return tuple(key for key, mean in self.means().items() if mean > LIMITS[key])

    def worst(self, guideline: str) -> AuditRow | None:
        """Return the layer that would save most memory access by a guideline, or None if none."""
        row = max(self.rows, key=lambda row: _avoidable(guideline, row))
        return row if _avoidable(guideline, row) > 0 else None

    def suggestions(self) -> dict[str, str]:
        """Return a suggestion for each departure."""
        found = {}
        for key in self.departures():
            row = self.worst(key)
            worst = (row.block if key in ("G3", "G4") else row.name) if row else ""
            found[key] = SUGGESTIONS[key].format(worst=worst)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything in plain types, for JSON."""
        return {
            "title": self.title,
            "image_shape": list(self.image_shape),
            "means": self.means(),
            "limits": LIMITS,
            "departures": list(self.departures()),
            "suggestions": self.suggestions(),
            "layers": [vars(row) for row in self.rows],
        }


def audit(model: Layer, image_shape: tuple[int, int, int] | None = None) -> Audit:
    """Report where a network departs from the guidelines of ShuffleNet V2.

    Parameters
    ----------
    model : Layer
        A network built from the layers of `nn`.
    image_shape : (c, h, w), optional
        By default, the image shape of the network, which must be an `ImageClassifier` then.

    Raises
    ------
    ValueError
        If the network has no convolution or has an unknown layer, or the images do not fit.

    Source: ShuffleNet V2, section 2.
    """
    if image_shape is None:
        channels, size = getattr(model, "in_channels", None), getattr(model, "default_size", None)
        if channels is None or size is None:
            raise ValueError(
                f"image_shape is missing, and a {type(model).__name__} has no default; "
                "give (channels, height, width)"
            )
        image_shape = (channels, size, size)
    layers = dict(model.named_layers())
    if not any(isinstance(layer, Conv2d) for layer in layers.values()):
        raise ValueError(f"{type(model).__name__} has no convolution; there is nothing to audit")
    costs = count(model, image_shape)
    blocks = dict(_blocks(model))
    fragments = Counter(
        blocks[name]
        for name, layer in layers.items()
        if isinstance(layer, OperationLayer) and layer.operation in FRAGMENTS
    )
    rows = [
        AuditRow(
            layer.name,
            layer.text,
            blocks[layer.name],
            layer.cost.forward.multiply_adds,
            layer.cost.forward.memory_access,
            *_excess_factors(layer, layers[layer.name]),
            fragments[blocks[layer.name]],
            layer.kind in ELEMENT_WISE,
        )
        for layer in costs.layers
        if layer.kind != FOLDED and layer.cost.forward.memory_access
    ]
    return Audit(costs.title, costs.image_shape, tuple(rows))


def _excess_factors(cost: LayerCost, layer: Layer) -> tuple[float | None, float | None]:
    """Return the factors of G1 and G2, or (None, None) if the guidelines do not apply."""
    if not isinstance(layer, Conv2d) or layer.operation == "depthwise_conv2d":
        return None, None
    if cost.x_shape[2:] != cost.y_shape[2:]:
        return None, None
    pixels = math.prod(cost.x_shape[2:])
    groups = layer.hyperparameters.get("groups", 1)
    weights = layer.weight.value.size  # k^2 c1 c2 / g
    taps = math.prod(layer.weight.value.shape[2:])

    def least(g: int) -> float:
        """Return the memory access with c1 = c2 and g groups, at the same multiply-adds."""
        return 2 * pixels * math.sqrt(weights * g / taps) + weights

    memory_access = pixels * (cost.x_shape[1] + cost.y_shape[1]) + weights
    return memory_access / least(groups), least(groups) / least(1)


def _blocks(layer: Layer, name: str = "", block: str = "") -> Iterator[tuple[str, str]]:
    """Yield each layer's name and the name of its building block.

    A block is what a network repeats: a unit, or a sequence of layers that may have parallel
    branches. A sequence of blocks is not a block.
    """
    children = layer.children()
    composed = [child for child in children.values() if child.children()]
    sequence_of_blocks = any(not isinstance(child, Parallel) for child in composed) and (
        isinstance(layer, Sequential) or not name
    )
    own = block or ("" if sequence_of_blocks else name)
    yield name, own or name
    for key, child in children.items():
        path = f"{name}.{key}" if name else key
        yield from _blocks(child, path, own)


def _avoidable(guideline: str, row: AuditRow) -> float:
    """Return the memory access that a layer would save if it followed the guideline."""
    if guideline in ("G1", "G2"):
        factor = row.channels if guideline == "G1" else row.groups
        share = 1 - 1 / factor if factor else 0.0
    elif guideline == "G3":
        share = float(row.fragments > LIMITS["G3"])
    else:
        share = float(row.element_wise)
    return row.memory_access * share
