"""Backward passes for counting: they reuse intermediate results as `ops` does, entry by entry.

Most backwards in `steps` do the same arithmetic as `ops`, so `cost.counting` counts them directly.
The others write out the paths from an input to an output. This shows where a gradient comes from,
but takes more products than needed. For these, `cost.counting` counts the backwards in this file.

Each is a pair: `NAME_kept` returns what forward keeps, and `NAME_backward_steps` reads it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.steps._driver import (
    Index,
    Output,
    Reads,
    Step,
    Steps,
    add_up,
    gradients_of,
    total,
)
from numpy_shufflenet.steps.add import add_backward_steps, add_forward_steps
from numpy_shufflenet.steps.batch_norm import batch_norm_forward_steps, places
from numpy_shufflenet.steps.conv2d import conv2d_backward_steps, conv2d_forward_steps
from numpy_shufflenet.steps.fused import let_through
from numpy_shufflenet.steps.loss import largest_and_sum, target
from numpy_shufflenet.steps.pointwise_conv2d import (
    pointwise_conv2d_backward_steps,
    pointwise_conv2d_forward_steps,
)
from numpy_shufflenet.steps.pooling import pool_axes, window_of, winner
from numpy_shufflenet.steps.sigmoid import sigmoid
from numpy_shufflenet.steps.squeeze_excitation import run_gate


def batch_norm_kept(x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5) -> list[Any]:
    """Return (mean, variance) of each channel."""
    kept = []
    for c in range(x.shape[1]):
        values = [x[k] for k in places(x, c)]
        mean = total(values) / len(values)
        kept.append((mean, total([(v - mean) * (v - mean) for v in values]) / len(values)))
    return kept


def batch_norm_backward_steps(
    kept: list[Any], dy: Array, x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> Steps:
    """dx = scale (dy - dbeta / m - x_hat dgamma / m): the recompute form of `ops`."""
    yield from gradients_of(x=x, gamma=gamma, beta=beta)
    for c, (mean, var) in enumerate(kept):
        channel = places(x, c)
        inv_std = 1 / np.sqrt(var + eps)
        x_hat = [(x[k] - mean) * inv_std for k in channel]
        dys: Reads = [("dy", k) for k in channel]
        reads: Reads = [*dys, *(("x", k) for k in channel), ("mean", (c,)), ("var", (c,))]
        dbeta = add_up("dbeta", (c,), dys, [dy[k] for k in channel])
        products = [dy[k] * v for k, v in zip(channel, x_hat, strict=True)]
        dgamma = add_up("dgamma", (c,), reads, products)
        yield dbeta
        yield dgamma
        scale = gamma[c] * inv_std
        mean_dy, mean_dyx = dbeta.value / len(channel), dgamma.value / len(channel)
        for k, v in zip(channel, x_hat, strict=True):
            yield add_up(
                "dx", k, [*reads, ("gamma", (c,))], [scale * (dy[k] - mean_dy - v * mean_dyx)]
            )


def max_pool2d_kept(
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
) -> dict[Index, Index]:
    """Return the pixel that wins each window."""
    rows, columns = pool_axes(x, kernel_size, stride, padding)
    outputs = np.ndindex(*x.shape[:2], rows.outputs, columns.outputs)
    return {place: winner(x, window_of(place, rows, columns)) for place in outputs}


def max_pool2d_backward_steps(
    kept: dict[Index, Index],
    dy: Array,
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
) -> Steps:
    """dx starts at 0, and each window adds its dy to its winner."""
    yield Output("dx", x.shape)
    won: dict[Index, list[Index]] = {}
    for place, pixel in kept.items():
        won.setdefault(pixel, []).append(place)
    for pixel in np.ndindex(x.shape):
        windows = won.get(pixel, [])
        reads: Reads = []
        for place in windows:
            reads += [("winner", place), ("dy", place)]
        yield add_up("dx", pixel, reads, [0.0, *(dy[place] for place in windows)])


KeptGate: TypeAlias = tuple[list[Any], list[Any], list[Any]]


def squeeze_excitation_kept(x: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> list[KeptGate]:
    """Return for each image the channel means s, the hidden units z and the channels' scales e."""
    kept = []
    for image in x:
        s, z, a = run_gate(image, w1, b1, w2, b2)
        number = type(a[0])  # a hidden unit that is off is a plain 0.0 so far
        kept.append((s, [number(value) for value in z], [sigmoid(logit) for logit in a]))
    return kept


