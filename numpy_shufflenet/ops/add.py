"""Addition: the shortcut of a residual unit meets its branch.

    y = x1 + x2        dx1 = dy,  dx2 = dy

Both inputs get the whole gradient: the backward of an addition copies. In return, if a forward uses
an array twice, its backward adds the two gradients.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_floating, check_gradient
from numpy_shufflenet.registry import Case, Draw, Formula, Terms, register
from numpy_shufflenet.registry.formula import of_first

__all__ = ["add_backward", "add_forward"]


class AddCache(NamedTuple):
    """What `add_backward` needs."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.floating]


def add_forward(x1: Array, x2: Array) -> tuple[Array, AddCache]:
    """Add two arrays of one shape, entry by entry.

    Parameters
    ----------
    x1, x2 : array of any shape, float32 or float64

    Returns
    -------
    y : array, shape of both

    Raises
    ------
    ValueError
        If shapes or dtypes differ; nothing is broadcast.

    Source: He et al., Deep residual learning, 2016, section 3.2; ShuffleNet V1, figure 2b.
    """
    check_summands(x1, x2)
    return x1 + x2, AddCache(x1.shape, x1.dtype)


def add_backward(dy: Array, cache: AddCache) -> tuple[Array, Array]:
    """Gradients of `add_forward`: dx1 and dx2, which are both dy."""
    check_gradient(dy, cache.shape, cache.dtype)
    return dy, dy


def check_summands(x1: Array, x2: Array) -> None:
    """Raise ValueError unless x1 and x2 have one shape and dtype."""
    check_floating("x1", x1)
    check_floating("x2", x2)
    if x2.dtype != x1.dtype:
        raise ValueError(f"x2 has dtype {x2.dtype}, but x1 has {x1.dtype}; make them equal")
    if x1.shape != x2.shape:
        raise ValueError(f"x2 has shape {x2.shape}, but x1 has {x1.shape}; they must be equal")


def add_cases(draw: Draw) -> Case:
    """Draw sums that are not near 0, where a ReLU after the sum has its kink."""
    shape = draw.shape(example=(2, 3, 4, 5))
    x1, total = draw.spread(*shape), draw.spread(*shape)
    return (x1, draw.lay_out(total - x1)), {}


ADD = Formula(
    of_first,
    Terms(additions="size", read="2*size", written="size"),
    Terms(read="size", written="2*size"),
)
register(add_forward, kind="addition", kernel=True, cases=add_cases, formula=ADD)
