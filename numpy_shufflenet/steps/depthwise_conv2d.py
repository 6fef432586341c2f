"""Depthwise convolution, one output at a time: one window of one channel, and no sum over channels.

Output channel o belongs to input channel o // m, with the channel multiplier m.
"""

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.steps._axis import two_axes
from numpy_shufflenet.steps._driver import Output, Reads, Steps, add_up, functions

__all__ = [
    "depthwise_conv2d_backward",
    "depthwise_conv2d_backward_steps",
    "depthwise_conv2d_forward",
    "depthwise_conv2d_forward_steps",
]


def depthwise_conv2d_forward_steps(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> Steps:
    """y[n, o, p, q] reads its window in channel o // m, and kh kw weights."""
    rows, columns = two_axes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    m = len(w) // x.shape[1]
    y_shape = (len(x), len(w), rows.outputs, columns.outputs)
    yield Output("y", y_shape)
    for n, o, p, q in np.ndindex(y_shape):
        reads: Reads = []
        terms = []
        for i, r in rows.of_output[p]:
            for j, s in columns.of_output[q]:
                reads += [("x", (n, o // m, r, s)), ("w", (o, 0, i, j))]
                terms.append(x[n, o // m, r, s] * w[o, 0, i, j])
        if b is not None:
            reads.append(("b", (o,)))
            terms.append(b[o])
        yield add_up("y", (n, o, p, q), reads, terms)


def depthwise_conv2d_backward_steps(
    dy: Array,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> Steps:
    """dx of channel c adds terms from the m output channels c m, ..., c m + m - 1."""
    rows, columns = two_axes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    m = len(w) // x.shape[1]
    yield Output("dx", x.shape)
    yield Output("dw", w.shape)
    yield Output("db", None if b is None else b.shape)
    for n, c, r, s in np.ndindex(x.shape):
        reads: Reads = []
        terms = []
        for o in range(c * m, c * m + m):
            for p, i in rows.of_input[r]:
                for q, j in columns.of_input[s]:
                    reads += [("dy", (n, o, p, q)), ("w", (o, 0, i, j))]
                    terms.append(dy[n, o, p, q] * w[o, 0, i, j])
        yield add_up("dx", (n, c, r, s), reads, terms)

    for o, _, i, j in np.ndindex(w.shape):
        reads, terms = [], []
        for n in range(len(x)):
            for p, r in rows.of_tap[i]:
                for q, s in columns.of_tap[j]:
                    reads += [("dy", (n, o, p, q)), ("x", (n, o // m, r, s))]
                    terms.append(dy[n, o, p, q] * x[n, o // m, r, s])
        yield add_up("dw", (o, 0, i, j), reads, terms)

    for o in range(0 if b is None else len(w)):
        places = [(n, o, p, q) for n, p, q in np.ndindex(len(x), *dy.shape[2:])]
        reads = [("dy", place) for place in places]
        yield add_up("db", (o,), reads, [dy[place] for place in places])


depthwise_conv2d_forward, depthwise_conv2d_backward = functions(
    depthwise_conv2d_forward_steps, depthwise_conv2d_backward_steps
)
