"""Random cases for every operation: shapes and layouts by Hypothesis, values by NumPy.

Hypothesis draws what makes a case (shapes, hyperparameters, dtype, memory layout, a seed), and can
shrink it. The values come from the seed at once: single numbers would be slow and tell little.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from numpy_shufflenet.operations import Example, Operation

DTYPES = (np.float64, np.float32)
LAYOUTS = ("row-major", "channel-major", "fortran", "every second", "reversed")


def arrange(array: np.ndarray, layout: str) -> np.ndarray:
    """Return a copy with the same values that lies differently in memory."""
    if layout == "row-major":
        return np.ascontiguousarray(array).copy()
    if layout == "fortran":
        return array.copy(order="F")
    if layout == "channel-major":  # as activations lie inside of a network
        return swap_first_two(swap_first_two(array).copy())
    if layout == "every second":  # the gaps hold NaN, which spreads if it is ever read
        room = np.full([2 * size for size in array.shape], np.nan).astype(array.dtype)
        view = room[(slice(None, None, 2),) * array.ndim]
        view[...] = array
        return view
    if layout == "reversed":
        backwards = (slice(None, None, -1),) * array.ndim
        return array[backwards].copy()[backwards]
    raise ValueError(f"layout={layout!r} is not one of {LAYOUTS}")


def swap_first_two(array: np.ndarray) -> np.ndarray:
    return array.swapaxes(0, 1) if array.ndim > 1 else array


class Maker:
    """Draws arrays of one dtype from one seed, each in a layout of its own."""

    def __init__(self, draw: DrawFn, dtype: Any, max_size: int):
        self.draw = draw
        self.dtype = np.dtype(draw(st.sampled_from(DTYPES)) if dtype is None else dtype)
        self.max_size = max_size
        self.seed = draw(seeds())
        self.rng = np.random.default_rng(self.seed)

    def __call__(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
        """Normal numbers."""
        return self.laid_out(self.rng.normal(mean, std, size=shape))

    def spread(self, *shape: int) -> np.ndarray:
        """Numbers from -2 to 2, evenly spaced and shuffled: no two are close, and none is near 0.

        So a small step never crosses a kink, and no channel is nearly constant.
        """
        size = int(np.prod(shape))
        values = (self.rng.permutation(size) - size // 2 + 0.4) * (4 / max(size, 1))
        return self.laid_out(values.reshape(shape))

    def positive(self, *shape: int) -> np.ndarray:
        """Numbers from 0.2 to 2."""
        return self.laid_out(self.rng.uniform(0.2, 2, size=shape))

    def laid_out(self, values: np.ndarray) -> np.ndarray:
        return arrange(values.astype(self.dtype), self.draw(st.sampled_from(LAYOUTS)))

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def batch(self) -> int:
        return self.draw(st.sampled_from((2, 3, 1)))

    def size(self, smallest: int = 1) -> int:
        return self.integer(smallest, smallest + self.max_size - 1)

    def image_shape(self, channels: int | None = None) -> tuple[int, int, int, int]:
        c = self.integer(1, 6) if channels is None else channels
        return self.batch(), c, self.size(), self.size()

    def bias(self, size: int) -> np.ndarray | None:
        return self(size) if self.draw(st.booleans()) else None

    def pair(self, low: int, high: int) -> int | tuple[int, int]:
        number = st.integers(low, high)
        return self.draw(number | st.tuples(number, number))

    def padding(self, high: int) -> Any:
        number = st.integers(0, high)
        pairs = st.tuples(number, number)
        return self.draw(st.tuples(pairs, pairs) | number | pairs)

    def grouped_channels(self) -> tuple[int, int, int]:
        """Groups, input and output channels; mostly several groups of several channels each."""
        groups = self.draw(st.sampled_from((2, 3, 1)))
        per_group = st.sampled_from((1, 2, 3, 4))
        return groups, groups * self.draw(per_group), groups * self.draw(per_group)


def seeds() -> SearchStrategy[int]:
    return st.integers(0, 2**32 - 1)


def as_pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def as_sides(padding: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)) of any form of padding."""
    vertical, horizontal = (padding, padding) if isinstance(padding, int) else padding
    return as_pair(vertical), as_pair(horizontal)


def smallest_image(kernel: tuple[int, int], padding: Any, dilation: Any = 1) -> tuple[int, int]:
    """The smallest (height, width) into which the kernel fits."""
    low = []
    for k, sides, d in zip(kernel, as_sides(padding), as_pair(dilation), strict=True):
        low.append(max(1, (k - 1) * d + 1 - sum(sides)))
    return low[0], low[1]


Case = tuple[tuple[Any, ...], dict[str, Any]]


