"""The alpha-beta model, against schedules of messages that are simulated one by one."""

import re

import numpy as np
import pytest

from numpy_shufflenet import backend, models, nn, plots
from numpy_shufflenet.cost.communication import (
    GIGABIT,
    Link,
    TrainingStep,
    bytes_sent,
    gather_sizes,
    gradient_bytes,
)
from numpy_shufflenet.distributed import Single

LINK = Link(1e-3, 1e6)


def run_ring(values, link):
    """Add up vectors by a ring; return the sum, the seconds, and the bytes of one machine."""
    p, seconds, sent = len(values), 0.0, 0
    pieces = [np.array_split(v.astype(float), p) for v in values]
    for turn in range(2 * (p - 1)):
        moved = [(r, (r - turn) % p, pieces[r][(r - turn) % p].copy()) for r in range(p)]
        for r, k, piece in moved:
            target = pieces[(r + 1) % p]
            target[k] = target[k] + piece if turn < p - 1 else piece
        largest = max(piece.nbytes for _, _, piece in moved)
        seconds += link.latency + largest / link.bandwidth
        sent += largest
    for piece in pieces:
        np.testing.assert_allclose(np.concatenate(piece), np.sum(values, axis=0))
    return seconds, sent


def run_tree(values, link):
    """Add up along a binary tree, and send the sum back; return the seconds."""
    p, rounds, distance = len(values), 0, 1
    totals = [v.astype(float) for v in values]
    while distance < p:
        for r in range(0, p - distance, 2 * distance):
            totals[r] = totals[r] + totals[r + distance]
        rounds, distance = rounds + 1, 2 * distance
    np.testing.assert_allclose(totals[0], np.sum(values, axis=0))
    return 2 * rounds * (link.latency + values[0].nbytes / link.bandwidth)


@pytest.mark.parametrize("p", [1, 2, 3, 4, 7, 8])
def test_ring_and_tree_are_those_of_their_messages(p):
    values = np.random.default_rng(p).normal(size=(p, 168))  # 168 divides by all p
    seconds, sent = run_ring(values, LINK)
    assert LINK.ring_seconds(168 * 8, p) == pytest.approx(seconds)
    assert bytes_sent(168 * 8, p) == pytest.approx(sent)
    assert LINK.tree_seconds(168 * 8, p) == pytest.approx(run_tree(values, LINK))


def test_small_sums_take_the_tree_and_large_ones_the_ring():
    assert LINK.sum_seconds(8, 64) == LINK.tree_seconds(8, 64) < LINK.ring_seconds(8, 64)
    assert LINK.sum_seconds(1e7, 64) == LINK.ring_seconds(1e7, 64) < LINK.tree_seconds(1e7, 64)


def test_a_step_is_as_long_as_what_is_not_hidden():
    step = TrainingStep(1.0, 0.6, 10**6, gathers=(100, 100), hidden=0.5)
    assert step.efficiency(LINK, 1) == 1
    expected = 1 + LINK.sum_seconds(10**6, 4) - 0.3 + 2 * LINK.gather_seconds(100, 4)
    assert step.seconds_on(LINK, 4) == pytest.approx(expected)
    fast = Link(0.0, 1e12)
    assert step.efficiency(fast, 1024) == pytest.approx(1, abs=1e-6)
    efficiencies = [step.efficiency(LINK, 2**k) for k in range(10)]
    assert efficiencies == sorted(efficiencies, reverse=True)


@pytest.mark.parametrize("gathers", [(), (500, 400)])
def test_the_least_batch_is_the_least(gathers):
    step = TrainingStep(0.01, 0.006, 10**6, gathers=gathers, buckets=2)
    factor = step.least_factor(LINK, 8, 0.9)
    assert step.with_batch(factor).efficiency(LINK, 8) == pytest.approx(0.9)
    assert step.with_batch(0.99 * factor).efficiency(LINK, 8) < 0.9


def test_the_messages_of_synchronised_batch_normalisation():
    """As long as those of a training step."""
    model, sent = models.shufflenet_v2(scale=0.5, num_classes=3, stem="small", seed=0), []

    class Counting(Single):
        def gather(self, vector):
            sent.append(vector.nbytes)
            return super().gather(vector)

    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    expected = gather_sizes(model)
    nn.synchronise(model, Counting().gather)
    with backend.use("numpy"):
        model.backward(np.ones_like(model.forward(x, training=True)))
    assert sorted(sent) == sorted(expected)
    assert gradient_bytes(model) == sum(g.nbytes for g in model.gradients().values())


def test_the_figure_has_a_line_for_each_network_and_link():
    steps = {"V1": TrainingStep(1.0, 0.6, 7_460_000), "V2": TrainingStep(0.8, 0.5, 9_120_000)}
    links = {"1 Gbit/s": Link(5e-5, GIGABIT), "10 Gbit/s": Link(2e-5, 10 * GIGABIT)}
    axes = plots.scaling_efficiency(steps, links).axes[0]
    assert len(axes.lines) == 4
    for line, (step, link) in zip(
        axes.lines, [(s, k) for k in links.values() for s in steps.values()], strict=True
    ):
        for count, value in zip(line.get_xdata(), line.get_ydata(), strict=True):
            assert value == pytest.approx(100 * step.efficiency(link, int(count)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Link(-1, 1), "latency=-1 is not a number of at least 0"),
        (lambda: Link(0, 0), "bandwidth=0 is not a number above 0"),
        (lambda: LINK.ring_seconds(1, 0), "machines=0 is not a whole number"),
        (lambda: TrainingStep(1.0, 1.0, 1, hidden=2), "hidden=2 is not a number from 0 to 1"),
        (
            lambda: TrainingStep(1, 1, 1).least_factor(LINK, 2, 1),
            "efficiency=1 is not a number from 0",
        ),
        (lambda: plots.scaling_efficiency({}, {"a": LINK}), "steps has 0 entries; 1 to 4"),
    ],
)
def test_bad_numbers_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
