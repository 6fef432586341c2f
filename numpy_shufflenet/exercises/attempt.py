"""A student's function: how it wants to be called, and what is wrong with what comes back."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet.exercises import sandbox
from numpy_shufflenet.exercises.cases import Case
from numpy_shufflenet.exercises.exercise import Exercise
from numpy_shufflenet.exercises.judge import Problem, judge

UNWRITTEN = "nothing is written yet"


@dataclass
class Attempt:
    """A student's function, and how it wants to be called.

    Attributes
    ----------
    takes : set of str or None
        Names of arguments that it takes; None for all.
    by_position : bool
        Whether its names are its own, so that arguments go by their order.
    cached : bool
        Whether it takes (dy, cache).
    complaint : str
        Why it can't be called at all; empty if it can.
    run : callable
        What is called: the function, or for one of (dy, cache) a function of dy and the arguments
        of the forward, which makes the cache first. `check` puts it into a sandbox.
    """

    exercise: Exercise
    function: Any
    forward: Callable[..., Any] | None
    takes: set[str] | None = None
    by_position: bool = False
    cached: bool = False
    complaint: str = ""
    run: Callable[..., Any] = field(init=False)

    def __post_init__(self) -> None:
        self.run = self.function
        if not callable(self.function):
            kind = type(self.function).__name__
            self.complaint = f"this is of type {kind}; a function is needed"
            return
        try:
            parameters = list(inspect.signature(self.function).parameters.values())
        except (TypeError, ValueError):
            return
        kinds = [parameter.kind for parameter in parameters]
        if inspect.Parameter.VAR_KEYWORD in kinds:
            return
        wanted = self.exercise.arguments
        given = [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_POSITIONAL]
        required = [p.name for p in parameters if p.default is inspect.Parameter.empty]
        if "cache" in given and self.exercise.operation:
            self.cached, self.run = True, self._with_cache
        elif any(argument.startswith("*") for argument in wanted):
            self.by_position = True
        elif all(name in wanted for name in required):
            self.takes = {name for name in given if name in wanted}
            missing = [name for name in wanted if name in self.exercise.needed - self.takes]
            if missing:
                self.complaint = self._says(given, f"it needs {', '.join(missing)}, too")
        elif len(given) == len(wanted):
            self.by_position = True
        else:
            strange = ", ".join(name for name in required if name not in wanted)
            self.complaint = self._says(given, f"nothing is known of {strange}")

    def _says(self, given: list[str], what: str) -> str:
        return (
            f"your function takes ({', '.join(given)}); {what}. "
            f"It may take {self.exercise.signature}, or as many of these as it uses"
        )

    def _with_cache(self, dy: Any, *arrays: Any, **settings: Any) -> Any:
        forward = self.forward or operations.find(self.exercise.operation).forward()
        _, cache = forward(*arrays, **settings)
        return self.function(dy, cache)

    def __call__(self, case: Case) -> Any:
        """Call the function with its own copies of what it takes."""
        arrays, settings = copy.deepcopy(case)
        if self.cached or self.by_position:
            returned = self.run(*arrays.values(), **settings)
        else:
            named = {**arrays, **settings}
            used = named if self.takes is None else {k: named[k] for k in named if k in self.takes}
            returned = self.run(**used)
        _refuse_writing(case[0], arrays)
        return returned

    def problem(self, case: Case) -> Problem | None:
        """Call the function, and return what is wrong with what comes back.

        Raises
        ------
        sandbox.EndedError
            If the process of the function has ended.
        """
        targets = self.exercise.target(case)
        names = self.exercise.returns
        if names[0].startswith("*"):
            names = tuple(f"{names[0][1:]}[{i}]" for i in range(len(targets)))
        try:
            with np.errstate(all="ignore"):
                return judge(self(case), targets, names)
        except sandbox.EndedError:
            raise
        except MemoryError:
            return Problem("your function ran out of memory: does something grow and grow?")
        except RecursionError:
            return Problem("your function calls itself without end")
        except _WroteError as error:
            return Problem(str(error))
        except NotImplementedError:
            return Problem(UNWRITTEN)
        except Exception as error:
            kind, line = type(error).__name__, getattr(error, "line", "")
            said = str(error) or "no message"
            return Problem(f"your function raised {kind}{line}. It says: {said}")


class _WroteError(Exception):
    """An argument was changed."""


def _refuse_writing(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name, array in before.items():
        if isinstance(array, np.ndarray) and not np.array_equal(array, after[name], equal_nan=True):
            raise _WroteError(
                f"your function writes into {name}, which others may still need; "
                "write into a new array"
            )
