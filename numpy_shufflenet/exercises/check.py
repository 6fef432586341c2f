"""Checks a student's function: draws cases, compares, shrinks a failure, and says what is wrong.

A case is the arguments of one call. The function runs in a sandbox with limits of time and memory.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from numpy_shufflenet._files import write_bytes
from numpy_shufflenet.exercises import sandbox
from numpy_shufflenet.exercises.attempt import Attempt
from numpy_shufflenet.exercises.draw import DrawForStudents, UnsuitableError
from numpy_shufflenet.exercises.exercise import Case, Exercise
from numpy_shufflenet.exercises.result import NotYet, Result
from numpy_shufflenet.exercises.search import search
from numpy_shufflenet.exercises.table import find

_points: dict[tuple[str, str], Result] = {}  # the best result, by exercise and function


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
    """Compare a function with the library's function, and show the result.

    The function takes the arguments that it needs, under the library's names: `dy`, `x`, `w`, `b`,
    `stride`, ... An argument that it doesn't take keeps its default. So a convolution without a
    stride can be right, too. A backward may take `(dy, cache)` instead. The cache then comes from
    `forward`, or from the library's forward.

    Parameters
    ----------
    name : str
        Name of the exercise: "conv2d_forward", ...; `exercises.names()` lists all names.
    function : callable
    wrt : str, optional
        For a backward that returns one gradient: the array of this gradient, "x", "w", "b", ...
    forward : callable, optional
        For a backward of `(dy, cache)`: computes y and the cache.
    examples : int
        Number of cases.
    seconds, megabytes : float, int
        Limits for all cases together. Only seconds in which the function computes count.
    points : float
        Points for a right answer.

    Returns
    -------
    Result

    Raises
    ------
    NotYet
        If the answer is wrong. This is an AssertionError; its text says what is wrong.
    ValueError
        If there is no such exercise, or `wrt` is not one of its arrays.
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
    """Return the points of this session: the best result of each function, and the sums."""
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
    """Return the exercise that asks for only one gradient."""
    if wrt is None:
        return exercise
    if not exercise.operation or f"d{wrt}" not in exercise.returns:
        known = ", ".join(name[1:] for name in exercise.returns if exercise.operation) or "none"
        raise ValueError(f"wrt={wrt!r} is not an array of {exercise.name}; there are {known}")
    index = exercise.returns.index(f"d{wrt}")

    def build(draw: DrawForStudents) -> Case:
        case = exercise.build(draw)
        if case[0][wrt] is None:
            raise UnsuitableError
        return case

    return replace(
        exercise,
        name=f"{exercise.name}, d{wrt}",
        needed=exercise.needed - {"w", "b"},
        returns=(f"d{wrt}",),
        target=lambda case: (exercise.target(case)[index],),
        build=build,
        always=frozenset({wrt}),
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
    if isinstance(function, sandbox.Function):  # from a graded notebook; it has limits already
        return search(attempt, examples, seconds)
    with sandbox.open_sandbox(attempt.run, seconds=seconds, megabytes=megabytes) as run:
        return search(replace(attempt, run=run), examples, seconds)
