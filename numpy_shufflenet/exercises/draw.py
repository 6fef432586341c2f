"""Draws the cases of an exercise: small shapes, whole numbers, and simpler cases after a failure.

A case depends only on a list of whole numbers, its choices: sizes, settings, and the seed of the
entries. The smaller a choice, the simpler the case. So a case that fails is simplified by making
its choices smaller. This needs NumPy alone, so that a browser shows what a notebook shows.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.registry import Draw

SEEDS = 1000
FORMS = 3  # a number, (height, width), or ((top, bottom), (left, right))


class UnsuitableError(Exception):
    """These choices make no case of the exercise."""


class Draws:
    """The choices of a case: the given ones first, then random ones, or 0 without a generator."""

    def __init__(self, given: Sequence[int] = (), rng: np.random.Generator | None = None):
        self.given, self.rng = given, rng
        self.made: list[int] = []

    def below(self, count: int) -> int:
        """Choose a whole number from 0 to count - 1."""
        place = len(self.made)
        if place < len(self.given):
            chosen = min(self.given[place], count - 1)
        else:
            chosen = int(self.rng.integers(count)) if self.rng else 0
        self.made.append(chosen)
        return chosen


def simpler(choices: Sequence[int]) -> Iterator[list[int]]:
    """Yield lists of choices in which one choice is smaller."""
    for place, chosen in enumerate(choices):
        for smaller in sorted({0, chosen // 2, chosen - 1} - {-1, chosen}):
            yield [*choices[:place], smaller, *choices[place + 1 :]]


class DrawForStudents(Draw):
    """Draws a case to calculate by hand, for a function that may not take every argument yet.

    Shapes are small, entries are whole numbers in float64 and never 0. A hyperparameter that the
    function doesn't take keeps its neutral value. So a convolution can be checked before it has
    a stride.

    Parameters
    ----------
    choices : Draws
    takes : collection of str or None
        Names that the function takes. None means all names, in every form the library takes.
    typical : bool
        Whether sizes and hyperparameters are those of the operation's example, where windows
        overlap and groups have several channels. Few of the smallest cases show such mistakes.
    """

    def __init__(self, choices: Draws, takes: Collection[str] | None, *, typical: bool = False):
        super().__init__(choices.below(SEEDS))
        self.choices, self.takes, self.typical = choices, takes, typical

    def integer(self, low: int, high: int, *, example: int | None = None) -> int:
        """Draw a whole number from low to high, or return the example."""
        if self.typical and example is not None:
            return example
        return low + self.choices.below(high - low + 1)

    def side(self, low: int = 1, *, example: int | None = None) -> int:
        """Draw a height or width, at least low, or return the example."""
        if self.typical and example is not None:
            return max(low, example)
        return self.integer(low, low + 3)

    def option(self, name: str, neutral: Any, draw: Callable[[], Any]) -> Any:
        """Return draw() if the function takes `name`, else the neutral value."""
        return draw() if self.takes is None or name in self.takes else neutral

    def choose(self, *options: Any) -> Any:
        """Draw one of the options; students' functions need not take pairs or None."""
        if self.takes is not None:
            options = tuple(o for o in options if o is not None and not isinstance(o, tuple))
        return options[0 if self.typical else self.choices.below(len(options))]

    def pair(self, low: int, high: int, *, example: Any = None) -> Any:
        """Draw a whole number, or two of them; students' functions need not take pairs."""
        if self.takes is None:
            numbers = [self.integer(low, high) for _ in range(1 + self.choices.below(2))]
            return tuple(numbers) if len(numbers) > 1 else numbers[0]
        return self.integer(low, high, example=example if isinstance(example, int) else None)

    def padding(self, high: Any, *, example: Any = None) -> Any:
        """Draw padding; students' functions need not take pairs."""
        height, width = high if isinstance(high, tuple) else (high, high)
        if self.takes is not None:
            limit = min(height, width)
            return self.integer(0, limit, example=min(1, limit))
        form = self.choices.below(FORMS if isinstance(high, int) else 2)
        if form == 0:
            return self.integer(0, min(height, width))
        if form == 1:
            return self.integer(0, height), self.integer(0, width)
        return tuple((self.integer(0, side), self.integer(0, side)) for side in (height, width))

    def sizes(self, *, example: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Draw one to four whole numbers from 1 to 4."""
        return tuple(self.integer(1, 4) for _ in range(self.integer(1, 4)))

    def shape(self, *, example: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Draw a shape of one to four axes."""
        return self.sizes()

    def batch(self, *, example: int = 2) -> int:
        """Draw a number of images, from 1 to 3."""
        return self.integer(1, 3, example=example)

    def large(self, factor: float) -> float:
        """Draw a factor that may make numbers overflow."""
        return self.choose(0.5, factor)

    def away(self, factor: float) -> float:
        """Return the factor."""
        return factor

    def __call__(self, *shape: int, std: float = 1.0) -> Array:
        """Return whole numbers from -9 to 9 without 0, times std."""
        return std * self.rng.integers(1, 10, shape) * self.rng.choice([-1.0, 1.0], shape)

    def spread(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> Array:
        """Return whole numbers that are all different and not 0; mean and std are the example's."""
        size = math.prod(shape)
        signs = self.rng.choice([-1.0, 1.0], size)
        return (signs * (1 + self.rng.permutation(size))).reshape(shape)

    def tied(self, *shape: int) -> Array:
        """Return whole numbers from -9 to 9 that are all different, or few of them, often equal."""
        return self.choose(self.spread, self)(*shape)

    def positive(self, *shape: int) -> Array:
        """Return whole numbers from 1 to 9."""
        return np.abs(self(*shape))

    def small(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> Array:
        """Return eighths of whole numbers, which don't saturate a sigmoid."""
        return self(*shape) / 8

    def bias(self, size: int, std: float = 1.0) -> Array | None:
        """Draw an array of this size, or None."""
        return self.option(
            "b", None, lambda: self(size, std=std) if self.choices.below(2) else None
        )

    def lay_out(self, values: Array) -> Array:
        """Return the values as they are."""
        return values
