"""Pairs of operations that run as one, one output at a time.

In the forward, each output of the first operation goes through the second operation at once, so no
array in between is kept. In the backward, the first operation gets dy = 0 where ReLU's output is 0.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Index, Output, Reads, Step, Steps
from numpy_shufflenet.steps.add import add_backward_steps, add_forward_steps
from numpy_shufflenet.steps.batch_norm import batch_norm_backward_steps, batch_norm_forward_steps
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


def let_through(
    dy: Array, outputs: Mapping[Index, Any], read: Callable[[Index], Reads], backward: Backward
) -> Steps:
    """Run a backward with dy = 0 where the ReLU's output is 0.

    A step that reads dy at an index also reads `read(index)`, to see whether the ReLU lets dy pass.
    """
    passed = dy.copy()
    for index, value in outputs.items():
        if not value > 0:
            passed[index] = type(dy[index])(0.0)
    for item in backward(passed):
        if isinstance(item, Step):
            seen = [entry for name, index in item.reads if name == "dy" for entry in read(index)]
            yield Step(item.output, item.index, [*item.reads, *seen], item.terms, item.value)
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
        steps = {s.index: s for s in forward_steps(*args, **kwargs) if isinstance(s, Step)}
        yield from let_through(
            dy,
            {index: step.value for index, step in steps.items()},
            lambda index: steps[index].reads,
            lambda passed: backward_steps(passed, *args, **kwargs),
        )

    for function, direction in ((forward, "forward"), (backward, "backward")):
        function.__name__ = function.__qualname__ = f"{name}_relu_{direction}_steps"
        function.__module__ = __name__
        function.__doc__ = (
            f"Steps of `ops.{name}_relu_{direction}`; see `{name}_{direction}_steps`."
        )
    return forward, backward


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
