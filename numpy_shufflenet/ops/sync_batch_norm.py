"""Synchronised batch normalisation: one batch lies on several processes, and each has a share.

Process r has m_r values of a channel; all processes together have m = sum m_r. Every process
normalises its share by the statistics of the whole batch.

Forward. Process r computes the mean mu_r of its share and M2_r = sum (x - mu_r)^2. The processes
exchange (m_r, mu_r, M2_r) once, and each merges the rows of all:

    mu = sum m_r mu_r / m        var = sum (M2_r + m_r (mu_r - mu)^2) / m

No large numbers cancel here, as they do in mean(x^2) - mu^2. Then, as in one process,

    x_hat = (x - mu) inv_std      y = gamma x_hat + beta      inv_std = 1 / sqrt(var + eps)

Backward. The loss is the sum of the losses of all processes. A value x of process r changes mu and
var, and these change the outputs of *every* process. So the two means in

    dx = scale (dy - sum dy / m - (x - mu) inv_std^2 sum dy (x - mu) / m),   scale = gamma inv_std

run over the whole batch. Both sums need the other processes, and one exchange carries both.

gamma and beta are copies on each process. dgamma = sum dy x_hat and dbeta = sum dy run over the
process's own share only: the training adds up the gradients of all parameters over the processes.

Three mistakes are common: to divide by m_r in place of m, to add up only one of the two sums over
the processes, and to add up dgamma and dbeta twice.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops._sums import mean_over, sum_over
from numpy_shufflenet.ops.batch_norm import (
    BATCH_NORM,
    CHANNEL_SUM,
    batch_norm_cases,
    check_batch,
    inverse_std,
    per_channel,
)
from numpy_shufflenet.ops.checks import check_gradient
from numpy_shufflenet.registry import register

__all__ = ["sync_batch_norm_backward", "sync_batch_norm_forward"]

Gather = Callable[[Array], Array]
"""Sends a vector (k,) to all processes; returns the vectors of all, (processes, k), in order."""


def alone(row: Array) -> Array:
    """Gather for a single process: return its own vector, (k,), as (1, k)."""
    return row[None]


class SyncBatchNormCache(NamedTuple):
    """What the backward needs, and the statistics of the whole batch."""

    x: Array  # n c h w, the share of this process
    gamma: Array  # c
    mean: Array  # c
    var: Array  # c, biased
    m: int
    gather: Gather
    eps: float


def sync_batch_norm_forward(
    x: Array, gamma: Array, beta: Array, *, gather: Gather = alone, eps: float = 1e-5
) -> tuple[Array, SyncBatchNormCache]:
    """Normalise every channel by the statistics of a batch that several processes share.

    All processes must call this function, and later its backward, at the same time.

    Parameters
    ----------
    x : array, shape (n, c, h, w), float32 or float64
        The share of this process. The processes may have different n.
    gamma, beta, eps
        As in `batch_norm_forward`, and the same on every process.
    gather : callable
        gather(vector) sends a float64 vector (k,) to all processes, and returns the vectors of
        all processes, shape (processes, k), in the same order on each. By default there is one
        process.

    Returns
    -------
    y : array, shape (n, c, h, w)
    cache : SyncBatchNormCache
        Its mean and var (c,) are statistics of the whole batch, with m values in each channel.

    Raises
    ------
    ValueError
        As `batch_norm_forward`.

    Source: Ioffe, Szegedy, 2015, algorithm 1, over all processes; the merge is equation 1.5 of
    Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample
    variances, 1979, for any number of parts.
    """
    check_batch(x, gamma, beta, eps)
    own_mean = mean_over(x, CHANNEL_SUM)  # c
    own_m2 = sum_over(np.square(x - per_channel(own_mean)), CHANNEL_SUM)  # c
    mean, var, m = merge_statistics(gather(statistics_message(x, own_mean, own_m2)), x.dtype)
    scale = gamma * inverse_std(var, eps)
    y = (x - per_channel(mean)) * per_channel(scale) + per_channel(beta)
    return y, SyncBatchNormCache(x, gamma, mean, var, m, gather, eps)


def sync_batch_norm_backward(dy: Array, cache: SyncBatchNormCache) -> tuple[Array, Array, Array]:
    """Gradients of `sync_batch_norm_forward`: dx (n, c, h, w), dgamma (c,), dbeta (c,).

    dgamma and dbeta are sums over the share of this process alone.
    """
    x, gamma, mean, var, m, gather, eps = cache
    check_gradient(dy, x.shape, x.dtype)
    inv_std = inverse_std(var, eps)
    centred = x - per_channel(mean)
    own_dy = sum_over(dy, CHANNEL_SUM)  # c
    own_dyx = sum_over(dy * centred, CHANNEL_SUM)  # c
    all_dy, all_dyx = add_up_sums(gather, own_dy, own_dyx)
    dx = dy - per_channel(all_dy / m) - centred * per_channel(inv_std**2 * all_dyx / m)
    dx *= per_channel(gamma * inv_std)
    return dx, own_dyx * inv_std, own_dy


def statistics_message(x: Array, mean: Array, m2: Array) -> Array:
    """Return the message of one process: m_r, the means and the M2 of all channels."""
    message = [np.array([x.size // x.shape[1]], x.dtype), mean, m2]
    return np.concatenate(message, dtype=np.result_type(x.dtype, np.float64))  # 1+2c


def merge_statistics(rows: Array, dtype: np.dtype) -> tuple[Array, Array, int]:
    """Return mean (c,), biased variance (c,) and m of all processes, from their messages."""
    counts, (means, m2) = rows[:, :1], np.split(rows[:, 1:], 2, axis=1)  # p 1, p c, p c
    m = counts.sum()
    mean = (counts * means).sum(axis=0) / m
    var = (m2 + counts * np.square(means - mean)).sum(axis=0) / m
    return mean.astype(dtype), var.astype(dtype), int(m.real)


def add_up_sums(gather: Gather, *own: Array) -> list[Array]:
    """Return the sum of each of these vectors (c,) over all processes, by one exchange."""
    message = np.concatenate(own, dtype=np.result_type(own[0].dtype, np.float64))
    total = gather(message).sum(axis=0).astype(own[0].dtype)
    return np.split(total, len(own))


register(
    sync_batch_norm_forward,
    kind="batch norm",
    kernel=True,
    cases=batch_norm_cases,
    formula=BATCH_NORM,
)
