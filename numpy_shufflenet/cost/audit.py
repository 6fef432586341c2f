"""Where a network departs from the four guidelines, layer by layer, and what that costs.

Of a convolution with kernel k x k, g groups, c1 to c2 channels on h w pixels, at its cost B:

    MAC = h w (c1 + c2) + k^2 c1 c2 / g
        = least(1) * [least(g) / least(1)] * [MAC / least(g)]        least(g): equal channels
                      G2                      G1

so that both excesses multiply: G1 is what unequal channels add, G2 what groups add at the same
number of multiply-adds. G3 counts the convolutions and pools of a building block. G4 is the share
of ReLU and additions in all memory access, with batch normalisation folded into the convolutions,
as it is in a network that is deployed.

Depthwise convolutions have as many groups as channels on purpose, and strided ones change the
number of pixels; G1 and G2 leave both out.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy_shufflenet.cost.kinds import ADDITION
from numpy_shufflenet.cost.network import LayerCost, NetworkCost, count
from numpy_shufflenet.nn import Conv2d, Layer, OperationLayer, Parallel, Sequential

LIMITS = {"G1": 1.05, "G2": 1.05, "G3": 3.5, "G4": 0.25}
"""The means beyond which a network departs from a guideline: 5 % more memory access than needed;
the three convolutions of a bottleneck, and some room for strided units; a quarter of all memory
access. The paper gives no numbers: these are ours."""

LINES = {
    "G1": "memory access over its least, by unequal channels",
    "G2": "memory access over its least, by groups",
    "G3": "convolutions and pools in a block",
    "G4": "share of ReLU and additions in memory access",
}

SUGGESTIONS = {
    "G1": "give 1x1 convolutions as many output as input channels, first of all {worst}",
    "G2": "use fewer groups, on fewer channels, at the same cost; first of all in {worst}",
    "G3": "use fewer and larger convolutions in a block, first of all in {worst}",
    "G4": "leave out ReLUs and shortcuts, or let channels pass; first of all in {worst}",
}

FRAGMENTS = ("conv2d", "group_conv2d", "pointwise_conv2d", "depthwise_conv2d")
POOLS = ("max_pool2d", "avg_pool2d")
ELEMENT_WISE = ("ReLU", ADDITION)
FOLDED = "batch norm"


@dataclass(frozen=True)
class AuditRow:
    """One layer that computes.

    Attributes
    ----------
    name, text : str
    block : str
        The building block that it belongs to.
    multiply_adds, memory_access : int
        Of one image.
    channels, groups : float or None
        G1 and G2: factors by which unequal channels and groups raise its memory access.
    fragments : int
        G3: convolutions and pools of its block.
    element_wise : bool
        G4: whether it is a ReLU or an addition.
    """

    name: str
    text: str
    block: str
    multiply_adds: int
    memory_access: int
    channels: float | None
    groups: float | None
    fragments: int
    element_wise: bool


@dataclass(frozen=True)
class Audit:
    """What `audit` found.

    Attributes
    ----------
    rows : tuple of AuditRow
        All layers but batch normalisations, in the order of forward.
    """

    title: str
    image_shape: tuple[int, ...]
    rows: tuple[AuditRow, ...]

    def means(self) -> dict[str, float]:
        """Return each guideline's mean over the network, weighted by memory access."""
        return {
            "G1": _mean([(row.channels, row.memory_access) for row in self.rows]),
            "G2": _mean([(row.groups, row.memory_access) for row in self.rows]),
            "G3": _mean([(float(row.fragments) or None, row.memory_access) for row in self.rows]),
            "G4": _mean([(float(row.element_wise), row.memory_access) for row in self.rows]),
        }

    def departures(self) -> tuple[str, ...]:
        """Return the guidelines whose mean is beyond its limit."""
        return tuple(line for line, mean in self.means().items() if mean > LIMITS[line])

    def worst(self, line: str) -> AuditRow | None:
        """Return the layer in which a guideline costs most memory access, if any does."""
        costs = [(_cost_of(line, row), row) for row in self.rows]
        cost, row = max(costs, key=lambda pair: pair[0])
        return row if cost > 0 else None

    def suggestions(self) -> dict[str, str]:
        """Return what to do about each departure."""
        found = {}
        for line in self.departures():
            row = self.worst(line)
            place = row.block if row and line in ("G3", "G4") else row.name if row else ""
            found[line] = SUGGESTIONS[line].format(worst=place)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in plain types, for JSON."""
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
    """Read a network and report where it departs from the guidelines of ShuffleNet V2.

    Parameters
    ----------
    model : Layer
        Built from the layers of `nn`.
    image_shape : (c, h, w), optional
        What an `ImageClassifier` says of itself if not given.

    Raises
    ------
    ValueError
        If the network has no convolution, such images don't fit it, or it has an unknown layer.

    Source: ShuffleNet V2, section 2.
    """
    if image_shape is None:
        channels, size = getattr(model, "in_channels", None), getattr(model, "default_size", None)
        if channels is None or size is None:
            raise ValueError(
                f"image_shape is missing; a {type(model).__name__} doesn't say what images it takes"
            )
        image_shape = (channels, size, size)
    layers = dict(model.named_layers())
    if not any(isinstance(layer, Conv2d) for layer in layers.values()):
        raise ValueError(f"{type(model).__name__} has no convolution; there is nothing to audit")
    costs = count(model, image_shape)
    blocks = dict(_blocks(model))
    return Audit(costs.title, costs.image_shape, tuple(_rows(costs, layers, blocks)))


def _rows(
    costs: NetworkCost, layers: dict[str, Layer], blocks: dict[str, str]
) -> Iterator[AuditRow]:
    fragments: dict[str, int] = {}
    for name, layer in layers.items():
        if isinstance(layer, OperationLayer) and layer.operation in (*FRAGMENTS, *POOLS):
            fragments[blocks[name]] = fragments.get(blocks[name], 0) + 1
    for cost in costs.layers:
        if cost.kind == FOLDED or not cost.cost.forward.memory_access:
            continue
        channels, groups = _excesses(cost, layers[cost.name])
        yield AuditRow(
            cost.name,
            cost.text,
            blocks[cost.name],
            cost.cost.forward.multiply_adds,
            cost.cost.forward.memory_access,
            channels,
            groups,
            fragments.get(blocks[cost.name], 0),
            cost.kind in ELEMENT_WISE,
        )


def _excesses(cost: LayerCost, layer: Layer) -> tuple[float | None, float | None]:
    """Return the factors of unequal channels and of groups; None where neither is meant."""
    if not isinstance(layer, Conv2d) or layer.operation == "depthwise_conv2d":
        return None, None
    if cost.x_shape[2:] != cost.y_shape[2:]:
        return None, None
    pixels = math.prod(cost.x_shape[2:])
    groups = layer.hyperparameters.get("groups", 1)
    weights = layer.weight.value.size
    products = weights * groups  # k^2 c1 c2
    taps = math.prod(layer.weight.value.shape[2:])

    def least(g: int) -> float:
        """Of equal channels, g groups and as many multiply-adds."""
        return 2 * pixels * math.sqrt(weights * g / taps) + weights

    c1, c2 = cost.x_shape[1], cost.y_shape[1]
    assert c1 * c2 * taps == products
    return (pixels * (c1 + c2) + weights) / least(groups), least(groups) / least(1)


def _blocks(layer: Layer, name: str = "", block: str = "") -> Iterator[tuple[str, str]]:
    """Yield the building block of every layer.

    A block is what a network repeats: a unit, or layers one after the other, with parallel branches
    or without. A sequence of blocks is not a block.
    """
    children = layer.children()
    composed = [child for child in children.values() if child.children()]
    row_of_blocks = any(not isinstance(child, Parallel) for child in composed) and (
        isinstance(layer, Sequential) or not name
    )
    own = block or ("" if row_of_blocks else name)
    yield name, own or name
    for key, child in children.items():
        path = f"{name}.{key}" if name else key
        yield from _blocks(child, path, own)


def _cost_of(line: str, row: AuditRow) -> float:
    """The memory access that a layer could be without."""
    factor = {"G1": row.channels, "G2": row.groups}.get(line)
    if factor is not None:
        return row.memory_access * (1 - 1 / factor)
    if line == "G3":
        return row.memory_access * (row.fragments > LIMITS["G3"])
    return row.memory_access * (line == "G4" and row.element_wise)


def _mean(pairs: list[tuple[float | None, int]]) -> float:
    """Return the mean of the values that there are, weighted."""
    known = [(value, weight) for value, weight in pairs if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else 0.0
