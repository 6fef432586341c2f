"""Looks for the smallest case in which a function is wrong, and for what explains all of them."""

import contextlib
import time
from typing import Any

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet.exercises import sandbox
from numpy_shufflenet.exercises.attempt import UNWRITTEN, Attempt
from numpy_shufflenet.exercises.cases import NEUTRAL, Case
from numpy_shufflenet.exercises.causes import (
    Failure,
    explain_gradient,
    find_cause,
    name_factor,
    read_pattern,
)
from numpy_shufflenet.exercises.coverage import Coverage
from numpy_shufflenet.exercises.judge import Problem
from numpy_shufflenet.exercises.result import Result

SHRINKING = 0.5  # of the time: after it the smallest case so far is as small as it gets
COLLECTING = 0.7  # of the time: after it there are large cases enough
TELLING_CASES = 6


def search(attempt: Attempt, examples: int, seconds: float) -> Result:
    """Draw cases until one fails, shrink it, and look for the cause."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import HypothesisException

    exercise = attempt.exercise
    started = time.monotonic()
    failures: list[Failure] = []
    printed: list[str] = []  # in each of them
    ended: list[Result] = []
    coverage = Coverage()

    def fails(case: Case) -> bool:
        try:
            problem = attempt.problem(case)
        except sandbox.EndedError as error:
            ended.append(Result(exercise.name, False, str(error), case=case))
            return False
        if problem is not None:
            failures.append((case, problem))
            printed.append(getattr(attempt.run, "printed", ""))
        return problem is not None

    def examine(case: Case) -> None:
        if ended or (failures and time.monotonic() - started > SHRINKING * seconds):
            return
        coverage.add(case)
        if fails(case):
            raise AssertionError

    def collect(case: Case) -> None:
        if not ended and time.monotonic() - started < COLLECTING * seconds:
            fails(case)

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
    if ended:
        return ended[0]
    if not failures:
        return Result(exercise.name, True, coverage.sentence(attempt))
    smallest = min(range(len(failures)), key=lambda number: _size(failures[number]))
    case, problem = failures[smallest]
    if problem.sentence == UNWRITTEN:
        return Result(exercise.name, False, UNWRITTEN)
    # The smallest case is good to look at; large ones tell more about the cause.
    profile(given(strategy)(collect))()
    cause = cause_of(attempt, failures)
    return Result(
        exercise.name, False, problem.sentence, cause, case, problem, printed=printed[smallest]
    )


def cause_of(attempt: Attempt, failures: list[Failure]) -> str:
    """Return the likely cause of failures, in a sentence; "" if the largest of them show none."""
    telling = [failure for failure in failures if _has_numbers(failure[1])]
    large = sorted(telling, key=_size, reverse=True)[:TELLING_CASES]
    if not large:
        return ""
    return (
        find_cause(attempt.exercise, large)
        or name_factor(large)
        or _explained(attempt, large[0][0])
        or read_pattern(large)
    )


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
