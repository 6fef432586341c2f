"""Cases for exercises, drawn by Hypothesis: small shapes, and whole numbers to reckon with by hand.

A case is drawn for what the student's function can take: a hyperparameter that it hasn't got (yet)
keeps the value at which it does nothing. So a convolution without a stride can be checked before
one with it. Values are distinct where a maximum is taken and never 0: no case lies on a kink.
"""

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from numpy_shufflenet._typing import Array

Case = tuple[dict[str, Any], dict[str, Any]]
"""Arrays and hyperparameters, by name."""

NEUTRAL: dict[str, Any] = {
    "b": None,
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
    "eps": 1e-5,
    "count_include_pad": True,
    "align_corners": False,
    "label_smoothing": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "warmup": 0,
    "fill": 0.0,
}
"""What is held where a function doesn't take it."""


class Maker:
    """Draws shapes and hyperparameters one by one, and values from a seed.

    Parameters
    ----------
    draw : callable
        From Hypothesis.
    takes : collection of str or None
        Names that the function takes; None for all.
    """

    def __init__(self, draw: DrawFn, takes: Collection[str] | None):
        self.draw = draw
        self.takes = takes
        self.rng = np.random.default_rng(draw(st.integers(0, 999)))

    def wants(self, name: str) -> bool:
        """Whether the function takes an argument of this name."""
        return self.takes is None or name in self.takes

    def option(self, name: str, strategy: SearchStrategy[Any]) -> Any:
        """Draw a hyperparameter if the function takes it."""
        return self.draw(strategy) if self.wants(name) else NEUTRAL[name]

    def integer(self, low: int, high: int) -> int:
        """Draw a whole number."""
        return self.draw(st.integers(low, high))

    def values(self, *shape: int) -> Array:
        """Return whole numbers from -9 to 9 without 0, as floats."""
        return self.rng.integers(1, 10, shape) * self.rng.choice([-1.0, 1.0], shape)

    def distinct(self, *shape: int) -> Array:
        """Return whole numbers that are all different, and not 0, as floats."""
        size = math.prod(shape)
        signs = self.rng.choice([-1.0, 1.0], size)
        return (signs * (1 + self.rng.permutation(size))).reshape(shape)

    def batch(self) -> int:
        """Draw a number of images."""
        return self.integer(1, 3)

    def bias(self, size: int) -> Array | None:
        """Draw a bias, or none."""
        return self.values(size) if self.wants("b") and self.draw(st.booleans()) else None

    def side(self, kernel: int, padding: int, dilation: int = 1) -> int:
        """Draw the height or width of an image that the kernel fits into."""
        low = max(1, (kernel - 1) * dilation + 1 - 2 * padding)
        return self.integer(low, low + 3)


def _windows(make: Maker) -> tuple[tuple[int, int], tuple[int, int], dict[str, Any]]:
    kernel = (make.integer(1, 3), make.integer(1, 3))
    settings = {
        "stride": make.option("stride", st.integers(1, 3)),
        "padding": make.option("padding", st.integers(0, 2)),
        "dilation": make.option("dilation", st.integers(1, 2)),
    }
    height, width = (make.side(k, settings["padding"], settings["dilation"]) for k in kernel)
    if make.takes is None:  # with a cache of the library: any form that the library takes
        p = settings["padding"]
        settings["padding"] = make.draw(st.sampled_from((p, ((p, p + 1), (p + 2, p)), (p, p + 1))))
    return kernel, (height, width), settings


