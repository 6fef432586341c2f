"""Leaky ReLU, compiled."""

import numpy as np
from numpy_shufflenet.ops.leaky_relu import LeakyReluCache

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import as_flat, empty_like_flat, memory_order
from numpy_shufflenet.ops.checks import check_floating, check_gradient

__all__ = ["leaky_relu_backward", "leaky_relu_forward"]


@compiled
def scale_negative(x: Array, by: Array, slope: float, y: Array) -> None:
    """Write x to y, times slope where `by` is not positive."""
    for k in range(x.size):
        y[k] = x[k] if by[k] > 0 else x.dtype.type(slope) * x[k]


def leaky_relu_forward(x: Array, *, slope: float = 0.1) -> tuple[Array, LeakyReluCache]:
    """`ops.leaky_relu_forward`, compiled."""
    check_floating("x", x)
    order = memory_order(x)
    flat = as_flat(x, order)
    out, y = empty_like_flat(x, order)
    scale_negative(flat, flat, slope, out)
    return y, LeakyReluCache(x, slope)


def leaky_relu_backward(dy: Array, cache: LeakyReluCache) -> Array:
    """`ops.leaky_relu_backward`, compiled."""
    check_gradient(dy, cache.x.shape, cache.x.dtype)
    order = memory_order(cache.x)
    out, dx = empty_like_flat(cache.x, order)
    scale_negative(as_flat(np.asarray(dy), order), as_flat(cache.x, order), cache.slope, out)
    return dx
