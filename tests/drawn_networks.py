"""Random networks, drawn by Hypothesis."""

from hypothesis import strategies as st

from numpy_shufflenet.nn import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    ChannelShuffle,
    Conv2d,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2d,
    Parallel,
    ReLU,
    Sequential,
    SqueezeExcitation,
)


@st.composite
def networks(draw, *, first_kind=None, max_size=6):
    """Rows of layers of every kind, with odd widths."""
    layers, channels = [], draw(st.integers(1, 4))
    first = channels
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=max_size))
    for kind in [first_kind, *kinds] if first_kind else kinds:
        layer, channels = KINDS[kind](draw, channels)
        layers += [layer] if isinstance(layer, Layer) else layer
    return first, Sequential(*layers, GlobalAvgPool(), Linear(channels, 3))


def convolution(draw, channels):
    groups = draw(st.sampled_from([g for g in range(1, channels) if channels % g == 0] or [1]))
    out = groups * draw(st.integers(1, 9))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    layer = Conv2d(
        channels,
        out,
        kernel,
        stride=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        padding=draw(st.tuples(*[st.tuples(st.integers(3, 4), st.integers(3, 4))] * 2)),
        dilation=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        groups=groups,
        bias=draw(st.booleans()),
    )
    return layer, out


def product(draw, channels):
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    out = groups * draw(st.integers(1, 14))
    return Conv2d(channels, out, 1, groups=groups, bias=draw(st.booleans())), out


def depthwise(draw, channels):
    stride = draw(st.sampled_from([1, 2]))
    layer = Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels)
    return layer if channels > 1 else [], channels


def shuffle(draw, channels):
    groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    return ChannelShuffle(groups), channels


def shortcut(draw, channels):
    branches = [Sequential(), Sequential(product(draw, channels)[0])]
    width = branches[1][0].weight.value.shape[0]
    if width != channels:
        branches[0] = Sequential(Conv2d(channels, width, 1))
    parallel = Parallel(*(branches if draw(st.booleans()) else branches[::-1]))
    return Sequential(parallel, Add()), width


KINDS = {
    "convolution": convolution,
    "product": product,
    "depthwise": depthwise,
    "shuffle": shuffle,
    "shortcut": shortcut,
    "excitation": lambda draw, channels: (SqueezeExcitation(channels, reduction=2), channels),
    "relu": lambda draw, channels: (ReLU(), channels),
    "batch norm": lambda draw, channels: (
        [Conv2d(channels, channels, 1), BatchNorm2d(channels)],
        channels,
    ),
    "max": lambda draw, channels: (MaxPool2d(3, stride=2, padding=1), channels),
    "average": lambda draw, channels: (AvgPool2d(3, stride=2, padding=1), channels),
}
