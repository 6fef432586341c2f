"""Every mistake of the zoo, handed in as a student would: is its cause named?

Bugs of whole units are no exercises. Beside a side effect the results are right.
"""

import copy
import functools

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from numpy_shufflenet import exercises, zoo
from numpy_shufflenet.exercises import table
from numpy_shufflenet.exercises.attempt import Attempt
from numpy_shufflenet.exercises.causes import cause_of

MISTAKES = [
    mistake
    for mistake in zoo.MISTAKES.values()
    if mistake.part != "c" and mistake.exercise in exercises.names()
]
BACKWARDS = [mistake for mistake in MISTAKES if mistake.direction == "backward"]
# Words of the sentences in `patterns` and `causes`, by the family of causes that they name.
OWN_WORDS = {
    "transpose": ("reverse", "axes"),
    "permutation": ("reverse order", "permutation"),
    "term": ("label_smoothing",),
    "factor": ("too large", "too small", "times"),
    "padding": ("count_include_pad", "padding"),
    "weights": ("align_corners",),
    "stride": ("stride", "dilation", "height and width"),
    "swapped": ("wrong order", "reverse"),
    "dropped": ("never writes", "every entry is 0"),
}


@functools.cache
def cases_of(name):
    """Random cases of an exercise; drawing them takes longer than most answers."""
    found = []

    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(table.find(name).cases(None))
    def collect(case):
        found.append(case)

    collect()
    return found


def failures_of(attempt):
    assert attempt.takes is None  # it takes all arguments, as the cases have them
    cases = copy.deepcopy(cases_of(attempt.exercise.name))
    return [(case, problem) for case in cases if (problem := attempt.problem(case))]


def fits(hint, mistake):
    """Whether a hint names the cause of a mistake."""
    causes = {other.cause for other in zoo.MISTAKES.values() if other.hint == hint}
    words = (f"{mistake.cause} in the gradient", *OWN_WORDS.get(mistake.cause, ()))
    return mistake.cause in causes or any(word in hint for word in words)


def attempt_at(mistake):
    exercise = table.find(mistake.exercise)
    if mistake.direction == "backward":
        return Attempt.of(exercise, mistake.backward, mistake.forward)
    return Attempt(exercise, mistake.answer, by_position=True)


@pytest.fixture(scope="module")
def attempts():
    made = {mistake.name: attempt_at(mistake) for mistake in MISTAKES}
    return {name: (attempt, failures_of(attempt)) for name, attempt in made.items()}


def unfit(hints):
    """Return the hints that don't fit, by mistake."""
    found = {name: h for name, h in hints.items() if not fits(h, zoo.MISTAKES[name])}
    print(f"{len(hints) - len(found)} of {len(hints)} hints fit; not those of {found}")
    return found


def test_nearly_all_fail(attempts):
    """float64 doesn't show a tie that is none."""
    assert [name for name, (_, failures) in attempts.items() if not failures] == [
        "max_pool2d/ties_by_value"
    ]


def test_mistakes_of_the_catalogue_get_a_hint_that_fits(attempts):
    found = unfit({mistake.name: cause_of(*attempts[mistake.name]) for mistake in MISTAKES})
    assert len(found) <= 0.03 * len(MISTAKES)
    assert all(zoo.MISTAKES[name].part == "held out" for name in found)


def test_four_in_five_of_those_that_it_does_not_know_do_too(attempts, monkeypatch):
    """None of the wrong backwards is in the catalogue while its own hint is looked for."""
    everything, hints = dict(zoo.MISTAKES), {}
    for mistake in BACKWARDS:
        others = {name: other for name, other in everything.items() if other is not mistake}
        monkeypatch.setattr(zoo.catalogue, "MISTAKES", others)
        hints[mistake.name] = cause_of(*attempts[mistake.name])
    found = unfit(hints)
    assert len(found) <= 0.15 * len(BACKWARDS)
    held_out = [mistake.name for mistake in BACKWARDS if mistake.part == "held out"]
    assert len(held_out) >= 10
    assert sum(name in found for name in held_out) <= 0.15 * len(held_out)
