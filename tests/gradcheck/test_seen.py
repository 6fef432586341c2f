"""A pass means that an error of the claimed size would have been seen: shown by injection.

After a pass, the gradient is made wrong by what is claimed, entry by entry, and the same check must
fail. `python tests/gradcheck/test_seen.py 10000` does it for that many random functions.
"""

import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from strategies import seeds

from numpy_shufflenet import ops
from numpy_shufflenet.gradcheck import Settings, check, check_pair
from numpy_shufflenet.gradcheck.pair import functions_of
from numpy_shufflenet.operations import OPERATIONS

CURVES = {
    "sin": (np.sin, np.cos),
    "exp": (np.exp, np.exp),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "square": (np.square, lambda x: 2 * x),
    "line": (lambda x: 1 * x, np.ones_like),
    "softplus": (lambda x: np.log1p(np.exp(x)), lambda x: 1 / (1 + np.exp(-x))),
}
KINDS = ("entries", "sum", "mean", "matrix", "cancelled", "single", "log-likelihood")
FACTORS = (2.0, -1.0, 1.01, 0.0)


def random_function(seed):
    """A function of known noise and its right gradient, at a random point."""
    rng = np.random.default_rng(seed)
    kind = KINDS[rng.integers(len(KINDS))]
    curve, slope = CURVES[list(CURVES)[rng.integers(len(CURVES))]]
    n = int(rng.integers(1, 9))
    spread = rng.choice([0.0, 2.0, 8.0])  # entries over 16 orders of magnitude
    amplitude = 10.0 ** (rng.uniform(-9, 6) + rng.uniform(-spread, spread, n))
    offset = rng.choice([0.0, 1.0]) * 10.0 ** rng.uniform(0, 16)
    x = rng.normal(size=n) * 10.0 ** rng.uniform(-1, 0.5)
    mix = rng.normal(size=(int(rng.integers(1, 6)), n))

    def f(x):
        y = amplitude * curve(x)
        if kind == "entries":
            return offset + y
        if kind == "sum":
            return offset + y.sum()
        if kind == "mean":
            return (offset + y).mean()
        if kind == "matrix":
            return offset + mix @ y
        if kind == "cancelled":
            return (offset + y) - offset
        if kind == "single":
            return (offset + y).astype(np.float32).astype(np.float64)
        return offset - np.log(np.exp(-np.square(curve(x)) / 2) + 1e-3)

    def vjp(dy, x):
        g = amplitude * slope(x)
        if kind == "mean":
            return dy * g / n
        if kind == "matrix":
            return (mix.T @ dy) * g
        if kind == "log-likelihood":
            density = np.exp(-np.square(curve(x)) / 2)
            return dy * density / (density + 1e-3) * curve(x) * slope(x)
        return dy * g

    return kind, f, vjp, x


def times(vjp, index, factor):
    """The gradient with one entry wrong."""

    def wrong(dy, x):
        gradient = np.array(vjp(dy, x))
        gradient[index] *= factor
        return gradient

    return wrong


def problems(seed):
    """Check a random function, and what injection shows; return the status and all that is bad."""
    kind, f, vjp, x = random_function(seed)
    settings = Settings(skip=("float32", "layout", "batch", "dtype", "linear"))
    options = {"settings": settings, "seed": seed}
    with np.errstate(all="ignore"):
        verdict = check(f, vjp, x, **options)
        (report,) = verdict.arrays
        bad = [f"{seed} {kind}: a right gradient fails"] if verdict.status == "fail" else []
        rng = np.random.default_rng(seed)
        index = (int(rng.integers(x.size)),)
        parts = np.abs(vjp(np.ones(f(x).shape), x) * x)
        for factor in FACTORS:
            wrong = check(f, times(vjp, index, factor), x, **options)
            # Of 0 it is claimed that it is little beside y's slopes, or that y keeps every bit.
            little = factor == 0 and (
                parts[index] <= 1e-3 * np.linalg.norm(parts)
                or np.array_equal(f(x * (1 + (np.arange(x.size) == index[0]) / 256)), f(x))
            )
            seen = index not in wrong.arrays[0].unseen
            if wrong.status == "pass" and seen and not little and parts[index] > 0:
                bad.append(f"{seed} {kind}: {factor} times entry {index} passes")
        if verdict.status == "pass":
            for index in map(tuple, np.argwhere(report.seen)):
                for sign in (1, -1) if parts[index] > 0 else ():
                    factor = 1 + sign * report.visible[index]
                    if check(f, times(vjp, index, factor), x, **options).status != "fail":
                        bad.append(f"{seed} {kind}: {factor - 1:.1e} of {index} is not seen")
    return verdict.status, bad


