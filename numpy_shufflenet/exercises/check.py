"""Check a student's function: draw cases, compare, shrink what fails, and say what is wrong.

The function runs in a sandbox with limits of time and memory. What is drawn depends on what the
function takes: see `cases`.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from numpy_shufflenet._files import write_bytes
from numpy_shufflenet.exercises import sandbox
from numpy_shufflenet.exercises.attempt import Attempt
from numpy_shufflenet.exercises.exercise import Exercise
from numpy_shufflenet.exercises.result import NotYet, Result
from numpy_shufflenet.exercises.search import search
from numpy_shufflenet.exercises.table import find

_points: dict[tuple[str, str], Result] = {}  # by exercise and function


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
        Limits for all cases together; of seconds those count in which the function computes.
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
    key = exercise.name, getattr(function, "__name__", "")
    best = _points.get(key)
    if best is None or best.points <= result.points:
        _points[key] = result
    result.show()
    if not result.passed:
        raise NotYet(result) from None
    return result


def earned() -> dict[str, Any]:
    """Return the points of this session: each function's best result, and their sums."""
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


def _check(
    exercise: Exercise,
    function: Callable[..., Any],
    forward: Callable[..., Any] | None,
    examples: int,
    seconds: float,
    megabytes: int,
) -> Result:
    try:
        attempt = Attempt.of(exercise, function, forward)
    except TypeError as error:
        return Result(exercise.name, False, str(error))
    if isinstance(function, sandbox.Function):  # of a notebook that is graded: it has limits
        return search(attempt, examples, seconds)
    with sandbox.open_sandbox(attempt.run, seconds=seconds, megabytes=megabytes) as run:
        return search(replace(attempt, run=run), examples, seconds)
