"""Swish, one number at a time."""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Steps, add_up
from numpy_shufflenet.steps.sigmoid import sigmoid

__all__ = ["swish_backward_steps", "swish_forward_steps"]


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
