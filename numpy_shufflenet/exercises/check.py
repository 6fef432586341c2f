"""Check a student's function: draw cases, compare, shrink what fails, and say what is wrong.

All of it happens in a sandbox with limits of time and memory. What is drawn depends on what the
function takes: see `cases`.
"""

import contextlib
import copy
import inspect
import io
import json
import os
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet._files import write_bytes
from numpy_shufflenet.exercises import sandbox
from numpy_shufflenet.exercises.cases import NEUTRAL, Case
from numpy_shufflenet.exercises.causes import (
    Failure,
    explain_gradient,
    find_cause,
    read_pattern,
)
from numpy_shufflenet.exercises.judge import Problem, judge
from numpy_shufflenet.exercises.result import NotYet, Result
from numpy_shufflenet.exercises.table import Exercise, find

UNWRITTEN = "nothing is written yet"
SHRINKING = 0.5  # of the time: after it the smallest case so far is as small as it gets
COLLECTING = 0.7  # of the time: after it there are large cases enough
TELLING_CASES = 6
_points: dict[str, Result] = {}


def check(
    name: str,
    function: Callable[..., Any],
    *,
    wrt: str | None = None,
    forward: Callable[..., Any] | None = None,
    examples: int = 40,
    seconds: float = 10.0,
    megabytes: int = 1024,
    points: float = 1.0,
) -> Result:
    """Check a function against the library's own, and show what came of it.

    The function takes what it needs, by the library's names: `dy`, `x`, `w`, `b`, `stride`, ...
    What it doesn't take is held where it does nothing, so that a convolution without a stride can
    be right, too. A backward may also take `(dy, cache)`, with the cache of the library's forward
    or of the `forward` that is given.

    Parameters
    ----------
    name : str
        Of the exercise: "conv2d_forward", "conv2d_backward", ...; `exercises.names()` has all.
    function : callable
    wrt : str, optional
        Of a backward, the one array whose gradient the function returns: "x", "w", "b", ...
    forward : callable
        For a backward of `(dy, cache)`: gives y and the cache.
    examples : int
        Cases to draw.
    seconds, megabytes : float, int
        Limits for all cases together.
    points : float
        What the exercise is worth.

    Returns
    -------
    Result

    Raises
    ------
    NotYet
        If the answer is wrong, an AssertionError with all that there is to say as its text.
    ValueError
        If there is no such exercise, or wrt is no array of it.
    """
    exercise = _with_respect_to(find(name), wrt)
    result = _check(exercise, function, forward, examples, seconds, megabytes)
    result.of = points
    result.points = points if result.passed else 0.0
    best = _points.get(exercise.name)
    if best is None or best.points <= result.points:
        _points[exercise.name] = result
    result.show()
    if not result.passed:
        raise NotYet(result) from None
    return result


def earned() -> dict[str, Any]:
    """Return the points of this session: the best result of each exercise, and their sums."""
    results = [result.to_dict() for result in _points.values()]
    return {
        "points": sum(result["points"] for result in results),
        "of": sum(result["of"] for result in results),
        "exercises": results,
    }


def save_points(path: str | os.PathLike[str]) -> None:
    """Write `earned` to a file as JSON."""
    write_bytes(path, json.dumps(earned(), indent=1).encode())


def _with_respect_to(exercise: Exercise, wrt: str | None) -> Exercise:
    """Return the exercise in which only one gradient is asked for."""
    if wrt is None:
        return exercise
    if not exercise.operation or f"d{wrt}" not in exercise.returns:
        known = ", ".join(name[1:] for name in exercise.returns if exercise.operation) or "none"
        raise ValueError(f"wrt={wrt!r} is not an array of {exercise.name}; there are {known}")
    index = exercise.returns.index(f"d{wrt}")
    return Exercise(
        f"{exercise.name}, d{wrt}",
        exercise.arguments,
        exercise.needed - {"w", "b"},
        (f"d{wrt}",),
        lambda case: (exercise.target(case)[index],),
        lambda takes: exercise.draw(None if takes is None else {*takes, wrt}).filter(
            lambda case: case[0][wrt] is not None
        ),
        exercise.operation,
    )


