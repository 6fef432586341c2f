"""Wrong backwards of batch normalisation."""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.batch_norm import CHANNEL_SUM, BatchNormCache
from numpy_shufflenet.zoo._bug import wrong_backward

Gradients = tuple[Array, Array, Array]
COURSES = "solutions of cs231n's second assignment, which derive dx by hand"


def _parts(dy: Array, cache: BatchNormCache) -> tuple[Array, Array, Array, Array, int]:
    """inv_std and x_hat (both broadcast over the image), dgamma, dbeta, and values a channel."""
    inv_std = _wide(1 / np.sqrt(cache.var + cache.eps))
    x_hat = (cache.x - _wide(cache.mean)) * inv_std
    dgamma, dbeta = (dy * x_hat).sum(axis=CHANNEL_SUM), dy.sum(axis=CHANNEL_SUM)
    return inv_std, x_hat, dgamma, dbeta, dy.size // dy.shape[1]


def _wide(v: Array) -> Array:
    return v[:, None, None]


@wrong_backward(
    "batch_norm",
    cause="factor",
    found_in="mlpack, issue 1923: no layer stood before the one tested",
)
def gamma_dropped(dy: Array, cache: BatchNormCache) -> Gradients:
    """Leave gamma out of dx."""
    dx, dgamma, dbeta = ops.batch_norm_backward(dy, cache)
    return dx / _wide(cache.gamma), dgamma, dbeta


@wrong_backward("batch_norm", cause="factor", found_in=COURSES)
def divided_by_the_variance(dy: Array, cache: BatchNormCache) -> Gradients:
    """Divide dx by the variance in place of the standard deviation."""
    dx, dgamma, dbeta = ops.batch_norm_backward(dy, cache)
    return dx / _wide(np.sqrt(cache.var + cache.eps)), dgamma, dbeta


@wrong_backward(
    "batch_norm",
    cause="factor",
    found_in="pytorch, issue 4253: a mismatch of 1e-4 that breaks tests of correctness",
)
def eps_forgotten(dy: Array, cache: BatchNormCache) -> Gradients:
    """Leave eps out of the last division by the standard deviation: wrong by parts in a million."""
    dx, dgamma, dbeta = ops.batch_norm_backward(dy, cache)
    return dx * _wide(np.sqrt(1 + cache.eps / cache.var)), dgamma, dbeta


@wrong_backward("batch_norm", cause="term", found_in="np.var(ddof=1) in NumPy normalisations")
def unbiased_variance(dy: Array, cache: BatchNormCache) -> Gradients:
    """Divide by m - 1 in the term of the variance, where the forward divided by m."""
    inv_std, x_hat, dgamma, dbeta, m = _parts(dy, cache)
    dx = dy - _wide(dbeta / m) - x_hat * _wide(dgamma / (m - 1))
    return dx * _wide(cache.gamma) * inv_std, dgamma, dbeta


@wrong_backward("batch_norm", cause="term", found_in=COURSES)
def mean_term_dropped(dy: Array, cache: BatchNormCache) -> Gradients:
    """Leave out the way through the mean."""
    inv_std, x_hat, dgamma, dbeta, m = _parts(dy, cache)
    return (dy - x_hat * _wide(dgamma / m)) * _wide(cache.gamma) * inv_std, dgamma, dbeta


@wrong_backward("batch_norm", cause="term", found_in=COURSES)
def variance_term_dropped(dy: Array, cache: BatchNormCache) -> Gradients:
    """Leave out the way through the variance."""
    inv_std, _, dgamma, dbeta, m = _parts(dy, cache)
    return (dy - _wide(dbeta / m)) * _wide(cache.gamma) * inv_std, dgamma, dbeta


@wrong_backward(
    "batch_norm",
    cause="term",
    found_in="apache/mxnet, issue 9580; torch/nn, pull request 768: the two modes mixed up",
)
def inference_formula_in_training(dy: Array, cache: BatchNormCache) -> Gradients:
    """Treat the statistics of the batch as constants."""
    inv_std, _, dgamma, dbeta, _ = _parts(dy, cache)
    return dy * _wide(cache.gamma) * inv_std, dgamma, dbeta


@wrong_backward(
    "batch_norm",
    cause="term",
    found_in="published NumPy normalisations that normalise each element over the batch",
)
def means_over_the_batch_only(dy: Array, cache: BatchNormCache) -> Gradients:
    """Take the two means for every pixel over the batch, not for every channel over all pixels."""
    inv_std, x_hat, dgamma, dbeta, _ = _parts(dy, cache)
    dx = dy - dy.mean(axis=0) - x_hat * (dy * x_hat).mean(axis=0)
    return dx * _wide(cache.gamma) * inv_std, dgamma, dbeta


@wrong_backward(
    "batch_norm",
    cause="sum",
    found_in="deeplearning4j, pull request 364: the mean of a bias over the wrong dimension",
)
def shift_of_one_image(dy: Array, cache: BatchNormCache) -> Gradients:
    """Add up dbeta over the pixels of the first image only."""
    dx, dgamma, _ = ops.batch_norm_backward(dy, cache)
    return dx, dgamma, dy[0].sum(axis=(1, 2))


@wrong_backward("batch_norm", cause="term", found_in=COURSES)
def scale_without_centring(dy: Array, cache: BatchNormCache) -> Gradients:
    """Compute dgamma from x / std in place of x_hat: the mean is not subtracted."""
    dx, dgamma, dbeta = ops.batch_norm_backward(dy, cache)
    inv_std = 1 / np.sqrt(cache.var + cache.eps)
    return dx, dgamma + cache.mean * inv_std * dbeta, dbeta


@wrong_backward(
    "batch_norm_inference",
    cause="term",
    found_in="pytorch/xla, issue 913; pytorch, issue 586: evaluation with the training's backward",
)
def training_formula_in_inference(dy: Array, cache: Any) -> Gradients:
    """Let the gradient flow through mean and variance, which are constants here."""
    dx, dgamma, dbeta = ops.batch_norm_inference_backward(dy, cache)
    m = dy.size // dy.shape[1]
    inv_std = 1 / np.sqrt(cache.var + cache.eps)
    x_hat = (cache.x - _wide(cache.mean)) * _wide(inv_std)
    through = _wide(dbeta / m) + x_hat * _wide(dgamma / m)
    return dx - through * _wide(cache.gamma * inv_std), dgamma, dbeta


@wrong_backward(
    "batch_norm_inference",
    cause="factor",
    found_in="torch/nn, pull request 615: the order of scaling in the evaluation's backward",
)
def standard_deviation_multiplied(dy: Array, cache: Any) -> Gradients:
    """Multiply by the standard deviation in place of dividing."""
    dx, dgamma, dbeta = ops.batch_norm_inference_backward(dy, cache)
    return dx * _wide(cache.var + dx.dtype.type(cache.eps)), dgamma, dbeta
