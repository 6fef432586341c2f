"""A student's function: which arguments it takes, and what is wrong with its results."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet.exercises import sandbox
from numpy_shufflenet.exercises.exercise import Case, Exercise
from numpy_shufflenet.exercises.judge import Problem, as_results, judge
from numpy_shufflenet.locale import _, marked

UNWRITTEN = marked("nothing is written yet")


class Tried(NamedTuple):
    """What a student's function did in a case."""

    case: Case
    targets: tuple[Any, ...]
    #: What is wrong, or None.
    problem: Problem | None
    #: What the function returned; None if that were not the results of the exercise.
    results: tuple[Any, ...] | None = None
    #: Type and text of the error that the function raised.
    error: str = ""


@dataclass(frozen=True)
class Attempt:
    """A student's function, with the information needed to call it."""

    exercise: Exercise
    #: Takes the arguments of the exercise and returns its results.
    run: Callable[..., Any]
    #: Names of the arguments that the function takes; None for all.
    takes: set[str] | None = None
    #: Whether to pass arrays by position, because the function has other names for them.
    by_position: bool = False

    @classmethod
    def of(
        cls, exercise: Exercise, function: Any, forward: Callable[..., Any] | None = None
    ) -> "Attempt":
        """Make an Attempt: read from a function's signature how to call the function.

        Parameters
        ----------
        exercise : Exercise
        function : object
            What the student handed in.
        forward : callable, optional
            For a function of (dy, cache): computes y and the cache. By default, the forward of the
            library.

        Raises
        ------
        TypeError
            If the function can't take the arguments of the exercise. The message is for students.
        """
        if not callable(function):
            said = _("this is of type {kind}; a function is needed")
            raise TypeError(said.format(kind=type(function).__name__))
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            return cls(exercise, function)
        if inspect.Parameter.VAR_KEYWORD in [parameter.kind for parameter in parameters]:
            return cls(exercise, function)
        wanted = exercise.arguments
        given = [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_POSITIONAL]
        strange = [p.name for p in parameters if p.default is p.empty and p.name not in wanted]
        make = forward or exercise.forward
        if exercise.operation and not make:
            make = operations.find(exercise.operation).forward()
        if make and {"cache", "caches"} & set(given):
            return cls(exercise, _with_cache(function, make), by_position=True)
        if any(argument.startswith("*") for argument in wanted):
            return cls(exercise, function, by_position=True)
        if strange and len(given) == len(wanted):
            return cls(exercise, function, by_position=True)
        takes = {name for name in given if name in wanted}
        missing = [name for name in wanted if name in exercise.needed - takes]
        if not strange and not missing:
            return cls(exercise, function, takes)
        said = _(
            "your function takes ({given}); it must also take {names}. It may take {signature}, "
            "or only those that it uses"
        )
        if strange:
            said = _(
                "your function takes ({given}); this exercise has no argument {names}. It may take "
                "{signature}, or only those that it uses"
            )
        raise TypeError(
            said.format(
                given=", ".join(given),
                names=", ".join(strange or missing),
                signature=exercise.signature,
            )
        )

    def __call__(self, case: Case) -> Any:
        """Call the function with copies of the arguments that it takes."""
        arrays, settings = copy.deepcopy(case)
        if self.by_position:
            returned = self.run(*arrays.values(), **settings)
        else:
            named = {**arrays, **settings}
            used = named if self.takes is None else {k: named[k] for k in named if k in self.takes}
            returned = self.run(**used)
        _refuse_writing(case[0], arrays)
        return returned

    def tried(self, case: Case) -> Tried:
        """Call the function, and compare its results with the targets.

        Raises
        ------
        sandbox.EndedError
            If the process of the function has ended.
        """
        targets = self.exercise.target(case)
        names = self.exercise.returns
        if names[0].startswith("*"):
            names = tuple(f"{names[0][1:]}[{i}]" for i in range(len(targets)))
        needed = len(names)
        if self.takes is not None and "b" in self.exercise.arguments and names[-1] == "db":
            needed -= "b" not in self.takes
        results: Any
        try:
            with np.errstate(all="ignore"):
                results = as_results(self(case), targets, names, needed)
        except sandbox.EndedError:
            raise
        except _WroteError as error:
            results = Problem(str(error))
        except NotImplementedError:
            results = Problem(_(UNWRITTEN))
        except MemoryError:
            results = Problem(
                _("your function ran out of memory: does an array or a list keep growing?")
            )
        except RecursionError:
            results = Problem(_("your function calls itself without end"))
        except Exception as error:
            kind, line = type(error).__name__, getattr(error, "line", "")
            message = str(error) or _("no message")
            said = _("your function raised {kind}{line}. The message is: {message}")
            problem = Problem(said.format(kind=kind, line=line, message=message))
            return Tried(case, targets, problem, error=f"{kind}: {error}")
        if isinstance(results, Problem):
            return Tried(case, targets, results)
        return Tried(case, targets, judge(results, targets, names), results)


def _with_cache(function: Callable[..., Any], forward: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a function of (dy, cache) into a function of dy and the arguments of the forward."""

    def run(dy: Any, *arrays: Any, **settings: Any) -> Any:
        cache = forward(*arrays, **settings)[1]
        return function(dy, cache)

    return run


class _WroteError(Exception):
    """The function has changed an argument."""


def _refuse_writing(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name, array in before.items():
        if isinstance(array, np.ndarray) and not np.array_equal(array, after[name], equal_nan=True):
            said = _(
                "your function writes into {name}, but the caller may still need {name}; "
                "write into a new array"
            )
            raise _WroteError(said.format(name=name))
