"""ONNX's operators that move numbers or compute shapes, in NumPy.

Each function takes a node's first input, all of its inputs (None for an input that is left out) and
its attributes, and returns its output or a list of outputs. The inputs are constants, or the arrays
of positions in `graph`.

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
Move = Callable[[Array, Inputs, Attributes], Array | list[Array]]
ZERO, LOWEST = -1, -2  # positions of padding: of zeros, or of minus infinity
MINUS_INFINITY = -1e30  # some exporters write the lowest float32 instead
INTEGERS = (2, 3, 4, 5, 6, 7, 12, 13)  # numbers of the dtypes in TensorProto
LARGEST = 2**23  # numbers in an array; larger ones are refused before they are allocated


def check_result_size(count: int) -> None:
    """Raise if an array of `count` numbers is too large to allocate."""
    if count > LARGEST:
        raise ValueError(f"it makes an array of {count:.3g} numbers; at most {LARGEST:,} fit")


def integers(inputs: Inputs, place: int, attributes: Attributes, name: str) -> list[int] | None:
    """Return the integers that an input or an attribute holds; None if the node has neither."""
    given = inputs[place] if len(inputs) > place else None
    value = attributes.get(name) if given is None else given
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "iu" and array.size:
        raise ValueError(f"{name} has dtype {array.dtype}; integers are needed")
    return [int(number) for number in array.ravel()]


def _pad(x: Array, inputs: Inputs, attributes: Attributes) -> Array:
    """Pad an array of positions."""
    value = attributes.get("value", 0.0)
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
    for axis, *sides in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        around[axis] = (sides[0], sides[1])
    sizes = (size + sum(sides) for size, sides in zip(x.shape, around, strict=True))
    check_result_size(math.prod(sizes))
    return np.pad(x, around, constant_values=ZERO if value == 0 else LOWEST)


def _reshape(x: Array, inputs: Inputs, attributes: Attributes) -> Array:
    shape = integers(inputs, 1, attributes, "shape")
    if shape is None:
        raise ValueError("it has no shape")
    if not attributes.get("allowzero"):
        shape = [size or x.shape[axis] for axis, size in enumerate(shape)]
    return x.reshape(shape)


def _flatten(x: Array, inputs: Inputs, attributes: Attributes) -> Array:
    rows = math.prod(x.shape[: attributes.get("axis", 1)])
    return x.reshape(rows, x.size // max(1, rows))


def _squeeze(x: Array, inputs: Inputs, attributes: Attributes) -> Array:
    axes = integers(inputs, 1, attributes, "axes")
    return np.squeeze(x, None if axes is None else tuple(axes))


def _unsqueeze(x: Array, inputs: Inputs, attributes: Attributes) -> Array:
    return np.expand_dims(x, tuple(integers(inputs, 1, attributes, "axes") or []))


def _concat(x: Array, inputs: Inputs, attributes: Attributes) -> Array:
    parts = [part for part in inputs if part is not None]
    check_result_size(sum(part.size for part in parts))
    return np.concatenate(parts, attributes["axis"])


def _split(x: Array, inputs: Inputs, attributes: Attributes) -> list[Array]:
    axis = attributes.get("axis", 0)
    sizes, parts = integers(inputs, 1, attributes, "split"), attributes["outputs"]
    if sizes is None:
        each = -(-x.shape[axis] // parts)
        sizes = [each] * (parts - 1) + [x.shape[axis] - each * (parts - 1)]
    if len(sizes) != parts or min(sizes) < 0 or sum(sizes) != x.shape[axis]:
        raise ValueError(f"it splits {x.shape[axis]} into {sizes}")
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def _slice(x: Array, inputs: Inputs, attributes: Attributes) -> Array:
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
        # With a negative step, an end before the first number is a large negative number.
        before = step < 0 and end < -x.shape[axis]
        places[axis] = slice(start, None if before else end, step)
    return x[tuple(places)]


def _gather(x: Array, inputs: Inputs, attributes: Attributes) -> Array:
    indices, axis = inputs[1], attributes.get("axis", 0)
    if indices is None or indices.dtype.kind not in "iu":
        raise ValueError("its indices aren't integers")
    check_result_size(x.size // max(1, x.shape[axis]) * indices.size)
    return np.take(x, indices, axis)


def _constant_of_shape(x: Array, inputs: Inputs, attributes: Attributes) -> Array:
    shape = integers(inputs, 0, {}, "shape") or []
    check_result_size(math.prod(shape))
    value = np.ravel(attributes.get("value", np.zeros(1, np.float32)))
    return np.full(shape, value[0])


def _cast(x: Array, inputs: Inputs, attributes: Attributes) -> Array:
    whole = x.dtype.kind == "f" and attributes.get("to") in INTEGERS
    return x.astype(np.int64) if whole else x


def _elementwise(function: Callable[..., Array]) -> Move:
    def run(x: Array, inputs: Inputs, attributes: Attributes) -> Array:
        arrays = [array for array in inputs if array is not None]
        check_result_size(math.prod(np.broadcast_shapes(*(array.shape for array in arrays))))
        return np.asarray(function(*arrays))

    return run


MOVES: dict[str, Move] = {
    **dict.fromkeys(("Identity", "Dropout"), lambda x, inputs, attributes: x),
    "Transpose": lambda x, inputs, attributes: np.transpose(x, attributes.get("perm")),
    **{"Cast": _cast, "Pad": _pad, "Reshape": _reshape, "Flatten": _flatten},
    **{"Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Concat": _concat, "Split": _split},
    **{"Slice": _slice, "Gather": _gather},
}
"""Operators that move numbers. They leave each number as it is."""

CONSTANT: dict[str, Move] = {
    **MOVES,
    "ConstantOfShape": _constant_of_shape,
    **{"Add": _elementwise(np.add), "Sub": _elementwise(np.subtract)},
    "Mul": _elementwise(np.multiply),
    "Div": _elementwise(lambda x, y: x // y if x.dtype.kind in "iu" else x / y),
    **{"Floor": _elementwise(np.floor), "Sqrt": _elementwise(np.sqrt)},
    **{"Equal": _elementwise(np.equal), "Where": _elementwise(np.where)},
}
"""Operators that run on constants: they compute shapes."""


def run_operator(
    operators: Mapping[str, Move], kind: str, inputs: Inputs, attributes: Attributes
) -> Any:
    """Run an operator of a table, and return its outputs as a list."""
    if not inputs or inputs[0] is None:
        raise ValueError("it has no input")
    found = operators[kind](inputs[0], inputs, attributes)
    return found if isinstance(found, list) else [found]
