"""What an exercise is: something to write, what it is compared with, and the cases to try."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from numpy_shufflenet.exercises.cases import Case
from numpy_shufflenet.strategies import DrawForStudents


@dataclass(frozen=True)
class Exercise:
    """Something to write.

    Attributes
    ----------
    name : str
    arguments : tuple of str
        All that the target takes, in order: arrays, then hyperparameters. One that starts with *
        repeats.
    needed : frozenset of str
        Those without which there is no exercise.
    returns : tuple of str
        Names of the results, for the report.
    target : callable
        Takes the case (arrays by name, hyperparameters by name), returns a tuple of results.
    draw : callable
        Takes the names that the student's function takes; returns a strategy for cases.
    operation : str
        Of the table, for backward exercises, of which the gradient can be checked.
    """

    name: str
    arguments: tuple[str, ...]
    needed: frozenset[str]
    returns: tuple[str, ...]
    target: Callable[[Case], tuple[Any, ...]]
    draw: Callable[[Collection[str] | None], SearchStrategy[Case]]
    operation: str = ""

    @property
    def signature(self) -> str:
        """How a function for it may be declared."""
        return f"({', '.join(self.arguments)})"


def strategy(build: Callable[[DrawForStudents], Case]) -> Callable[..., SearchStrategy[Case]]:
    """Return `Exercise.draw` for a function that makes one case."""

    def draw(takes: Collection[str] | None) -> SearchStrategy[Case]:
        @st.composite
        def case(draw: DrawFn) -> Case:
            return build(DrawForStudents(draw, takes))

        return case()

    return draw
