"""Searches for the smallest case (arguments of a call) that fails, and for a cause of failures."""

import time

from numpy_shufflenet.exercises import sandbox
from numpy_shufflenet.exercises.attempt import UNWRITTEN, Attempt, Tried
from numpy_shufflenet.exercises.causes import cause_of, size_of, so_far
from numpy_shufflenet.exercises.coverage import Coverage
from numpy_shufflenet.exercises.exercise import Case
from numpy_shufflenet.exercises.result import Result
from numpy_shufflenet.locale import _

TYPICAL = 10  # cases of the sizes of the operation's example
SHRINKING = 0.5  # the search for smaller cases ends after this share of the time
COLLECTING = 0.7  # the collection of further failures ends after this share of the time


def search(attempt: Attempt, examples: int, seconds: float) -> Result:
    """Draw cases until a case fails, shrink this case, and look for the cause."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import HypothesisException

    exercise = attempt.exercise
    started = time.monotonic()
    everything: list[Tried] = []
    failures: list[Tried] = []
    printed: list[str] = []  # what the function printed, for each failure
    ended: list[Result] = []
    coverage = Coverage()

    def fails(case: Case) -> bool:
        try:
            tried = attempt.tried(case)
        except sandbox.EndedError as error:
            ended.append(Result(exercise.name, False, str(error), case=case))
            return False
        everything.append(tried)
        if tried.problem:
            failures.append(tried)
            printed.append(getattr(attempt.run, "printed", ""))
        return tried.problem is not None

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
    cases = exercise.cases(attempt.takes)
    typical = exercise.cases(attempt.takes, typical=True)
    try:
        profile(given(cases)(examine))()
        settings(profile, max_examples=TYPICAL)(given(typical)(examine))()
    except AssertionError:
        pass
    except HypothesisException:  # for example, because a case failed once and then passed
        if not failures:
            raise
    if ended:
        return ended[0]
    if not failures:
        return Result(exercise.name, True, coverage.sentence(attempt))
    smallest = min(range(len(failures)), key=lambda number: size_of(failures[number].case))
    shown = failures[smallest]
    problem = shown.problem
    assert problem is not None
    if problem.sentence == _(UNWRITTEN):
        return Result(exercise.name, False, _(UNWRITTEN))
    # A student looks at the smallest case. Large cases tell more about the cause.
    profile(given(cases)(collect))()
    settings(profile, max_examples=TYPICAL)(given(typical)(collect))()
    cause = cause_of(exercise, everything)
    return Result(
        exercise.name,
        False,
        problem.sentence,
        cause,
        shown.case,
        problem,
        printed=printed[smallest],
        so_far="" if cause else so_far(exercise, everything, shown),
    )
