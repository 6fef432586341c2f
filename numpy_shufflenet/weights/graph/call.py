"""The inputs of a node that computes, and the windows of convolutions and pooling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.weights.graph.positions import GraphStep, Positions

Padding = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class NodeCall:
    """A node with its inputs."""

    positions: Positions
    node: str  #: name and operator
    inputs: Sequence[Array | None]  #: positions of activations, and constants
    active: Sequence[bool]  #: for each input, whether it is an activation
    attributes: Mapping[str, Any]

    def activation(self, place: int = 0) -> Array:
        """Return the positions of an input."""
        found = self.inputs[place]
        if found is None or not self.active[place]:
            raise ValueError(f"its input {place} is a constant; an activation is needed")
        return found

    def constant(self, place: int) -> Array | None:
        """Return an input that is a constant; None if the input is left out."""
        found = self.inputs[place] if len(self.inputs) > place else None
        if found is not None and self.active[place]:
            raise ValueError(f"its input {place} depends on the images; a constant is needed")
        if found is not None and found.dtype.kind != "f":
            raise ValueError(f"its input {place} has dtype {found.dtype}; a float is needed")
        return found

    def weight(self, place: int, ndim: int) -> Array:
        """Return an input that is a constant with `ndim` axes."""
        found = self.constant(place)
        if found is None or found.ndim != ndim or not found.size:
            shape = None if found is None else found.shape
            raise ValueError(f"its input {place} has the shape {shape}; {ndim} axes are needed")
        return found

    def add(self, kind: str, reads: Sequence[Array], size: tuple[int, int], **more: Any) -> Array:
        """Add a step that reads these channels, and return the positions of its output."""
        channels = len(more["weight"]) if "weight" in more else len(reads[0])
        images = len(self.activation(self.active.index(True)))
        step = GraphStep(kind, self.node, tuple(reads), channels, size, **more)
        return self.positions.add(step, images)


def border_of(x: Array, value: int) -> tuple[Array, Padding]:
    """Remove padding with this value; return the rest, and the width of the padding."""
    if x.ndim != 4:
        raise ValueError(f"it reads the shape {x.shape}; (n, c, h, w) is needed")
    inside = x != value
    if inside.all():
        return x, ((0, 0), (0, 0))
    sides = []
    for axis in (2, 3):
        kept = np.flatnonzero(inside.any(axis=tuple({0, 1, 2, 3} - {axis})))
        if not len(kept):
            raise ValueError("it reads an empty activation")
        first, last = int(kept[0]), int(kept[-1]) + 1
        sides.append((first, x.shape[axis] - last))
        x = x[:, :, first:last] if axis == 2 else x[:, :, :, first:last]
    return x, (sides[0], sides[1])


def geometry_of(
    call: NodeCall, kernel: Sequence[int], size: tuple[int, ...], border: Padding
) -> tuple[dict[str, Any], tuple[int, int]]:
    """Return the settings of a convolution or a pooling, and the size of its output."""
    attributes = call.attributes
    strides = tuple(attributes.get("strides", (1, 1)))
    pads = list(attributes.get("pads", (0, 0, 0, 0)))
    lengths = len(kernel), len(strides), len(pads)
    if lengths != (2, 2, 4) or min(kernel) < 1 or min(strides) < 1 or min(pads) < 0:
        raise ValueError(f"its window is {(tuple(kernel), strides, pads)} (size, strides, pads)")
    if any(dilation != 1 for dilation in attributes.get("dilations", ())):
        raise ValueError(f"its dilations are {attributes['dilations']}; 1 is needed")
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        if max(strides) > 1 and not call.positions.sized:
            raise ValueError(
                f"auto_pad={auto} depends on the size of the images, which the graph leaves open; "
                "pass image_size"
            )
        for axis in (0, 1):
            length = size[axis] + sum(border[axis])
            wanted = (-(-length // strides[axis]) - 1) * strides[axis] + kernel[axis]
            less, more = sorted((max(0, wanted - length) // 2, -(-max(0, wanted - length) // 2)))
            pads[axis::2] = (less, more) if auto == "SAME_UPPER" else (more, less)
    elif auto == "VALID":
        pads = [0, 0, 0, 0]
    elif auto != "NOTSET":
        raise ValueError(f"auto_pad={auto!r:.40} is not known")
    padding = tuple((border[a][0] + pads[a], border[a][1] + pads[a + 2]) for a in (0, 1))
    out = [
        (size[a] + sum(padding[a]) - kernel[a]) // strides[a] + 1
        if size[a] + sum(padding[a]) >= kernel[a]
        else 0
        for a in (0, 1)
    ]
    if min(out) < 1:
        raise ValueError(f"its window of {tuple(kernel)} is larger than the image, {tuple(size)}")
    settings = {"kernel": tuple(kernel), "stride": strides, "padding": padding}
    return settings | {"own": tuple(pads)}, (out[0], out[1])
