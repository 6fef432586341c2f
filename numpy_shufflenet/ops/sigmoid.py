"""Sigmoid, which maps any number to a number between 0 and 1; and swish, x times its sigmoid.

    sigmoid    y = 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2        dx = dy y (1 - y)
    swish      y = x s,  s = sigmoid(x)                             dx = dy (s + y (1 - s))

The second form of the sigmoid never overflows. Its slope depends on y only. Swish, also called
SiLU, is a smooth relative of ReLU. Its slope follows from the product rule: s + x s (1 - s). Far
from 0, swish is nearly x or nearly 0; in between it goes down to -0.28.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_floating, check_gradient
from numpy_shufflenet.registry import Terms, register
from numpy_shufflenet.registry.formula import entrywise

__all__ = ["sigmoid_backward", "sigmoid_forward", "swish_backward", "swish_forward"]


class SigmoidCache(NamedTuple):
    """What `sigmoid_backward` needs."""

    y: Array


def sigmoid_forward(x: Array) -> tuple[Array, SigmoidCache]:
    """Squash every value into (0, 1).

    Parameters
    ----------
    x : array of any shape, float32 or float64

    Returns
    -------
    y : array, shape of x
    cache
        For the backward.

    Raises
    ------
    ValueError
        If x is not a floating-point array.

    Source: the gate of squeeze-and-excitation: Hu, Shen, Sun, 2018, section 3.2.
    """
    check_floating("x", x)
    y = 0.5 * (1 + np.tanh(0.5 * x))
    return y, SigmoidCache(y)


def sigmoid_backward(dy: Array, cache: SigmoidCache) -> Array:
    """Gradient of `sigmoid_forward`: dx, shape of x."""
    (y,) = cache
    check_gradient(dy, y.shape, y.dtype)
    return dy * y * (1 - y)


class SwishCache(NamedTuple):
    """What `swish_backward` needs: the output, and the sigmoid of x."""

    y: Array
    s: Array


def swish_forward(x: Array) -> tuple[Array, SwishCache]:
    """Multiply every value by its sigmoid.

    Parameters
    ----------
    x : array of any shape, float32 or float64

    Returns
    -------
    y : array, shape of x
    cache
        For the backward.

    Raises
    ------
    ValueError
        If x is not a floating-point array.

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
    sigmoid_forward,
    kind="ReLU",
    cases=lambda draw: ((draw.small(*draw.shape(example=(2, 3, 4, 5))),), {}),
    formula=entrywise(
        Terms(
            multiplications="1",
            additions="1",
            comparisons="1",
            functions="1",
            read="1",
            written="1",
        ),
        Terms(
            multiplications="3",
            additions="2",
            comparisons="1",
            functions="1",
            read="2",
            written="1",
        ),
    ),
)
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