@dataclass
class Attempt:
    """A student's function, and how it wants to be called.

    Attributes
    ----------
    takes : set of str or None
        Names of arguments that it takes; None for all.
    by_position : bool
        Whether its names are its own, so that arguments go by their order.
    """

    exercise: Exercise
    function: Any
    forward: Callable[..., Any] | None
    takes: set[str] | None = None
    by_position: bool = False
    cached: bool = False
    complaint: str = ""
    spans: dict[str, set[Any]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
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
            self.cached = True
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

    def __call__(self, case: Case) -> Any:
        """Call the function with its own copies of what it takes."""
        arrays, settings = copy.deepcopy(case)
        if self.cached:
            dy, *others = arrays.values()
            operation = operations.find(self.exercise.operation)
            _, cache = (self.forward or operation.forward())(*others, **settings)
            returned = self.function(dy, cache)
            _refuse_writing(case[0], arrays)
            return returned
        if self.by_position:
            returned = self.function(*arrays.values(), **settings)
        else:
            named = {**arrays, **settings}
            used = named if self.takes is None else {k: named[k] for k in named if k in self.takes}
            returned = self.function(**used)
        _refuse_writing(case[0], arrays)
        return returned


class _WroteError(Exception):
    """An argument was changed."""


def _refuse_writing(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name, array in before.items():
        if isinstance(array, np.ndarray) and not np.array_equal(array, after[name], equal_nan=True):
            raise _WroteError(
                f"your function writes into {name}, which others may still need; "
                "write into a new array"
            )


def _check(
    exercise: Exercise,
    function: Callable[..., Any],
    forward: Callable[..., Any] | None,
    examples: int,
    seconds: float,
    megabytes: int,
) -> Result:
    attempt = Attempt(exercise, function, forward)
    if attempt.complaint:
        return Result(exercise.name, False, attempt.complaint)

    def task(note: sandbox.Note) -> Result:
        return _search(attempt, examples, seconds, note)

    finished = sandbox.run(task, seconds=seconds, megabytes=megabytes)
    if finished.end == "done":
        result: Result = finished.value
        result.printed = "" if result.passed else finished.printed
        return result
    said = {
        "time": f"your function was not done after {seconds:g} s: does a loop never end?",
        "memory": f"your function took more than {megabytes} MB: does something grow and grow?",
        "crash": "Python itself ended while your function ran",
    }[finished.end]
    return Result(exercise.name, False, said, case=finished.note, printed=finished.printed)


def _search(attempt: Attempt, examples: int, seconds: float, note: sandbox.Note) -> Result:
    """Draw cases until one fails, and shrink it; runs in the sandbox."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import HypothesisException

    exercise = attempt.exercise
    started = time.monotonic()
    failures: list[Failure] = []
    tried = 0

    def examine(case: Case) -> None:
        nonlocal tried
        if failures and time.monotonic() - started > SHRINKING * seconds:
            return
        note(case)
        tried += 1
        if isinstance(sys.stdout, io.StringIO):  # keep what the last call prints
            sys.stdout.seek(0)
            sys.stdout.truncate()
        _remember(attempt.spans, case)
        problem = _problem(attempt, case)
        if problem is not None:
            failures.append((case, problem))
            raise AssertionError

    def collect(case: Case) -> None:
        if time.monotonic() - started < COLLECTING * seconds:
            problem = _problem(attempt, case)
            if problem is not None:
                failures.append((case, problem))

    profile = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
    )
    strategy = exercise.draw(attempt.takes)
    # The latter is raised where a case failed once, and not again.
    with contextlib.suppress(AssertionError, HypothesisException):
        profile(given(strategy)(examine))()
    if not failures:
        return Result(exercise.name, True, _what_was_tried(attempt, tried), tried=tried)
    case, problem = min(failures, key=_size)
    if problem.sentence == UNWRITTEN:
        return Result(exercise.name, False, UNWRITTEN, tried=tried)
    printed = sys.stdout.getvalue() if isinstance(sys.stdout, io.StringIO) else ""
    # The smallest case is good to look at; large ones tell more about the cause.
    profile(given(strategy)(collect))()
    telling = [failure for failure in failures if _has_numbers(failure[1])]
    large = sorted(telling, key=_size, reverse=True)[:TELLING_CASES]
    cause = find_cause(exercise, large)
    if not cause and large:
        cause = _explained(attempt, large[0][0]) or read_pattern(large)
    if isinstance(sys.stdout, io.StringIO):
        sys.stdout.seek(0)
        sys.stdout.truncate()
        sys.stdout.write(printed)
    return Result(exercise.name, False, problem.sentence, cause, case, problem, tried=tried)


def _problem(attempt: Attempt, case: Case) -> Problem | None:
    """Call the function, and return what is wrong with what comes back."""
    targets = attempt.exercise.target(case)
    names = attempt.exercise.returns
    if names[0].startswith("*"):
        names = tuple(f"{names[0][1:]}[{i}]" for i in range(len(targets)))
    try:
        with np.errstate(all="ignore"):
            returned = attempt(case)
            return judge(returned, targets, names)
    except MemoryError:
        return Problem("your function ran out of memory: does something grow and grow?")
    except RecursionError:
        return Problem("your function calls itself without end")
    except _WroteError as error:
        return Problem(str(error))
    except NotImplementedError:
        return Problem(UNWRITTEN)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        return Problem(_raised(error))


def _raised(error: BaseException) -> str:
    """Say what was raised, and in which line of the student's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "numpy_shufflenet" not in frame.filename] or frames[-1:]
    inner = [frame for frame in own if "site-packages" not in frame.filename] or own
    where = f', in line {inner[-1].lineno}: "{inner[-1].line}"' if inner and inner[-1].line else ""
    text = str(error) or "no message"
    return f"your function raised {type(error).__name__}{where}. It says: {text}"


def _explained(attempt: Attempt, case: Case) -> str:
    """Ask the gradient checker; whatever goes wrong in that, there is no explanation then."""
    exercise = attempt.exercise
    if not exercise.operation:
        return ""
    operation = operations.find(exercise.operation)
    if len(exercise.returns) != len(operation.differentiable):
        return ""  # the checker wants all gradients

    def gradients(case: Case) -> tuple[Any, ...]:
        returned = attempt(case)
        return tuple(returned) if isinstance(returned, tuple | list) else (returned,)

    looked_at = [case]
    if attempt.takes is None and not operation.arrays[0].startswith("*"):
        looked_at.insert(0, _own_example(operation))
    for example in looked_at:
        with np.errstate(all="ignore"), contextlib.suppress(Exception, SystemExit):
            explanation = explain_gradient(exercise, example, gradients)
            if explanation:
                return explanation
    return ""


def _own_example(operation: operations.Operation) -> Case:
    """Return the case of the table, which shows all that the operation can do."""
    example = operation.example()
    return dict(zip(operation.arrays, example.arrays, strict=True)), example.hyperparameters


def _has_numbers(problem: Problem) -> bool:
    return problem.yours is not None and problem.yours.size > 0


def _size(failure: Failure) -> int:
    arrays, settings = failure[0]
    parts = [p for a in arrays.values() for p in (a if isinstance(a, tuple) else (a,))]
    entries = sum(int(np.size(part)) for part in parts if part is not None)
    unusual = sum(1 for name, value in settings.items() if value != NEUTRAL.get(name, value))
    return 10 * entries + unusual


def _remember(spans: dict[str, set[Any]], case: Case) -> None:
    arrays, settings = case
    for name, array in arrays.items():
        if name == "b":
            spans["bias"].add(array is not None)
        elif isinstance(array, np.ndarray) and name in ("x", "w", "logits"):
            spans[name].add(array.shape)
    for name, value in settings.items():
        spans[name].add(value)


def _what_was_tried(attempt: Attempt, tried: int) -> str:
    parts = []
    for name, values in attempt.spans.items():
        if name in ("x", "w", "logits"):
            low, high = (tuple(f(size) for size in zip(*values, strict=True)) for f in (min, max))
            parts.append(f"{name} from {_times(low)} to {_times(high)}")
        elif len(values) > 1 and name == "bias":
            parts.append("with and without bias")
        elif len(values) > 1:
            parts.append(f"{name} {', '.join(map(str, sorted(values, key=str)[:4]))}")
    left = [name for name in NEUTRAL if name in attempt.exercise.arguments]
    if attempt.takes is not None:
        left = [name for name in left if name not in attempt.takes]
        grow = (
            f". Not tried, since your function doesn't take it: {', '.join(left)}" if left else ""
        )
    else:
        grow = ""
    of = f": {'; '.join(parts)}" if parts else ""
    return f"right in all {tried} cases{of}{grow}"


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
