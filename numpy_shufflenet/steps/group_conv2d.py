"""Group convolution, one output at a time: an output reads only the channels of its group.

These are the loops of `conv2d`. In contrast, `ops` runs one convolution for each group.
"""

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.steps._driver import Steps
from numpy_shufflenet.steps.conv2d import conv2d_backward_steps, conv2d_forward_steps

__all__ = ["group_conv2d_backward_steps", "group_conv2d_forward_steps"]


def group_conv2d_forward_steps(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    groups: int,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> Steps:
    """An output of group g reads the windows of all channels of group g."""
    yield from conv2d_forward_steps(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


def group_conv2d_backward_steps(
    dy: Array,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    groups: int,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> Steps:
    """The gradient of a channel of group g adds terms from the outputs of group g only."""
    yield from conv2d_backward_steps(
        dy, x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
