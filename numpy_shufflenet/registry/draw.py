"""How to draw a case of an operation, for examples, tests and exercises.

A case is the arguments of one call. Every operation has a function that makes a case: it asks a
`Draw` for numbers and arrays. `Draw` needs only NumPy. For each choice it returns the value that
shows the operation best (`example=`), and only the entries of arrays are random. For tests and
exercises, `numpy_shufflenet.strategies` has a subclass whose choices Hypothesis makes.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array

Case = tuple[tuple[Array | None, ...], dict[str, Any]]
"""Arrays by position, hyperparameters by name."""


class Example(NamedTuple):
    """Arguments of a forward: arrays by position, hyperparameters by name."""

    arrays: tuple[Array | None, ...]
    hyperparameters: dict[str, Any]


class Draw:
    """Draws the example of an operation, with arrays of this dtype whose entries have this seed."""

    def __init__(self, seed: Any = 0, dtype: Any = np.float64):
        self.rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)

    # Choices

    def integer(self, low: int, high: int, *, example: int) -> int:
        """Return a whole number from low to high."""
        return example

    def choose(self, *options: Any) -> Any:
        """Return one of the options. The first is the example."""
        return options[0]

    def option(self, name: str, neutral: Any, draw: Callable[[], Any]) -> Any:
        """Return draw(), or the neutral value if the function under test doesn't take `name`."""
        return draw()

    def pair(self, low: int, high: int, *, example: Any) -> Any:
        """Return a whole number from low to high, or two of them."""
        return example

    def padding(self, high: Any, *, example: Any) -> Any:
        """Return padding in any of its forms, of at most `high`: a number, or (height, width)."""
        return example

    def sizes(self, *, example: tuple[int, ...]) -> tuple[int, ...]:
        """Return one to four whole numbers."""
        return example

    def shape(self, *, example: tuple[int, ...]) -> tuple[int, ...]:
        """Return any shape."""
        return example

    def batch(self, *, example: int = 2) -> int:
        """Return a number of images."""
        return example

    def side(self, low: int = 1, *, example: int) -> int:
        """Return the height or width of an image, or the length of a row: at least low."""
        return example

    def large(self, factor: float) -> float:
        """Return 1 here; in exercises, a factor for numbers that may overflow."""
        return 1.0

    def away(self, factor: float) -> float:
        """Return 1 here; in tests, a factor that keeps numbers away from a kink."""
        return 1.0

    # Arrays

    def __call__(self, *shape: int, std: float = 1.0) -> Array:
        """Return an array of random numbers."""
        return self.lay_out(std * self.rng.normal(size=shape))

    def spread(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> Array:
        """Return random numbers; in tests no two of them are close, which suits maxima and kinks.

        `mean` and `std` are for the example only.
        """
        return self.lay_out(mean + std * self.rng.normal(size=shape))

    def tied(self, *shape: int) -> Array:
        """Return numbers as `spread` does; in exercises some are equal, for ties of a maximum."""
        return self.spread(*shape)

    def positive(self, *shape: int) -> Array:
        """Return random positive numbers that are not close to 0."""
        return self.lay_out(np.square(self.rng.normal(size=shape)) + 0.1)

    def small(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> Array:
        """Return random numbers for weights that don't saturate a sigmoid."""
        return self.lay_out(mean + std * self.rng.normal(size=shape))

    def bias(self, size: int, std: float = 1.0) -> Array | None:
        """Return an array of this size, or None."""
        return self(size, std=std)

    def lay_out(self, values: Array) -> Array:
        """Return the values in this dtype; in tests, Hypothesis also chooses the memory layout."""
        return values.astype(self.dtype)

    # What several operations share

    def image(
        self, channels: int | None = None, *, example: Sequence[int] = (3, 2), batch: int = 2
    ) -> tuple[int, int, int, int]:
        """Return the shape of images; example is (h, w), or (c, h, w) where channels are drawn."""
        if channels is None:
            channels = self.integer(1, 6, example=example[0])
        height, width = example[-2:]
        n = self.batch(example=batch)
        return n, channels, self.side(example=height), self.side(example=width)

    def groups(self, inputs: int, outputs: int = 1, groups: int = 2) -> tuple[int, int, int]:
        """Return groups, input channels and output channels; the examples are for one group."""
        g = self.option("groups", 1, lambda: self.integer(1, 3, example=groups))
        c, o = self.integer(1, 4, example=inputs), self.integer(1, 4, example=outputs)
        return g, g * c, g * o