@given(seeds())
@example(1125)  # y moves in steps, and some outputs seldom
@example(6150)  # an output rounds its noise away and keeps every bit
@example(7046)  # steps of float32 that a wrong gradient makes it look for
@example(7176)  # smaller steps find more noise than the first ones
def test_what_a_pass_claims_is_seen(seed):
    _, bad = problems(seed)
    assert not bad


SINGLE = [name for name, o in OPERATIONS.items() if not o.arrays[0].startswith("*")]


@pytest.mark.parametrize("name", SINGLE)
def test_what_a_pass_of_an_operation_claims_is_seen(name):
    """The weakest claim of each array, and two at random."""
    operation = OPERATIONS[name]
    drawn = operation.example(0)
    named = dict(zip(operation.arrays, drawn.arrays, strict=False))
    arrays = [named[n] for n in operation.differentiable if n in named]
    fixed = {n: v for n, v in named.items() if n not in operation.differentiable}
    f, vjp, _ = functions_of(
        operation.forward(), operation.backward(), {**drawn.hyperparameters, **fixed}
    )
    verdict = check(f, vjp, *arrays)
    assert verdict.passed, verdict
    rng = np.random.default_rng(0)
    for position, report in enumerate(verdict.arrays):
        gradient = verdict.trial.pull_back(verdict.dys[0])[position]
        candidates = np.argwhere(report.seen & (gradient != 0))
        if not len(candidates):
            continue
        claims = report.visible[tuple(candidates.T)]
        for n in {int(claims.argmax()), *rng.integers(len(candidates), size=2).tolist()}:
            index, factor = tuple(candidates[n]), 1 + claims[n]

            def wrong(dy, *point, index=index, factor=factor, position=position):
                found = vjp(dy, *point)
                listed = list(found) if isinstance(found, tuple | list) else [found]
                listed[position] = np.array(listed[position])
                listed[position][index] *= factor
                return listed

            assert check(f, wrong, *arrays).status == "fail", (report.name, index, factor)


# Functions that hide their slopes


X = np.array([0.5, 1.0, 1.3])


@pytest.mark.parametrize("offset", [1e10, 1e12, 1e14, 1e16])
@pytest.mark.parametrize("factor", [2, -1, 1.01, 0])
def test_an_offset_hides_no_wrong_gradient(offset, factor):
    wrong = check(lambda x: offset + np.sin(x), lambda dy, x: factor * dy * np.cos(x), X)
    assert wrong.status in ("fail", "imprecise")


@pytest.mark.parametrize("offset", [1e10, 1e12, 1e14, 1e16])
def test_behind_an_offset_a_right_gradient_is_imprecise(offset):
    verdict = check(lambda x: offset + np.sin(x), lambda dy, x: dy * np.cos(x), X)
    assert verdict.status == "imprecise"
    assert verdict.share == 0
    assert verdict.reason.startswith("3 of 3 entries of x are not seen")
    assert "Subtract a constant offset from y" in verdict.reason


@pytest.mark.parametrize("factor", [2, -1, 1.01, 0.99])
def test_each_entry_is_judged_at_its_own_scale(factor):
    sizes = np.array([1e6, 1e-8])
    x = np.array([0.7, 1.1])
    assert check(lambda x: sizes * x, lambda dy, x: sizes * dy, x).share == 1
    wrong = check(lambda x: sizes * x, lambda dy, x: sizes * dy * [1, factor], x)
    assert wrong.status == "fail"
    assert wrong.worst.index == (1,)


