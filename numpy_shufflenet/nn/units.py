"""The units of ShuffleNet V1 and V2. Each backward is its forward in reverse."""

import math

from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.fusion import Chain
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.nn.layers import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    ChannelConcat,
    ChannelShuffle,
    ChannelSplit,
    Conv2d,
    ReLU,
    SqueezeExcitation,
    activation_layer,
)
from numpy_shufflenet.nn.parallel import Branches
from numpy_shufflenet.nn.sequential import Sequential
from numpy_shufflenet.ops.checks import check_positive, is_integer


def depthwise3x3(channels: int, *, stride: int = 1) -> Conv2d:
    """Return a 3x3 depthwise convolution that keeps the size, or halves it with stride 2."""
    return Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels)


class ShuffleNetV1Unit(Layer):
    """The unit of ShuffleNet V1.

        branch: 1x1 group conv, BN, ReLU, shuffle, 3x3 depthwise, BN, 1x1 group conv, BN
        stride 1:   y = ReLU(x + branch(x))
        stride 2:   y = ReLU([average pool(x), branch(x)])

    With stride 2 the branch has out_channels - in_channels outputs; the others are the pooled x.
    The bottleneck has a quarter of the output channels, rounded up to a multiple of groups.

    Parameters
    ----------
    in_channels, out_channels : int
        They must be equal with stride 1.
    groups : int
    stride : int
        1 or 2.
    first_groups : int, optional
        Groups of the first convolution; 1 in the first unit of stage 2, where in_channels is small.
    shuffle : bool
        Off in the paper's ablation.
    shuffle_order : str
        "paper": the channels are shuffled with `groups` groups; "authors": with as many groups as
        each group has channels, which is the inverse.
    se : bool
        Squeeze-and-excitation on the full output, before the addition's ReLU.

    Source: ShuffleNet V1, section 3.2, figure 2b and c.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        stride: int,
        first_groups: int | None = None,
        shuffle: bool = True,
        shuffle_order: str = "paper",
        se: bool = False,
    ):
        super().__init__()
        self.stride = _check_stride(stride)
        check_shuffle_order(shuffle_order)
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            check_positive(name, value)
        check_positive("groups", groups)
        _check_shortcut(stride, in_channels, out_channels)
        branch_channels = out_channels if stride == 1 else out_channels - in_channels
        bottleneck = -(-out_channels // (4 * groups)) * groups
        shuffle_groups = groups if shuffle_order == "paper" else bottleneck // groups
        self.branch = Sequential(
            Conv2d(in_channels, bottleneck, 1, groups=first_groups or groups),
            BatchNorm2d(bottleneck),
            ReLU(),
            ChannelShuffle(shuffle_groups if shuffle else 1),
            depthwise3x3(bottleneck, stride=stride),
            BatchNorm2d(bottleneck),
            Conv2d(bottleneck, branch_channels, 1, groups=groups),
            BatchNorm2d(branch_channels),
        )
        self.se = SqueezeExcitation(out_channels, reduction=16) if se else None
        self.relu = ReLU()
        if stride == 1:
            self.add = Add()
            self._branches = Branches(Chain(), Chain(self.branch, self.se))
            self._join = Chain(self.add, self.relu)
        else:
            self.pool = AvgPool2d(3, stride=2, padding=1)
            self.concat = ChannelConcat()
            self._branches = Branches(self.pool, self.branch)
            self._join = Chain(self.concat, self.se, self.relu)

    def _forward(self, x: Array, training: bool) -> Array:
        parts = self._branches.forward(x, training=training)
        return self._join.forward(parts, training=training)

    def _backward(self, dy: Array) -> Array:
        return self._branches.backward(self._join.backward(dy))

    def own_additions(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, int]:
        """Backward adds the two gradients of x."""
        return 0, math.prod(x)


class ShuffleNetV2Unit(Layer):
    """The unit of ShuffleNet V2.

        branch2: 1x1 conv, BN, ReLU, 3x3 depthwise, BN, 1x1 conv, BN, ReLU
        branch1: 3x3 depthwise, BN, 1x1 conv, BN, ReLU
        one branch:    (a, b) = split(x)     y = shuffle([a, branch2(b)])
        two branches:                        y = shuffle([branch1(x), branch2(x)])

    A unit that keeps size and channels splits; any other has two
    branches: those of stride 2, and the first one of a network whose first stage keeps the size.

    Parameters
    ----------
    in_channels, out_channels : int
        out_channels is even; a unit of one branch keeps its channels.
    stride : int
        1 or 2.
    branch1_channels : int, optional
        Output of branch 1, of two: half of the output in torchvision's layout, in_channels in the
        authors'. Half if not given.
    shuffle_groups : int
        2 in the paper; 1 shuffles nothing.
    se : bool
        Squeeze-and-excitation on the full output, with reduction 2.
    residual : bool
        In a unit of one branch, add b to the branch before its last ReLU.
    extra_depthwise : bool
        A 3x3 depthwise convolution and BN before the branch 2: the paper's V2*, for detection.
    activation : str
        "leaky_relu" or "swish" in place of every ReLU.

    Source: ShuffleNet V2, section 3.2, figure 3c and d; V2*: section 4, "Generalization to Large
    Models" and "Object Detection".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        branch1_channels: int | None = None,
        shuffle_groups: int = 2,
        se: bool = False,
        residual: bool = False,
        extra_depthwise: bool = False,
        activation: str = "relu",
    ):
        super().__init__()
        _check_stride(stride)
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            check_positive(name, value)
        self.splits = stride == 1 and in_channels == out_channels
        half = out_channels // 2
        if out_channels % 2:
            raise ValueError(f"out_channels={out_channels} is odd; the shuffle has two groups")
        if self.splits:
            self.split = ChannelSplit((half, half))
            branch_in, branch_out = half, half
        else:
            kept = half if branch1_channels is None else branch1_channels
            if not 1 <= kept < out_channels:
                raise ValueError(
                    f"branch1_channels={kept} is not from 1 to below out_channels={out_channels}"
                )
            self.branch1 = Sequential(
                depthwise3x3(in_channels, stride=stride),
                BatchNorm2d(in_channels),
                Conv2d(in_channels, kept, 1),
                BatchNorm2d(kept),
                activation_layer(activation),
            )
            branch_in, branch_out = in_channels, out_channels - kept
        extra = (depthwise3x3(branch_in), BatchNorm2d(branch_in)) if extra_depthwise else ()
        self.residual = residual and self.splits
        self.branch2 = Sequential(
            *extra,
            Conv2d(branch_in, half, 1),
            BatchNorm2d(half),
            activation_layer(activation),
            depthwise3x3(half, stride=stride),
            BatchNorm2d(half),
            Conv2d(half, branch_out, 1),
            BatchNorm2d(branch_out),
            *(() if self.residual else (activation_layer(activation),)),
        )
        if self.residual:
            self.add = Add()
            self.relu = activation_layer(activation)
            self._branches = Branches(Chain(), self.branch2)
            self._add_relu = Chain(self.add, self.relu)
        elif not self.splits:
            self._branches = Branches(self.branch1, self.branch2)
        self.concat = ChannelConcat()
        self.se = SqueezeExcitation(out_channels, reduction=2) if se else None
        self.shuffle = ChannelShuffle(shuffle_groups)
        self._join = Chain(self.concat, self.se, self.shuffle)

    def _forward(self, x: Array, training: bool) -> Array:
        if not self.splits:
            parts = self._branches.forward(x, training=training)
            return self._join.forward(parts, training=training)
        left, right = self.split.forward(x, training=training)
        if self.residual:
            parts = self._branches.forward(right, training=training)
            y = self._add_relu.forward(parts, training=training)
        else:
            y = self.branch2.forward(right, training=training)
        return self._join.forward((left, y), training=training)

    def _backward(self, dy: Array) -> Array:
        dparts = self._join.backward(dy)
        if not self.splits:
            return self._branches.backward(dparts)
        dleft, dy = dparts
        if self.residual:
            dright = self._branches.backward(self._add_relu.backward(dy))
        else:
            dright = self.branch2.backward(dy)
        return self.split.backward((dleft, dright))

    def own_additions(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, int]:
        """Backward adds the two gradients of x or, with a residual, of the half of x."""
        if not self.splits:
            return 0, math.prod(x)
        return 0, math.prod(x) // 2 if self.residual else 0


def check_shuffle_order(shuffle_order: str) -> None:
    """Raise unless shuffle_order is "paper" or "authors"."""
    if shuffle_order not in ("paper", "authors"):
        raise ValueError(f"shuffle_order={shuffle_order!r} is not one of 'paper', 'authors'")


def _check_stride(stride: int) -> int:
    if not is_integer(stride) or stride not in (1, 2):
        raise ValueError(f"stride={stride!r} is not 1 or 2")
    return stride


def _check_shortcut(stride: int, in_channels: int, out_channels: int) -> None:
    if stride == 1 and in_channels != out_channels:
        raise ValueError(
            f"out_channels={out_channels} is not in_channels={in_channels}, "
            "as the addition of a stride-1 unit needs"
        )
    if stride == 2 and out_channels <= in_channels:
        raise ValueError(
            f"out_channels={out_channels} is not larger than in_channels={in_channels}, which the "
            "shortcut of a stride-2 unit hands on"
        )
