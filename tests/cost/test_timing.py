"""The times of a trace add up, and shares of it are named."""

import itertools
import math
import threading
import time

import numpy as np
import pytest

from numpy_shufflenet import cost, nn
from numpy_shufflenet.cost.timing import OTHER


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
    nn.ReLU().forward(np.ones((1, 1)))  # a kernel that is loaded reads the clock, too
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(CLOCK)))
    outer = Sleeper(Sleeper(nn.ReLU()), nn.ReLU())
    seconds = outer.trace(np.ones((1, 1))).seconds
    assert seconds["inner.1"] == 1  # read before and after
    # start, tick, start and end of the Sequential: its own are all ticks but those within
    total = sum(seconds.values())
    assert total == 14 - 1 - 0  # all ticks between the first and the last reading
    assert seconds["output"] == 3
    assert seconds["inner.0"] == 3


def test_each_trace_has_a_clock_of_its_own():
    """Two networks at once, in two threads, and a third one that nobody traces."""
    networks = [nn.Sequential(*(nn.ReLU() for _ in range(n))) for n in (2, 3)]
    x = np.ones((2, 3, 4, 5), np.float32)
    found, barrier = [None, None], threading.Barrier(2)

    def trace(number):
        barrier.wait(30)
        for _ in range(50):
            found[number] = networks[number].trace(x).seconds
            nn.ReLU().forward(x)

    threads = [threading.Thread(target=trace, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for seconds, network in zip(found, networks, strict=True):
        assert list(seconds) == [*map(str, range(len(network))), "output"]
        assert all(value > 0 for value in seconds.values())


def test_a_trace_after_an_error_measures_as_before():
    layer = nn.Sequential(nn.Conv2d(3, 4, 1))
    with pytest.raises(ValueError, match="x has 2 channels"):
        layer.trace(np.ones((1, 2, 3, 3), np.float32))
    seconds = layer.trace(np.ones((1, 3, 3, 3), np.float32)).seconds
    assert list(seconds) == ["0", "output"]


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
