"""The table of operations: every operation once, with what there is to know about it.

Whatever says "every operation" walks this table: the tests, the gradient checks, the costs. The
functions themselves are looked up by name when they are asked for, so the table imports no floor.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array

Shape = tuple[int, ...]
FLOORS = ("ops", "steps", "kernels")


@dataclass(frozen=True)
class Example:
    """Arguments of a forward: arrays by position, hyperparameters by keyword."""

    arrays: tuple[Array | None, ...]
    hyperparameters: dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One operation on all of its floors.

    Attributes
    ----------
    name : str
        NAME_forward and NAME_backward are its functions on every floor.
    arrays : tuple of str
        The array arguments in the order of the signature; one that starts with * repeats.
    differentiable : tuple of str
        Those of which backward returns a gradient, in this order.
    linear_in : tuple of str
        Those in which y is linear while the others are held, and there is no bias.
    draw : callable
        See `example`.
    kernel : bool
        Whether the floor "kernels" has it; the others are fast enough on "ops".
    """

    name: str
    arrays: tuple[str, ...]
    differentiable: tuple[str, ...]
    linear_in: tuple[str, ...]
    draw: Callable[["Draw"], tuple[tuple[Any, ...], dict[str, Any]]]
    kernel: bool = True

    @property
    def floors(self) -> tuple[str, ...]:
        """The floors that have this operation."""
        return FLOORS if self.kernel else FLOORS[:2]

    def forward(self, floor: str = "ops") -> Callable[..., Any]:
        """Return NAME_forward of a floor: "ops", "steps" or "kernels"."""
        return self._function(floor, "forward")

    def backward(self, floor: str = "ops") -> Callable[..., Any]:
        """Return NAME_backward of a floor: "ops", "steps" or "kernels"."""
        return self._function(floor, "backward")

    def example(self, seed: int = 0, dtype: Any = np.float64) -> Example:
        """Draw a small case that shows the operation at work: the same one for the same seed."""
        return Example(*self.draw(Draw(np.random.default_rng(seed), np.dtype(dtype))))

    def cost(self, shapes: Mapping[str, Shape], settings: Mapping[str, Any], **kwargs: Any) -> Any:
        """Return what it costs, by its formula; see `cost.formulas.cost`."""
        formulas = importlib.import_module("numpy_shufflenet.cost.formulas")
        return formulas.cost(self.name, shapes, settings, **kwargs)

    def _function(self, floor: str, direction: str) -> Callable[..., Any]:
        if floor not in self.floors:
            raise ValueError(f"floor={floor!r} is not one of {', '.join(self.floors)}")
        function: Callable[..., Any] = getattr(_module(floor), f"{self.name}_{direction}")
        return function


@functools.cache
def _module(floor: str) -> ModuleType:
    """Import a floor when it is first needed."""
    return importlib.import_module(f"numpy_shufflenet.{floor}")


@dataclass(frozen=True)
class Draw:
    """Calling it with a shape draws an array of normal numbers."""

    rng: np.random.Generator
    dtype: np.dtype[Any]

    def __call__(self, *shape: int) -> Array:
        """Return normal numbers of this shape."""
        return self.rng.normal(size=shape).astype(self.dtype)


def find(name: str) -> Operation:
    """Return the operation of this name, or raise ValueError that lists all names."""
    if name not in OPERATIONS:
        raise ValueError(f"there is no operation {name!r}; there are {', '.join(OPERATIONS)}")
    return OPERATIONS[name]


