"""Synchronised batch normalisation: the loops of `batch_norm`, with an exchange between them.

Each direction makes two passes over the channels: one before the exchange, one after it.
"""

import numpy as np

from numpy_shufflenet._threads import take_turns
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels import batch_norm
from numpy_shufflenet.kernels._barrier import each_turn
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import as_image, as_rows, as_spaced_rows, empty_rows
from numpy_shufflenet.kernels.batch_norm import combine_gradient, mean_and_variance, sums
from numpy_shufflenet.ops.batch_norm import check_batch, inverse_std
from numpy_shufflenet.ops.checks import check_gradient
from numpy_shufflenet.ops.sync_batch_norm import (
    Gather,
    SyncBatchNormCache,
    add_up_sums,
    alone,
    merge_statistics,
    statistics_message,
)

__all__ = ["sync_batch_norm_backward", "sync_batch_norm_forward"]


@compiled
def measure_rows(x: Array, turns: Array, mean: Array, var: Array) -> None:
    """Write the mean and the biased variance of rows x (c, m), one in each turn."""
    for c in each_turn(turns):
        mean[c], var[c] = mean_and_variance(x[c])


@compiled
def sum_rows(
    dy: Array, step: int, x: Array, mean: Array, turns: Array, sum_g: Array, sum_gx: Array
) -> None:
    """Write sum g and sum g (x - mu) of rows; g is every step-th row of dy."""
    zero = x.dtype.type(0)
    for c in each_turn(turns):
        sum_g[c], sum_gx[c] = sums(dy[c * step], x[c], mean[c], zero, zero, False)


@compiled
def combine_rows(
    dy: Array,
    step: int,
    x: Array,
    mean: Array,
    a: Array,
    p: Array,
    q: Array,
    turns: Array,
    dx: Array,
) -> None:
    """Compute dx = a (g - p - q (x - mu)) of rows; g is every step-th row of dy."""
    zero = x.dtype.type(0)
    for c in each_turn(turns):
        combine_gradient(dy[c * step], x[c], mean[c], a[c], zero, False, p[c], q[c], dx[c])


def sync_batch_norm_forward(
    x: Array, gamma: Array, beta: Array, *, gather: Gather = alone, eps: float = 1e-5
) -> tuple[Array, SyncBatchNormCache]:
    """`ops.sync_batch_norm_forward`, compiled."""
    check_batch(x, gamma, beta, eps)
    rows = as_rows(x)  # c m
    c, own_m = rows.shape
    mean, var = np.empty(c), np.empty(c)
    take_turns(c, lambda turns: measure_rows(rows, turns, mean, var), work=rows.size)
    message = statistics_message(x, mean, own_m * var)
    mean, var, m = merge_statistics(gather(message), x.dtype)
    y, inner = batch_norm.batch_norm_inference_forward(x, gamma, beta, mean, var, eps=eps)
    return y, SyncBatchNormCache(inner.x, gamma, mean, var, m, gather, inner.eps)


def sync_batch_norm_backward(dy: Array, cache: SyncBatchNormCache) -> tuple[Array, Array, Array]:
    """`ops.sync_batch_norm_backward`, compiled."""
    x, gamma, mean, var, m, gather, eps = cache
    check_gradient(dy, x.shape, x.dtype)
    n, c, h, w = x.shape
    rows, (g, step), dx = as_rows(x), as_spaced_rows(dy), empty_rows(c, n, h, w, x.dtype)
    own_g, own_gx = np.empty(c), np.empty(c)
    take_turns(
        c, lambda turns: sum_rows(g, step, rows, mean, turns, own_g, own_gx), work=2 * rows.size
    )
    all_g, all_gx = add_up_sums(gather, own_g, own_gx)
    inv_std = inverse_std(var, eps)
    a, p, q = gamma * inv_std, all_g / m, inv_std**2 * all_gx / m
    p, q = p.astype(x.dtype), q.astype(x.dtype)
    take_turns(
        c, lambda turns: combine_rows(g, step, rows, mean, a, p, q, turns, dx), work=2 * rows.size
    )
    return as_image(dx, n, h, w), (own_gx * inv_std).astype(x.dtype), own_g.astype(x.dtype)
