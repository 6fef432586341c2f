"""Wrong backwards of units, which combine right operations wrongly.

A unit is a block of layers that ShuffleNet repeats. A branch is a chain of layers within a unit.
"""

import functools
from collections.abc import Callable
from types import MethodType
from typing import Any

import numpy as np

from numpy_shufflenet import nn
from numpy_shufflenet._typing import Array
from numpy_shufflenet.operations import Draw
from numpy_shufflenet.zoo.catalogue import Bug, add_to_catalogue, described

RESIDUAL = "residual units, such as karpathy/micrograd, issue 2"
NOT_UNDONE = "units whose backward doesn't undo the shuffle"
# With these widths no shuffle is its own inverse: 1 < g < c, c / g != g.
UNITS: dict[str, tuple[int, Callable[[], Any]]] = {
    "unit_v1": (24, lambda: nn.ShuffleNetV1Unit(24, 24, groups=3, stride=1)),
    "unit_v1_stride2": (8, lambda: nn.ShuffleNetV1Unit(8, 24, groups=2, stride=2)),
    "unit_v2": (6, lambda: nn.ShuffleNetV2Unit(6, 6, stride=1)),
    "unit_v2_residual": (6, lambda: nn.ShuffleNetV2Unit(6, 6, stride=1, residual=True)),
    "unit_v2_stride2": (3, lambda: nn.ShuffleNetV2Unit(3, 6, stride=2, branch1_channels=3)),
}
Backward = Callable[[Any, Array], Array]


def wrong_unit(
    unit: str, *, cause: str, part: str = "a", **given: str
) -> Callable[[Backward], Backward]:
    """Add a wrong backward of a unit. The decorated function takes the unit and dy."""

    def add(function: Backward) -> Backward:
        forward, backward = unit_pair(unit, function)
        add_to_catalogue(
            Bug(
                **described(unit, "backward", function, part, cause, **given),
                forward=forward,
                backward=backward,
                right=unit_pair(unit),
                draw=functools.partial(draw_unit, unit),
            )
        )
        return function

    return add