_TABLE = (
    Operation(
        "conv2d",
        ("x", "w", "b"),
        ("x", "w", "b"),
        ("x", "w"),
        lambda draw: (
            (draw(2, 6, 5, 4), draw(4, 3, 3, 2), draw(4)),
            {"stride": 2, "padding": ((1, 0), (1, 2)), "dilation": 1, "groups": 2},
        ),
    ),
    Operation(
        "group_conv2d",
        ("x", "w", "b"),
        ("x", "w", "b"),
        ("x", "w"),
        lambda draw: (
            (draw(2, 6, 5, 4), draw(9, 2, 3, 3), draw(9)),
            {"groups": 3, "stride": 2, "padding": 1},
        ),
    ),
    Operation(
        "depthwise_conv2d",
        ("x", "w", "b"),
        ("x", "w", "b"),
        ("x", "w"),
        lambda draw: (
            (draw(2, 3, 5, 4), draw(6, 1, 3, 3), draw(6)),
            {"stride": 2, "padding": 1},
        ),
    ),
    Operation(
        "pointwise_conv2d",
        ("x", "w", "b"),
        ("x", "w", "b"),
        ("x", "w"),
        lambda draw: ((draw(2, 6, 3, 4), draw(4, 3, 1, 1), draw(4)), {"groups": 2}),
    ),
    Operation(
        "batch_norm",
        ("x", "gamma", "beta"),
        ("x", "gamma", "beta"),
        (),
        lambda draw: ((2 + 3 * draw(3, 4, 3, 2), draw(4), draw(4)), {"eps": 1e-5}),
    ),
    Operation(
        "batch_norm_inference",
        ("x", "gamma", "beta", "mean", "var"),
        ("x", "gamma", "beta"),
        (),
        lambda draw: (
            (
                draw(3, 4, 3, 2),
                draw(4),
                draw(4),
                draw(4),
                np.square(draw(4)) + draw.dtype.type(0.1),
            ),
            {"eps": 1e-5},
        ),
    ),
    Operation(
        "channel_shuffle",
        ("x",),
        ("x",),
        ("x",),
        lambda draw: ((draw(2, 6, 3, 2),), {"groups": 2}),
    ),
    Operation(
        "channel_unshuffle",
        ("x",),
        ("x",),
        ("x",),
        lambda draw: ((draw(2, 6, 3, 2),), {"groups": 2}),
    ),
    Operation(
        "channel_split",
        ("x",),
        ("x",),
        ("x",),
        lambda draw: ((draw(2, 6, 3, 2),), {"sizes": (1, 3, 2)}),
    ),
    Operation(
        "channel_concat",
        ("*arrays",),
        ("*arrays",),
        ("*arrays",),
        lambda draw: ((draw(2, 1, 3, 2), draw(2, 3, 3, 2), draw(2, 2, 3, 2)), {}),
    ),
    Operation(
        "max_pool2d",
        ("x",),
        ("x",),
        (),
        lambda draw: ((draw(2, 3, 6, 5),), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ),
    Operation(
        "avg_pool2d",
        ("x",),
        ("x",),
        ("x",),
        lambda draw: (
            (draw(2, 3, 6, 5),),
            {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
        ),
    ),
    Operation("global_avg_pool", ("x",), ("x",), ("x",), lambda draw: ((draw(2, 3, 4, 5),), {})),
    Operation(
        "upsample_nearest",
        ("x",),
        ("x",),
        ("x",),
        lambda draw: ((draw(2, 3, 3, 2),), {"scale": (2, 3)}),
        kernel=False,
    ),
    Operation(
        "upsample_bilinear",
        ("x",),
        ("x",),
        ("x",),
        lambda draw: ((draw(2, 3, 3, 2),), {"scale": 2, "align_corners": False}),
        kernel=False,
    ),
    Operation("relu", ("x",), ("x",), (), lambda draw: ((draw(2, 3, 4, 5),), {})),
    Operation("sigmoid", ("x",), ("x",), (), lambda draw: ((draw(2, 3, 4, 5),), {}), kernel=False),
    Operation(
        "squeeze_excitation",
        ("x", "w1", "b1", "w2", "b2"),
        ("x", "w1", "b1", "w2", "b2"),
        (),
        lambda draw: ((draw(2, 4, 3, 2), draw(3, 4), draw(3), draw(4, 3), draw(4)), {}),
        kernel=False,
    ),
    Operation(
        "linear",
        ("x", "w", "b"),
        ("x", "w", "b"),
        ("x", "w"),
        lambda draw: ((draw(4, 5), draw(3, 5), draw(3)), {}),
        kernel=False,
    ),
    Operation(
        "dropout",
        ("x",),
        ("x",),
        ("x",),
        lambda draw: ((draw(3, 4),), {"rate": 0.4, "rng": np.random.default_rng(0)}),
        kernel=False,
    ),
    Operation(
        "softmax_cross_entropy",
        ("logits", "labels"),
        ("logits",),
        (),
        lambda draw: ((draw(4, 5), draw.rng.integers(0, 5, size=4)), {"label_smoothing": 0.1}),
        kernel=False,
    ),
    Operation(
        "add",
        ("x1", "x2"),
        ("x1", "x2"),
        (),
        lambda draw: ((draw(2, 3, 4, 5), draw(2, 3, 4, 5)), {}),
    ),
    Operation(
        "add_relu",
        ("x1", "x2"),
        ("x1", "x2"),
        (),
        lambda draw: ((draw(2, 3, 4, 5), draw(2, 3, 4, 5)), {}),
    ),
    Operation(
        "batch_norm_relu",
        ("x", "gamma", "beta"),
        ("x", "gamma", "beta"),
        (),
        lambda draw: ((2 + 3 * draw(3, 4, 3, 2), draw(4), draw(4)), {"eps": 1e-5}),
    ),
    Operation(
        "conv2d_relu",
        ("x", "w", "b"),
        ("x", "w", "b"),
        (),
        lambda draw: (
            (draw(2, 6, 5, 4), draw(4, 3, 3, 2), draw(4)),
            {"stride": 2, "padding": ((1, 0), (1, 2)), "dilation": 1, "groups": 2},
        ),
    ),
    Operation(
        "pointwise_conv2d_relu",
        ("x", "w", "b"),
        ("x", "w", "b"),
        (),
        lambda draw: ((draw(2, 6, 3, 4), draw(4, 3, 1, 1), draw(4)), {"groups": 2}),
    ),
    Operation(
        "channel_concat_shuffle",
        ("*arrays",),
        ("*arrays",),
        ("*arrays",),
        lambda draw: ((draw(2, 1, 3, 2), draw(2, 3, 3, 2), draw(2, 2, 3, 2)), {"groups": 2}),
    ),
)

OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _TABLE}
"""Every operation by name."""
