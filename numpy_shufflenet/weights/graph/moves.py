"""ONNX's operators that move numbers or compute shapes, in NumPy.

Each function takes a node's inputs as arrays (None for one that is left out) and its attributes,
and returns its outputs. It works on constants, and on the arrays of positions in `graph`.

Before opset 13, axes and shapes were attributes of some operators; since then they are inputs.

Source: the operators' specification, https://onnx.ai/onnx/operators.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array

Inputs = Sequence[Array | None]
Attributes = Mapping[str, Any]
ZERO, LOWEST = -1, -2  # positions of padding: of zeros, or of minus infinity
MINUS_INFINITY = -1e30  # some exporters write the lowest float32 instead
INTEGERS = (2, 3, 4, 5, 6, 7, 12, 13)  # numbers of the dtypes in TensorProto
LARGEST = 2**23  # numbers in an array; larger ones are refused before they are allocated


def check_result_size(count: int) -> None:
    """Raise unless so many numbers may be allocated."""
    if count > LARGEST:
        raise ValueError(f"it makes an array of {count:.3g} numbers; {LARGEST:,} are the most")


def integers(inputs: Inputs, place: int, attributes: Attributes, name: str) -> list[int] | None:
    """Return a list of integers that is an input or an attribute; None if it is neither."""
    given = inputs[place] if len(inputs) > place else None
    value = attributes.get(name) if given is None else given
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "iu" and array.size:
        raise ValueError(f"{name} has dtype {array.dtype}; integers are needed")
    return [int(number) for number in array.ravel()]


def _data(inputs: Inputs) -> Array:
    if not inputs or inputs[0] is None:
        raise ValueError("it has no input")
    return inputs[0]


def _same(inputs: Inputs, attributes: Attributes) -> list[Array]:
    return [_data(inputs)]


def _cast(inputs: Inputs, attributes: Attributes) -> list[Array]:
    x = _data(inputs)
    whole = x.dtype.kind == "f" and attributes.get("to") in INTEGERS
    return [x.astype(np.int64) if whole else x]


def _pad(inputs: Inputs, attributes: Attributes) -> list[Array]:
    """Pad an array of positions."""
    x, value = _data(inputs), attributes.get("value", 0.0)
    if attributes.get("mode", b"constant") != b"constant":
        raise ValueError(f"its mode is {attributes['mode']!r}; 'constant' is needed")
    pads = integers(inputs, 1, attributes, "pads") or []
    axes = integers(inputs, 3, {}, "axes")
    axes = list(range(x.ndim)) if axes is None else axes
    if len(inputs) > 2 and inputs[2] is not None:
        value = float(inputs[2].item())
    if value != 0 and value > MINUS_INFINITY:
        raise ValueError(f"it pads with {value}; 0 is needed")
    around = [(0, 0)] * x.ndim
    for axis, sides in zip(
        axes, zip(pads[: len(axes)], pads[len(axes) :], strict=True), strict=True
    ):
        around[axis] = sides
    sizes = (size + sum(sides) for size, sides in zip(x.shape, around, strict=True))
    check_result_size(math.prod(sizes))
    return [np.pad(x, around, constant_values=ZERO if value == 0 else LOWEST)]


def _reshape(inputs: Inputs, attributes: Attributes) -> list[Array]:
    x, shape = _data(inputs), integers(inputs, 1, attributes, "shape")
    if shape is None:
        raise ValueError("it has no shape")
    if not attributes.get("allowzero"):
        shape = [size or x.shape[axis] for axis, size in enumerate(shape)]
    return [x.reshape(shape)]


def _flatten(inputs: Inputs, attributes: Attributes) -> list[Array]:
    x, axis = _data(inputs), attributes.get("axis", 1)
    rows = math.prod(x.shape[:axis])
    return [x.reshape(rows, x.size // max(1, rows))]


def _transpose(inputs: Inputs, attributes: Attributes) -> list[Array]:
    return [np.transpose(_data(inputs), attributes.get("perm"))]


def _squeeze(inputs: Inputs, attributes: Attributes) -> list[Array]:
    axes = integers(inputs, 1, attributes, "axes")
    return [np.squeeze(_data(inputs), None if axes is None else tuple(axes))]


def _unsqueeze(inputs: Inputs, attributes: Attributes) -> list[Array]:
    axes = integers(inputs, 1, attributes, "axes") or []
    return [np.expand_dims(_data(inputs), tuple(axes))]


def _concat(inputs: Inputs, attributes: Attributes) -> list[Array]:
    parts = [part for part in inputs if part is not None]
    check_result_size(sum(part.size for part in parts))
    return [np.concatenate(parts, attributes["axis"])]


def _split(inputs: Inputs, attributes: Attributes) -> list[Array]:
    x, axis = _data(inputs), attributes.get("axis", 0)
    sizes, parts = integers(inputs, 1, attributes, "split"), attributes["outputs"]
    if sizes is None:
        each = -(-x.shape[axis] // parts)
        sizes = [each] * (parts - 1) + [x.shape[axis] - each * (parts - 1)]
    if len(sizes) != parts or min(sizes) < 0 or sum(sizes) != x.shape[axis]:
        raise ValueError(f"it splits {x.shape[axis]} into {sizes}")
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def _slice(inputs: Inputs, attributes: Attributes) -> list[Array]:
    x = _data(inputs)
    starts, ends, axes, steps = (
        integers(inputs, place, attributes, name)
        for place, name in enumerate(("starts", "ends", "axes", "steps"), start=1)
    )
    if starts is None or ends is None:
        raise ValueError("it has no starts or ends")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    places = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # Backwards, an end before the first number is written as a large negative number.
        before = step < 0 and end < -x.shape[axis]
        places[axis] = slice(start, None if before else end, step)
    return [x[tuple(places)]]


def _gather(inputs: Inputs, attributes: Attributes) -> list[Array]:
    x, axis = _data(inputs), attributes.get("axis", 0)
    indices = inputs[1]
    if indices is None or indices.dtype.kind not in "iu":
        raise ValueError("its indices are no integers")
    check_result_size(x.size // max(1, x.shape[axis]) * indices.size)
    return [np.take(x, indices, axis)]


def _constant_of_shape(inputs: Inputs, attributes: Attributes) -> list[Array]:
    shape = integers(inputs, 0, {}, "shape") or []
    check_result_size(math.prod(shape))
    value = np.ravel(attributes.get("value", np.zeros(1, np.float32)))
    return [np.full(shape, value[0])]


def _elementwise(function: Callable[..., Array]) -> Callable[[Inputs, Attributes], list[Array]]:
    def run(inputs: Inputs, attributes: Attributes) -> list[Array]:
        arrays = [array for array in inputs if array is not None]
        check_result_size(math.prod(np.broadcast_shapes(*(array.shape for array in arrays))))
        return [np.asarray(function(*arrays))]

    return run


def _divided(x: Array, y: Array) -> Array:
    return x // y if x.dtype.kind in "iu" else x / y


MOVES = {
    **dict.fromkeys(("Identity", "Dropout"), _same),
    **{
        "Cast": _cast,
        "Pad": _pad,
        "Reshape": _reshape,
        "Flatten": _flatten,
        "Transpose": _transpose,
    },
    **{"Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Concat": _concat, "Split": _split},
    **{"Slice": _slice, "Gather": _gather},
}
"""Operators that move numbers. They leave each number as it is."""

CONSTANT = {
    **MOVES,
    "ConstantOfShape": _constant_of_shape,
    **{"Add": _elementwise(np.add), "Sub": _elementwise(np.subtract)},
    **{"Mul": _elementwise(np.multiply), "Div": _elementwise(_divided)},
    **{"Floor": _elementwise(np.floor), "Sqrt": _elementwise(np.sqrt)},
    **{"Equal": _elementwise(np.equal), "Where": _elementwise(np.where)},
}
"""Operators that run on constants: they compute shapes."""
