"""Group convolution: g convolutions side by side, each on one part of the channels.

    x = [x_1, ..., x_g],  w = [w_1, ..., w_g]       y = [w_1 * x_1, ..., w_g * x_g]

There are 1/g as many multiplications and weights as in a full convolution. AlexNet introduced group
convolution to spread one network over two graphics cards. This file does the same: split, convolve
on each "card", concatenate. (In contrast, `conv2d` computes all groups in one batched matrix
product.)

Backward. Groups are independent in the backward, too: from its part of dy, each group computes its
part of dx, dw and db. No gradient passes from one group to another, and in the forward no
information does; therefore ShuffleNet needs a shuffle.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.ops.channels import (
    ChannelConcatCache,
    ChannelSplitCache,
    channel_concat_backward,
    channel_concat_forward,
    channel_split_backward,
    channel_split_forward,
)
from numpy_shufflenet.ops.conv2d import (
    CONVOLUTION,
    Conv2dCache,
    check_weight,
    conv2d_backward,
    conv2d_forward,
)
from numpy_shufflenet.ops.windows import draw_convolution
from numpy_shufflenet.registry import Case, Draw, register

__all__ = ["group_conv2d_backward", "group_conv2d_forward"]


class GroupConv2dCache(NamedTuple):
    """What `group_conv2d_backward` needs: the caches of its three steps."""

    split: ChannelSplitCache
    convolutions: tuple[Conv2dCache, ...]  # one for each group
    concat: ChannelConcatCache


def group_conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    groups: int,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> tuple[Array, GroupConv2dCache]:
    """Convolve each of `groups` equal shares of the channels with separate kernels.

    The first o / groups kernels belong to the first group, and so on. Parameters, returns and
    errors are those of `conv2d_forward`.

    Source: Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional neural
    networks, 2012, section 3.5; ShuffleNet V1, section 3.1.
    """
    check_weight(x, w, b, groups)
    xs, split = channel_split_forward(x, [x.shape[1] // groups] * groups)  # each n c/g h w
    ws = np.split(w, groups)  # each o/g c/g kh kw
    bs = np.split(b, groups) if b is not None else [None] * groups
    ys, caches = zip(
        *(
            conv2d_forward(x_i, w_i, b_i, stride=stride, padding=padding, dilation=dilation)
            for x_i, w_i, b_i in zip(xs, ws, bs, strict=True)
        ),
        strict=True,
    )
    y, concat = channel_concat_forward(*ys)  # n o oh ow
    return y, GroupConv2dCache(split, caches, concat)


def group_conv2d_backward(dy: Array, cache: GroupConv2dCache) -> tuple[Array, Array, Array | None]:
    """Gradients of `group_conv2d_forward`: dx (n, c, h, w), dw (o, c/groups, kh, kw), db."""
    dys = channel_concat_backward(dy, cache.concat)  # each n o/g oh ow
    dxs, dws, dbs = zip(*map(conv2d_backward, dys, cache.convolutions), strict=True)
    dx = channel_split_backward(dxs, cache.split)
    return dx, np.concatenate(dws), None if dbs[0] is None else np.concatenate(dbs)


def _cases(draw: Draw) -> Case:
    groups, c, o = draw.groups(2, 3, groups=3)
    x, w, settings = draw_convolution(draw, c, o, groups)
    return (x, w, draw.bias(o)), {"groups": groups, **settings}


register(
    group_conv2d_forward,
    kind="convolution",
    linear_in=("x", "w"),
    kernel=True,
    cases=_cases,
    formula=CONVOLUTION,
)
