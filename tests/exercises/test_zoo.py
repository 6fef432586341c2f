"""Every mistake of the catalogue, and pairs of two, handed in as a student would: are they named?

Bugs of the layers of `nn` are no exercises. Beside a side effect the results are right.
"""

import functools
import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings

from numpy_shufflenet import backend, exercises, nn, zoo
from numpy_shufflenet.exercises import table
from numpy_shufflenet.exercises.attempt import Attempt
from numpy_shufflenet.exercises.causes import cause_of, so_far
from numpy_shufflenet.exercises.draw import Draws
from numpy_shufflenet.exercises.exercise import NEUTRAL
from numpy_shufflenet.exercises.judge import equal
from numpy_shufflenet.exercises.learning import LEARNING
from numpy_shufflenet.operations import OPERATIONS
from numpy_shufflenet.zoo.answers.windows import RIGHT

THOROUGH = settings().max_examples >= 1000
MISTAKES = [m for m in zoo.MISTAKES.values() if m.part != "c" and m.exercise in exercises.names()]
KNOWN = [mistake for mistake in MISTAKES if mistake.part != "held out"]
TEXTS = {m.exercise: m.function.func for m in KNOWN if m.switch}
PAIRS = [
    (a, b, function)
    for a, b in itertools.combinations(KNOWN, 2)
    if a.exercise == b.exercise and (function := zoo.both(a, b))
]
# What is said of mistakes that aren't in the catalogue: words of the sentence, or nothing at all.
HELD_OUT = {
    "conv2d/kernel_mirrored": "columns of w are in reverse order",
    "batch_norm/sign_of_the_mean_term": "sign of the term of the mean",
    "batch_norm/shift_scaled": "dbeta is too large by a factor",
    "batch_norm_inference/scale_and_shift_swapped": "dgamma and dbeta are swapped",
    "channel_shuffle/channels_in_reverse": "channels of dx are in reverse order",
    "channel_concat/last_part_forgotten": "gradient of the last array is 0",
    "linear/last_row_only": "only the last row of dy",
    "softmax_cross_entropy/averaged_over_classes": "divide by the number of classes",
    "upsample_bilinear/blocks_added": "nearest-neighbour upsampling",
}


@functools.cache
def cases_of(name):
    """Return an exercise, some of its cases, and their targets."""
    exercise, found = table.find(name), []
    many = 40 if name in LEARNING else 8
    for typical, count in ((False, many), (True, 3)):
        rng = np.random.default_rng(19)
        found += [exercise.case(Draws(rng=rng), None, typical=typical) for _ in range(count)]
    # Some mistakes change no shape only where sizes are equal, as in their own examples.
    found += [own for m in KNOWN if m.exercise == name and (own := own_case(m))]
    targets = {id(case): exercise.target(case) for case in found}
    return replace(exercise, target=lambda case: targets[id(case)]), found


def own_case(mistake):
    if mistake.direction != "backward" or not getattr(mistake, "own_example", None):
        return None
    example, operation = mistake.example(), OPERATIONS[mistake.operation]
    y, _ = mistake.right[0](*example.arrays, **example.hyperparameters)
    arrays = {"dy": np.random.default_rng(1).normal(size=y.shape)}
    defaults = {key: NEUTRAL[key] for key in operation.hyperparameters if key in NEUTRAL}
    return arrays | operation.named(example.arrays), defaults | example.hyperparameters


def results(function, case):
    arrays, hyperparameters = case
    with np.errstate(all="ignore"):
        try:
            found = function(*arrays.values(), **hyperparameters)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return found if isinstance(found, tuple) else (found,)


def agree_everywhere(a, b, name):
    """Whether two wrong functions agree in all cases, in those results that are wrong in b."""
    exercise, cases = cases_of(name)
    known = [(results(a, case), results(b, case), exercise.target(case)) for case in cases]
    if any(isinstance(a, str) != isinstance(b, str) for a, b, _ in known):
        return False
    known = [found for found in known if not isinstance(found[0], str)]
    if exercise.returns[0].startswith("*"):
        return all(equal(a, b) for a, b, _ in known)
    wrong = {i for _, b, t in known for i in range(len(t)) if not equal(b[i], t[i])}
    return all(equal(a[i], b[i]) for a, b, _ in known for i in wrong)


