"""Every wrong answer of the bug zoo, submitted as a student would: is its cause named?

Where the answer is a backward with the cache of its own forward. Bugs of whole units are no
exercises, and those that float64 doesn't show are none either.
"""

import pytest

from numpy_shufflenet import exercises
from numpy_shufflenet.exercises import NotYet, check

zoo = pytest.importorskip("numpy_shufflenet.zoo")

BUGS = {
    name: bug
    for name, bug in zoo.BUGS.items()
    if bug.part in ("a", "held out") and f"{bug.operation}_backward" in exercises.names()
}
# Words of the exercises' own sentences, for the families that they belong to.
OWN_WORDS = {
    "transpose": ("wrong way round", "flipped", "swapped", "reverse", "axes"),
    "sum": ("add them up", "whole batch", "last image", "first image"),
    "mask": ("you pass every gradient", "it is x that decides"),
    "permutation": ("must go back instead", "stayed where", "reverse order", "permutation"),
    "term": ("the way through", "formula of inference", "label_smoothing"),
    "factor": ("gamma is missing", "divided by the batch", "too large", "too small", "times"),
    "not linear": ("multiply it by dy", "dy is missing"),
    "padding": ("count_include_pad", "padding"),
    "weights": ("align_corners",),
    "stride": ("stride", "dilation", "height and width"),
    "swapped": ("another order", "reverse"),
    "dropped": ("never reaches", "every entry is 0"),
}


def submitted(bug):
    try:
        check(f"{bug.operation}_backward", bug.backward, forward=bug.forward)
    except NotYet as error:
        return error.result
    return None


def test_four_in_five_get_a_hint_that_names_the_cause():
    results = {name: submitted(bug) for name, bug in BUGS.items()}
    passed = [name for name, result in results.items() if result is None]
    named = [
        name
        for name, result in results.items()
        if result is not None
        and any(
            word in result.cause
            for word in (
                f"{BUGS[name].cause} in the gradient",
                *OWN_WORDS.get(BUGS[name].cause, ()),
            )
        )
    ]
    missed = sorted(set(BUGS) - set(named))
    print(f"{len(named)} of {len(BUGS)} named; missed: {missed}; passed: {passed}")
    assert len(passed) <= 1
    assert len(named) >= 0.8 * len(BUGS), missed
