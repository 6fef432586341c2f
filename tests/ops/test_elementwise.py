"""ReLU, sigmoid and dropout: one number at a time."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrange, cases, cotangent_like, hyperparameters, seeds

from numpy_shufflenet import ops

close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-14)
equal = np.testing.assert_array_equal
rngs = seeds().map(np.random.default_rng)


@given(cases("relu"), rngs)
def test_relu_is_a_maximum_and_its_gradient_a_mask(case, rng):
    (x,) = case.arrays
    y, cache = ops.relu_forward(x)
    equal(y, np.where(x > 0, x, 0))
    dy = cotangent_like(y, rng)
    equal(ops.relu_backward(dy, cache), np.where(x > 0, dy, 0))


@given(cases("relu"))
def test_relu_splits_x_into_two_halves(case):
    (x,) = case.arrays
    y, _ = ops.relu_forward(x)
    negative, _ = ops.relu_forward(-x)
    equal(y - negative, x)
    equal(y + negative, np.abs(x))
    equal(ops.relu_forward(y)[0], y)


def test_relu_at_0_has_slope_0_and_nan_stays():
    y, cache = ops.relu_forward(np.array([0.0, -0.0, np.nan, np.inf, -np.inf]))
    equal(y, [0, 0, np.nan, np.inf, 0])
    equal(ops.relu_backward(np.ones(5), cache)[[0, 1, 3, 4]], [0, 0, 1, 0])


@given(cases("sigmoid", np.float64), rngs)
def test_sigmoid_is_the_formula(case, rng):
    (x,) = case.arrays
    y, cache = ops.sigmoid_forward(x)
    close(y, np.reshape([1 / (1 + math.exp(-value)) for value in x.ravel()], x.shape))
    dy = cotangent_like(y, rng)
    slope = np.reshape([1 / (2 + 2 * math.cosh(value)) for value in x.ravel()], x.shape)
    close(ops.sigmoid_backward(dy, cache), dy * slope)


@given(cases("sigmoid", np.float64))
def test_sigmoid_is_symmetric(case):
    (x,) = case.arrays
    close(ops.sigmoid_forward(x)[0] + ops.sigmoid_forward(-x)[0], np.ones(x.shape))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_of_huge_numbers_does_not_overflow(dtype):
    """An overflow would be a warning, and every warning is an error here."""
    y, cache = ops.sigmoid_forward(np.array([-1e4, -1e3, 0, 1e3, 1e4], dtype))
    equal(y, [0, 0, 0.5, 1, 1])
    equal(ops.sigmoid_backward(np.ones(5, dtype), cache), [0, 0, 0.25, 0, 0])


@given(cases("dropout"))
def test_dropout_drops_or_scales(case):
    (x,), rate = case.arrays, case.hyperparameters["rate"]
    y, cache = ops.dropout_forward(x, **hyperparameters(case))
    # The same rng says what is dropped: one number a value, in row-major order.
    kept = hyperparameters(case)["rng"].random(x.shape) >= rate
    np.testing.assert_allclose(y, np.where(kept, x / (1 - rate), 0), rtol=1e-6)
    dx = ops.dropout_backward(np.ones_like(y), cache)
    np.testing.assert_allclose(dx, kept / (1 - rate), rtol=1e-6)


@given(cases("dropout"))
def test_the_same_rng_drops_the_same_values_in_any_layout(case):
    (x,) = case.arrays
    y, _ = ops.dropout_forward(x, **hyperparameters(case))
    for layout in ("row-major", "fortran"):
        equal(ops.dropout_forward(arrange(x, layout), **hyperparameters(case))[0], y)


def test_another_rng_drops_others_and_so_does_a_second_call():
    x, rng = np.ones(1000), np.random.default_rng(0)
    first, _ = ops.dropout_forward(x, rate=0.5, rng=rng)
    second, _ = ops.dropout_forward(x, rate=0.5, rng=rng)
    other, _ = ops.dropout_forward(x, rate=0.5, rng=np.random.default_rng(1))
    for a, b in ((first, second), (first, other)):
        assert 400 < np.count_nonzero(a != b) < 600


@given(st.floats(0.1, 0.9), seeds())
def test_dropout_keeps_the_mean(rate, seed):
    """Within 6 standard deviations of the mean of 10,000 values."""
    y, _ = ops.dropout_forward(np.ones(10_000), rate=rate, rng=np.random.default_rng(seed))
    deviation = math.sqrt(rate / (1 - rate) / 10_000)
    assert abs(y.mean() - 1) <= 6 * deviation


def test_rate_0_keeps_everything():
    x = np.random.default_rng(0).normal(size=(3, 4))
    equal(ops.dropout_forward(x, rate=0.0, rng=np.random.default_rng(0))[0], x)
