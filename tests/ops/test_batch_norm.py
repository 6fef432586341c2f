"""Batch normalisation: the three derivations, what it makes of the statistics, what it ignores."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import cases, cotangent_like, hyperparameters, seeds

from numpy_shufflenet import ops

close = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-10)
rngs = seeds().map(np.random.default_rng)
batches = cases("batch_norm", np.float64)
PIXELS = (0, 2, 3)


def per_channel(v):
    return v[:, None, None]


@given(batches, rngs)
def test_three_derivations_are_one(case, rng):
    y, cache = ops.batch_norm_forward(*case.arrays, **hyperparameters(case))
    dy = cotangent_like(y, rng)
    expected = ops.batch_norm_backward(dy, cache)
    for other in (ops.batch_norm_backward_simplified, ops.batch_norm_backward_graph):
        for actual, gradient in zip(other(dy, cache), expected, strict=True):
            close(actual, gradient)


@given(batches)
def test_output_has_mean_beta_and_variance_gamma_squared(case):
    x, gamma, beta = case.arrays
    y, _ = ops.batch_norm_forward(x, gamma, beta, eps=0)
    close(y.mean(axis=PIXELS), beta)
    close(y.var(axis=PIXELS), gamma**2)


@given(batches)
def test_the_formula_of_the_paper(case):
    """Also with eps: it damps the variance a little."""
    x, gamma, beta = case.arrays
    eps = case.hyperparameters["eps"]
    y, cache = ops.batch_norm_forward(x, gamma, beta, eps=eps)
    for channel in range(x.shape[1]):
        values = x[:, channel]
        mean, var = np.mean(values), np.var(values)
        expected = gamma[channel] * (values - mean) / np.sqrt(var + eps) + beta[channel]
        close(y[:, channel], expected)
        close([cache.mean[channel], cache.var[channel]], [mean, var])


@given(batches, st.floats(0.5, 4), st.floats(-3, 3))
def test_shifting_and_scaling_x_change_nothing(case, scale, shift):
    """The property that gives the backward its two subtracted means."""
    x, gamma, beta = case.arrays
    y, _ = ops.batch_norm_forward(x, gamma, beta, eps=0)
    close(ops.batch_norm_forward(scale * x + shift, gamma, beta, eps=0)[0], y)
    close(ops.batch_norm_forward(-x, -gamma, beta, eps=0)[0], y)


@given(batches, rngs)
def test_dx_is_orthogonal_to_shifting_and_scaling(case, rng):
    x, gamma, beta = case.arrays
    y, cache = ops.batch_norm_forward(x, gamma, beta, eps=0)
    x_hat, _ = ops.batch_norm_forward(x, np.ones_like(gamma), np.zeros_like(beta), eps=0)
    dx, _, _ = ops.batch_norm_backward(cotangent_like(y, rng), cache)
    close(dx.sum(axis=PIXELS), np.zeros(x.shape[1]))
    close((dx * x_hat).sum(axis=PIXELS), np.zeros(x.shape[1]))
    assert np.abs(dx).max() > 1e-8 or x[:, 0].size == 2  # with two values, nothing is left


@given(batches, st.floats(0.5, 4), rngs)
def test_scaling_x_scales_dx_down(case, scale, rng):
    x, gamma, beta = case.arrays
    y, cache = ops.batch_norm_forward(x, gamma, beta, eps=0)
    _, cache_scaled = ops.batch_norm_forward(scale * x, gamma, beta, eps=0)
    dy = cotangent_like(y, rng)
    dx, dgamma, dbeta = ops.batch_norm_backward(dy, cache)
    dx_scaled, dgamma_scaled, dbeta_scaled = ops.batch_norm_backward(dy, cache_scaled)
    close(dx_scaled, dx / scale)
    close(dgamma_scaled, dgamma)
    close(dbeta_scaled, dbeta)


def test_a_constant_channel_gives_beta():
    x = np.full((2, 1, 2, 2), 7.0)
    y, cache = ops.batch_norm_forward(x, np.ones(1), np.full(1, 3.0))
    close(y, np.full(x.shape, 3.0))
    dx, dgamma, dbeta = ops.batch_norm_backward(np.ones_like(y), cache)
    close(dx, np.zeros(x.shape))
    close([*dgamma, *dbeta], [0, 8])


@given(batches, st.floats(0, 1), rngs)
def test_running_statistics_move_as_in_pytorch(case, momentum, rng):
    """Momentum weighs the new value, and the variance is the unbiased one."""
    x = case.arrays[0]
    _, cache = ops.batch_norm_forward(*case.arrays, **case.hyperparameters)
    mean, var = rng.normal(size=x.shape[1]), rng.uniform(0.5, 2, size=x.shape[1])
    new_mean, new_var = ops.update_running_statistics(mean, var, cache, momentum=momentum)
    close(new_mean, (1 - momentum) * mean + momentum * x.mean(axis=PIXELS))
    close(new_var, (1 - momentum) * var + momentum * x.var(axis=PIXELS, ddof=1))


def test_momentum_is_a_tenth_unless_said():
    _, cache = ops.batch_norm_forward(np.full((2, 1, 1, 1), 5.0), np.ones(1), np.zeros(1))
    mean, var = ops.update_running_statistics(np.zeros(1), np.ones(1), cache)
    close([mean[0], var[0]], [0.5, 0.9])


@given(batches)
def test_inference_with_the_statistics_of_the_batch_is_training(case):
    y, cache = ops.batch_norm_forward(*case.arrays, **case.hyperparameters)
    same, _ = ops.batch_norm_inference_forward(
        *case.arrays, cache.mean, cache.var, **case.hyperparameters
    )
    close(same, y)


@given(cases("batch_norm_inference", np.float64), rngs)
def test_inference_is_an_affine_map_of_each_channel(case, rng):
    x, gamma, beta, mean, var = case.arrays
    eps = case.hyperparameters["eps"]
    scale = gamma / np.sqrt(var + eps)
    y, cache = ops.batch_norm_inference_forward(x, gamma, beta, mean, var, eps=eps)
    close(y, per_channel(scale) * x + per_channel(beta - scale * mean))

    dy = cotangent_like(y, rng)
    dx, dgamma, dbeta = ops.batch_norm_inference_backward(dy, cache)
    close(dx, per_channel(scale) * dy)
    x_hat = (x - per_channel(mean)) / per_channel(np.sqrt(var + eps))
    close(dgamma, np.einsum("nchw,nchw->c", dy, x_hat))
    close(dbeta, np.einsum("nchw->c", dy))


@pytest.mark.parametrize("name", ["conv2d", "depthwise_conv2d", "pointwise_conv2d"])
@given(st.data(), rngs)
def test_inference_folds_into_the_convolution_before_it(name, data, rng):
    """One convolution with scaled kernels; so a trained network needs no batch normalisation."""
    case = data.draw(cases(name, np.float64))
    x, w, b = case.arrays
    forward, backward = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")
    o, eps = len(w), 1e-5
    gamma, beta, mean = rng.normal(size=(3, o))
    var = rng.uniform(0.2, 2, size=o)
    middle, cache_conv = forward(x, w, b, **case.hyperparameters)
    y, cache_norm = ops.batch_norm_inference_forward(middle, gamma, beta, mean, var, eps=eps)

    scale = gamma / np.sqrt(var + eps)
    folded_w = scale[:, None, None, None] * w
    folded_b = beta + scale * ((0 if b is None else b) - mean)
    y_folded, cache_folded = forward(x, folded_w, folded_b, **case.hyperparameters)
    close(y, y_folded)

    dy = cotangent_like(y, rng)
    dmiddle, _, dbeta = ops.batch_norm_inference_backward(dy, cache_norm)
    dx, dw, _ = backward(dmiddle, cache_conv)
    dx_folded, dfolded_w, dfolded_b = backward(dy, cache_folded)
    close(dx, dx_folded)
    close(dw, scale[:, None, None, None] * dfolded_w)
    close(dbeta, dfolded_b)


@pytest.mark.parametrize("number", [float, np.float64])
def test_float32_stays_whatever_kind_of_number_eps_and_momentum_are(number):
    """NumPy lets its own scalars of double precision decide the dtype, but not Python's."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    gamma, beta = np.ones(3, np.float32), np.zeros(3, np.float32)
    y, cache = ops.batch_norm_forward(x, gamma, beta, eps=number(1e-5))
    arrays = [y, cache.mean, cache.var, *ops.batch_norm_backward(y, cache)]
    arrays += ops.batch_norm_backward_simplified(y, cache)
    arrays += ops.batch_norm_backward_graph(y, cache)
    statistics = ops.update_running_statistics(beta, gamma, cache, momentum=number(0.1))
    arrays += statistics
    y, inference = ops.batch_norm_inference_forward(
        x, gamma, beta, cache.mean, cache.var, eps=number(1e-5)
    )
    arrays += [y, *ops.batch_norm_inference_backward(y, inference)]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