def squeeze_excitation_backward_steps(
    kept: list[KeptGate], dy: Array, x: Array, w1: Array, b1: Array, w2: Array, b2: Array
) -> Steps:
    """Go backward through the small network, once for each image."""
    _, channels, height, width = x.shape
    hidden = len(w1)
    yield from gradients_of(x=x, w1=w1, b1=b1, w2=w2, b2=b2)
    dlogits, dzs = [], []  # n k, n j
    everything: Reads = []
    for n, (_, z, e) in enumerate(kept):
        pixels = [[(n, k, p, q) for p, q in np.ndindex(height, width)] for k in range(channels)]
        de = [total([dy[i] * x[i] for i in pixels[k]]) for k in range(channels)]
        dlogit = [d * scale * (1 - scale) for d, scale in zip(de, e, strict=True)]
        dz = []
        for j in range(hidden):
            back = total([dlogit[k] * w2[k, j] for k in range(channels)])
            dz.append(back if z[j] > 0 else type(back)(0))
        ds = [
            total([dz[j] * w1[j, c] for j in range(hidden)]) / (height * width)
            for c in range(channels)
        ]
        image = [(n, *i) for i in np.ndindex(x.shape[1:])]
        reads: Reads = [(name, i) for i in image for name in ("dy", "x")]
        reads += [("w1", i) for i in np.ndindex(w1.shape)]
        reads += [("w2", i) for i in np.ndindex(w2.shape)]
        reads += [(name, (n, k)) for k in range(channels) for name in ("s", "e")]
        reads += [("z", (n, j)) for j in range(hidden)]
        for c in range(channels):
            for i in pixels[c]:
                yield add_up("dx", i, reads, [dy[i] * e[c], ds[c]])
        dlogits.append(dlogit)
        dzs.append(dz)
        everything += reads
    for k in range(channels):
        for j in range(hidden):
            terms = [d[k] * z[j] for d, (_, z, _) in zip(dlogits, kept, strict=True)]
            yield add_up("dw2", (k, j), everything, terms)
        yield add_up("db2", (k,), everything, [d[k] for d in dlogits])
    for j in range(hidden):
        for c in range(channels):
            terms = [d[j] * s[c] for d, (s, _, _) in zip(dzs, kept, strict=True)]
            yield add_up("dw1", (j, c), everything, terms)
        yield add_up("db1", (j,), everything, [d[j] for d in dzs])


def softmax_cross_entropy_kept(
    logits: Array, labels: Array, *, label_smoothing: float = 0.0
) -> dict[Index, Any]:
    """Return the probabilities."""
    kept: dict[Index, Any] = {}
    for n, row in enumerate(logits):
        top, powers = largest_and_sum(list(row))
        kept |= {(n, k): np.exp(z - top) / powers for k, z in enumerate(row)}
    return kept


def softmax_cross_entropy_backward_steps(
    kept: dict[Index, Any],
    dy: Any,
    logits: Array,
    labels: Array,
    *,
    label_smoothing: float = 0.0,
) -> Steps:
    """dlogits = dy / n (p - q), for probabilities p and targets q."""
    yield Output("dlogits", logits.shape)
    rows, classes = logits.shape
    share = dy / rows
    for n, k in np.ndindex(rows, classes):
        reads: Reads = [("dy", ()), ("labels", (n,)), ("probabilities", (n, k))]
        q = target(k == labels[n], classes, label_smoothing)
        yield add_up("dlogits", (n, k), reads, [share * (kept[n, k] - q)])


def with_relu(
    name: str, forward_steps: Callable[..., Steps], backward_steps: Callable[..., Steps]
) -> tuple[Callable[..., Any], Callable[..., Steps]]:
    """Return the pair of an operation with a ReLU after it; backward reads the ReLU's output."""
    inner = BACKWARDS.get(name)

    def kept(*arrays: Any, **settings: Any) -> tuple[Any, dict[Index, Any]]:
        outputs = {
            step.index: step.value
            for step in forward_steps(*arrays, **settings)
            if isinstance(step, Step)
        }
        return inner and inner[0](*arrays, **settings), outputs

    def backward(kept: Any, dy: Array, *arrays: Any, **settings: Any) -> Steps:
        first, outputs = kept
        run = partial(inner[1], first) if inner else backward_steps
        yield from let_through(
            dy,
            outputs,
            lambda index: [("y", index)],
            lambda passed: run(passed, *arrays, **settings),
        )

    return kept, backward


BACKWARDS: dict[str, tuple[Callable[..., Any], Callable[..., Steps]]] = {
    "batch_norm": (batch_norm_kept, batch_norm_backward_steps),
    "max_pool2d": (max_pool2d_kept, max_pool2d_backward_steps),
    "squeeze_excitation": (squeeze_excitation_kept, squeeze_excitation_backward_steps),
    "softmax_cross_entropy": (softmax_cross_entropy_kept, softmax_cross_entropy_backward_steps),
    # The exchange with other processes isn't arithmetic; see `cost.communication`.
    "sync_batch_norm": (batch_norm_kept, batch_norm_backward_steps),
}
BACKWARDS |= {
    "add_relu": with_relu("add", add_forward_steps, add_backward_steps),
    "batch_norm_relu": with_relu("batch_norm", batch_norm_forward_steps, batch_norm_backward_steps),
    "conv2d_relu": with_relu("conv2d", conv2d_forward_steps, conv2d_backward_steps),
    "pointwise_conv2d_relu": with_relu(
        "pointwise_conv2d", pointwise_conv2d_forward_steps, pointwise_conv2d_backward_steps
    ),
}
"""(kept, backward_steps) of the operations whose cost is counted here."""
