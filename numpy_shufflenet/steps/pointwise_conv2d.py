"""Pointwise convolution, one output at a time: a row of the matrix times one pixel's channels."""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Reads, Steps, add_up, functions

__all__ = [
    "pointwise_conv2d_backward",
    "pointwise_conv2d_backward_steps",
    "pointwise_conv2d_forward",
    "pointwise_conv2d_forward_steps",
]


def pointwise_conv2d_forward_steps(
    x: Array, w: Array, b: Array | None = None, *, groups: int = 1
) -> Steps:
    """y[n, o, p, q] reads the channels of its group at its own pixel."""
    o_share, c_share = len(w) // groups, w.shape[1]
    yield Output("y", (len(x), len(w), *x.shape[2:]))
    for n, o, p, q in np.ndindex(len(x), len(w), *x.shape[2:]):
        first = o // o_share * c_share
        reads: Reads = []
        terms = []
        for k in range(c_share):
            reads += [("x", (n, first + k, p, q)), ("w", (o, k, 0, 0))]
            terms.append(x[n, first + k, p, q] * w[o, k, 0, 0])
        if b is not None:
            reads.append(("b", (o,)))
            terms.append(b[o])
        yield add_up("y", (n, o, p, q), reads, terms)


def pointwise_conv2d_backward_steps(
    dy: Array, x: Array, w: Array, b: Array | None = None, *, groups: int = 1
) -> Steps:
    """A channel gathers from the outputs of its group at its pixel, a weight from all pixels."""
    o_share, c_share = len(w) // groups, w.shape[1]
    yield Output("dx", x.shape)
    yield Output("dw", w.shape)
    yield Output("db", None if b is None else b.shape)
    for n, c, p, q in np.ndindex(x.shape):
        group, k = divmod(c, c_share)
        reads: Reads = []
        terms = []
        for o in range(group * o_share, (group + 1) * o_share):
            reads += [("dy", (n, o, p, q)), ("w", (o, k, 0, 0))]
            terms.append(dy[n, o, p, q] * w[o, k, 0, 0])
        yield add_up("dx", (n, c, p, q), reads, terms)

    pixels = list(np.ndindex(len(x), *x.shape[2:]))
    for o, k, _, _ in np.ndindex(w.shape):
        c = o // o_share * c_share + k
        reads, terms = [], []
        for n, p, q in pixels:
            reads += [("dy", (n, o, p, q)), ("x", (n, c, p, q))]
            terms.append(dy[n, o, p, q] * x[n, c, p, q])
        yield add_up("dw", (o, k, 0, 0), reads, terms)

    for o in range(0 if b is None else len(w)):
        reads = [("dy", (n, o, p, q)) for n, p, q in pixels]
        yield add_up("db", (o,), reads, [dy[n, o, p, q] for n, p, q in pixels])


pointwise_conv2d_forward, pointwise_conv2d_backward = functions(
    pointwise_conv2d_forward_steps, pointwise_conv2d_backward_steps
)
