"""ONNX's arithmetic operators: each adds a step to the network, or changes the step before it.

For example, Conv adds a step; BatchNormalization and Relu change it. (`moves` has the operators
that only move numbers.)
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.weights.graph.call import NodeCall, border_of, geometry_of
from numpy_shufflenet.weights.graph.moves import LOWEST, ZERO, integers
from numpy_shufflenet.weights.graph.positions import GraphStep, Normalisation


def _conv(call: NodeCall) -> Array:
    x, border = border_of(call.activation(), ZERO)
    rows = call.positions.channels(x)
    weight, bias = call.weight(1, 4), call.constant(2)
    groups = call.attributes.get("group", 1)
    o, c, *kernel = weight.shape
    if groups < 1 or c * groups != len(rows) or o % groups:
        raise ValueError(f"weights of shape {weight.shape} don't fit {len(rows)} channels")
    if bias is not None and bias.shape != (o,):
        raise ValueError(f"its bias has the shape {bias.shape}; ({o},) is needed")
    settings, size = geometry_of(call, kernel, x.shape[2:], border)
    settings["groups"] = groups
    features = {"mean", "linear"} >= {call.positions.step_of(row).kind for row in rows[:1]}
    if features and (o, c * groups, 1, 1) == weight.shape and size == (1, 1):
        return call.add("linear", [rows], size, weight=weight[:, :, 0, 0], bias=bias)
    return call.add("conv", [rows], size, weight=weight, bias=bias, settings=settings)


def _max_pool(call: NodeCall) -> Array:
    x = call.activation()
    value = LOWEST if (x == LOWEST).any() else ZERO
    x, border = border_of(x, value)
    rows = call.positions.channels(x)
    positive = _positive(call, rows)
    if value == ZERO and any(map(any, border)) and not positive:
        raise ValueError(
            "its input is padded with 0 and may be negative; max pooling needs padding with -inf"
        )
    settings, size = geometry_of(call, call.attributes["kernel_shape"], x.shape[2:], border)
    if call.attributes.get("ceil_mode"):
        if any(map(any, settings["padding"])) or settings["kernel"] != (3, 3):
            raise ValueError("it has ceil_mode=1; that needs a 3x3 window and no padding")
        # ceil_mode can add a window, which extends at most one row and one column past the image.
        settings, size = geometry_of(call, (3, 3), x.shape[2:], ((0, 1), (0, 1)))
    return call.add("max", [rows], size, settings=settings, nonnegative=positive)


def _average_pool(call: NodeCall) -> Array:
    x, border = border_of(call.activation(), ZERO)
    rows = call.positions.channels(x)
    settings, size = geometry_of(call, call.attributes["kernel_shape"], x.shape[2:], border)
    padded = any(map(any, settings["padding"]))
    if settings["kernel"] == x.shape[2:] and not padded:
        return call.add("mean", [rows], (1, 1), nonnegative=_positive(call, rows))
    if call.attributes.get("ceil_mode"):
        raise ValueError("it has ceil_mode=1; an average pool with ceil_mode=0 is needed")
    counted = bool(call.attributes.get("count_include_pad")) or not any(settings["own"])
    if not counted and any(map(any, border)):
        raise ValueError(
            "a Pad node pads its input, and it pads again with count_include_pad=0; its means "
            "would count only the first padding"
        )
    settings["count_include_pad"] = counted
    return call.add("average", [rows], size, settings=settings, nonnegative=_positive(call, rows))


def _positive(call: NodeCall, rows: Array) -> bool:
    return all(call.positions.step_of(row).nonnegative for row in rows)


def _reduce_mean(call: NodeCall) -> Array:
    axes = integers(call.inputs, 1, call.attributes, "axes") or []
    return _mean(call, axes, keep=bool(call.attributes.get("keepdims", 1)))


def _mean(call: NodeCall, axes: Sequence[int], *, keep: bool) -> Array:
    x = call.activation()
    axes = sorted(axis % x.ndim for axis in axes)
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    if len(kept) != 2:
        raise ValueError(
            f"it takes means over the axes {axes} of {x.ndim}; all axes but the batch and the "
            "channels are needed"
        )
    n, c = (x.shape[axis] for axis in kept)
    pixels = np.sort(x.transpose(*kept, *axes).reshape(n, c, -1), axis=2)
    rows = call.positions.channels(pixels)
    means = call.add("mean", [rows], (1, 1), nonnegative=_positive(call, rows))
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    return means.reshape(shape if keep else (n, c))


def _gemm(call: NodeCall) -> Array:
    weight, bias = call.weight(1, 2), call.constant(2)
    if call.attributes.get("transA"):
        raise ValueError("it has transA=1; 0 is needed")
    weight = weight if call.attributes.get("transB") else weight.T
    weight = weight * np.asarray(call.attributes.get("alpha", 1.0), weight.dtype)
    if bias is not None:
        bias = bias * np.asarray(call.attributes.get("beta", 1.0), bias.dtype)
        bias = np.broadcast_to(bias, (1, len(weight)))[0]
    return _linear(call, weight, bias)


def _linear(call: NodeCall, weight: Array, bias: Array | None) -> Array:
    x = call.activation()
    rows = call.positions.channels(x)
    if x.ndim != 2 or weight.shape[1] != len(rows):
        raise ValueError(f"weights of shape {weight.shape} don't fit the shape {x.shape}")
    return call.add("linear", [rows], (1, 1), weight=weight, bias=bias).reshape(len(x), len(weight))


def _changed(call: NodeCall, kinds: Sequence[str]) -> tuple[Array, GraphStep, Array]:
    """Return new positions, the step before this node, and for each channel its row in the input.

    Raise ValueError unless the input is the whole output of one step.
    """
    x = call.activation(call.active.index(True))
    rows = call.positions.channels(x)
    moved, steps = call.positions.renewed(x, kinds)
    if len(steps) != 1:
        raise ValueError(f"it must directly follow one operation ({' or '.join(kinds)})")
    return moved, steps[0], np.argsort(rows)


def _batch_normalization(call: NodeCall) -> Array:
    moved, step, order = _changed(call, ("conv",))
    arrays = [call.weight(place, 1) for place in (1, 2, 3, 4)]
    if step.norm is not None or any(len(array) != step.channels for array in arrays):
        shapes = [array.shape for array in arrays]
        raise ValueError(
            f"its parameters have the shapes {shapes}; ({step.channels},) is needed, after a "
            f"convolution without another normalisation (it follows {step.node})"
        )
    gamma, beta, mean, var = (array[order] for array in arrays)
    step.norm = Normalisation(gamma, beta, mean, var, float(call.attributes.get("epsilon", 1e-5)))
    return moved


def _affine(call: NodeCall, scale: float | Array, shift: float | Array) -> Array:
    """Multiply each channel by `scale` and add `shift`: numbers, or arrays with one per channel."""
    ndim = call.activation(call.active.index(True)).ndim
    moved, step, order = _changed(call, ("conv", "linear"))

    def by_channel(constant: float | Array) -> Array:
        array = np.asarray(constant)
        shape = (1,) * (ndim - array.ndim) + array.shape
        if math.prod(shape) not in (1, shape[1]) or len(shape) != ndim:
            raise ValueError(
                f"its constant has the shape {array.shape}; one number, or one per channel, is "
                "needed"
            )
        return np.broadcast_to(array.ravel(), step.channels)[order]

    scales, shifts = by_channel(scale), by_channel(shift)
    assert step.weight is not None
    if step.norm is not None:
        gamma, beta = step.norm.gamma * scales, step.norm.beta * scales + shifts
        step.norm = step.norm._replace(gamma=gamma, beta=beta)
    else:
        dtype, bias = step.weight.dtype, 0 if step.bias is None else step.bias
        columns = scales.reshape(-1, *[1] * (step.weight.ndim - 1))
        step.weight = (step.weight * columns).astype(dtype)
        step.bias = np.asarray(bias * scales + shifts, dtype)
    return moved


def _add(call: NodeCall) -> Array:
    if call.active == [True, True]:
        x, y = call.activation(0), call.activation(1)
        if x.shape != y.shape or x.ndim != 4:
            raise ValueError(f"it adds the shapes {x.shape} and {y.shape}; equal (n, c, h, w) fit")
        rows = [call.positions.channels(part) for part in (x, y)]
        return call.add("add", rows, (x.shape[2], x.shape[3]))
    return _affine(call, 1.0, _other(call))


def _mul(call: NodeCall) -> Array:
    if call.active != [True, True]:
        return _affine(call, _other(call), 0.0)
    x, by = sorted((call.activation(0), call.activation(1)), key=lambda part: -part.size)
    rows, scales = call.positions.channels(x), call.positions.channels(by)
    if not all(call.positions.step_of(row).sigmoid for row in scales):
        rows, scales = scales, rows
    steps = {call.positions.step_of(row) for row in scales}
    if by.size != len(by) * len(rows) or len(steps) != 1 or not steps.pop().sigmoid:
        raise ValueError("one factor must be a sigmoid with one number for each channel")
    return call.add("scale", [rows, scales], (x.shape[2], x.shape[3]))


def _other(call: NodeCall, place: int | None = None) -> Array:
    """Return the constant beside the activation; it must be input `place`, if that is given."""
    found = call.constant(1 - call.active.index(True) if place is None else place)
    if found is None or len(call.active) != 2:
        raise ValueError("two inputs are needed")
    return found


def _relu(call: NodeCall) -> Array:
    moved, steps = call.positions.renewed(call.activation(), ("conv", "linear", "add", "scale"))
    for step in steps:
        step.relu = step.nonnegative = True
    return moved


def _sigmoid(call: NodeCall) -> Array:
    moved, step, _ = _changed(call, ("linear",))
    step.sigmoid = step.nonnegative = True
    return moved


def _softmax(call: NodeCall) -> Array:
    if call.activation().ndim != 2 or call.attributes.get("axis", -1) not in (1, -1):
        raise ValueError("it isn't computed over the classes, axis 1 of (n, classes)")
    moved, step, _ = _changed(call, ("linear",))
    step.softmax = step.nonnegative = True
    return moved


COMPUTE: dict[str, Callable[[NodeCall], Array]] = {
    **{"Conv": _conv, "BatchNormalization": _batch_normalization, "Relu": _relu},
    **{"MaxPool": _max_pool, "AveragePool": _average_pool, "ReduceMean": _reduce_mean},
    "GlobalAveragePool": lambda call: _mean(call, range(2, call.activation().ndim), keep=True),
    "MatMul": lambda call: _linear(call, call.weight(1, 2).T, None),
    **{"Gemm": _gemm, "Sigmoid": _sigmoid, "Softmax": _softmax},
    **{"Add": _add, "Sum": _add, "Mul": _mul},
    "Sub": lambda call: _affine(call, 1.0, -_other(call, 1)),
    "Div": lambda call: _affine(call, 1 / _other(call, 1), 0.0),
}
"""Arithmetic operators."""
