"""Leaky ReLU, in one pass over memory."""

import numpy as np

from numpy_shufflenet._threads import share_range
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import as_flat, empty_like_flat, memory_order
from numpy_shufflenet.ops.checks import check_floating, check_gradient, check_size
from numpy_shufflenet.ops.relu import LeakyReluCache

__all__ = ["leaky_relu_backward", "leaky_relu_forward"]


@compiled
def scale_negative(x: Array, sign: Array, slope: float, y: Array) -> None:
    """Compute y = x where `sign` is positive, else slope x."""
    factor = x.dtype.type(slope)
    zero = x.dtype.type(0)
    for k in range(x.size):
        y[k] = x[k] if sign[k] > zero else factor * x[k]


def leaky_relu_forward(x: Array, *, slope: float = 0.1) -> tuple[Array, LeakyReluCache]:
    """`ops.leaky_relu_forward`, compiled."""
    check_floating("x", x)
    slope = check_size("slope", slope)
    y = _scaled(x, x, slope)
    return y, LeakyReluCache(y, slope)


def leaky_relu_backward(dy: Array, cache: LeakyReluCache) -> Array:
    """`ops.leaky_relu_backward`, compiled."""
    check_gradient(dy, cache.y.shape, cache.y.dtype)
    return _scaled(np.asarray(dy), cache.y, cache.slope)


def _scaled(x: Array, sign: Array, slope: float) -> Array:
    order = memory_order(sign)
    flat, signs = as_flat(x, order), as_flat(sign, order)
    out, y = empty_like_flat(sign, order)
    share_range(
        x.size,
        lambda i, j: scale_negative(flat[i:j], signs[i:j], slope, out[i:j]),
        work=3 * x.size,
    )
    return y
