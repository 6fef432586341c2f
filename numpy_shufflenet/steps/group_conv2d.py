"""Group convolution, group by group: a group's outputs read only the channels of that group.

A channel number is written as (group, number within the group).
"""

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.steps._axis import two_axes
from numpy_shufflenet.steps._driver import Output, Reads, Steps, add_up, functions

__all__ = [
    "group_conv2d_backward",
    "group_conv2d_backward_steps",
    "group_conv2d_forward",
    "group_conv2d_forward_steps",
]


def group_conv2d_forward_steps(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    groups: int,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> Steps:
    """Output m of group g reads the windows of all channels k of group g."""
    rows, columns = two_axes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    out, into = len(w) // groups, x.shape[1] // groups  # channels of one group
    yield Output("y", (len(x), len(w), rows.outputs, columns.outputs))
    for g, n, m, p, q in np.ndindex(groups, len(x), out, rows.outputs, columns.outputs):
        o = g * out + m
        reads: Reads = []
        terms = []
        for k in range(into):
            for i, r in rows.of_output[p]:
                for j, s in columns.of_output[q]:
                    reads += [("x", (n, g * into + k, r, s)), ("w", (o, k, i, j))]
                    terms.append(x[n, g * into + k, r, s] * w[o, k, i, j])
        if b is not None:
            reads.append(("b", (o,)))
            terms.append(b[o])
        yield add_up("y", (n, o, p, q), reads, terms)


def group_conv2d_backward_steps(
    dy: Array,
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    groups: int,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> Steps:
    """The gradient of channel k of group g adds terms from outputs of group g only."""
    rows, columns = two_axes(x.shape[2:], w.shape[2:], stride, padding, dilation)
    out, into = len(w) // groups, x.shape[1] // groups  # channels of one group
    yield Output("dx", x.shape)
    yield Output("dw", w.shape)
    yield Output("db", None if b is None else b.shape)
    for g, n, k, r, s in np.ndindex(groups, len(x), into, *x.shape[2:]):
        reads: Reads = []
        terms = []
        for m in range(out):
            for p, i in rows.of_input[r]:
                for q, j in columns.of_input[s]:
                    reads += [("dy", (n, g * out + m, p, q)), ("w", (g * out + m, k, i, j))]
                    terms.append(dy[n, g * out + m, p, q] * w[g * out + m, k, i, j])
        yield add_up("dx", (n, g * into + k, r, s), reads, terms)

    for g, m, k, i, j in np.ndindex(groups, out, into, *w.shape[2:]):
        reads, terms = [], []
        for n in range(len(x)):
            for p, r in rows.of_tap[i]:
                for q, s in columns.of_tap[j]:
                    reads += [("dy", (n, g * out + m, p, q)), ("x", (n, g * into + k, r, s))]
                    terms.append(dy[n, g * out + m, p, q] * x[n, g * into + k, r, s])
        yield add_up("dw", (g * out + m, k, i, j), reads, terms)

    for o in range(0 if b is None else len(w)):
        places = [(n, o, p, q) for n, p, q in np.ndindex(len(x), *dy.shape[2:])]
        reads = [("dy", place) for place in places]
        yield add_up("db", (o,), reads, [dy[place] for place in places])


group_conv2d_forward, group_conv2d_backward = functions(
    group_conv2d_forward_steps, group_conv2d_backward_steps
)
