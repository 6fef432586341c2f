"""Mistakes in batch normalisation."""

from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.batch_norm import CHANNEL_SUM
from numpy_shufflenet.zoo.catalogue import wrong_forward, wrong_gradient

COURSES = "solutions of the second assignment of cs231n, which derive dx by hand"


def _wide(v: Array) -> Array:
    """Return one number for each channel, in a shape that broadcasts over images."""
    return v[:, None, None]


def _mean(a: Array) -> Array:
    return a.mean(axis=CHANNEL_SUM, keepdims=True)


# Forward


def _unbiased_backward(dy: Array, cache: Any) -> tuple[Array, Array, Array]:
    x_hat, inv_std, gamma, m = cache
    dgamma, dbeta = (dy * x_hat).sum(axis=CHANNEL_SUM), dy.sum(axis=CHANNEL_SUM)
    dx = dy - _wide(dbeta / m) - x_hat * _wide(dgamma / (m - 1))
    return dx * _wide(gamma) * inv_std, dgamma, dbeta


@wrong_forward("batch_norm", backward=_unbiased_backward, cause="factor")
def normalised_by_the_unbiased_variance(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, Any]:
    """Divide the variance by m - 1, in the forward and in the backward.

    Found in: np.var(ddof=1) in NumPy normalisations.
    Hint: you divide the variance by m - 1 (ddof=1); batch normalisation divides by m.
    """
    m = x.size // x.shape[1]
    centred = x - _mean(x)
    inv_std = 1 / np.sqrt(_mean(centred * centred) * (m / (m - 1)) + eps)
    x_hat = centred * inv_std
    return _wide(gamma) * x_hat + _wide(beta), (x_hat, inv_std, gamma, m)


# Backward


def _parts(cache: Any) -> tuple[Array, Array]:
    """Return x_hat, and gamma / (standard deviation) in a shape that broadcasts over images."""
    inv_std = 1 / np.sqrt(cache.var + cache.eps)
    return (cache.x - _wide(cache.mean)) * _wide(inv_std), _wide(cache.gamma * inv_std)


@wrong_gradient("batch_norm", "x", cause="factor")
def gamma_dropped(dx: Array, dy: Array, cache: Any) -> Array:
    """Leave gamma out of dx.

    Found in: mlpack, issue 1923: the test had no layer before batch normalisation.
    Hint: gamma is missing in dx: y = gamma x_hat + beta, so dx_hat = gamma dy.
    """
    return dx / _wide(cache.gamma)


@wrong_gradient("batch_norm", "x", cause="factor", found_in=COURSES)
def divided_by_the_variance(dx: Array, dy: Array, cache: Any) -> Array:
    """Divide dx by the variance instead of the standard deviation."""
    return dx / _wide(np.sqrt(cache.var + cache.eps))


@wrong_gradient("batch_norm", "x", cause="factor")
def eps_forgotten(dx: Array, dy: Array, cache: Any) -> Array:
    """Leave eps out of the last division by the standard deviation.

    Found in: pytorch, issue 4253: a mismatch of 1e-4 that breaks tests of correctness.
    """
    return dx * _wide(np.sqrt(1 + cache.eps / cache.var))


@wrong_gradient("batch_norm", "x", cause="term")
def unbiased_variance(dx: Array, dy: Array, cache: Any) -> Array:
    """Divide by m - 1 in the term of the variance, though the forward divides by m.

    Found in: np.var(ddof=1) in NumPy normalisations.
    """
    x_hat, scale = _parts(cache)
    m = dy.size // dy.shape[1]
    return scale * (dy - _mean(dy) - x_hat * _mean(dy * x_hat) * (m / (m - 1)))


@wrong_gradient("batch_norm", "x", cause="term", found_in=COURSES)
def mean_term_dropped(dx: Array, dy: Array, cache: Any) -> Array:
    """Leave out the gradient through the mean.

    Hint: the gradient through the mean is missing in dx: subtract the mean of gamma dy.
    """
    x_hat, scale = _parts(cache)
    return scale * (dy - x_hat * _mean(dy * x_hat))


