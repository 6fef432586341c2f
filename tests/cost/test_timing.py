"""The clock of a network adds up, and shares of its time are named."""

import itertools
import math
import time

import numpy as np
import pytest

from numpy_shufflenet import cost, nn
from numpy_shufflenet.cost.timing import OTHER, own_times


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