def windowed(make: Maker, kernel: tuple[int, int]) -> tuple[tuple[int, int], dict[str, Any]]:
    """Image size and hyperparameters of a convolution."""
    hyperparameters = {
        "stride": make.pair(1, 3),
        "padding": make.padding(2),
        "dilation": make.pair(1, 2),
    }
    low = smallest_image(kernel, hyperparameters["padding"], hyperparameters["dilation"])
    return (make.size(low[0]), make.size(low[1])), hyperparameters


def conv2d(make: Maker) -> Case:
    groups, c, o = make.grouped_channels()
    kernel = (make.integer(1, 3), make.integer(1, 3))
    size, hyperparameters = windowed(make, kernel)
    x, w = make(make.batch(), c, *size), make(o, c // groups, *kernel)
    return (x, w, make.bias(o)), {**hyperparameters, "groups": groups}


def depthwise_conv2d(make: Maker) -> Case:
    c, multiplier = make.integer(1, 5), make.integer(1, 3)
    kernel = (make.integer(1, 3), make.integer(1, 3))
    size, hyperparameters = windowed(make, kernel)
    x, w = make(make.batch(), c, *size), make(c * multiplier, 1, *kernel)
    return (x, w, make.bias(c * multiplier)), hyperparameters


def pointwise_conv2d(make: Maker) -> Case:
    groups, c, o = make.grouped_channels()
    x, w = make(*make.image_shape(c)), make(o, c // groups, 1, 1)
    return (x, w, make.bias(o)), {"groups": groups}


def batch_norm(make: Maker) -> Case:
    """At least 4 values a channel, which are not all close; gamma may be negative."""
    c = make.integer(1, 5)
    shape = (make.batch(), c, make.size(2), make.size(2))
    hyperparameters = {"eps": make.draw(st.sampled_from((1e-5, 1e-3)))}
    return (make.spread(*shape), make(c), make(c)), hyperparameters


def batch_norm_inference(make: Maker) -> Case:
    c = make.integer(1, 5)
    arrays = (make(*make.image_shape(c)), make(c), make(c), make(c), make.positive(c))
    return arrays, {"eps": make.draw(st.sampled_from((1e-5, 1e-3)))}


def channel_shuffle(make: Maker) -> Case:
    groups, c, _ = make.grouped_channels()
    return (make(*make.image_shape(c)),), {"groups": groups}


def channel_split(make: Maker) -> Case:
    sizes = make.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    return (make(*make.image_shape(sum(sizes))),), {"sizes": tuple(sizes)}


def channel_concat(make: Maker) -> Case:
    sizes = make.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    n, _, h, w = make.image_shape(1)
    return tuple(make(n, c, h, w) for c in sizes), {}


def pooled(make: Maker) -> tuple[tuple[int, int], dict[str, Any]]:
    """Image size and hyperparameters of a pool; no window lies wholly in the padding."""
    kernel_size = make.pair(1, 3)
    kernel = as_pair(kernel_size)
    stride = make.draw(st.none() | st.just("drawn"))
    sides = [st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)) for k in kernel]
    padding = make.draw(st.integers(0, min(kernel) - 1) | st.tuples(*sides))
    low = smallest_image(kernel, padding)
    return (make.size(low[0]), make.size(low[1])), {
        "kernel_size": kernel_size,
        "stride": None if stride is None else make.pair(1, 3),
        "padding": padding,
    }


def max_pool2d(make: Maker) -> Case:
    size, hyperparameters = pooled(make)
    return (make.spread(make.batch(), make.integer(1, 4), *size),), hyperparameters


def avg_pool2d(make: Maker) -> Case:
    size, hyperparameters = pooled(make)
    hyperparameters["count_include_pad"] = make.draw(st.booleans())
    return (make(make.batch(), make.integer(1, 4), *size),), hyperparameters


def image(make: Maker) -> Case:
    return (make(*make.image_shape()),), {}


def upsample_nearest(make: Maker) -> Case:
    return (make(*make.image_shape()),), {"scale": make.pair(1, 3)}


def upsample_bilinear(make: Maker) -> Case:
    align_corners = make.draw(st.booleans())
    return (make(*make.image_shape()),), {
        "scale": make.pair(1, 3),
        "align_corners": align_corners,
    }


def any_shape(make: Maker) -> tuple[int, ...]:
    return tuple(make.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))


def relu(make: Maker) -> Case:
    return (make.spread(*any_shape(make)),), {}


def sigmoid(make: Maker) -> Case:
    return (make(*any_shape(make)),), {}


def squeeze_excitation(make: Maker) -> Case:
    """As in a network: means that are not almost 0, and weights that don't saturate the sigmoid."""
    c, r = make.integer(1, 6), make.integer(1, 4)
    x = make(*make.image_shape(c), mean=1.0)
    return (x, make(r, c, std=c**-0.5), make(r), make(c, r, std=r**-0.5), make(c)), {}


def linear(make: Maker) -> Case:
    n, features, outputs = make.batch(), make.size(), make.size()
    return (make(n, features), make(outputs, features), make.bias(outputs)), {}


