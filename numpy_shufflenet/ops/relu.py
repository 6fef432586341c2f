"""ReLU: negative values become 0.

    y = max(x, 0)        dx = dy where x > 0, else 0

At x = 0 the slope jumps from 0 to 1 and has no value. Like other libraries, we take 0. A finite
difference across this kink gives a number between 0 and 1; neither result is a mistake.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_floating, check_gradient
from numpy_shufflenet.registry import Terms, register
from numpy_shufflenet.registry.formula import entrywise

__all__ = ["relu_backward", "relu_forward"]


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