def conv2d(make: Maker) -> Case:
    """An image, a bank of kernels, maybe a bias."""
    groups = make.option("groups", st.integers(1, 3))
    c, o = groups * make.integer(1, 3), groups * make.integer(1, 3)
    kernel, size, settings = _windows(make)
    arrays = {
        "x": make.values(make.batch(), c, *size),
        "w": make.values(o, c // groups, *kernel),
        "b": make.bias(o),
    }
    return arrays, {**settings, "groups": groups}


def depthwise_conv2d(make: Maker) -> Case:
    """An image, and one or two kernels for each channel."""
    c, multiplier = make.integer(1, 3), make.integer(1, 2)
    kernel, size, settings = _windows(make)
    arrays = {
        "x": make.values(make.batch(), c, *size),
        "w": make.values(c * multiplier, 1, *kernel),
        "b": make.bias(c * multiplier),
    }
    return arrays, settings


def pointwise_conv2d(make: Maker) -> Case:
    """An image, and a matrix for its channels."""
    groups = make.option("groups", st.integers(1, 3))
    c, o = groups * make.integer(1, 3), groups * make.integer(1, 3)
    x = make.values(make.batch(), c, make.integer(1, 3), make.integer(1, 3))
    return {"x": x, "w": make.values(o, c // groups, 1, 1), "b": make.bias(o)}, {"groups": groups}


def batch_norm(make: Maker) -> Case:
    """At least four different values in each channel; gamma may be negative."""
    c = make.integer(1, 3)
    x = make.distinct(make.integer(2, 3), c, make.integer(1, 2), make.integer(2, 3))
    settings = {"eps": make.option("eps", st.sampled_from((1e-5, 0.5)))}
    return {"x": x, "gamma": make.values(c), "beta": make.values(c)}, settings


def batch_norm_inference(make: Maker) -> Case:
    """The same, with given statistics."""
    arrays, settings = batch_norm(make)
    c = arrays["x"].shape[1]
    return {**arrays, "mean": make.values(c), "var": np.abs(make.values(c))}, settings


def channel_shuffle(make: Maker) -> Case:
    """Several groups of several channels, so that a wrong permutation shows."""
    groups, per_group = make.integer(1, 4), make.integer(1, 4)
    x = make.distinct(make.integer(1, 2), groups * per_group, make.integer(1, 2), 1)
    return {"x": x}, {"groups": groups}


def channel_split(make: Maker) -> Case:
    """Channels in one to three parts."""
    sizes = make.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    return {"x": make.distinct(make.batch(), sum(sizes), 2, 1)}, {"sizes": tuple(sizes)}


def channel_concat(make: Maker) -> Case:
    """One to three arrays."""
    sizes = make.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    n = make.batch()
    return {f"arrays[{i}]": make.values(n, c, 2, 1) for i, c in enumerate(sizes)}, {}


def _pool(make: Maker) -> Case:
    size = make.integer(1, 3)
    settings: dict[str, Any] = {"kernel_size": size}
    settings["stride"] = make.integer(1, 3) if make.wants("stride") else None
    settings["padding"] = make.option("padding", st.integers(0, (size - 1) // 2 + (size == 2)))
    side = make.side(size, settings["padding"]), make.side(size, settings["padding"])
    return {"x": make.distinct(make.batch(), make.integer(1, 2), *side)}, settings


def avg_pool2d(make: Maker) -> Case:
    """A pool, with the border counted or not."""
    arrays, settings = _pool(make)
    settings["count_include_pad"] = make.option("count_include_pad", st.booleans())
    return arrays, settings


def image(make: Maker) -> Case:
    """One array (n, c, h, w)."""
    shape = make.batch(), make.integer(1, 3), make.integer(1, 3), make.integer(1, 3)
    return {"x": make.distinct(*shape)}, {}


def upsample(make: Maker) -> Case:
    """An image and a whole factor."""
    return image(make)[0], {"scale": make.integer(1, 3)}


def upsample_bilinear(make: Maker) -> Case:
    """The same, in both conventions."""
    arrays, settings = upsample(make)
    settings["align_corners"] = make.option("align_corners", st.booleans())
    return arrays, settings


def squeeze_excitation(make: Maker) -> Case:
    """Numbers small enough not to saturate the sigmoid."""
    c, r = make.integer(1, 3), make.integer(1, 2)
    arrays = {
        "x": make.values(make.batch(), c, 2, 2) / 8,
        "w1": make.values(r, c) / 8,
        "b1": make.values(r) / 8,
        "w2": make.values(c, r) / 8,
        "b2": make.values(c) / 8,
    }
    return arrays, {}


def linear(make: Maker) -> Case:
    """A matrix product."""
    features, outputs = make.integer(1, 4), make.integer(1, 4)
    arrays = {
        "x": make.values(make.batch(), features),
        "w": make.values(outputs, features),
        "b": make.bias(outputs),
    }
    return arrays, {}


def softmax_cross_entropy(make: Maker) -> Case:
    """Logits, some of them large enough to overflow exp; labels."""
    n, classes = make.batch(), make.integer(1, 4)
    scale = make.draw(st.sampled_from((0.5, 200.0)))
    arrays = {
        "logits": scale * make.values(n, classes),
        "labels": make.rng.integers(0, classes, n),
    }
    smoothing = make.option("label_smoothing", st.sampled_from((0.0, 0.1)))
    return arrays, {"label_smoothing": smoothing}


CASES: dict[str, Callable[[Maker], Case]] = {
    "conv2d": conv2d,
    "group_conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "pointwise_conv2d": pointwise_conv2d,
    "batch_norm": batch_norm,
    "batch_norm_inference": batch_norm_inference,
    "batch_norm_relu": batch_norm,
    "channel_shuffle": channel_shuffle,
    "channel_unshuffle": channel_shuffle,
    "channel_split": channel_split,
    "channel_concat": channel_concat,
    "max_pool2d": _pool,
    "avg_pool2d": avg_pool2d,
    "global_avg_pool": image,
    "upsample_nearest": upsample,
    "upsample_bilinear": upsample_bilinear,
    "relu": image,
    "sigmoid": lambda make: ({"x": make.values(2, make.integer(1, 4)) / 3}, {}),
    "squeeze_excitation": squeeze_excitation,
    "linear": linear,
    "softmax_cross_entropy": softmax_cross_entropy,
}
"""By operation; dropout, which draws its own random numbers, is not an exercise."""


def cases(operation: str, takes: Collection[str] | None = None) -> SearchStrategy[Case]:
    """Return cases of an operation for a function that takes these arguments."""

    @st.composite
    def case(draw: DrawFn) -> Case:
        return CASES[operation](Maker(draw, takes))

    return case()
