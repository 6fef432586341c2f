"""ReLU and leaky ReLU, one number at a time."""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Steps, add_up

__all__ = [
    "leaky_relu_backward_steps",
    "leaky_relu_forward_steps",
    "relu_backward_steps",
    "relu_forward_steps",
]


def relu_forward_steps(x: Array) -> Steps:
    """A positive number passes, a negative one becomes 0."""
    yield Output("y", x.shape)
    for index in np.ndindex(x.shape):
        terms = [] if x[index] < 0 else [x[index]]  # so NaN passes
        yield add_up("y", index, [("x", index)], terms)


def relu_backward_steps(dy: Array, x: Array) -> Steps:
    """What passed forward passes backward; at 0 the slope is taken as 0."""
    yield Output("dx", x.shape)
    for index in np.ndindex(x.shape):
        terms = [dy[index]] if x[index] > 0 else []
        yield add_up("dx", index, [("x", index), ("dy", index)], terms)


def leaky_relu_forward_steps(x: Array, *, slope: float = 0.1) -> Steps:
    """A positive number passes, a negative one is multiplied by slope."""
    yield Output("y", x.shape)
    for index in np.ndindex(x.shape):
        factor = 1.0 if x[index] > 0 else slope
        yield add_up("y", index, [("x", index)], [x[index] * factor])


def leaky_relu_backward_steps(dy: Array, x: Array, *, slope: float = 0.1) -> Steps:
    """Multiply dy by the factor of the forward; at x = 0 this factor is slope."""
    yield Output("dx", x.shape)
    for index in np.ndindex(x.shape):
        factor = 1.0 if x[index] > 0 else slope
        yield add_up("dx", index, [("x", index), ("dy", index)], [dy[index] * factor])
