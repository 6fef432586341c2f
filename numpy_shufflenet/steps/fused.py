"""Pairs of operations that run as one, one output at a time.

Forward, an output of the first operation goes through the second before the next one is computed:
nothing in between is kept. Backward, a gradient that the ReLU stops is 0 to the first operation.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.steps._driver import Output, Step, Steps, add_up, functions
from numpy_shufflenet.steps.add import add_backward_steps, add_forward_steps
from numpy_shufflenet.steps.batch_norm import batch_norm_backward_steps, batch_norm_forward_steps
from numpy_shufflenet.steps.channel_shuffle import shuffled_from, shuffled_to
from numpy_shufflenet.steps.channels import part_and_place
from numpy_shufflenet.steps.conv2d import conv2d_backward_steps, conv2d_forward_steps
from numpy_shufflenet.steps.pointwise_conv2d import (
    pointwise_conv2d_backward_steps,
    pointwise_conv2d_forward_steps,
)

__all__ = [
    "add_relu_backward",
    "add_relu_backward_steps",
    "add_relu_forward",
    "add_relu_forward_steps",
    "batch_norm_relu_backward",
    "batch_norm_relu_backward_steps",
    "batch_norm_relu_forward",
    "batch_norm_relu_forward_steps",
    "channel_concat_shuffle_backward",
    "channel_concat_shuffle_backward_steps",
    "channel_concat_shuffle_forward",
    "channel_concat_shuffle_forward_steps",
    "conv2d_relu_backward",
    "conv2d_relu_backward_steps",
    "conv2d_relu_forward",
    "conv2d_relu_forward_steps",
    "pointwise_conv2d_relu_backward",
    "pointwise_conv2d_relu_backward_steps",
    "pointwise_conv2d_relu_forward",
    "pointwise_conv2d_relu_forward_steps",
]

Backward: TypeAlias = Callable[[Array], Steps]
"""The steps of a backward, for a dy."""


def rectified(steps: Iterable[Output | Step]) -> Steps:
    """Let each output go through a ReLU: a negative sum becomes an empty one."""
    for item in steps:
        if isinstance(item, Step) and item.value < 0:  # so NaN passes
            yield Step(item.output, item.index, item.reads, [], 0.0)
        else:
            yield item


def let_through(dy: Array, forward: Iterable[Output | Step], backward: Backward) -> Steps:
    """Run a backward with 0 for each dy that the ReLU stopped; what decides that is read, too."""
    passed, read = dy.copy(), {}
    for item in forward:
        if isinstance(item, Step):
            read[item.index] = item.reads
            if not item.value > 0:
                passed[item.index] = 0.0
    for item in backward(passed):
        if isinstance(item, Step):
            reads = list(item.reads)
            for name, index in item.reads:
                if name == "dy":
                    reads += read[index]
            yield Step(item.output, item.index, reads, item.terms, item.value)
        else:
            yield item


def batch_norm_relu_forward_steps(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> Steps:
    """y[n, c, h, w] reads every value of channel c."""
    yield from rectified(batch_norm_forward_steps(x, gamma, beta, eps=eps))


def batch_norm_relu_backward_steps(
    dy: Array, x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> Steps:
    """As in batch normalisation; what the ReLU stopped sends 0 back."""
    forward = batch_norm_forward_steps(x, gamma, beta, eps=eps)
    backward = partial(batch_norm_backward_steps, x=x, gamma=gamma, beta=beta, eps=eps)
    yield from let_through(dy, forward, backward)


def add_relu_forward_steps(x1: Array, x2: Array) -> Steps:
    """An output reads one number of each."""
    yield from rectified(add_forward_steps(x1, x2))


def add_relu_backward_steps(dy: Array, x1: Array, x2: Array) -> Steps:
    """Both summands reach the output, if the ReLU lets their sum through."""
    yield from let_through(dy, add_forward_steps(x1, x2), partial(add_backward_steps, x1=x1, x2=x2))


def conv2d_relu_forward_steps(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Steps:
    """y[n, o, p, q] reads its window in the channels of its group."""
    geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    yield from rectified(conv2d_forward_steps(x, w, b, groups=groups, **geometry))


def conv2d_relu_backward_steps(
    dy: Array,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Steps:
    """As in the convolution; what the ReLU stopped sends 0 back."""
    geometry: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    forward = conv2d_forward_steps(x, w, b, groups=groups, **geometry)
    backward = partial(conv2d_backward_steps, x=x, w=w, b=b, groups=groups, **geometry)
    yield from let_through(dy, forward, backward)


def pointwise_conv2d_relu_forward_steps(
    x: Array, w: Array, b: Array | None = None, *, groups: int = 1
) -> Steps:
    """y[n, o, p, q] reads the channels of its group at its own pixel."""
    yield from rectified(pointwise_conv2d_forward_steps(x, w, b, groups=groups))


def pointwise_conv2d_relu_backward_steps(
    dy: Array, x: Array, w: Array, b: Array | None = None, *, groups: int = 1
) -> Steps:
    """As in the convolution; what the ReLU stopped sends 0 back."""
    forward = pointwise_conv2d_forward_steps(x, w, b, groups=groups)
    backward = partial(pointwise_conv2d_backward_steps, x=x, w=w, b=b, groups=groups)
    yield from let_through(dy, forward, backward)


def channel_concat_shuffle_forward_steps(*arrays: Array, groups: int) -> Steps:
    """Channel k reads one place of one array."""
    sizes = [array.shape[1] for array in arrays]
    y_shape = (len(arrays[0]), sum(sizes), *arrays[0].shape[2:])
    yield Output("y", y_shape)
    for n, k, h, w in np.ndindex(y_shape):
        t, c = part_and_place(shuffled_from(k, sum(sizes), groups), sizes)
        source = (n, c, h, w)
        yield add_up("y", (n, k, h, w), [(f"arrays[{t}]", source)], [arrays[t][source]])


def channel_concat_shuffle_backward_steps(dy: Array, *arrays: Array, groups: int) -> Steps:
    """Place c of array t reaches the channel that the shuffle sends it to."""
    sizes = [array.shape[1] for array in arrays]
    for t, array in enumerate(arrays):
        yield Output(f"darrays[{t}]", array.shape)
    for t, array in enumerate(arrays):
        for n, c, h, w in np.ndindex(array.shape):
            k = shuffled_to(sum(sizes[:t]) + c, sum(sizes), groups)
            target = (n, k, h, w)
            yield add_up(f"darrays[{t}]", (n, c, h, w), [("dy", target)], [dy[target]])


batch_norm_relu_forward, batch_norm_relu_backward = functions(
    batch_norm_relu_forward_steps, batch_norm_relu_backward_steps
)
add_relu_forward, add_relu_backward = functions(add_relu_forward_steps, add_relu_backward_steps)
conv2d_relu_forward, conv2d_relu_backward = functions(
    conv2d_relu_forward_steps, conv2d_relu_backward_steps
)
pointwise_conv2d_relu_forward, pointwise_conv2d_relu_backward = functions(
    pointwise_conv2d_relu_forward_steps, pointwise_conv2d_relu_backward_steps
)
channel_concat_shuffle_forward, channel_concat_shuffle_backward = functions(
    channel_concat_shuffle_forward_steps, channel_concat_shuffle_backward_steps
)
