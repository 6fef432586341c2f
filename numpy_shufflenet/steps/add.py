"""Addition, one number at a time."""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Steps, add_up, gradients_of

__all__ = ["add_backward_steps", "add_forward_steps"]


def add_forward_steps(x1: Array, x2: Array) -> Steps:
    """An output reads one number of each."""
    yield Output("y", x1.shape)
    for index in np.ndindex(x1.shape):
        yield add_up("y", index, [("x1", index), ("x2", index)], [x1[index], x2[index]])


def add_backward_steps(dy: Array, x1: Array, x2: Array) -> Steps:
    """Both summands reach the output, with slope 1."""
    yield from gradients_of(x1=x1, x2=x2)
    for name in ("dx1", "dx2"):
        for index in np.ndindex(x1.shape):
            yield add_up(name, index, [("dy", index)], [dy[index]])