def test_an_entry_below_the_noise_of_a_sum_is_named():
    sizes = np.array([1e6] * 39 + [1e-8])

    def vjp(dy, x):
        return 2 * sizes * dy * x

    x = np.random.default_rng(0).uniform(1, 2, 40)
    verdict = check(lambda x: (sizes * x * x).sum(), vjp, x)
    assert verdict.passed
    assert verdict.share == 39 / 40
    assert verdict.arrays[0].unseen == [(39,)]
    assert "x[39]" in str(verdict)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("x", [-40.0, -5.0, 5.0, 20.0, 30.0, 36.0, 40.0])
def test_a_saturated_sigmoid_does_not_pass_with_a_gradient_of_zero(x):
    assert not check(sigmoid, lambda dy, x: 0 * dy, np.array([x])).passed
    right = check(sigmoid, lambda dy, x: dy * sigmoid(x) * sigmoid(-x), np.array([x]))
    assert right.status in ("pass", "imprecise")


# Right gradients


@pytest.mark.parametrize(
    ("f", "slope", "x"),
    [
        (lambda x: 1 / x, lambda x: -1 / x**2, [1e-40]),
        (lambda x: 1 / x, lambda x: -1 / x**2, [1e-8, 1]),
        (np.exp, np.exp, [700.0]),
        (np.square, lambda x: 2 * x, [1e30, 2e30]),
        (np.square, lambda x: 2 * x, [1e-30, 2e-30]),
        (np.square, lambda x: 2 * x, [1e150]),
        (lambda x: 3 * x, lambda x: 3 + 0 * x, [1e300, 2e300]),
        (lambda x: 3 * x, lambda x: 3 + 0 * x, [1e-310, 2e-310]),
    ],
)
def test_numbers_of_any_size(f, slope, x):
    x = np.array(x)
    check(f, lambda dy, x: dy * slope(x), x).raise_if_failed()
    assert check(f, lambda dy, x: 1.01 * dy * slope(x), x).status == "fail"


@pytest.mark.parametrize("frequency", [1e8, 1e12])
def test_what_swings_too_fast_is_imprecise(frequency):
    def vjp(dy, x):
        return dy * frequency * np.cos(frequency * x)

    assert check(lambda x: np.sin(frequency * x), vjp, X).status == "imprecise"


def test_float32_inside_is_linear_enough():
    def vjp(dy, x):
        return (dy.astype(np.float32) * np.cos(x.astype(np.float32))).astype(x.dtype)

    f = check(lambda x: np.sin(x.astype(np.float32)).astype(x.dtype), vjp, X)
    f.raise_if_failed()


@pytest.mark.parametrize("order", ["C", "F"])
def test_y_is_computed_in_the_memory_layout_of_the_point(order):
    """In another layout f adds up in another order, and rounding looks like movement."""
    x = np.array(np.random.default_rng(0).normal(size=(3, 4)), order=order)

    def f(x):
        assert x.flags[f"{order}_CONTIGUOUS"]
        return np.sin(x)

    settings = Settings(skip=("layout", "batch"), method="five-point")
    check(f, lambda dy, x: dy * np.cos(x), x, per_entry=True, settings=settings).raise_if_failed()


# Kinks along directions


def largest(x):
    return x.max()


@pytest.mark.parametrize(
    ("gradient", "right"),
    [
        ([1, 0, 0, 0], True),
        ([0, 1, 0, 0], True),
        ([0.5, 0.5, 0, 0], True),
        ([0.25, 0.75, 0, 0], True),
        ([1, 1, 0, 0], False),
        ([0, 0, 0, 0], False),
        ([2, -1, 0, 0], False),
    ],
)
def test_the_gradient_of_a_maximum_with_a_tie_is_a_subgradient(gradient, right):
    x = np.array([2.0, 2.0, 1.0, 0.5])
    verdict = check(largest, lambda dy, x: (dy * np.array(gradient)).astype(x.dtype), x)
    assert verdict.status == ("kink" if right else "fail")


