"""Leaky ReLU: negative values keep a small share of themselves.

    y = x where x > 0, else slope x        dx = dy where x > 0, else slope dy

x = 0 is a kink, as in ReLU. Like other libraries, we take the derivative `slope` there. Since
`slope` isn't negative, y is positive where x is positive, so the backward needs the output only.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_floating, check_gradient, check_size
from numpy_shufflenet.registry import Case, Draw, Terms, register
from numpy_shufflenet.registry.formula import entrywise

__all__ = ["leaky_relu_backward", "leaky_relu_forward"]


class LeakyReluCache(NamedTuple):
    """What `leaky_relu_backward` needs: y is positive where x was positive."""

    y: Array
    slope: float


def leaky_relu_forward(x: Array, *, slope: float = 0.1) -> tuple[Array, LeakyReluCache]:
    """Multiply negative values by slope; NaN and -0.0 stay.

    Parameters
    ----------
    x
        As in `relu_forward`, with the same result and errors.
    slope : float
        At least 0, or a ValueError follows. NanoDet uses 0.1; PyTorch's default is 0.01.

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


def _cases(draw: Draw) -> Case:
    slope = draw.option("slope", 0.1, lambda: draw.choose(0.1, 0.5, 2.0))
    return (draw.spread(*draw.shape(example=(2, 3, 4, 5))),), {"slope": slope}


register(
    leaky_relu_forward,
    kind="ReLU",
    kernel=True,
    cases=_cases,
    formula=entrywise(
        Terms(multiplications="1", comparisons="1", read="1", written="1"),
        Terms(multiplications="1", comparisons="1", read="2", written="1"),
    ),
)
