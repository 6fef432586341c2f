"""Synchronised batch normalisation: the ranks together do what one process does to the batch."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cotangent_like, seeds

from numpy_shufflenet import gradcheck, kernels, ops, steps
from numpy_shufflenet.distributed import simulate

close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-11)
IMPLEMENTATIONS = (ops, steps, kernels)
implementations = pytest.mark.parametrize("module", IMPLEMENTATIONS)


@st.composite
def batches(draw):
    """x with a large mean, gamma, beta, and the numbers of images of 2 to 4 ranks."""
    shares = draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    c, h, w = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(2, 3))
    rng = np.random.default_rng(draw(seeds()))
    x = 50 + 3 * rng.normal(size=(sum(shares), c, h, w))
    return x, rng.normal(size=c), rng.normal(size=c), shares


def forward(module, x, gamma, beta, shares):
    """Run all ranks; return y of the whole batch, and each rank's cache."""
    parts = np.split(x, np.cumsum(shares)[:-1])

    def run(ranks):
        return module.sync_batch_norm_forward(parts[ranks.rank], gamma, beta, gather=ranks.gather)

    found = simulate(len(shares), run)
    return np.concatenate([y for y, _ in found]), [cache for _, cache in found]


def backward(module, dy, caches, shares):
    """Run all ranks; return dx of the whole batch, and the sums of dgamma and dbeta."""
    parts = np.split(dy, np.cumsum(shares)[:-1])

    def run(ranks):
        # A cache holds the communicator of a simulation that has ended.
        cache = caches[ranks.rank]
        if hasattr(cache, "gather"):
            cache = cache._replace(gather=ranks.gather)
        else:
            cache.arguments.arguments["gather"] = ranks.gather
        return module.sync_batch_norm_backward(parts[ranks.rank], cache)

    dx, dgamma, dbeta = zip(*simulate(len(shares), run), strict=True)
    return np.concatenate(dx), sum(dgamma), sum(dbeta)


@implementations
@given(batches(), seeds())
def test_all_ranks_together_are_one_process(module, batch, seed):
    x, gamma, beta, shares = batch
    y, caches = forward(module, x, gamma, beta, shares)
    expected, cache = ops.batch_norm_forward(x, gamma, beta)
    close(y, expected)
    dy = cotangent_like(y, np.random.default_rng(seed))
    gradients = backward(module, dy, caches, shares)
    for actual, one in zip(gradients, ops.batch_norm_backward(dy, cache), strict=True):
        close(actual, one)


def test_the_gradient_of_the_sum_over_two_ranks():
    """By finite differences: a share of one rank changes the outputs of the other."""
    rng, shares = np.random.default_rng(0), [1, 2]
    x, gamma, beta = rng.normal(size=(3, 2, 2, 2)), rng.normal(size=2), rng.normal(size=2)
    gradcheck.assert_gradients(
        lambda x, gamma, beta: forward(ops, x, gamma, beta, shares),
        lambda dy, caches: backward(ops, dy, caches, shares),
        x,
        gamma,
        beta,
    )


@given(batches())
def test_every_rank_has_the_same_statistics_to_the_bit(batch):
    x, gamma, beta, shares = batch
    _, (first, *others) = forward(kernels, x, gamma, beta, shares)
    _, cache = ops.batch_norm_forward(x, gamma, beta)
    for other in others:
        assert first.mean.tobytes() == other.mean.tobytes()
        assert first.var.tobytes() == other.var.tobytes()
    for running in (first, cache):
        assert first.m == x.size // x.shape[1]
        mean, var = ops.update_running_statistics(np.zeros_like(beta), np.ones_like(beta), running)
        close(mean, 0.1 * x.mean(axis=(0, 2, 3)))
        close(var, 0.9 + 0.1 * x.var(axis=(0, 2, 3), ddof=1))


@implementations
def test_a_large_mean_cancels_nothing_in_float32(module):
    """mean(x^2) - mean^2 would have no right digit here."""
    rng = np.random.default_rng(0)
    x = (10_000 + rng.normal(size=(6, 1, 4, 4))).astype(np.float32)
    _, caches = forward(module, x, np.ones(1, np.float32), np.zeros(1, np.float32), [2, 4])
    if module is not steps:
        np.testing.assert_allclose(caches[0].var, x.astype(float).var(), rtol=1e-4)
    y, _ = forward(module, x, np.ones(1, np.float32), np.zeros(1, np.float32), [2, 4])
    np.testing.assert_allclose(y.astype(float).std(), 1, rtol=1e-3)
