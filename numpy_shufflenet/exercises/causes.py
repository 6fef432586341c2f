"""Names the likely cause of a wrong answer.

There are three ways, tried in this order:

1. Compare the answer with the results of the known mistakes (`zoo`).
2. For a backward, ask the gradient checker, which reads the pattern of the error.
3. Look at the pattern of the difference between the answer and the target (`patterns`).
"""

import contextlib
import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from numpy_shufflenet import gradcheck, operations, zoo
from numpy_shufflenet.exercises.attempt import Attempt
from numpy_shufflenet.exercises.exercise import NEUTRAL, Case, Exercise
from numpy_shufflenet.exercises.judge import Problem
from numpy_shufflenet.exercises.patterns import Wrong, equal, named_factors, patterns
from numpy_shufflenet.exercises.table import find

LARGEST_CASES = 6
Failure = tuple[Case, Problem]


def cause_of(attempt: Attempt, failures: Sequence[Failure]) -> str:
    """Return the likely cause of failures in a sentence, or "".

    Only the largest cases count, because a small case fits too many causes. For example, a single
    wrong number is always a multiple of the right number.
    """
    wrongs = [
        Wrong(case, problem.name, problem.yours, problem.target)
        for case, problem in sorted(failures, key=size_of, reverse=True)
        if problem.yours is not None and problem.target is not None and problem.yours.size
    ][:LARGEST_CASES]
    if not wrongs:
        return ""
    comparable = [wrong for wrong in wrongs if wrong.comparable]
    other_shapes = [wrong for wrong in wrongs if wrong.yours.shape != wrong.target.shape]
    return (
        _vote([_hints(attempt.exercise, wrong) for wrong in wrongs])
        or _vote([named_factors(wrong) for wrong in comparable])
        or _explained(attempt, wrongs[0].case)
        or _vote([patterns(wrong) for wrong in (*other_shapes, *comparable)])
    )


def size_of(failure: Failure) -> int:
    """Return the size of a failure's case: 10 for each entry, 1 for each setting not at default."""
    arrays, settings = failure[0]
    parts = [p for a in arrays.values() for p in (a if isinstance(a, tuple) else (a,))]
    entries = sum(int(np.size(part)) for part in parts if part is not None)
    unusual = sum(1 for name, value in settings.items() if value != NEUTRAL.get(name, value))
    return 10 * entries + unusual


def _vote(said: list[list[str]]) -> str:
    """Return the sentence that fits more than half of the failures, or ""."""
    counts = Counter(sentence for several in said for sentence in dict.fromkeys(several))
    best = max(counts, key=counts.__getitem__, default="")
    return best if 2 * counts[best] > len(said) else ""


def _hints(exercise: Exercise, wrong: Wrong) -> list[str]:
    """Return the hint of each mistake that gives exactly this wrong answer."""
    index = _index_of(exercise, wrong.name)
    found = []
    for hint, function, settings in _mistakes(exercise, wrong.case):
        arrays, settings = copy.deepcopy((wrong.case[0], settings))
        # Some mistakes are possible only in some cases, and raise an error in other cases.
        with np.errstate(all="ignore"), contextlib.suppress(Exception):
            results = function(*arrays.values(), **settings)
            listed = results if isinstance(results, tuple) else (results,)
            if equal(wrong.yours, np.asarray(listed[index], float)):
                found.append(hint)
    return found


def _mistakes(
    exercise: Exercise, case: Case
) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """Yield (hint, function, settings) for each mistake that is possible in an exercise.

    The function returns all gradients, even if the exercise asks for only one gradient.
    """
    name = exercise.name.partition(",")[0]
    arrays, settings = case

    def right(*values: Any, **settings: Any) -> Any:
        return find(name).target((dict(zip(arrays, values, strict=True)), settings))

    for mistake in zoo.mistakes_in(name):
        yield mistake.hint, mistake.answer, settings
    for key, value in settings.items():
        if key in ("count_include_pad", "align_corners"):
            yield f"this is the result for {key}={not value}", right, {**settings, key: not value}
        elif key in NEUTRAL and value != NEUTRAL[key]:
            hint = f"this is the result for {key}={NEUTRAL[key]}: does your code use {key}?"
            yield hint, right, {**settings, key: NEUTRAL[key]}


def _index_of(exercise: Exercise, name: str) -> int:
    """Return the index of a result among all results of the operation."""
    if not exercise.operation:
        return 0
    every = operations.find(exercise.operation).differentiable
    return every.index(name[1:]) if name[1:] in every else 0


def _explained(attempt: Attempt, case: Case) -> str:
    """Return the explanation of the gradient checker, or "" if it has none or raises an error."""
    exercise = attempt.exercise
    if not exercise.operation:
        return ""
    operation = operations.find(exercise.operation)
    if len(exercise.returns) != len(operation.differentiable):
        return ""  # the checker needs all gradients
    cases = [case]
    if attempt.takes is None and not operation.arrays[0].startswith("*"):
        # First try the operation's own example, because it uses all settings.
        own = operation.example()
        cases.insert(0, (operation.named(own.arrays), own.hyperparameters))
    for example in cases:
        with np.errstate(all="ignore"), contextlib.suppress(Exception):
            if said := _checked(attempt, operation, example):
                return said
    return ""


def _checked(attempt: Attempt, operation: operations.Operation, case: Case) -> str:
    """Run the gradient checker on a backward, and return its explanation."""
    arrays, settings = case
    inputs = {name: array for name, array in arrays.items() if name != "dy"}
    varied = [n for n in inputs if n in operation.differentiable or n.startswith("arrays[")]

    def with_inputs(point: tuple[Any, ...]) -> dict[str, Any]:
        return {**inputs, **dict(zip(varied, point, strict=True))}

    def f(*point: Any) -> Any:
        y, _ = operation.forward()(*with_inputs(point).values(), **copy.deepcopy(settings))
        return y

    def vjp(dy: Any, *point: Any) -> Any:
        found = attempt(({"dy": dy, **with_inputs(point)}, settings))
        return tuple(found) if isinstance(found, tuple | list) else (found,)

    verdict = gradcheck.check(f, vjp, *(inputs[n] for n in varied), names=varied, per_entry=True)
    explanation = verdict.explain()
    # The message for the student already reports a wrong shape or an exception.
    said = not verdict.passed and explanation.family != "not a gradient"
    return str(explanation) if said else ""
