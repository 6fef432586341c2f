"""Pairs of operations that run as one, one output at a time.

In the forward, each output of the first operation goes through the second operation at once, so no
array in between is kept. In the backward, the first operation gets dy = 0 where ReLU's output is 0.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Step, Steps, add_up
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
    "add_relu_backward_steps",
    "add_relu_forward_steps",
    "batch_norm_relu_backward_steps",
    "batch_norm_relu_forward_steps",
    "channel_concat_shuffle_backward_steps",
    "channel_concat_shuffle_forward_steps",
    "conv2d_relu_backward_steps",
    "conv2d_relu_forward_steps",
    "pointwise_conv2d_relu_backward_steps",
    "pointwise_conv2d_relu_forward_steps",
]

Forward: TypeAlias = Callable[..., Steps]
Backward: TypeAlias = Callable[[Array], Steps]
"""The steps of a backward, for a dy."""


def rectified(steps: Iterable[Output | Step]) -> Steps:
    """Let each output go through a ReLU: a negative sum gets no terms, so it is 0."""
    for item in steps:
        if isinstance(item, Step) and item.value < 0:  # so NaN passes
            yield Step(item.output, item.index, item.reads, [], 0.0)
        else:
            yield item


def let_through(dy: Array, forward: Iterable[Output | Step], backward: Backward) -> Steps:
    """Run a backward with dy = 0 where the ReLU's output is 0.

    A step that reads an entry of dy also reads what the forward read for this entry.
    """
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


def steps_with_relu(forward_steps: Forward, backward_steps: Forward) -> tuple[Forward, Forward]:
    """Return the steps of an operation that is followed by a ReLU."""
    name = forward_steps.__name__.removesuffix("_forward_steps")

    @functools.wraps(forward_steps)
    def forward(*args: Any, **kwargs: Any) -> Steps:
        yield from rectified(forward_steps(*args, **kwargs))

    @functools.wraps(backward_steps)
    def backward(dy: Array, *args: Any, **kwargs: Any) -> Steps:
        yield from let_through(
            dy,
            forward_steps(*args, **kwargs),
            lambda passed: backward_steps(passed, *args, **kwargs),
        )

    for function, direction in ((forward, "forward"), (backward, "backward")):
        function.__name__ = function.__qualname__ = f"{name}_relu_{direction}_steps"
        function.__module__ = __name__
        function.__doc__ = (
            f"Steps of `ops.{name}_relu_{direction}`; see `{name}_{direction}_steps`."
        )
    return forward, backward


def channel_concat_shuffle_forward_steps(*arrays: Array, groups: int) -> Steps:
    """Channel k reads one channel of one array."""
    sizes = [array.shape[1] for array in arrays]
    y_shape = (len(arrays[0]), sum(sizes), *arrays[0].shape[2:])
    yield Output("y", y_shape)
    for n, k, h, w in np.ndindex(y_shape):
        t, c = part_and_place(shuffled_from(k, sum(sizes), groups), sizes)
        source = (n, c, h, w)
        yield add_up("y", (n, k, h, w), [(f"arrays[{t}]", source)], [arrays[t][source]])


def channel_concat_shuffle_backward_steps(dy: Array, *arrays: Array, groups: int) -> Steps:
    """Channel c of array t reaches one channel, which the shuffle decides."""
    sizes = [array.shape[1] for array in arrays]
    for t, array in enumerate(arrays):
        yield Output(f"darrays[{t}]", array.shape)
    for t, array in enumerate(arrays):
        for n, c, h, w in np.ndindex(array.shape):
            k = shuffled_to(sum(sizes[:t]) + c, sum(sizes), groups)
            target = (n, k, h, w)
            yield add_up(f"darrays[{t}]", (n, c, h, w), [("dy", target)], [dy[target]])


batch_norm_relu_forward_steps, batch_norm_relu_backward_steps = steps_with_relu(
    batch_norm_forward_steps, batch_norm_backward_steps
)
add_relu_forward_steps, add_relu_backward_steps = steps_with_relu(
    add_forward_steps, add_backward_steps
)
conv2d_relu_forward_steps, conv2d_relu_backward_steps = steps_with_relu(
    conv2d_forward_steps, conv2d_backward_steps
)
pointwise_conv2d_relu_forward_steps, pointwise_conv2d_relu_backward_steps = steps_with_relu(
    pointwise_conv2d_forward_steps, pointwise_conv2d_backward_steps
)
