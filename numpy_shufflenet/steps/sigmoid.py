"""Sigmoid and swish, one number at a time, with exp where `ops` has tanh.

    sigmoid = 1 / (1 + exp(-x)) = exp(x) / (1 + exp(x))        its slope = e / (1 + e)^2,  e =
    exp(-|x|)

Of the two forms, the one whose exponent is negative never overflows.
"""

from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Steps, add_up

__all__ = [
    "sigmoid_backward_steps",
    "sigmoid_forward_steps",
    "swish_backward_steps",
    "swish_forward_steps",
]


def sigmoid_forward_steps(x: Array) -> Steps:
    """Squash one number into (0, 1)."""
    yield Output("y", x.shape)
    for index in np.ndindex(x.shape):
        yield add_up("y", index, [("x", index)], [sigmoid(x[index])])


def sigmoid_backward_steps(dy: Array, x: Array) -> Steps:
    """Multiply dy by the slope at x, by the quotient rule and not through y."""
    yield Output("dx", x.shape)
    for index in np.ndindex(x.shape):
        reads = [("dy", index), ("x", index)]
        yield add_up("dx", index, reads, [dy[index] * sigmoid_slope(x[index])])


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + exp(-x)) for one number."""
    if x > 0:
        return 1 / (1 + np.exp(-x))
    e = np.exp(x)
    return e / (1 + e)


def sigmoid_slope(x: Any) -> Any:
    """Return the derivative of `sigmoid`, which is the same at x and -x."""
    e = np.exp(-x if x > 0 else x)
    return e / ((1 + e) * (1 + e))


def swish_forward_steps(x: Array) -> Steps:
    """Multiply a number by its sigmoid."""
    yield Output("y", x.shape)
    for index in np.ndindex(x.shape):
        yield add_up("y", index, [("x", index)], [x[index] * sigmoid(x[index])])


def swish_backward_steps(dy: Array, x: Array) -> Steps:
    """Multiply dy by the slope at x, by the product rule."""
    yield Output("dx", x.shape)
    for index in np.ndindex(x.shape):
        s = sigmoid(x[index])
        scaled = dy[index] * s
        terms = [scaled, scaled * x[index] * (1 - s)]
        yield add_up("dx", index, [("x", index), ("dy", index)], terms)
