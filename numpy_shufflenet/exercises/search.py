"""Searches for the smallest case (arguments of a call) that fails, and for a cause of failures."""

import time
from collections.abc import Iterator

import numpy as np

from numpy_shufflenet.exercises import sandbox
from numpy_shufflenet.exercises.attempt import UNWRITTEN, Attempt, Tried
from numpy_shufflenet.exercises.causes import cause_of, size_of, so_far
from numpy_shufflenet.exercises.coverage import Coverage
from numpy_shufflenet.exercises.draw import Draws, UnsuitableError, simpler
from numpy_shufflenet.exercises.exercise import Case
from numpy_shufflenet.exercises.result import Result
from numpy_shufflenet.locale import _

TYPICAL = 10  # cases of the sizes of the operation's example
SIMPLER = 300  # cases that are tried, at most, to find the smallest that fails
SHRINKING = 0.5  # the search for smaller cases ends after this share of the time
COLLECTING = 0.7  # the collection of further failures ends after this share of the time


def search(attempt: Attempt, examples: int, seconds: float) -> Result:
    """Draw cases until a case fails, look for the smallest that fails, and for the cause."""
    exercise = attempt.exercise
    hunt = _Hunt(attempt)
    coverage = Coverage()
    try:
        for made, tried, typical in hunt.draw(examples):
            coverage.add(tried.case)
            if tried.problem:
                hunt.simplify(made, typical, SHRINKING * seconds)
                break
        else:
            return Result(exercise.name, True, coverage.sentence(attempt))
        shown, printed = min(hunt.failures, key=lambda failure: size_of(failure[0].case))
        problem = shown.problem
        assert problem is not None
        if problem.sentence == _(UNWRITTEN):
            return Result(exercise.name, False, _(UNWRITTEN))
        # A student looks at the smallest case. Large cases tell more about the cause.
        for _case in hunt.draw(examples):
            if hunt.seconds() > COLLECTING * seconds:
                break
    except _EndedError as end:
        return Result(exercise.name, False, str(end), case=end.case)
    cause = cause_of(exercise, hunt.everything)
    return Result(
        exercise.name,
        False,
        problem.sentence,
        cause,
        shown.case,
        problem,
        printed=printed,
        so_far="" if cause else so_far(exercise, hunt.everything, shown),
    )


class _EndedError(Exception):
    """The process of the function has ended."""

    def __init__(self, text: str, case: Case):
        super().__init__(text)
        self.case = case


class _Hunt:
    """Tries cases, and keeps what the function did in each."""

    def __init__(self, attempt: Attempt):
        self.attempt = attempt
        self.everything: list[Tried] = []
        self.failures: list[tuple[Tried, str]] = []  # with what the function printed
        self._started = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._started

    def draw(self, examples: int) -> Iterator[tuple[list[int], Tried, bool]]:
        """Try random cases, the same every time.

        Yields the choices of each, what the function did, and whether its sizes are typical.
        """
        rng = np.random.default_rng(0)
        for number in range(examples + TYPICAL):
            typical, tried = number >= examples, None
            while tried is None:
                choices = Draws(rng=rng)
                tried = self.try_case(choices, typical)
            yield choices.made, tried, typical

    def try_case(self, choices: Draws, typical: bool) -> Tried | None:
        """Make a case, and call the function; None if these choices make no case."""
        try:
            case = self.attempt.exercise.case(choices, self.attempt.takes, typical=typical)
        except UnsuitableError:
            return None
        try:
            tried = self.attempt.tried(case)
        except sandbox.EndedError as error:
            raise _EndedError(str(error), case) from None
        self.everything.append(tried)
        if tried.problem:
            self.failures.append((tried, getattr(self.attempt.run, "printed", "")))
        return tried

    def simplify(self, made: list[int], typical: bool, seconds: float) -> None:
        """Make the choices of a case that fails smaller, one by one, while the case still fails."""
        left = SIMPLER
        candidates = simpler(made)
        while (smaller := next(candidates, None)) is not None:
            left -= 1
            if left < 0 or self.seconds() > seconds:
                return
            choices = Draws(smaller)
            tried = self.try_case(choices, typical)
            if tried and tried.problem:
                candidates = simpler(choices.made)
