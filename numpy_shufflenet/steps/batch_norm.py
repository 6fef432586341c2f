"""Batch normalisation, one output at a time: in training each output reads a whole channel.

Backward differs from the three forms in `ops`. It writes out the slope of output k by input i with
the quotient rule. dx[i] adds dy[k] times this slope over all k of the channel. For m values in a
channel that takes m^2 products; the formulas in `ops` need a few m.
"""

from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Index, Output, Reads, Steps, add_up, gradients_of, total

__all__ = [
    "batch_norm_backward_steps",
    "batch_norm_forward_steps",
    "batch_norm_inference_backward_steps",
    "batch_norm_inference_forward_steps",
]


def batch_norm_forward_steps(x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5) -> Steps:
    """y[n, c, h, w] reads every value of channel c."""
    yield Output("y", x.shape)
    for c in range(x.shape[1]):
        channel = places(x, c)
        mean, std = mean_and_std([x[k] for k in channel], eps)
        reads: Reads = [("x", k) for k in channel]
        reads += [("gamma", (c,)), ("beta", (c,))]
        for i in channel:
            yield add_up("y", i, reads, [gamma[c] * ((x[i] - mean) / std), beta[c]])


def batch_norm_backward_steps(
    dy: Array, x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> Steps:
    """x[i] reaches every output k of its channel through mean and std, and directly if k is i."""
    yield from gradients_of(x=x, gamma=gamma, beta=beta)
    for c in range(x.shape[1]):
        channel = places(x, c)
        m = len(channel)
        mean, std = mean_and_std([x[k] for k in channel], eps)
        reads: Reads = [("x", k) for k in channel]
        reads += [("gamma", (c,))]
        reads += [("dy", k) for k in channel]
        for i in channel:
            dstd = (x[i] - mean) / (m * std)  # d std / d x[i]
            terms = []
            for k in channel:
                dcentred = (1 if k == i else 0) - 1 / m  # d (x[k] - mean) / d x[i]
                slope = (dcentred * std - (x[k] - mean) * dstd) / (std * std)
                terms.append(dy[k] * (gamma[c] * slope))
            yield add_up("dx", i, reads, terms)

        reads = [("x", k) for k in channel]
        reads += [("dy", k) for k in channel]
        yield add_up("dgamma", (c,), reads, [dy[k] * ((x[k] - mean) / std) for k in channel])
        yield add_up("dbeta", (c,), [("dy", k) for k in channel], [dy[k] for k in channel])


def batch_norm_inference_forward_steps(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float = 1e-5
) -> Steps:
    """y[n, c, h, w] reads one value and four numbers of its channel."""
    yield Output("y", x.shape)
    for c in range(x.shape[1]):
        std = np.sqrt(var[c] + eps)
        for i in places(x, c):
            reads: Reads = [("x", i)]
            reads += [(name, (c,)) for name in ("mean", "var", "gamma", "beta")]
            yield add_up("y", i, reads, [gamma[c] * ((x[i] - mean[c]) / std), beta[c]])


def batch_norm_inference_backward_steps(
    dy: Array, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float = 1e-5
) -> Steps:
    """x[i] reaches one output; gamma and beta reach all outputs of their channel."""
    yield from gradients_of(x=x, gamma=gamma, beta=beta)
    for c in range(x.shape[1]):
        channel = places(x, c)
        std = np.sqrt(var[c] + eps)
        scale = gamma[c] / std
        for i in channel:
            reads: Reads = [("dy", i), ("gamma", (c,)), ("var", (c,))]
            yield add_up("dx", i, reads, [dy[i] * scale])
        reads = [("mean", (c,)), ("var", (c,))]
        for k in channel:
            reads += [("dy", k), ("x", k)]
        yield add_up("dgamma", (c,), reads, [dy[k] * ((x[k] - mean[c]) / std) for k in channel])
        yield add_up("dbeta", (c,), [("dy", k) for k in channel], [dy[k] for k in channel])


def places(x: Array, c: int) -> list[Index]:
    """Return the index of every value of a channel."""
    n, _, height, width = x.shape
    return [(i, c, h, w) for i, h, w in np.ndindex(n, height, width)]


def mean_and_std(values: list[Any], eps: float) -> tuple[Any, Any]:
    """Return the mean and the biased standard deviation, eps added to the variance."""
    mean = total(values) / len(values)
    centred = [v - mean for v in values]
    return mean, np.sqrt(total([v * v for v in centred]) / len(values) + eps)
