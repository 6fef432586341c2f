"""Batch normalisation, alone or followed by ReLU. Each channel is a row that fits in the cache.

Forward reads a row three times (mean, variance, output), backward twice (sums, dx), but only the
first time from memory. Backward is the recompute form of `ops.batch_norm`: it keeps x and two
numbers for each channel, and computes again which values the ReLU set to 0.

Pieces of a few thousand numbers are summed in any order, and their sums are added in float64.
"""

import math
from typing import NamedTuple

import numpy as np

from numpy_shufflenet._threads import take_turns
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._barrier import each_turn
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import (
    as_image,
    as_rows,
    as_spaced_rows,
    contiguous,
    empty_rows,
)
from numpy_shufflenet.ops.batch_norm import check_batch, check_inference
from numpy_shufflenet.ops.checks import check_gradient

__all__ = [
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference_backward",
    "batch_norm_inference_forward",
    "batch_norm_relu_backward",
    "batch_norm_relu_forward",
]

PIECE = 4096
Gradients = tuple[Array, Array, Array]


@compiled(reorder=True)
def mean_and_variance(row: Array) -> tuple[float, float]:
    """Return the mean and the biased variance of a row."""
    m = row.size
    zero = row.dtype.type(0)
    total = np.float64(0)
    for start in range(0, m, PIECE):
        piece, s = row[start : start + PIECE], zero
        for k in range(piece.size):
            s += piece[k]
        total += s
    mean = total / m
    mu = row.dtype.type(mean)
    total = np.float64(0)
    for start in range(0, m, PIECE):
        piece, s = row[start : start + PIECE], zero
        for k in range(piece.size):
            s += (piece[k] - mu) * (piece[k] - mu)
        total += s
    return mean, total / m


@compiled
def normalise(row: Array, mu: float, a: float, b: float, relu: bool, y: Array) -> None:
    """Compute y = (x - mu) a + b, followed by ReLU if `relu`."""
    zero = row.dtype.type(0)
    if relu:
        for k in range(row.size):
            v = (row[k] - mu) * a + b
            y[k] = zero if v < zero else v
    else:
        for k in range(row.size):
            y[k] = (row[k] - mu) * a + b


@compiled(reorder=True)
def sums(g: Array, row: Array, mu: float, a: float, b: float, relu: bool) -> tuple[float, float]:
    """Return sum g and sum g (x - mu), without those g where the ReLU was 0."""
    m = row.size
    zero = row.dtype.type(0)
    total, total_centred = np.float64(0), np.float64(0)
    for start in range(0, m, PIECE):
        x_piece, g_piece = row[start : start + PIECE], g[start : start + PIECE]
        s = t = zero
        if relu:
            for k in range(x_piece.size):
                centred = x_piece[k] - mu
                g_k = g_piece[k] if centred * a + b > zero else zero
                s += g_k
                t += g_k * centred
        else:
            for k in range(x_piece.size):
                s += g_piece[k]
                t += g_piece[k] * (x_piece[k] - mu)
        total += s
        total_centred += t
    return total, total_centred


@compiled
def combine_gradient(
    g: Array, row: Array, mu: float, a: float, b: float, relu: bool, p: float, q: float, dx: Array
) -> None:
    """Compute dx = a (g - p - q (x - mu)), with g = 0 where the ReLU was 0."""
    zero = row.dtype.type(0)
    if relu:
        for k in range(row.size):
            centred = row[k] - mu
            g_k = g[k] if centred * a + b > zero else zero
            dx[k] = (g_k - p - centred * q) * a
    else:
        for k in range(row.size):
            dx[k] = (g[k] - p - (row[k] - mu) * q) * a


@compiled
def rescale(g: Array, a: float, dx: Array) -> None:
    """Compute dx = a g, the gradient if the statistics are constants."""
    for k in range(g.size):
        dx[k] = g[k] * a


@compiled
def forward_rows(
    x: Array,
    gamma: Array,
    beta: Array,
    eps: float,
    relu: bool,
    measure: bool,
    mean: Array,
    var: Array,
    turns: Array,
    y: Array,
) -> None:
    """Normalise rows x (c, m), one in each turn, and write them to y.

    If `measure`, write their statistics to mean and var first.
    """
    for c in each_turn(turns):
        if measure:
            mean[c], var[c] = mean_and_variance(x[c])
        scale = x.dtype.type(gamma[c] / math.sqrt(var[c] + eps))
        normalise(x[c], mean[c], scale, beta[c], relu, y[c])


