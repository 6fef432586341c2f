"""ReLU and leaky ReLU: negative values become 0, or are multiplied by a small slope.

    ReLU          y = max(x, 0)                        dx = dy where x > 0, else 0
    leaky ReLU    y = x where x > 0, else slope x      dx = dy where x > 0, else slope dy

At x = 0 the derivative jumps and has no value. Like other libraries, we take 0, or `slope`. A
finite difference across this kink gives a number in between; neither result is a mistake. Since
`slope` isn't negative, y is positive where x is positive, so the backwards need the output only.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_floating, check_gradient, check_size
from numpy_shufflenet.registry import Case, Draw, Terms, register
from numpy_shufflenet.registry.formula import entrywise

__all__ = ["leaky_relu_backward", "leaky_relu_forward", "relu_backward", "relu_forward"]


class ReluCache(NamedTuple):
    """What `relu_backward` needs: y is positive where x was positive."""

    y: Array


def relu_forward(x: Array) -> tuple[Array, ReluCache]:
    """Replace negative values by 0; NaN and -0.0 stay.

    Parameters
    ----------
    x : array of any shape, float32 or float64

    Returns
    -------
    y : array, shape of x

    Raises
    ------
    ValueError
        If x is not a floating-point array.

    Source: Nair, Hinton, Rectified linear units improve restricted Boltzmann machines, 2010.
    """
    check_floating("x", x)
    y = np.where(x < 0, 0, x)
    return y, ReluCache(y)


def relu_backward(dy: Array, cache: ReluCache) -> Array:
    """Gradient of `relu_forward`: dx, shape of x."""
    check_gradient(dy, cache.y.shape, cache.y.dtype)
    return np.where(cache.y > 0, dy, 0)


class LeakyReluCache(NamedTuple):
    """What `leaky_relu_backward` needs: y is positive where x was positive."""

    y: Array
    slope: float


def leaky_relu_forward(x: Array, *, slope: float = 0.1) -> tuple[Array, LeakyReluCache]:
    """Multiply negative values by slope; NaN and -0.0 stay.

    Parameters
    ----------
    x : array of any shape, float32 or float64
    slope : float
        At least 0. NanoDet uses 0.1; PyTorch's default is 0.01.

    Returns
    -------
    y : array, shape of x
    cache : LeakyReluCache

    Raises
    ------
    ValueError
        If x is not a floating-point array, or slope is negative.

    Source: Maas, Hannun, Ng, Rectifier nonlinearities improve neural network acoustic models, 2013.
    """
    check_floating("x", x)
    slope = check_size("slope", slope)
    y = np.where(x > 0, x, slope * x)
    return y, LeakyReluCache(y, slope)


def leaky_relu_backward(dy: Array, cache: LeakyReluCache) -> Array:
    """Gradient of `leaky_relu_forward`: dx, shape of x."""
    check_gradient(dy, cache.y.shape, cache.y.dtype)
    return np.where(cache.y > 0, dy, cache.slope * dy)


def _leaky_cases(draw: Draw) -> Case:
    slope = draw.option("slope", 0.1, lambda: draw.choose(0.1, 0.5, 2.0))
    return (draw.spread(*draw.shape(example=(2, 3, 4, 5))),), {"slope": slope}


register(
    relu_forward,
    kind="ReLU",
    kernel=True,
    cases=lambda draw: ((draw.spread(*draw.shape(example=(2, 3, 4, 5))),), {}),
    formula=entrywise(
        Terms(comparisons="1", read="1", written="1"),
        Terms(comparisons="1", read="2", written="1"),
    ),
)
register(
    leaky_relu_forward,
    kind="ReLU",
    kernel=True,
    cases=_leaky_cases,
    formula=entrywise(
        Terms(multiplications="1", comparisons="1", read="1", written="1"),
        Terms(multiplications="1", comparisons="1", read="2", written="1"),
    ),
)
