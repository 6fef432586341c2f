"""Convolution, one output at a time: the window times the kernel, added up.

For each output, forward lists the pixels that the output reads. For each input, weight or bias,
backward lists the outputs that depend on this entry. Border pixels are 0, so the loops skip them.
"""

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.steps._axis import two_axes
from numpy_shufflenet.steps._driver import Output, Reads, Steps, add_up, gradients_of

__all__ = ["conv2d_backward_steps", "conv2d_forward_steps"]


def conv2d_forward_steps(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Steps:
    """y[n, o, p, q] reads its window in the channels of its group, and its kernel."""
    rows, columns = two_axes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    y_shape = (len(x), len(w), rows.outputs, columns.outputs)
    yield Output("y", y_shape)
    for n, o, p, q in np.ndindex(y_shape):
        reads: Reads = []
        terms = []
        first = o * groups // len(w) * w.shape[1]  # channel of the group
        for k in range(w.shape[1]):
            for i, r in rows.of_output[p]:
                for j, s in columns.of_output[q]:
                    reads += [("x", (n, first + k, r, s)), ("w", (o, k, i, j))]
                    terms.append(x[n, first + k, r, s] * w[o, k, i, j])
        if b is not None:
            reads.append(("b", (o,)))
            terms.append(b[o])
        yield add_up("y", (n, o, p, q), reads, terms)


def conv2d_backward_steps(
    dy: Array,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Steps:
    """Each gradient adds terms from all outputs that read its entry.

    In contrast, col2im in `ops` adds each output's terms to many pixels.
    """
    rows, columns = two_axes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    yield from gradients_of(x=x, w=w, b=b)
    for n, c, r, s in np.ndindex(x.shape):
        reads: Reads = []
        terms = []
        group, k = divmod(c, w.shape[1])
        for o in range(group * len(w) // groups, (group + 1) * len(w) // groups):
            for p, i in rows.of_input[r]:
                for q, j in columns.of_input[s]:
                    reads += [("dy", (n, o, p, q)), ("w", (o, k, i, j))]
                    terms.append(dy[n, o, p, q] * w[o, k, i, j])
        yield add_up("dx", (n, c, r, s), reads, terms)

    for o, k, i, j in np.ndindex(w.shape):
        reads, terms = [], []
        c = o * groups // len(w) * w.shape[1] + k
        for n in range(len(x)):
            for p, r in rows.of_tap[i]:
                for q, s in columns.of_tap[j]:
                    reads += [("dy", (n, o, p, q)), ("x", (n, c, r, s))]
                    terms.append(dy[n, o, p, q] * x[n, c, r, s])
        yield add_up("dw", (o, k, i, j), reads, terms)

    for o in range(0 if b is None else len(w)):
        places = [(n, o, p, q) for n, p, q in np.ndindex(len(x), *dy.shape[2:])]
        reads = [("dy", place) for place in places]
        yield add_up("db", (o,), reads, [dy[place] for place in places])
