"""Synchronised batch normalisation, one output at a time, for the images of one process.

The statistics of the processes are merged pair by pair; `ops` merges all at once. Backward uses the
quotient rule, as in `steps.batch_norm`. The outputs of other processes enter through two sums.
"""

from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.sync_batch_norm import Gather, alone
from numpy_shufflenet.steps._driver import Output, Reads, Steps, add_up, gradients_of, total
from numpy_shufflenet.steps.batch_norm import places

__all__ = ["sync_batch_norm_backward_steps", "sync_batch_norm_forward_steps"]


def sync_batch_norm_forward_steps(
    x: Array, gamma: Array, beta: Array, *, gather: Gather = alone, eps: float = 1e-5
) -> Steps:
    """y[n, c, h, w] reads every value of channel c, and the statistics of other processes."""
    yield Output("y", x.shape)
    _, means, stds = merged_statistics(x, gather, eps)
    for c in range(x.shape[1]):
        channel = places(x, c)
        reads: Reads = [("x", k) for k in channel]
        reads += [("gamma", (c,)), ("beta", (c,))]
        for i in channel:
            yield add_up("y", i, reads, [gamma[c] * ((x[i] - means[c]) / stds[c]), beta[c]])


def sync_batch_norm_backward_steps(
    dy: Array, x: Array, gamma: Array, beta: Array, *, gather: Gather = alone, eps: float = 1e-5
) -> Steps:
    """x[i] reaches its own output directly, and outputs of all processes through mean and std."""
    yield from gradients_of(x=x, gamma=gamma, beta=beta)
    channels = range(x.shape[1])
    m, means, stds = merged_statistics(x, gather, eps)
    own_sums = [total([dy[k] for k in places(x, c)]) for c in channels]
    own_sums += [total([dy[k] * (x[k] - means[c]) for k in places(x, c)]) for c in channels]
    sums = [total(list(column)) for column in gather(np.array(own_sums)).T]
    for c in channels:
        channel, mean, std = places(x, c), means[c], stds[c]
        sum_dy, sum_dyx = sums[c], sums[len(channels) + c]
        reads: Reads = [("x", k) for k in channel]
        reads += [("gamma", (c,))]
        reads += [("dy", k) for k in channel]
        for i in channel:
            dstd = (x[i] - mean) / (m * std)  # d std / d x[i]
            # y[k] = gamma (x[k] - mean) / std: the numerator changes by 1 if k is i, less 1/m.
            directly = gamma[c] * (dy[i] / std)
            by_mean = -gamma[c] * (sum_dy / (m * std))
            by_std = -gamma[c] * (sum_dyx * dstd / (std * std))
            yield add_up("dx", i, reads, [directly, by_mean, by_std])

        reads = [("x", k) for k in channel]
        reads += [("dy", k) for k in channel]
        yield add_up("dgamma", (c,), reads, [dy[k] * ((x[k] - mean) / std) for k in channel])
        yield add_up("dbeta", (c,), [("dy", k) for k in channel], [dy[k] for k in channel])


def merged_statistics(x: Array, gather: Gather, eps: float) -> tuple[Any, list[Any], list[Any]]:
    """Return, over all processes, the values in a channel, and each channel's mean and std."""
    own: list[list[Any]] = []
    for c in range(x.shape[1]):
        values = [x[k] for k in places(x, c)]
        mean = total(values) / len(values)
        centred = [v - mean for v in values]
        own.append([mean, total([v * v for v in centred])])
    m = x.size // x.shape[1]
    message = np.array([m, *(mean for mean, _ in own), *(m2 for _, m2 in own)])
    first, *others = ([row[0], *np.split(row[1:], 2)] for row in gather(message))
    for other in others:
        first = _pair(*first, *other)
    count, means, m2 = first
    return count, list(means), [np.sqrt(v / count + eps) for v in m2]


def _pair(m_a: Any, mean_a: Any, m2_a: Any, m_b: Any, mean_b: Any, m2_b: Any) -> list[Any]:
    """Return the count, the means and M2 of two parts together."""
    m, apart = m_a + m_b, mean_b - mean_a
    return [m, mean_a + apart * (m_b / m), m2_a + m2_b + apart * apart * (m_a * m_b / m)]
