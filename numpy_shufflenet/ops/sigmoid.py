"""Sigmoid: it maps any number to a number between 0 and 1.

    y = 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2        dx = dy y (1 - y)

The second form never overflows. The slope depends on y only.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_floating, check_gradient
from numpy_shufflenet.registry import Terms, register
from numpy_shufflenet.registry.formula import entrywise

__all__ = ["sigmoid_backward", "sigmoid_forward"]


class SigmoidCache(NamedTuple):
    """What `sigmoid_backward` needs."""

    y: Array


def sigmoid_forward(x: Array) -> tuple[Array, SigmoidCache]:
    """Squash every value into (0, 1).

    Parameters, returns and errors are those of `relu_forward`.

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
