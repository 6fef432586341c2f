"""Wrong backwards of whole units: each operation is right, but the unit combines them wrongly."""

import functools
from collections.abc import Callable
from types import MethodType
from typing import Any

import numpy as np

from numpy_shufflenet import nn
from numpy_shufflenet._typing import Array
from numpy_shufflenet.operations import Draw
from numpy_shufflenet.zoo.catalogue import Bug, add_to_catalogue, described

RESIDUAL = "residual units, as karpathy/micrograd 2"
NOT_UNDONE = "units whose shuffle is not undone"
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
    """Put the decorated `_backward(unit, dy)` of a unit into the zoo."""

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
    """Return a unit in training mode as a pair of functions: of x and all parameters.

    It runs as in a trace, layer by layer, so that a wrong backward can call any of them.
    """
    layers: dict[Any, Any] = {}  # one of each dtype, used again and again

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
    """Draw x and parameters of which none is special: gamma is not 1, beta is not 0.

    beta is positive, so that after every normalisation some values of each channel are: behind a
    ReLU that cuts off all of them no bug would show.
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
    """Forget the shuffle on the way back."""
    dleft, dright = unit.concat.backward(dy)
    return unit.split.backward((dleft, unit.branch2.backward(dright)))


@wrong_unit("unit_v2", cause="permutation", found_in=NOT_UNDONE)
def shuffle_repeated(unit: Any, dy: Array) -> Array:
    """Shuffle the gradient onwards in place of back."""
    dleft, dright = unit.concat.backward(nn.ChannelShuffle(2).forward(dy))
    return unit.split.backward((dleft, unit.branch2.backward(dright)))


@wrong_unit("unit_v2", cause="permutation")
def branches_swapped(unit: Any, dy: Array) -> Array:
    """Hand the gradient of the branch to the channels that just pass, and theirs to the branch.

    Found in: units that exchange what a split returns.
    """
    dleft, dright = unit.concat.backward(unit.shuffle.backward(dy))
    return unit.split.backward((unit.branch2.backward(dright), dleft))


@wrong_unit("unit_v2", cause="dropped")
def passing_channels_dropped(unit: Any, dy: Array) -> Array:
    """Forget the channels that just pass: their gradient is 0.

    Found in: units that keep the computed branch alone.
    """
    dleft, dright = unit.concat.backward(unit.shuffle.backward(dy))
    return unit.split.backward((np.zeros_like(dleft), unit.branch2.backward(dright)))


@wrong_unit("unit_v2_stride2", cause="sum")
def second_use_overwrites_the_first(unit: Any, dy: Array) -> Array:
    """Assign dx of the second branch over that of the first, though x is used by both.

    Found in: karpathy/micrograd, issue 2; sony/nnabla, pull request 532: what is used twice.
    """
    dleft, dright = unit.concat.backward(unit.shuffle.backward(dy))
    unit.branch1.backward(dleft)
    return unit.branch2.backward(dright)


@wrong_unit("unit_v2_stride2", cause="factor")
def first_use_counted_twice(unit: Any, dy: Array) -> Array:
    """Scale the sum of both branches by their number, as a mean would not.

    Found in: sebgao/cTensor, issue 5; zou-group/textgrad, pull request 200: counted twice.
    """
    dleft, dright = unit.concat.backward(unit.shuffle.backward(dy))
    return 2 * (unit.branch1.backward(dleft) + unit.branch2.backward(dright))


@wrong_unit("unit_v2_residual", cause="term", found_in=RESIDUAL)
def residual_dropped(unit: Any, dy: Array) -> Array:
    """Forget the way around the branch."""
    dleft, dright = unit.concat.backward(unit.shuffle.backward(dy))
    return unit.split.backward((dleft, unit.branch2.backward(unit.relu.backward(dright))))


@wrong_unit("unit_v1", cause="term", found_in=RESIDUAL)
def shortcut_dropped(unit: Any, dy: Array) -> Array:
    """Forget the gradient that comes through the addition's other summand."""
    return unit.branch.backward(unit.relu.backward(dy))


@wrong_unit("unit_v1", cause="mask")
def last_relu_forgotten(unit: Any, dy: Array) -> Array:
    """Forget the ReLU after the addition.

    Found in: units whose last activation is added in the forward only.
    """
    return dy + unit.branch.backward(dy)


@wrong_unit("unit_v1_stride2", cause="sum", found_in=RESIDUAL)
def pooled_shortcut_dropped(unit: Any, dy: Array) -> Array:
    """Forget the gradient that comes through the average pool."""
    _, dy = unit.concat.backward(unit.relu.backward(dy))
    return unit.branch.backward(dy)
