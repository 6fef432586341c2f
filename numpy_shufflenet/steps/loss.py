"""Softmax and cross-entropy, number by number.

The loss is a single output that adds q[n, k] (-log p[n, k]) / N over all rows n and classes k.
Backward, logit j reaches every -log p[k] of its row, with slope p[j] - [k = j]. `ops` uses
the sum of these slopes, simplified.
"""

from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Reads, Steps, add_up, total

__all__ = ["softmax_cross_entropy_backward_steps", "softmax_cross_entropy_forward_steps"]


def softmax_cross_entropy_forward_steps(
    logits: Array, labels: Array, *, label_smoothing: float = 0.0
) -> Steps:
    """The loss reads everything."""
    yield Output("y", ())
    rows, classes = logits.shape
    reads: Reads = []
    terms = []
    for n in range(rows):
        reads.append(("labels", (n,)))
        top, powers = largest_and_sum([logits[n, k] for k in range(classes)])
        log_powers = np.log(powers)
        for k in range(classes):
            reads.append(("logits", (n, k)))
            surprise = log_powers - (logits[n, k] - top)  # -log p
            q = target(k == labels[n], classes, label_smoothing)
            terms.append(q * (surprise if q else log_powers) / rows)  # 0, even if p is 0
    yield add_up("y", (), reads, terms)


def softmax_cross_entropy_backward_steps(
    dy: Any, logits: Array, labels: Array, *, label_smoothing: float = 0.0
) -> Steps:
    """A logit reaches -log p of each class in its row."""
    yield Output("dlogits", logits.shape)
    rows, classes = logits.shape
    for n, j in np.ndindex(rows, classes):
        top, total = largest_and_sum([logits[n, k] for k in range(classes)])
        p = np.exp(logits[n, j] - top) / total
        terms = []
        for k in range(classes):
            slope = p - (1 if k == j else 0)  # d (-log p[k]) / d logits[j]
            share = target(k == labels[n], classes, label_smoothing) / rows
            terms.append(dy * (share * slope))
        reads: Reads = [("dy", ()), ("labels", (n,))]
        reads += [("logits", (n, k)) for k in range(classes)]
        yield add_up("dlogits", (n, j), reads, terms)


def largest_and_sum(row: list[Any]) -> tuple[Any, Any]:
    """Return the largest logit, and the sum of exp(logit - largest), which can't overflow."""
    top = max(row)
    return top, total([np.exp(z - top) for z in row])


def target(is_label: bool, classes: int, label_smoothing: float) -> float:
    """Return q: the label's share, and the share that is spread over all classes."""
    return (1 - label_smoothing if is_label else 0.0) + label_smoothing / classes