def hand_in(name, function):
    exercise, cases = cases_of(name)
    attempt = Attempt(exercise, function, by_position=True)
    return exercise, [attempt.tried(case) for case in cases]


@pytest.mark.parametrize("name", TEXTS)
def test_the_text_of_an_answer_is_right_without_a_mistake(name):
    for case in cases_of(name)[1]:
        expected = cases_of(name)[0].target(case)
        for found, target in zip(results(TEXTS[name], case), expected, strict=True):
            assert target is None or equal(found, target)


@pytest.mark.parametrize("name", sorted({mistake.exercise for mistake in KNOWN}))
def test_every_mistake_is_named(name):
    """Or another mistake that gives the same numbers in all cases."""
    mistakes = [mistake for mistake in KNOWN if mistake.exercise == name]
    for mistake in mistakes:
        cause = cause_of(*hand_in(name, mistake.answer))
        same = [m for m in mistakes if m.hint == cause]
        assert any(
            m is mistake or agree_everywhere(m.answer, mistake.answer, name) for m in same
        ), (
            mistake.name,
            cause,
        )


def test_two_mistakes_together_are_named():
    """Nothing false is said: a name is that of one of both, or gives the same numbers."""
    chosen = PAIRS if THOROUGH else random.Random(19).sample(PAIRS, 30)
    named = 0
    for a, b, function in chosen:
        name = a.exercise
        cause = cause_of(*hand_in(name, function))
        others = [m.answer for m in KNOWN if m.exercise == name and m.hint == cause]
        others += [
            both
            for c, d, both in PAIRS
            if c.exercise == name and f"{c.hint}; and {d.hint}" == cause
        ]
        same = any(agree_everywhere(other, function, name) for other in others)
        named += (a.hint in cause and b.hint in cause) or same
        assert same or not cause or a.hint in cause or b.hint in cause, (a.name, b.name, cause)
    assert named >= 0.8 * len(chosen)


def test_mistakes_that_nobody_listed_get_no_false_cause():
    """They are named by what is possible in every exercise, or what is right and wrong is said."""
    held_out = [mistake for mistake in MISTAKES if mistake.part == "held out"]
    assert len(held_out) >= 10
    assert {mistake.name for mistake in held_out} >= set(HELD_OUT)
    for mistake in held_out:
        exercise, tried = hand_in(mistake.exercise, mistake.answer)
        cause, words = cause_of(exercise, tried), HELD_OUT.get(mistake.name, "")
        assert words in cause, mistake.name
        assert bool(words) == bool(cause), (mistake.name, cause)
        if not cause:
            shown = next(one for one in tried if one.problem)
            assert " right" in so_far(exercise, tried, shown), mistake.name


def test_random_numbers_get_no_cause():
    rng = np.random.default_rng(0)
    for name in ("batch_norm_forward", "linear_backward"):
        exercise, cases = cases_of(name)

        def wild(*arrays, exercise=exercise, left=[0], **_):  # noqa: B006
            case = cases_of(exercise.name)[1][left[0] % len(cases_of(exercise.name)[1])]
            left[0] += 1
            return tuple(
                None if t is None else rng.normal(size=t.shape) for t in exercise.target(case)
            )

        attempt = Attempt(exercise, wild, by_position=True)
        assert cause_of(exercise, [attempt.tried(case) for case in cases]) == ""


def test_the_right_text_is_the_unit_of_the_library():
    """The exercises' own backward of the units agrees with the layers of `nn`."""
    rng = np.random.default_rng(3)
    for name, unit, channels in (
        ("v1_unit_backward", nn.ShuffleNetV1Unit(16, 16, groups=2, stride=1), 16),
        ("v2_unit_backward", nn.ShuffleNetV2Unit(6, 6, stride=1), 6),
    ):
        unit = unit.astype(np.float64)
        keys = ["w1", "gamma1", "beta1", "w2", "gamma2", "beta2", "w3", "gamma3", "beta3"]
        for value in unit.parameters().values():
            value[...] = rng.normal(size=value.shape)
        p = dict(zip(keys, unit.parameters().values(), strict=True)) | {"groups": 2}
        x, dy = rng.normal(size=(2, 2, channels, 4, 3))
        with backend.use("numpy"):
            unit.forward(x, training=True)
            expected = unit.backward(dy)
        found = TEXTS[name](dy, x, p=p, wrong=RIGHT)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
