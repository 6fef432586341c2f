"""Clipped ReLU, compiled."""

import numpy as np
from numpy_shufflenet.ops.clipped_relu import ClippedReluCache

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import as_flat, empty_like_flat, memory_order
from numpy_shufflenet.ops.checks import check_floating, check_gradient

__all__ = ["clipped_relu_backward", "clipped_relu_forward"]


@compiled
def clip(x: Array, cap: float, y: Array) -> None:
    """Write x, clipped to the range from 0 to cap, to y; NaN stays NaN."""
    zero, most = x.dtype.type(0), x.dtype.type(cap)
    for k in range(x.size):
        y[k] = zero if x[k] < zero else most if x[k] > most else x[k]


@compiled
def pass_between(dy: Array, x: Array, cap: float, dx: Array) -> None:
    """Write dy to dx where x is between 0 and cap, else 0."""
    for k in range(x.size):
        dx[k] = dy[k] if 0 < x[k] < cap else dy.dtype.type(0)


def clipped_relu_forward(x: Array, *, cap: float = 6.0) -> tuple[Array, ClippedReluCache]:
    """`ops.clipped_relu_forward`, compiled."""
    check_floating("x", x)
    order = memory_order(x)
    out, y = empty_like_flat(x, order)
    clip(as_flat(x, order), cap, out)
    return y, ClippedReluCache(x, cap)


def clipped_relu_backward(dy: Array, cache: ClippedReluCache) -> Array:
    """`ops.clipped_relu_backward`, compiled."""
    check_gradient(dy, cache.x.shape, cache.x.dtype)
    order = memory_order(cache.x)
    out, dx = empty_like_flat(cache.x, order)
    pass_between(as_flat(np.asarray(dy), order), as_flat(cache.x, order), cache.cap, out)
    return dx
