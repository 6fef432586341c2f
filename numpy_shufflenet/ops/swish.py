"""Swish, also called SiLU: a smooth relative of ReLU, which its own sigmoid gates.

    y = x s,  s = sigmoid(x)        dy/dx = s + x s (1 - s) = s + y (1 - s)

by the product rule. Far from 0, y is nearly x or nearly 0; in between it goes down to -0.28.
"""

from typing import NamedTuple

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_gradient
from numpy_shufflenet.ops.sigmoid import sigmoid_forward
from numpy_shufflenet.registry import Terms, register
from numpy_shufflenet.registry.formula import entrywise

__all__ = ["swish_backward", "swish_forward"]


class SwishCache(NamedTuple):
    """What `swish_backward` needs: the output, and the sigmoid of x."""

    y: Array
    s: Array


def swish_forward(x: Array) -> tuple[Array, SwishCache]:
    """Multiply every value by its sigmoid.

    Parameters, returns and errors are those of `relu_forward`.

    Source: Ramachandran, Zoph, Le, Searching for activation functions, 2017.
    """
    s, _ = sigmoid_forward(x)
    y = x * s
    return y, SwishCache(y, s)


def swish_backward(dy: Array, cache: SwishCache) -> Array:
    """Gradient of `swish_forward`: dx, shape of x."""
    y, s = cache
    check_gradient(dy, y.shape, y.dtype)
    return dy * (s + y * (1 - s))


register(
    swish_forward,
    kind="ReLU",
    cases=lambda draw: ((draw.small(*draw.shape(example=(2, 3, 4, 5))),), {}),
    formula=entrywise(
        Terms(
            multiplications="2",
            additions="1",
            comparisons="1",
            functions="1",
            read="1",
            written="1",
        ),
        Terms(
            multiplications="4",
            additions="3",
            comparisons="1",
            functions="1",
            read="2",
            written="1",
        ),
        kept="2 * s * size",
    ),
)
