"""What an exercise is: a function to write, the right results, and the cases to test."""

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from numpy_shufflenet.exercises.draw import DrawForStudents, Draws
from numpy_shufflenet.operations import OPERATIONS
from numpy_shufflenet.plots.insight import occlusion_map
from numpy_shufflenet.training import SGD, cosine_schedule

Case = tuple[dict[str, Any], dict[str, Any]]
"""The arrays and the hyperparameters of one call, by name."""

_FUNCTIONS: list[Callable[..., Any]] = [
    *(operation.forward() for operation in OPERATIONS.values()),
    *(SGD, cosine_schedule, occlusion_map),
]
NEUTRAL: dict[str, Any] = {
    name: parameter.default
    for function in _FUNCTIONS
    for name, parameter in inspect.signature(function).parameters.items()
    if parameter.default is not parameter.empty and (parameter.default is not None or name == "b")
}
"""The library's defaults. A function that lacks an argument must be right for its default."""


@dataclass(frozen=True)
class Exercise:
    """A function to write."""

    name: str
    #: All arguments in order: arrays, then hyperparameters. A leading * marks a repeated argument.
    arguments: tuple[str, ...]
    #: The arguments that the function must take.
    needed: frozenset[str]
    #: Names of the results, for the report.
    returns: tuple[str, ...]
    #: Computes the tuple of right results of a case.
    target: Callable[[Case], tuple[Any, ...]]
    #: Makes one case.
    build: Callable[[DrawForStudents], Case]
    #: The name of the operation if the function is its backward, otherwise "".
    operation: str = ""
    #: Arguments that cases contain even if the function doesn't take them.
    always: frozenset[str] = frozenset()
    #: The forward of a function of (dy, cache), if it is no operation: computes y and the cache.
    forward: Callable[..., Any] | None = None

    @property
    def signature(self) -> str:
        """The arguments that a function may declare."""
        return f"({', '.join(self.arguments)})"

    def case(self, choices: Draws, takes: Collection[str] | None, *, typical: bool = False) -> Case:
        """Return a case of a function that takes these arguments; None means all.

        See `DrawForStudents` for `typical`. UnsuitableError is raised if there is no such case.
        """
        varied = None if takes is None else self.always.union(takes)
        return self.build(DrawForStudents(choices, varied, typical=typical))
