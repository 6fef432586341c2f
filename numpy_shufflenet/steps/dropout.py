"""Dropout, one number at a time: draw a random number, then drop the value or scale it up.

Backward draws the same numbers again, so it must start from the state that forward started from.
"""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Steps, add_up

__all__ = ["dropout_backward_steps", "dropout_forward_steps"]


def dropout_forward_steps(x: Array, *, rate: float, rng: np.random.Generator) -> Steps:
    """Keep a number with probability 1 - rate, and divide it by 1 - rate."""
    yield Output("y", x.shape)
    for index in np.ndindex(x.shape):
        kept = rng.random() >= rate
        grown = x[index] * (1 / (1 - rate) if kept else 0.0)
        yield add_up("y", index, [("x", index)], [grown] if kept else [])


def dropout_backward_steps(dy: Array, x: Array, *, rate: float, rng: np.random.Generator) -> Steps:
    """Only a number that was kept reaches an output."""
    yield Output("dx", x.shape)
    for index in np.ndindex(x.shape):
        kept = rng.random() >= rate
        grown = dy[index] * (1 / (1 - rate) if kept else 0.0)
        yield add_up("dx", index, [("dy", index)], [grown] if kept else [])