def dropout(make: Maker) -> Case:
    rate = make.draw(st.sampled_from((0.5, 0.2, 0.0, 0.9)))
    return (make(*any_shape(make)),), {"rate": rate, "rng": np.random.default_rng(make.seed)}


def add(make: Maker) -> Case:
    """Sums that are not near 0, where the ReLU of the fused one has its kink."""
    shape = any_shape(make)
    x1, total = make.spread(*shape), make.spread(*shape)
    return (x1, make.laid_out(total - x1)), {}


def conv2d_relu(make: Maker) -> Case:
    """With a bias that keeps most outputs away from the kink of the ReLU."""
    (x, w, _), hyperparameters = conv2d(make)
    return (x, w, make(len(w), std=20.0)), hyperparameters


def pointwise_conv2d_relu(make: Maker) -> Case:
    (x, w, _), hyperparameters = pointwise_conv2d(make)
    return (x, w, make(len(w), std=20.0)), hyperparameters


def channel_concat_shuffle(make: Maker) -> Case:
    arrays, _ = channel_concat(make)
    channels = sum(array.shape[1] for array in arrays)
    divisors = [g for g in range(1, channels + 1) if channels % g == 0]
    return arrays, {"groups": make.draw(st.sampled_from(divisors))}


def softmax_cross_entropy(make: Maker) -> Case:
    n, classes = make.batch(), make.size()
    label_smoothing = make.draw(st.sampled_from((0.0, 0.1, 1.0)))
    return (make(n, classes), make.rng.integers(0, classes, size=n)), {
        "label_smoothing": label_smoothing
    }


CASES: dict[str, Callable[[Maker], Case]] = {
    "conv2d": conv2d,
    "group_conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "pointwise_conv2d": pointwise_conv2d,
    "batch_norm": batch_norm,
    "batch_norm_inference": batch_norm_inference,
    "channel_shuffle": channel_shuffle,
    "channel_unshuffle": channel_shuffle,
    "channel_split": channel_split,
    "channel_concat": channel_concat,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "global_avg_pool": image,
    "upsample_nearest": upsample_nearest,
    "upsample_bilinear": upsample_bilinear,
    "relu": relu,
    "sigmoid": sigmoid,
    "squeeze_excitation": squeeze_excitation,
    "linear": linear,
    "dropout": dropout,
    "softmax_cross_entropy": softmax_cross_entropy,
    "add": add,
    "add_relu": add,
    "batch_norm_relu": batch_norm,
    "conv2d_relu": conv2d_relu,
    "pointwise_conv2d_relu": pointwise_conv2d_relu,
    "channel_concat_shuffle": channel_concat_shuffle,
}


def cases(name: str, dtype: Any = None, max_size: int = 5) -> SearchStrategy[Example]:
    """Cases of an operation: images of up to about max_size pixels a side, dtype drawn if None.

    An rng among the hyperparameters has a state: pass `hyperparameters(case)`, a copy.
    """

    @st.composite
    def case(draw: DrawFn) -> Example:
        return Example(*CASES[name](Maker(draw, dtype, max_size)))

    return case()


@st.composite
def images(
    draw: DrawFn,
    dtype: Any = None,
    max_size: int = 5,
    min_channels: int = 1,
    max_channels: int = 6,
    divisible_by: int = 1,
) -> np.ndarray:
    """Images (n, c, h, w) of normal numbers in any layout; divisible_by divides c."""
    make = Maker(draw, dtype, max_size)
    low, high = -(-min_channels // divisible_by), max_channels // divisible_by
    return make(*make.image_shape(divisible_by * make.integer(low, max(low, high))))


def hyperparameters(case: Example) -> dict[str, Any]:
    """A copy of a case's hyperparameters, so that its rng starts from the same state each time."""
    return copy.deepcopy(case.hyperparameters)


def run(operation: Operation, case: Example, floor: str = "ops") -> tuple[Any, Any]:
    """y and cache of an operation's forward on one floor."""
    return operation.forward(floor)(*case.arrays, **hyperparameters(case))


def cotangent_like(y: Any, rng: np.random.Generator) -> Any:
    """A random dy for an output y: an array, a tuple of arrays, or a scalar."""
    if isinstance(y, tuple):
        return tuple(cotangent_like(part, rng) for part in y)
    return np.asarray(rng.normal(size=np.shape(y)), dtype=y.dtype)[()]


def as_tuple(gradients: Any) -> tuple[Any, ...]:
    """The gradients of any backward as a tuple."""
    return gradients if isinstance(gradients, tuple) else (gradients,)


def argument_names(operation: Operation, case: Example) -> tuple[str, ...]:
    """The name of each array of a case; repeated ones are numbered: arrays[0], arrays[1], ..."""
    (first, *rest) = operation.arrays
    if first.startswith("*"):
        assert not rest
        return tuple(f"{first[1:]}[{i}]" for i in range(len(case.arrays)))
    return operation.arrays