def unit_pair(
    name: str, backward: Backward | None = None
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the forward and the backward of a unit in training mode.

    The forward takes x and all parameters. The unit runs layer by layer, as in a trace, so that a
    wrong backward can call any layer.
    """
    layers: dict[Any, Any] = {}  # one unit for each dtype

    def run(x: Array, parameters: tuple[Array, ...]) -> tuple[Array, Any]:
        if x.dtype not in layers:
            layers[x.dtype] = UNITS[name][1]().astype(x.dtype)
            if backward is not None:
                layers[x.dtype]._backward = MethodType(backward, layers[x.dtype])
        layer = layers[x.dtype]
        for live, value in zip(layer.parameters().values(), parameters, strict=True):
            live[...] = value
        layer.release()
        return layer.trace(x, training=True).activations["output"], layer

    def forward(x: Array, *parameters: Array) -> tuple[Array, Any]:
        y, layer = run(x, parameters)
        return y, (x, parameters, [np.array(choice) for choice in layer.activation_pattern()])

    def run_backward(dy: Array, cache: Any) -> tuple[Array, ...]:
        x, parameters, _ = cache
        _, layer = run(x, parameters)
        layer.zero_gradients()
        dx = layer.backward(dy)
        return dx, *layer.gradients().values()

    return forward, run_backward


def draw_unit(name: str, draw: Draw) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Draw x and parameters without special values: gamma is not 1, beta is not 0.

    beta is positive. So every channel has positive values after normalisation. If a ReLU set a
    whole channel to 0, it would hide bugs in the layers before the ReLU.
    """
    channels, make = UNITS[name]
    parameters = []
    for key, value in make().parameters().items():
        drawn = draw(*value.shape)
        if value.ndim > 1:
            drawn = drawn * drawn.dtype.type(np.prod(value.shape[1:]) ** -0.5)
        elif key.endswith("weight"):
            drawn = np.sign(drawn) * (np.abs(drawn) + drawn.dtype.type(0.5))
        else:
            drawn = np.abs(drawn) * drawn.dtype.type(0.3)
        parameters.append(drawn)
    return (draw(2, channels, 3, 2), *parameters), {}


@wrong_unit("unit_v2", cause="permutation", found_in=NOT_UNDONE)
def shuffle_forgotten(unit: Any, dy: Array) -> Array:
    """Don't undo the shuffle."""
    dleft, dright = unit.concat.backward(dy)
    return unit.split.backward((dleft, unit.branch2.backward(dright)))


@wrong_unit("unit_v2", cause="permutation", found_in=NOT_UNDONE)
def shuffle_repeated(unit: Any, dy: Array) -> Array:
    """Shuffle the gradient once more instead of undoing the shuffle."""
    dleft, dright = unit.concat.backward(nn.ChannelShuffle(2).forward(dy))
    return unit.split.backward((dleft, unit.branch2.backward(dright)))


@wrong_unit("unit_v2", cause="permutation")
def branches_swapped(unit: Any, dy: Array) -> Array:
    """Swap the gradients of the branch and of the channels that skip it.

    Found in: units that swap the two results of a split.
    """
    dleft, dright = unit.concat.backward(unit.shuffle.backward(dy))
    return unit.split.backward((unit.branch2.backward(dright), dleft))


@wrong_unit("unit_v2", cause="dropped")
def passing_channels_dropped(unit: Any, dy: Array) -> Array:
    """Leave the gradient of the channels that skip the branch at 0.

    Found in: units that keep the computed branch only.
    """
    dleft, dright = unit.concat.backward(unit.shuffle.backward(dy))
    return unit.split.backward((np.zeros_like(dleft), unit.branch2.backward(dright)))


@wrong_unit("unit_v2_stride2", cause="sum")
def second_use_overwrites_the_first(unit: Any, dy: Array) -> Array:
    """Overwrite dx of the first branch with dx of the second, though both branches use x.

    Found in: karpathy/micrograd, issue 2; sony/nnabla, pull request 532: an array that is used
    twice.
    """
    dleft, dright = unit.concat.backward(unit.shuffle.backward(dy))
    unit.branch1.backward(dleft)
    return unit.branch2.backward(dright)


@wrong_unit("unit_v2_stride2", cause="factor")
def first_use_counted_twice(unit: Any, dy: Array) -> Array:
    """Multiply the sum of the gradients of both branches by 2.

    Found in: sebgao/cTensor, issue 5; zou-group/textgrad, pull request 200: counted twice.
    """
    dleft, dright = unit.concat.backward(unit.shuffle.backward(dy))
    return 2 * (unit.branch1.backward(dleft) + unit.branch2.backward(dright))


@wrong_unit("unit_v2_residual", cause="term", found_in=RESIDUAL)
def residual_dropped(unit: Any, dy: Array) -> Array:
    """Leave out the gradient that skips the branch."""
    dleft, dright = unit.concat.backward(unit.shuffle.backward(dy))
    return unit.split.backward((dleft, unit.branch2.backward(unit.relu.backward(dright))))


@wrong_unit("unit_v1", cause="term", found_in=RESIDUAL)
def shortcut_dropped(unit: Any, dy: Array) -> Array:
    """Leave out the gradient of the shortcut."""
    return unit.branch.backward(unit.relu.backward(dy))


@wrong_unit("unit_v1", cause="mask")
def last_relu_forgotten(unit: Any, dy: Array) -> Array:
    """Leave out the ReLU after the addition.

    Found in: units that have their last activation in the forward only.
    """
    return dy + unit.branch.backward(dy)


@wrong_unit("unit_v1_stride2", cause="sum", found_in=RESIDUAL)
def pooled_shortcut_dropped(unit: Any, dy: Array) -> Array:
    """Leave out the gradient of the average pool."""
    _, dy = unit.concat.backward(unit.relu.backward(dy))
    return unit.branch.backward(dy)
