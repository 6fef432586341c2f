"""Leaky ReLU: negative numbers keep a share of themselves.

y = x where x > 0, else slope x        dx = dy where x > 0, else slope dy
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_floating, check_gradient
from numpy_shufflenet.registry import Case, Draw, Terms, register
from numpy_shufflenet.registry.formula import entrywise

__all__ = ["leaky_relu_backward", "leaky_relu_forward"]


class LeakyReluCache(NamedTuple):
    """What `leaky_relu_backward` needs."""

    x: Array
    slope: float


def leaky_relu_forward(x: Array, *, slope: float = 0.1) -> tuple[Array, LeakyReluCache]:
    """Multiply negative numbers by slope.

    Parameters
    ----------
    x : array of any shape, float32 or float64
    slope : float

    Returns
    -------
    y : array, shape of x
    cache : LeakyReluCache

    Raises
    ------
    ValueError
        If x is not a floating-point array.

    Source: Maas et al., Rectifier nonlinearities improve acoustic models, 2013.
    """
    check_floating("x", x)
    return np.where(x > 0, x, x.dtype.type(slope) * x), LeakyReluCache(x, slope)


def leaky_relu_backward(dy: Array, cache: LeakyReluCache) -> Array:
    """Gradient of `leaky_relu_forward`: dx, shape of x."""
    check_gradient(dy, cache.x.shape, cache.x.dtype)
    return np.where(cache.x > 0, dy, dy.dtype.type(cache.slope) * dy)


def _cases(draw: Draw) -> Case:
    slope = draw.option("slope", 0.1, lambda: draw.choose(0.1, 0.5))
    return (draw.spread(*draw.shape(example=(2, 3, 4, 5))),), {"slope": slope}


register(
    leaky_relu_forward,
    kind="leaky ReLU",
    kernel=True,
    cases=_cases,
    formula=entrywise(
        Terms(multiplications="1", comparisons="1", read="1", written="1"),
        Terms(multiplications="1", comparisons="1", read="2", written="1"),
    ),
)
