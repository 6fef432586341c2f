"""Clipped ReLU, one number at a time."""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Steps, add_up

__all__ = ["clipped_relu_backward_steps", "clipped_relu_forward_steps"]


def clipped_relu_forward_steps(x: Array, *, cap: float = 6.0) -> Steps:
    """A number between 0 and cap passes; others become the nearer of both."""
    yield Output("y", x.shape)
    for index in np.ndindex(x.shape):
        below, above = x[index] < 0, x[index] > cap
        terms = [] if below else [cap] if above else [x[index]]
        yield add_up("y", index, [("x", index)], terms)


def clipped_relu_backward_steps(dy: Array, x: Array, *, cap: float = 6.0) -> Steps:
    """A gradient passes where its number did."""
    yield Output("dx", x.shape)
    for index in np.ndindex(x.shape):
        above, below = x[index] > 0, x[index] < cap
        terms = [dy[index]] if above and below else []
        yield add_up("dx", index, [("x", index), ("dy", index)], terms)