@wrong_gradient("batch_norm", "x", cause="term", found_in=COURSES)
def variance_term_dropped(dx: Array, dy: Array, cache: Any) -> Array:
    """Leave out the gradient through the variance.

    Hint: the gradient through the variance is missing in dx: with g = gamma dy, subtract
    x_hat mean(g x_hat).
    """
    _, scale = _parts(cache)
    return scale * (dy - _mean(dy))


@wrong_gradient("batch_norm", "x", cause="term")
def inference_formula_in_training(dx: Array, dy: Array, cache: Any) -> Array:
    """Treat the statistics of the batch as constants.

    Found in: apache/mxnet, issue 9580; torch/nn, pull request 768: the two modes mixed up.
    Hint: your dx treats mean and variance as constants, which is the formula of inference; in
    training they depend on x.
    """
    _, scale = _parts(cache)
    return scale * dy


@wrong_gradient("batch_norm", "x", cause="term")
def sums_for_means(dx: Array, dy: Array, cache: Any) -> Array:
    """Use sums over the channel instead of means, in both terms.

    Hint: your dx has sums where it needs means: divide both sums over the channel by m.
    """
    x_hat, scale = _parts(cache)
    m = dy.size // dy.shape[1]
    return scale * (dy - m * _mean(dy) - x_hat * m * _mean(dy * x_hat))


@wrong_gradient("batch_norm", "x", cause="term")
def means_over_the_batch_only(dx: Array, dy: Array, cache: Any) -> Array:
    """Compute the two means of each pixel over the batch, not of each channel.

    Found in: published NumPy normalisations that normalise each element over the batch.
    """
    x_hat, scale = _parts(cache)
    return scale * (dy - dy.mean(axis=0) - x_hat * (dy * x_hat).mean(axis=0))


@wrong_gradient("batch_norm", "beta", cause="sum")
def shift_of_one_image(dbeta: Array, dy: Array, cache: Any) -> Array:
    """Add up dbeta over the pixels of the first image only.

    Found in: deeplearning4j, pull request 364: the mean of a bias over the wrong axis.
    """
    return dy[0].sum(axis=(1, 2))


@wrong_gradient("batch_norm", "gamma", cause="term", found_in=COURSES)
def scale_without_centring(dgamma: Array, dy: Array, cache: Any) -> Array:
    """Compute dgamma from x / std instead of x_hat, without subtracting the mean."""
    return dgamma + cache.mean / np.sqrt(cache.var + cache.eps) * dy.sum(axis=CHANNEL_SUM)


@wrong_gradient("batch_norm_inference", "x", cause="term")
def training_formula_in_inference(dx: Array, dy: Array, cache: Any) -> Array:
    """Add gradients through mean and variance, though they are constants in inference.

    Found in: pytorch/xla, issue 913; pytorch, issue 586: evaluation with the backward of training.
    """
    x_hat, scale = _parts(cache)
    return scale * (dy - _mean(dy) - x_hat * _mean(dy * x_hat))


@wrong_gradient("batch_norm_inference", "x", cause="factor")
def standard_deviation_multiplied(dx: Array, dy: Array, cache: Any) -> Array:
    """Multiply by the standard deviation instead of dividing by it.

    Found in: torch/nn, pull request 615: the scale in the backward of evaluation.
    """
    return dx * _wide(cache.var + cache.eps)


# Synchronised batch normalisation, with one process


@wrong_gradient("sync_batch_norm", "x", cause="term")
def one_sum_not_exchanged(dx: Array, dy: Array, cache: Any) -> Array:
    """Leave out the term of the variance, as if only the sum of dy needed an exchange.

    Hint: the term of the variance is missing: both sums in dx need an exchange.
    """
    _, scale = _parts(cache)
    return scale * (dy - _mean(dy))


@wrong_gradient("sync_batch_norm", "x", cause="term")
def both_sums_left_out(dx: Array, dy: Array, cache: Any) -> Array:
    """Hold the statistics fixed, as in inference.

    Hint: mean and variance depend on x: subtract the terms of both from dy.
    """
    _, scale = _parts(cache)
    return scale * dy
