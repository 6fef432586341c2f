"""Dropout: each value is dropped with probability rate; the others are scaled up to keep the mean.

    y = x mask / (1 - rate)        dx = dy mask / (1 - rate)

For a given mask dropout is linear, and equal to its transpose. In inference there is no dropout at
all.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_floating, check_gradient, check_share
from numpy_shufflenet.registry import Case, Draw, Terms, register
from numpy_shufflenet.registry.formula import entrywise

__all__ = ["dropout_backward", "dropout_forward"]


class DropoutCache(NamedTuple):
    """What `dropout_backward` needs."""

    factor: Array  # mask / (1 - rate), shape of x


def dropout_forward(
    x: Array, *, rate: float, rng: np.random.Generator
) -> tuple[Array, DropoutCache]:
    """Drop each value with probability `rate` (training mode).

    Parameters
    ----------
    x : array of any shape, float32 or float64
    rate : float
        From 0, which keeps everything, to below 1.
    rng : numpy.random.Generator
        One float64 is drawn from it for each value, in row-major order.

    Returns
    -------
    y : array, shape of x

    Raises
    ------
    ValueError
        If x is not a floating-point array, rate is not in [0, 1), or rng is not a Generator.

    Source: Srivastava et al., Dropout, 2014, section 10 (scaled in training, not in inference).
    """
    check_floating("x", x)
    check_share("rate", rate, below=True)
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng={rng!r} is not a numpy.random.Generator")
    keep = rng.random(x.shape) >= rate
    factor = keep.astype(x.dtype) / x.dtype.type(1 - rate)
    return _kept(x, factor), DropoutCache(factor)


def dropout_backward(dy: Array, cache: DropoutCache) -> Array:
    """Gradient of `dropout_forward`: dx, shape of x."""
    check_gradient(dy, cache.factor.shape, cache.factor.dtype)
    return _kept(dy, cache.factor)


def _kept(x: Array, factor: Array) -> Array:
    """Return x times factor, and 0 for dropped values, even infinite or NaN ones."""
    return np.multiply(x, factor, out=np.zeros_like(x), where=factor > 0)


def _cases(draw: Draw) -> Case:
    rate = draw.choose(0.4, 0.2, 0.0, 0.9)
    rng = np.random.default_rng(draw.integer(0, 2**32 - 1, example=0))
    return (draw(*draw.shape(example=(3, 4))),), {"rate": rate, "rng": rng}


register(
    dropout_forward,
    kind="ReLU",
    linear_in=("x",),
    cases=_cases,
    formula=entrywise(
        Terms(multiplications="1", read="1", written="1"),
        Terms(multiplications="1", read="1", written="1"),
    ),
)
