"""Pointwise convolution, one output at a time: a row of the matrix times one pixel's channels.

These are the loops of a convolution whose windows are single pixels.
"""

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Steps
from numpy_shufflenet.steps.conv2d import conv2d_backward_steps, conv2d_forward_steps

__all__ = ["pointwise_conv2d_backward_steps", "pointwise_conv2d_forward_steps"]


def pointwise_conv2d_forward_steps(
    x: Array, w: Array, b: Array | None = None, *, groups: int = 1
) -> Steps:
    """y[n, o, p, q] reads the channels of its group at its own pixel."""
    yield from conv2d_forward_steps(x, w, b, groups=groups)


def pointwise_conv2d_backward_steps(
    dy: Array, x: Array, w: Array, b: Array | None = None, *, groups: int = 1
) -> Steps:
    """A channel adds terms from the outputs of its group at its pixel, a weight from all pixels."""
    yield from conv2d_backward_steps(dy, x, w, b, groups=groups)
