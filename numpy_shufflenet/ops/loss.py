"""Softmax and cross-entropy in one: the loss of classification.

    p[n, k] = exp(z[n, k]) / sum_l exp(z[n, l])          z: logits
    q[n, k] = (1 - s) [k = label n] + s / K              s: label smoothing, K classes
    y       = -mean_n sum_k q[n, k] log p[n, k]

Only log p is needed, and log p = z - log sum exp z. Subtracting the row's largest logit first
changes nothing in p, and keeps exp from overflowing.

Backward. d log p[k] / d z[j] = [k = j] - p[j], and q sums to 1, so the
gradient is the error p - q, scaled:

    dz = dy (p - q) / N
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops._sums import sum_over
from numpy_shufflenet.ops.checks import check_floating, check_number, check_plain, check_share
from numpy_shufflenet.registry import Case, Draw, Formula, Terms, register
from numpy_shufflenet.registry.formula import Settings, Shapes

__all__ = ["softmax_cross_entropy_backward", "softmax_cross_entropy_forward"]


class SoftmaxCrossEntropyCache(NamedTuple):
    """What `softmax_cross_entropy_backward` needs."""

    probabilities: Array  # n k
    targets: Array  # n k, smoothed


def softmax_cross_entropy_forward(
    logits: Array, labels: Array, *, label_smoothing: float = 0.0
) -> tuple[Any, SoftmaxCrossEntropyCache]:
    """Return the mean cross-entropy between softmax(logits) and the labels.

    Parameters
    ----------
    logits : array, shape (n, classes), float32 or float64
    labels : integer array, shape (n,)
        From 0 to classes - 1.
    label_smoothing : float
        Share of the target that is spread evenly over all classes, from 0 to 1.

    Returns
    -------
    y : scalar of the dtype of logits, in nats

    Raises
    ------
    ValueError
        If shapes or dtypes don't fit, a label is out of range, label_smoothing is not from 0 to
        1, or the batch is empty: it has no mean.

    Source: Szegedy et al., Rethinking the Inception architecture, 2016, section 7.
    """
    _check_arguments(logits, labels, label_smoothing)
    n, classes = logits.shape
    shifted = logits - logits.max(axis=1, keepdims=True)  # n k
    log_probabilities = shifted - np.log(sum_over(np.exp(shifted), (1,))[:, None])  # n k
    targets = np.full_like(logits, label_smoothing / classes)  # n k
    targets[np.arange(n), labels] += logits.dtype.type(1 - label_smoothing)
    missed = np.where(targets == 0, 0, log_probabilities)  # of a masked class, 0 times -inf: 0
    y = -sum_over(targets * missed, (0, 1))[()] / logits.dtype.type(n)
    return y, SoftmaxCrossEntropyCache(np.exp(log_probabilities), targets)


def softmax_cross_entropy_backward(dy: Any, cache: SoftmaxCrossEntropyCache) -> Array:
    """Gradient of `softmax_cross_entropy_forward`: dlogits (n, classes), from a scalar dy."""
    probabilities, targets = cache
    if np.ndim(dy) != 0:
        raise ValueError(f"dy has shape {np.shape(dy)}, but the loss is a scalar")
    check_number("dy", dy)
    dtype = probabilities.dtype.type
    return (dtype(dy) / dtype(len(probabilities))) * (probabilities - targets)


def _check_arguments(logits: Array, labels: Array, label_smoothing: float) -> None:
    check_floating("logits", logits)
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(
            f"logits has shape {logits.shape}; (n, classes) is needed, each at least 1"
        )
    if not isinstance(labels, np.ndarray) or not np.issubdtype(labels.dtype, np.integer):
        kind = getattr(labels, "dtype", type(labels).__name__)
        raise ValueError(f"labels is of type {kind}; an integer array is needed")
    check_plain("labels", labels)
    n, classes = logits.shape
    if labels.shape != (n,):
        raise ValueError(
            f"labels has shape {labels.shape}, but logits has {n} rows; ({n},) is needed"
        )
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise ValueError(
            f"labels[{outside.argmax()}]={labels[outside][0]} is out of range; "
            f"0 to {classes - 1} is needed"
        )
    check_share("label_smoothing", label_smoothing)


def _cases(draw: Draw) -> Case:
    n, classes = draw.batch(example=4), draw.side(example=5)
    logits = draw(n, classes, std=draw.large(200.0))
    labels = draw.rng.integers(0, classes, size=n)
    smoothing = draw.option("label_smoothing", 0.0, lambda: draw.choose(0.1, 0.0, 1.0))
    return (logits, labels), {"label_smoothing": smoothing}


def of_rows(shapes: Shapes, settings: Settings) -> dict[str, int]:
    """Return rows n and classes k of logits."""
    n, k = shapes["logits"]
    return {"n": n, "k": k}


register(
    softmax_cross_entropy_forward,
    kind="loss",
    differentiable=("logits",),
    cases=_cases,
    formula=Formula(
        of_rows,
        Terms(
            multiplications="2*n*k",
            additions="n * (5*k - 1) - 1",
            comparisons="n * (k - 1)",
            functions="n * (k + 1)",
            read="n*k + n",
            written="1",
        ),
        Terms(
            multiplications="n*k + 1",
            additions="n*k",
            read="n*k + n + 1",
            written="n*k",
        ),
        kept="s * 2*n*k",
    ),
)