def test_nine_equal_pixels_get_one_gradient_and_not_nine():
    x = np.ones((1, 1, 3, 3))
    verdict = check_pair(ops.max_pool2d_forward, ops.max_pool2d_backward, x, kernel_size=3)
    assert verdict.status == "kink"

    def to_all(dy, cache):
        return np.broadcast_to(dy, x.shape).copy()

    wrong = check_pair(ops.max_pool2d_forward, to_all, x, kernel_size=3)
    assert wrong.status == "fail"
    assert "it is no subgradient" in str(wrong)


@pytest.mark.parametrize("at_zero", [0, 0.5, 1, 1.5, -0.5])
def test_any_convention_of_relu_between_both_slopes_holds(at_zero):
    x = np.concatenate([[0.0], np.linspace(1, 2, 30)])

    def vjp(dy, x):
        return (dy * np.where(x == 0, at_zero, x > 0)).astype(x.dtype)

    verdict = check(lambda x: np.maximum(x, 0), vjp, x)
    assert verdict.status == ("pass" if 0 <= at_zero <= 1 else "fail")


def test_a_jump_of_y_is_a_kink():
    assert check(np.floor, lambda dy, x: 0 * dy, np.array([1.0, 2.0, 3.0])).status == "kink"


# The budget, and what cannot be checked


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_a_wrong_gradient_of_many_entries_is_found_within_the_budget(factor):
    x = np.random.default_rng(0).normal(size=8000)

    def vjp(dy, x):
        dx = dy * (np.cos(x) + np.sign(x)) * factor
        dx[4321] *= 1.5
        return dx

    verdict = check(lambda x: np.sin(x) + np.abs(x), vjp, x)
    assert verdict.status == "fail"
    assert verdict.evaluations < 3000
    assert verdict.arrays[0].worst is not None
    assert "entries of x were not looked at one by one" in str(verdict)
    if factor == 1:
        assert verdict.worst.index == (4321,)


def test_a_budget_of_ones_own():
    x = np.random.default_rng(0).normal(size=300)
    settings = Settings(max_evaluations=200, method="five-point")
    verdict = check(np.sin, lambda dy, x: dy * np.cos(x), x, per_entry=True, settings=settings)
    assert verdict.evaluations < 250
    assert "entries of x were not looked at one by one: the budget was spent" in str(verdict)


def test_another_shape_from_call_to_call_is_nondeterministic():
    calls = []

    def f(x):
        calls.append(1)
        return x.sum() * np.ones(2 + len(calls) % 2)

    verdict = check(f, lambda dy, x: dy.sum() * np.ones_like(x), X)
    assert verdict.status == "nondeterministic"
    assert "f gives shapes" in verdict.reason


def test_nothing_to_check_is_no_pass():
    verdict = check(lambda x: x[:0], lambda dy, x: np.zeros_like(x), X)
    assert verdict.status == "imprecise"
    assert "nothing to check" in verdict.reason


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([1.0, np.inf]), r"x has inf at \(1,\)"),
        (np.array([np.nan]), r"x has nan at \(0,\)"),
        ([[1.0, 2.0], [1.0]], r"^x is no array of numbers: \[\[1.0, 2.0\], \[1.0\]\]"),
        ("text", "^x has dtype <U4"),
    ],
)
def test_what_is_no_point_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        check(lambda x: np.sin(x), lambda dy, x: dy, x)


def test_integer_labels_beside_floats():
    labels = np.array([0, 2, 1])
    verdict = check(
        lambda x, i: np.sin(x)[i], lambda dy, x, i: (dy[[0, 2, 1]] * np.cos(x), None), X, labels
    )
    assert verdict.passed


if __name__ == "__main__":
    found, all_bad = Counter(), []
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for seed in range(first, first + int(sys.argv[1])):
        status, bad = problems(seed)
        found[status] += 1
        all_bad += bad
    print(dict(found), len(all_bad), "problems", *all_bad[:60], sep="\n")
