"""ReLU, one number at a time."""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Steps, add_up

__all__ = ["relu_backward_steps", "relu_forward_steps"]


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
