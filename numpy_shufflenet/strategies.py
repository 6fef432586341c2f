"""Hypothesis strategies for the arguments of every operation.

    from numpy_shufflenet.strategies import cases

    @given(cases("conv2d"))
    def test_mine(case):
        y, cache = my_forward(*case.arrays, **case.hyperparameters)

A case is the arguments of one call. Hypothesis draws its shapes, hyperparameters, dtype, layout in
memory and a seed, and can shrink them. A random generator with this seed draws the entries of
arrays: Hypothesis would be slow with each entry, and shrinking entries would tell little.
"""

import math
from typing import Any

import numpy as np

from numpy_shufflenet._optional import need

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import DrawFn, SearchStrategy
except ImportError:
    need("hypothesis", "drawing cases")
    raise

from numpy_shufflenet._typing import Array
from numpy_shufflenet.operations import Draw, Example, find

DTYPES = (np.float64, np.float32)
LAYOUTS = ("row-major", "channel-major", "fortran", "every second", "reversed")


def cases(name: str, dtype: Any = None, max_size: int = 5) -> SearchStrategy[Example]:
    """Return a strategy for cases of an operation.

    Images have up to about max_size rows and columns. The dtype is drawn if it is None. A random
    generator among the hyperparameters has a state: pass a copy of the generator to each call.
    """
    operation = find(name)

    @st.composite
    def case(draw: DrawFn) -> Example:
        return operation.draw(DrawWithHypothesis(draw, dtype, max_size))

    return case()


def seeds() -> SearchStrategy[int]:
    """Return a strategy for seeds of `numpy.random.default_rng`."""
    return st.integers(0, 2**32 - 1)


def arrange(array: Array, layout: str) -> Array:
    """Return a copy with the same values that lies differently in memory: one of `LAYOUTS`."""
    if layout == "row-major":
        return np.ascontiguousarray(array).copy()
    if layout == "fortran":
        return array.copy(order="F")
    if layout == "channel-major":  # the layout of activations in a network
        return _swap_first_two(_swap_first_two(array).copy())
    if layout == "every second":  # the gaps hold NaN: reading a gap would show in the result
        gaps = np.full([2 * size for size in array.shape], np.nan).astype(array.dtype)
        view = gaps[(slice(None, None, 2),) * array.ndim]
        view[...] = array
        return view
    if layout == "reversed":
        backwards = (slice(None, None, -1),) * array.ndim
        return array[backwards].copy()[backwards]
    raise ValueError(f"layout={layout!r} is not one of {LAYOUTS}")


def _swap_first_two(array: Array) -> Array:
    return array.swapaxes(0, 1) if array.ndim > 1 else array


class DrawWithHypothesis(Draw):
    """Lets Hypothesis make every choice; all arrays have one dtype, each array has another layout.

    Parameters
    ----------
    draw : callable
        The function that Hypothesis passes to a composite strategy.
    dtype : dtype or None
        With None, Hypothesis draws the dtype.
    max_size : int
        How many different heights and widths are drawn, from the least that the kernel needs on.
    """

    def __init__(self, draw: DrawFn, dtype: Any = None, max_size: int = 5):
        self.from_strategy = draw
        dtype = draw(st.sampled_from(DTYPES)) if dtype is None else dtype
        super().__init__(draw(seeds()), dtype)
        self.max_size = max_size

    def integer(self, low: int, high: int, *, example: int = 0) -> int:
        """Draw a whole number from low to high."""
        return self.from_strategy(st.integers(low, high))

    def choose(self, *options: Any) -> Any:
        """Draw one of the options."""
        return self.from_strategy(st.sampled_from(options))

    def pair(self, low: int, high: int, *, example: Any = None) -> Any:
        """Draw a whole number from low to high, or two of them."""
        number = st.integers(low, high)
        return self.from_strategy(number | st.tuples(number, number))

    def padding(self, high: Any, *, example: Any = None) -> Any:
        """Draw padding in any form; for a pair `high`, draw a number or a (height, width) pair."""
        if isinstance(high, tuple):
            number, pair = st.integers(0, min(high)), st.tuples(*(st.integers(0, k) for k in high))
            return self.from_strategy(number | pair)
        number = st.integers(0, high)
        pairs = st.tuples(number, number)
        return self.from_strategy(st.tuples(pairs, pairs) | number | pairs)

    def sizes(self, *, example: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Draw one to four whole numbers from 1 to 4."""
        return tuple(self.from_strategy(st.lists(st.integers(1, 4), min_size=1, max_size=4)))

    def shape(self, *, example: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Draw a shape of one to four axes."""
        return self.sizes()

    def batch(self, *, example: int = 2) -> int:
        """Draw a number of images, more often several than one."""
        return self.choose(2, 3, 1)

    def side(self, low: int = 1, *, example: int = 0) -> int:
        """Draw the height or width of an image."""
        return self.integer(low, low + self.max_size - 1)

    def away(self, factor: float) -> float:
        """Return the factor."""
        return factor

    def spread(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> Array:
        """Return numbers from -2 to 2, evenly spaced and shuffled; mean and std are the example's.

        No two are close, and none is close to 0. So a small step never crosses a kink, and no
        channel is nearly constant.
        """
        size = math.prod(shape)
        values = (self.rng.permutation(size) - size // 2 + 0.4) * (4 / max(size, 1))
        return self.lay_out(values.reshape(shape))

    def positive(self, *shape: int) -> Array:
        """Return numbers from 0.2 to 2."""
        return self.lay_out(self.rng.uniform(0.2, 2, size=shape))

    def bias(self, size: int, std: float = 1.0) -> Array | None:
        """Draw an array of this size, or None."""
        return self(size, std=std) if self.from_strategy(st.booleans()) else None

    def lay_out(self, values: Array) -> Array:
        """Return the values in the dtype drawn, in a memory layout that is drawn, too."""
        return arrange(values.astype(self.dtype), self.choose(*LAYOUTS))
