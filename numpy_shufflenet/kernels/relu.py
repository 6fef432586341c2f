"""ReLU, addition, and addition followed by ReLU: each in one pass over memory."""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share_range
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import as_flat, as_rows, empty_like_flat, memory_order
from numpy_shufflenet.ops.add import check_summands
from numpy_shufflenet.ops.checks import check_floating, check_gradient

__all__ = [
    "add_backward",
    "add_forward",
    "add_relu_backward",
    "add_relu_forward",
    "relu_backward",
    "relu_forward",
]


@compiled
def relu_flat(x: Array, y: Array) -> None:
    """Compute y = max(x, 0); NaN stays NaN."""
    zero = x.dtype.type(0)
    for k in range(x.size):
        y[k] = zero if x[k] < zero else x[k]


@compiled
def relu_backward_flat(dy: Array, y: Array, dx: Array) -> None:
    """Compute dx = dy where y is positive, else 0."""
    zero = dy.dtype.type(0)
    for k in range(dy.size):
        dx[k] = dy[k] if y[k] > zero else zero


@compiled
def add_flat(x1: Array, x2: Array, relu: bool, y: Array) -> None:
    """Compute y = x1 + x2, and its ReLU if asked for."""
    zero = x1.dtype.type(0)
    if relu:
        for k in range(y.size):
            v = x1[k] + x2[k]
            y[k] = zero if v < zero else v
    else:
        for k in range(y.size):
            y[k] = x1[k] + x2[k]


class ReluCache(NamedTuple):
    """What `relu_backward` and `add_relu_backward` need: x was positive where y is."""

    y: Array


def relu_forward(x: Array) -> tuple[Array, ReluCache]:
    """`ops.relu_forward`, compiled."""
    check_floating("x", x)
    order = memory_order(x)
    flat = as_flat(x, order)
    out, y = empty_like_flat(x, order)
    share_range(x.size, lambda i, j: relu_flat(flat[i:j], out[i:j]), work=2 * x.size)
    return y, ReluCache(y)


def relu_backward(dy: Array, cache: ReluCache) -> Array:
    """`ops.relu_backward`, compiled."""
    (y,) = cache
    check_gradient(dy, y.shape, y.dtype)
    order = memory_order(y)
    g, flat = as_flat(np.asarray(dy), order), as_flat(y, order)
    out, dx = empty_like_flat(y, order)
    share_range(
        y.size, lambda i, j: relu_backward_flat(g[i:j], flat[i:j], out[i:j]), work=3 * y.size
    )
    return dx


def masked_by_relu(gradients: Array, y: Array) -> Array:
    """Return rows of dy (c, h w n), with 0 where the output y (n, c, h, w) of a ReLU is 0."""
    passed = empty(gradients.shape, gradients.dtype)
    relu_backward_flat(gradients.ravel(), as_rows(y).ravel(), passed.ravel())
    return passed


class AddCache(NamedTuple):
    """What `add_backward` needs."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.floating]


def add_forward(x1: Array, x2: Array) -> tuple[Array, AddCache]:
    """`ops.add_forward`, compiled."""
    return _add(x1, x2, relu=False), AddCache(x1.shape, x1.dtype)


def add_backward(dy: Array, cache: AddCache) -> tuple[Array, Array]:
    """`ops.add_backward`: there is nothing to compute."""
    check_gradient(dy, cache.shape, cache.dtype)
    return dy, dy


def add_relu_forward(x1: Array, x2: Array) -> tuple[Array, ReluCache]:
    """`ops.add_relu_forward`, compiled."""
    y = _add(x1, x2, relu=True)
    return y, ReluCache(y)


def add_relu_backward(dy: Array, cache: ReluCache) -> tuple[Array, Array]:
    """`ops.add_relu_backward`, compiled."""
    dx = relu_backward(dy, cache)
    return dx, dx


def _add(x1: Array, x2: Array, *, relu: bool) -> Array:
    check_summands(x1, x2)
    order = memory_order(x1)
    first, second = as_flat(x1, order), as_flat(x2, order)
    out, y = empty_like_flat(x1, order)
    share_range(
        y.size,
        lambda i, j: add_flat(first[i:j], second[i:j], relu, out[i:j]),
        work=3 * y.size,
    )
    return y
