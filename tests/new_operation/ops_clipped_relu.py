"""Clipped ReLU: numbers below 0 become 0, and those above a cap become the cap.

y = min(max(x, 0), cap)        dx = dy where 0 < x < cap, else 0
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_floating, check_gradient
from numpy_shufflenet.registry import Case, Draw, Terms, register
from numpy_shufflenet.registry.formula import entrywise

__all__ = ["clipped_relu_backward", "clipped_relu_forward"]


class ClippedReluCache(NamedTuple):
    """What `clipped_relu_backward` needs."""

    x: Array
    cap: float


def clipped_relu_forward(x: Array, *, cap: float = 6.0) -> tuple[Array, ClippedReluCache]:
    """Clip numbers to the range from 0 to cap.

    Parameters
    ----------
    x : array of any shape, float32 or float64
    cap : float

    Returns
    -------
    y : array, shape of x
    cache : ClippedReluCache

    Raises
    ------
    ValueError
        If x is not a floating-point array.

    Source: Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010.
    """
    check_floating("x", x)
    return np.where(x < 0, 0, np.where(x > cap, x.dtype.type(cap), x)), ClippedReluCache(x, cap)


def clipped_relu_backward(dy: Array, cache: ClippedReluCache) -> Array:
    """Gradient of `clipped_relu_forward`: dx, shape of x."""
    check_gradient(dy, cache.x.shape, cache.x.dtype)
    return np.where((cache.x > 0) & (cache.x < cache.cap), dy, 0)


def _cases(draw: Draw) -> Case:
    cap = draw.option("cap", 2.5, lambda: draw.choose(1.5, 2.5))
    return (draw.spread(*draw.shape(example=(2, 3, 4, 5))),), {"cap": cap}


register(
    clipped_relu_forward,
    kind="clipped ReLU",
    kernel=True,
    cases=_cases,
    formula=entrywise(
        Terms(comparisons="2", read="1", written="1"),
        Terms(comparisons="2", read="2", written="1"),
    ),
)
