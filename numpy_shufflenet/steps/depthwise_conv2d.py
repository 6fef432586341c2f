"""Depthwise convolution, one output at a time: one window of one channel, and no sum over channels.

Output channel o belongs to input channel o // m, with the channel multiplier m. So this is the loop
of a convolution with one group for each input channel.
"""

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.steps._driver import Steps
from numpy_shufflenet.steps.conv2d import conv2d_backward_steps, conv2d_forward_steps

__all__ = ["depthwise_conv2d_backward_steps", "depthwise_conv2d_forward_steps"]


def depthwise_conv2d_forward_steps(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> Steps:
    """y[n, o, p, q] reads its window in channel o // m, and kh kw weights."""
    yield from conv2d_forward_steps(
        x, w, b, stride=stride, padding=padding, dilation=dilation, groups=x.shape[1]
    )


def depthwise_conv2d_backward_steps(
    dy: Array,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> Steps:
    """dx of channel c adds terms from the m output channels c m, ..., c m + m - 1."""
    yield from conv2d_backward_steps(
        dy, x, w, b, stride=stride, padding=padding, dilation=dilation, groups=x.shape[1]
    )
