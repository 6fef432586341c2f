"""Intervals cover the truth as often as they say; contenders take turns."""

import itertools
import math
import time

import numpy as np
import pytest
from peers import need

from numpy_shufflenet.bench import Comparison, time_against
from numpy_shufflenet.bench.operations import Workload, comparisons_of
from numpy_shufflenet.timing import interleave, median_interval


@pytest.mark.parametrize("n", [6, 7, 9, 20, 40])
def test_the_interval_covers_the_median_in_19_of_20_cases(n):
    """Of a skewed distribution with median 1, by all that can happen in 4000 draws."""
    rng = np.random.default_rng(n)
    draws = rng.lognormal(0, 1, size=(4000, n))
    covered = [low <= 1 <= high for _, low, high in map(median_interval, draws)]
    assert np.mean(covered) > 0.94


@pytest.mark.parametrize(("n", "rank"), [(6, 1), (8, 1), (9, 2), (15, 4), (20, 6), (25, 8)])
def test_the_bounds_are_those_of_the_sign_test(n, rank):
    """As tables of the sign test give them: the rank-th smallest and largest of n values."""
    found = median_interval(np.arange(1, n + 1))
    assert (found.low, found.high) == (rank, n + 1 - rank)
    tail = sum(math.comb(n, k) for k in range(rank)) / 2**n
    assert 2 * tail <= 0.05 < 2 * (tail + math.comb(n, rank) / 2**n)


def test_too_few_values_give_no_interval():
    with pytest.raises(ValueError, match="5 values give no 95 % interval; at least 6 are needed"):
        median_interval([1, 2, 3, 4, 5])


def test_runs_take_turns(monkeypatch):
    """Each round has every function once, in orders that change."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    order = []
    runs = {name: lambda name=name: order.append(name) for name in "abc"}
    heard = []
    found = interleave(runs, rounds=20, min_seconds=0.5, on_run=heard.append)
    assert order[:6] == list("aabbcc")  # two calls each to warm up and to see how long they take
    rounds = [tuple(order[6 + 3 * i : 9 + 3 * i]) for i in range(20)]
    assert all(sorted(turn) == list("abc") for turn in rounds)
    assert len(set(rounds)) > 2
    assert heard == [*"abc", *itertools.chain(*rounds)]
    assert {name: values.tolist() for name, values in found.items()} == {
        name: [1.0] * 20 for name in "abc"
    }


def test_each_turn_warms_up_and_that_is_not_counted(monkeypatch):
    """By a clock that only running moves: a tenth of a second a call, three times that at first."""
    now, log = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def run(name):
        cold = not log or log[-1] != name
        log.append(name)
        now[0] += 0.3 if cold else 0.1

    runs = {name: lambda name=name: run(name) for name in "ab"}
    warm = interleave(runs, rounds=5, min_seconds=0.2, warm_seconds=0.35)
    for seconds in warm.values():
        np.testing.assert_allclose(seconds, 0.1)
    assert log[:4] == list("aabb")
    assert len(log) >= 4 + 2 * 5 * (2 + 2)  # two calls or more to warm up, two that are timed
    cold = interleave(runs, rounds=5, min_seconds=0.2)
    assert max(seconds.max() for seconds in cold.values()) == pytest.approx(0.2)  # 0.3 and 0.1


def test_a_comparison_is_the_ratio_of_its_turns(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def taking(seconds):
        def run():
            now[0] += seconds

        return run

    same = [np.array([1.0, 2.0])]
    comparison = Comparison(
        "operation", "nothing", 1, "them", taking(0.25), taking(0.5), lambda: (same, same), 1.0
    )
    row = time_against(comparison, pairs=3)
    assert (row.ours, row.theirs, row.ratio, row.low, row.high) == (0.25, 0.5, 2, 2, 2)
    assert (row.pairs, row.difference, row.goal) == (3, 0, 1)


def test_contenders_that_differ_are_not_timed():
    def never():
        raise AssertionError

    ours, theirs = [np.array([1.0, 2.0])], [np.array([1.0, 2.1])]
    comparison = Comparison("operation", "it", 2, "them", never, never, lambda: (ours, theirs))
    with pytest.raises(
        ValueError, match=r"it, batch 2: our result and that of them differ by 4\.8"
    ):
        time_against(comparison, pairs=3)


def test_a_relu_that_is_at_0_for_one_only_takes_no_part_in_the_comparison():
    need("torch")
    case = Workload("ReLU", "relu", ((2, 60, 60),), (), {}, lambda f, x, w: f.relu(x[0] - 5e-4))
    forward, both = comparisons_of(case, 2)
    (ours,), (theirs,) = forward.results()
    assert ((ours > 0) != (theirs > 0)).any()
    (ours,), (theirs,) = both.results()
    np.testing.assert_array_equal(ours, theirs)
