"""Three detectors find kinks; each is named in the entry that it marks."""

import numpy as np
import pytest

from numpy_shufflenet import nn, ops
from numpy_shufflenet.gradcheck import check, check_layer, check_operation, check_pair
from numpy_shufflenet.gradcheck.differences import Line


def line_of(function, pattern=lambda t: 0, method="five-point"):
    """A line through 0 of a function of t with several outputs."""

    def change(t):
        return np.atleast_1d(function(t)) - np.atleast_1d(function(0.0)), pattern(t) == pattern(0)

    return Line(change, np.ones(np.size(function(0.0))), 2**-52, method)


def test_a_smooth_line_has_no_kink():
    slope = line_of(lambda t: np.sin(1 + t)).slope(8)
    assert slope.detectors == ()
    assert slope.value == pytest.approx(np.cos(1), abs=1e-12)


def test_a_jump_of_the_slope_is_seen_by_both_sides_and_by_the_parabola():
    slope = line_of(lambda t: abs(t) + np.sin(t)).slope(8)
    assert {"slopes", "parabola"} <= set(slope.detectors)
    assert slope.jump == pytest.approx(2)


def test_jumps_of_several_outputs_do_not_cancel():
    slope = line_of(lambda t: np.array([abs(t), -abs(t)])).slope(8)
    assert slope.value == 0
    assert slope.jump == pytest.approx(4)
    assert slope.error >= 4


def test_the_parabola_sees_a_kink_beside_the_point():
    """At 0.6 of the smallest step: to the right of 0, so that both slopes at 0 are alike."""
    beside = 0.6 * 2.0**-10
    slope = line_of(lambda t: max(t - beside, 0.0)).slope(8)
    assert "parabola" in slope.detectors
    smaller = line_of(lambda t: max(t - beside, 0.0)).slope(12)
    assert smaller.detectors == ()
    assert smaller.value == 0


def test_winners_that_change_are_seen_where_no_slope_jumps():
    slope = line_of(lambda t: np.array([t]), pattern=lambda t: t >= 0).slope(8)
    assert slope.detectors == ("winners",)


def test_an_entry_on_a_kink_says_who_saw_it():
    x = np.random.default_rng(0).normal(size=(5, 8))
    x[1, 2] = 0
    verdict = check_pair(ops.relu_forward, ops.relu_backward, x)
    assert verdict.passed
    (kink,) = verdict.kinks
    assert kink.index == (1, 2)
    assert set(kink.detectors) == {"slopes", "parabola", "winners"}


def test_kinks_are_found_without_winners_too():
    x = np.random.default_rng(0).normal(size=(5, 8))
    x[1, 2] = 0
    verdict = check(lambda x: np.maximum(x, 0), lambda dy, x: dy * (x > 0), x)
    assert [kink.index for kink in verdict.kinks] == [(1, 2)]
    assert "winners" not in verdict.kinks[0].detectors


def test_a_pattern_of_ones_own():
    x = np.random.default_rng(0).normal(size=40)
    x[7] = 0
    seen = []

    def pattern(x):
        seen.append(x.shape)
        return [x > 0]

    verdict = check(np.abs, lambda dy, x: dy * np.sign(x), x, pattern=pattern)
    assert "winners" in verdict.kinks[0].detectors
    assert set(seen) == {(40,)}


def test_a_mean_of_both_slopes_does_not_pass_silently():
    """1/2 at the kink of ReLU is what a central difference finds there."""
    x = np.random.default_rng(0).normal(size=40)
    x[7] = 0
    vjp_half = check(lambda x: np.maximum(x, 0), lambda dy, x: dy * np.heaviside(x, 0.5), x)
    assert vjp_half.passed
    assert [kink.index for kink in vjp_half.kinks] == [(7,)]


@pytest.mark.parametrize("seed", range(10))
def test_ties_of_integers_in_a_pool(seed):
    """Up to 5 % of the entries pass; more are a kink; never a failure."""
    x = np.random.default_rng(seed).integers(0, 30, size=(1, 2, 6, 6)).astype(float)
    verdict = check_pair(
        ops.max_pool2d_forward, ops.max_pool2d_backward, x, kernel_size=2, seed=seed
    )
    assert verdict.status in ("pass", "kink")
    assert (verdict.status == "kink") == (len(verdict.kinks) > 0.05 * x.size)
    windows = x.reshape(2, 3, 2, 3, 2).swapaxes(2, 3).reshape(18, 4)
    tied = sum((w == w.max()).sum() for w in windows if (w == w.max()).sum() > 1)
    assert len(verdict.kinks) == tied


def test_a_layer_tells_its_winners():
    """The tie of a max pool inside of a network, and the zeros of a ReLU."""
    layer = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, stride=2))
    x = np.random.default_rng(0).permutation(144).reshape(1, 1, 12, 12) + 1.0
    x[0, 0, 0, 0] = x[0, 0, 1, 1] = 200
    verdict = check_layer(layer, x)
    assert verdict.passed
    assert [kink.index for kink in verdict.kinks] == [(0, 0, 0, 0), (0, 0, 1, 1)]
    assert all("winners" in kink.detectors for kink in verdict.kinks)


def test_a_small_entry_among_large_ones_is_seen_on_its_side_of_a_kink():
    x = np.random.default_rng(0).uniform(1, 2, size=40)
    x[7] = 1e-12
    verdict = check(np.abs, lambda dy, x: dy * np.sign(x), x, per_entry=True)
    assert (verdict.status, verdict.kinks) == ("pass", [])


def test_a_pole_nearby_is_kept_away_from():
    x = np.array([1e-8, 1e-3, 1.0, 1e5, 1e8])
    verdict = check(np.log, lambda dy, x: dy / x, x)
    verdict.raise_if_failed()
    wrong = check(np.log, lambda dy, x: dy / x * np.array([1.001, 1, 1, 1, 1]), x)
    assert wrong.worst.index == (0,)


@pytest.mark.parametrize("name", ["relu", "max_pool2d", "squeeze_excitation"])
def test_checks_of_operations_read_the_winners(name):
    """Moved to where it chooses otherwise, an operation's cache tells so."""
    from numpy_shufflenet.gradcheck.pair import choices_in
    from numpy_shufflenet.operations import OPERATIONS

    example = OPERATIONS[name].example()
    forward = OPERATIONS[name].forward()
    _, cache = forward(*example.arrays, **example.hyperparameters)
    x, *rest = example.arrays
    _, other = forward(-x, *rest, **example.hyperparameters)
    here, there = choices_in(cache), choices_in(other)
    assert here
    assert not all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
    assert check_operation(name, per_entry=True).passed