@compiled
def backward_rows(
    dy: Array,
    step: int,
    x: Array,
    gamma: Array,
    beta: Array,
    eps: float,
    relu: bool,
    measured: bool,
    mean: Array,
    var: Array,
    turns: Array,
    dx: Array,
    dgamma: Array,
    dbeta: Array,
) -> None:
    """Compute the gradients of rows, one in each turn, from every step-th row of dy.

    `measured` says whether mean and var depend on x. If they don't, there is no ReLU.
    """
    m, number = x.shape[1], x.dtype.type
    for c in each_turn(turns):
        inv_std = 1 / math.sqrt(var[c] + eps)
        scale = number(gamma[c] / math.sqrt(var[c] + eps))
        sum_g, sum_gx = sums(dy[c * step], x[c], mean[c], scale, beta[c], relu)
        dbeta[c] = sum_g
        dgamma[c] = sum_gx * inv_std
        if measured:
            p = number(sum_g / m)
            q = number(inv_std * inv_std * sum_gx / m)
            combine_gradient(dy[c * step], x[c], mean[c], scale, beta[c], relu, p, q, dx[c])
        else:
            rescale(dy[c * step], scale, dx[c])


class BatchNormCache(NamedTuple):
    """What backward needs, and the statistics of the batch."""

    x: Array  # n c h w, channel-major
    gamma: Array  # c
    beta: Array  # c
    mean: Array  # c
    var: Array  # c, biased
    eps: float
    relu: bool
    training: bool  # whether mean and var are those of x

    @property
    def y(self) -> Array:
        """The output (n, c, h, w), computed again, to tell where the ReLU was 0."""
        return _normalised(self, measure=False)


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, BatchNormCache]:
    """`ops.batch_norm_forward`, compiled."""
    return _forward(x, gamma, beta, eps, relu=False)


def batch_norm_backward(dy: Array, cache: BatchNormCache) -> Gradients:
    """`ops.batch_norm_backward`, compiled."""
    return _backward(dy, cache)


def batch_norm_relu_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, BatchNormCache]:
    """`ops.batch_norm_relu_forward`, compiled."""
    return _forward(x, gamma, beta, eps, relu=True)


def batch_norm_relu_backward(dy: Array, cache: BatchNormCache) -> Gradients:
    """`ops.batch_norm_relu_backward`, compiled."""
    return _backward(dy, cache)


def batch_norm_inference_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float = 1e-5
) -> tuple[Array, BatchNormCache]:
    """`ops.batch_norm_inference_forward`, compiled."""
    check_inference(x, gamma, beta, mean, var, eps)
    gamma, beta, mean, var = (contiguous(v) for v in (gamma, beta, mean, var))
    cache = BatchNormCache(_channel_major(x), gamma, beta, mean, var, float(eps), False, False)
    return _normalised(cache, measure=False), cache


def batch_norm_inference_backward(dy: Array, cache: BatchNormCache) -> Gradients:
    """`ops.batch_norm_inference_backward`, compiled."""
    return _backward(dy, cache)


def _forward(
    x: Array, gamma: Array, beta: Array, eps: float, *, relu: bool
) -> tuple[Array, BatchNormCache]:
    check_batch(x, gamma, beta, eps)
    mean, var = (np.empty(x.shape[1], x.dtype) for _ in range(2))
    gamma, beta = contiguous(gamma), contiguous(beta)
    cache = BatchNormCache(_channel_major(x), gamma, beta, mean, var, float(eps), relu, True)
    return _normalised(cache, measure=True), cache


def _normalised(cache: BatchNormCache, *, measure: bool) -> Array:
    """Return y. If `measure`, write the statistics of x to mean and var first."""
    n, c, h, w = cache.x.shape
    rows, y = as_rows(cache.x), empty_rows(c, n, h, w, cache.x.dtype)
    _, gamma, beta, mean, var, eps, relu, _ = cache

    def run(turns: Array) -> None:
        forward_rows(rows, gamma, beta, eps, relu, measure, mean, var, turns, y)

    take_turns(c, run, work=2 * rows.size)
    return as_image(y, n, h, w)


def _backward(dy: Array, cache: BatchNormCache) -> Gradients:
    x, gamma, beta, mean, var, eps, relu, training = cache
    check_gradient(dy, x.shape, x.dtype)
    n, c, h, w = x.shape
    rows, (gradients, step), dx = as_rows(x), as_spaced_rows(dy), empty_rows(c, n, h, w, x.dtype)
    dgamma, dbeta = np.empty_like(gamma), np.empty_like(beta)

    operands = gradients, step, rows, gamma, beta, eps, relu, training, mean, var

    def run(turns: Array) -> None:
        backward_rows(*operands, turns, dx, dgamma, dbeta)

    take_turns(c, run, work=4 * rows.size)
    return as_image(dx, n, h, w), dgamma, dbeta


def _channel_major(x: Array) -> Array:
    n, _, h, w = x.shape
    return as_image(as_rows(x), n, h, w)
