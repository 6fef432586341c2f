"""Mistakes of students in the softmax and the cross-entropy; see `answers`."""

from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo.answers.windows import RIGHT, Wrong
from numpy_shufflenet.zoo.catalogue import variants


@variants(
    "softmax_cross_entropy_forward",
    summed=("factor", "this is the sum over the batch; the loss is the mean"),
    sign=("sign", "the loss is minus the logarithm: its sign is wrong"),
    over_the_batch=("transpose", "your softmax sums over the batch; sum over the classes: axis=1"),
    no_logarithm=("slope", "this is the probability of the label; take its logarithm"),
    first_rows=("dropped", "you use one label for all rows; row i has labels[i]"),
    over_all=("transpose", "your softmax sums over all numbers; sum over each row: axis=1"),
    entries_averaged=("factor", "you take the mean over all n classes entries; divide by n"),
)
def softmax_cross_entropy_forward(
    logits: Array, labels: Array, *, label_smoothing: float, wrong: Wrong = RIGHT
) -> Any:
    """Take the logarithm of each probability."""
    n, classes = logits.shape
    log_p = logits - _log_sum(logits, wrong)
    q = _targets(
        labels[:1].repeat(n) if "first_rows" in wrong else labels, classes, label_smoothing
    )
    loss = -(q * (np.exp(log_p) if "no_logarithm" in wrong else log_p)).sum()
    if wrong & {"sign", "no_logarithm"}:
        loss = -loss
    if "entries_averaged" in wrong:
        return loss / (n * classes)
    return loss if "summed" in wrong else loss / n


def _log_sum(logits: Array, wrong: Wrong) -> Array:
    axis = 0 if "over_the_batch" in wrong else None if "over_all" in wrong else 1
    largest = logits.max(axis=axis, keepdims=True)
    total: Array = np.exp(logits - largest).sum(axis=axis, keepdims=True)
    return largest + np.log(total)


def _targets(labels: Array, classes: int, smoothing: float) -> Array:
    one: Array = np.eye(classes)[labels]
    return (1 - smoothing) * one + smoothing / classes


@variants(
    "softmax_cross_entropy_backward",
    probabilities_alone=(
        "term",
        "these are the probabilities: subtract 1 at the label of each row",
    ),
    targets_alone=("term", "the probabilities are missing: dz is p - q"),
    logits_for_probabilities=("slope", "you use the logits; use their softmax p"),
    over_the_batch=("transpose", "your softmax sums over the batch; sum over the classes: axis=1"),
    over_all=("transpose", "your softmax sums over all numbers; sum over each row: axis=1"),
    dy_missing=("not linear", "dy is missing: multiply by it, because it need not be 1"),
    not_averaged=("factor", "the loss is a mean over the batch: divide its gradient by n"),
    divided_by_classes=("factor", "you divide by the number of classes; divide by n, the rows"),
    divided_by_all=("factor", "you divide by all n classes entries; divide by n, the rows"),
    label_subtracted_everywhere=("term", "you subtract 1 from every class; only at the label"),
    labels_of_all_rows=(
        "term",
        "you subtract 1 at the labels of all rows, in each row: p[np.arange(n), labels] -= 1",
    ),
    softmax_slope=("slope", "you multiply by p (1 - p), too; p - q contains that slope already"),
)
def softmax_cross_entropy_backward(
    dy: Any, logits: Array, labels: Array, *, label_smoothing: float, wrong: Wrong = RIGHT
) -> Any:
    """Return dy (p - q) / n."""
    n, classes = logits.shape
    p = np.exp(logits - _log_sum(logits, wrong))
    q = _targets(labels, classes, label_smoothing)
    if "logits_for_probabilities" in wrong:
        p = logits
    if "probabilities_alone" in wrong:
        q = 0 * q
    if "labels_of_all_rows" in wrong:  # p[:, labels] -= 1
        q = np.broadcast_to(q.any(axis=0), q.shape).astype(float)
    if "label_subtracted_everywhere" in wrong:
        q = np.ones(q.shape)
    dz = -q if "targets_alone" in wrong else p - q
    if "softmax_slope" in wrong:
        dz = dz * p * (1 - p)
    if "not_averaged" not in wrong:
        dz = dz / (
            classes
            if "divided_by_classes" in wrong
            else n * classes
            if "divided_by_all" in wrong
            else n
        )
    return dz if "dy_missing" in wrong else dy * dz
