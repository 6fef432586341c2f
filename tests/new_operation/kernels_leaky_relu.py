"""Leaky ReLU, compiled."""

import numpy as np
from numpy_shufflenet.ops.leaky_relu import LeakyReluCache

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.ops.checks import check_floating, check_gradient

__all__ = ["leaky_relu_backward", "leaky_relu_forward"]


@compiled
def scale_negative(x: Array, by: Array, slope: float, y: Array) -> None:
    """Write x, times slope where `by` is not positive, to y."""
    for k in range(x.size):
        y[k] = x[k] if by[k] > 0 else x.dtype.type(slope) * x[k]


def leaky_relu_forward(x: Array, *, slope: float = 0.1) -> tuple[Array, LeakyReluCache]:
    """`ops.leaky_relu_forward`, compiled."""
    check_floating("x", x)
    y = np.empty(x.shape, x.dtype)
    flat = np.ascontiguousarray(x).reshape(-1)
    scale_negative(flat, flat, slope, y.reshape(-1))
    return y, LeakyReluCache(x, slope)


def leaky_relu_backward(dy: Array, cache: LeakyReluCache) -> Array:
    """`ops.leaky_relu_backward`, compiled."""
    check_gradient(dy, cache.x.shape, cache.x.dtype)
    dx = np.empty(dy.shape, dy.dtype)
    flat = (np.ascontiguousarray(a).reshape(-1) for a in (dy, cache.x))
    scale_negative(*flat, cache.slope, dx.reshape(-1))
    return dx
