"""Intervals cover the truth as often as they say; the clock of a network adds up."""

import itertools
import math
import time

import numpy as np
import pytest

from numpy_shufflenet import cost, nn
from numpy_shufflenet.cost.timing import OTHER, interleave, median_interval, own_times


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


class Sleeper(nn.Layer):
    def __init__(self, *layers):
        super().__init__()
        self.inner = nn.Sequential(*layers)

    def _forward(self, x, training):
        next(CLOCK)
        return self.inner.forward(x, training=training)


CLOCK = itertools.count()


def test_time_belongs_to_the_innermost_layer(monkeypatch):
    """A clock that ticks once when read, and once more in each Sleeper."""
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(CLOCK)))
    outer = Sleeper(Sleeper(nn.ReLU()), nn.ReLU())
    before = nn.Layer.forward
    with own_times() as seconds:
        outer.forward(np.ones((1, 1)))
    assert nn.Layer.forward is before
    layers = dict(outer.named_layers())
    assert seconds[id(layers["inner.1"])] == 1  # read before and after
    # start, tick, start and end of the Sequential: its own are all ticks but those within
    total = sum(seconds.values())
    assert total == 14 - 1 - 0  # all ticks between the first and the last reading
    assert seconds[id(outer)] == 3
    assert seconds[id(layers["inner.0"])] == 3


def test_the_clock_is_put_back_after_an_error():
    before = nn.Layer.forward
    with pytest.raises(ValueError, match="x has 2 channels"), own_times():
        nn.Conv2d(3, 4, 1).forward(np.ones((1, 2, 3, 3), np.float32))
    assert nn.Layer.forward is before


def test_shares_sum_to_one_and_name_what_is_there():
    model = nn.Sequential(
        nn.ShuffleNetV1Unit(12, 12, groups=3, stride=1), nn.ShuffleNetV2Unit(12, 12, stride=1)
    )
    x = np.random.default_rng(0).normal(size=(2, 12, 9, 9)).astype(np.float32)
    rounds = []
    shares = cost.shares_by_kind(model, x, rounds=3, on_run=lambda: rounds.append(1))
    assert len(rounds) == 3
    assert math.isclose(sum(shares.values()), 1)
    assert all(share > 0 for share in shares.values())
    assert set(shares) == {
        *("1x1 convolution", "depthwise", "batch norm", "ReLU"),
        *("shuffle", "split, concat", "addition", OTHER),
    }
    model.forward(x)  # nothing is left to forget
