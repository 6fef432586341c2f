"""Linear layer, one output at a time: a row of weights times a row of x."""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Reads, Steps, add_up, gradients_of

__all__ = ["linear_backward_steps", "linear_forward_steps"]


def linear_forward_steps(x: Array, w: Array, b: Array | None = None) -> Steps:
    """y[n, o] reads row n of x and row o of w."""
    yield Output("y", (len(x), len(w)))
    for n, o in np.ndindex(len(x), len(w)):
        reads: Reads = []
        terms = []
        for i in range(x.shape[1]):
            reads += [("x", (n, i)), ("w", (o, i))]
            terms.append(x[n, i] * w[o, i])
        if b is not None:
            reads.append(("b", (o,)))
            terms.append(b[o])
        yield add_up("y", (n, o), reads, terms)


def linear_backward_steps(dy: Array, x: Array, w: Array, b: Array | None = None) -> Steps:
    """x[n, i] reaches every output of row n; w[o, i] reaches output o of every row."""
    yield from gradients_of(x=x, w=w, b=b)
    for n, i in np.ndindex(x.shape):
        reads: Reads = []
        terms = []
        for o in range(len(w)):
            reads += [("dy", (n, o)), ("w", (o, i))]
            terms.append(dy[n, o] * w[o, i])
        yield add_up("dx", (n, i), reads, terms)

    for o, i in np.ndindex(w.shape):
        reads, terms = [], []
        for n in range(len(x)):
            reads += [("dy", (n, o)), ("x", (n, i))]
            terms.append(dy[n, o] * x[n, i])
        yield add_up("dw", (o, i), reads, terms)

    for o in range(0 if b is None else len(w)):
        reads = [("dy", (n, o)) for n in range(len(x))]
        yield add_up("db", (o,), reads, [dy[n, o] for n in range(len(x))])
