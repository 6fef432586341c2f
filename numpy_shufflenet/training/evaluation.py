"""Evaluation of a model: loss, accuracy, and confusion matrix."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._typing import Array
from numpy_shufflenet.data import Dataset, Standardise
from numpy_shufflenet.nn.layer import Layer
from numpy_shufflenet.ops import softmax_cross_entropy_forward
from numpy_shufflenet.ops.checks import check_positive


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate` on n images of k classes."""

    #: Mean cross-entropy in nats, without label smoothing.
    loss: float
    #: Share of correct predictions, from 0 to 1.
    accuracy: float
    #: See `confusion_matrix`.
    confusion: Array  # k k
    #: The most probable class of each image; the lowest index among equal probabilities.
    predictions: Array  # n
    probabilities: Array  # n k


def evaluate(
    model: Layer, dataset: Dataset, standardise: Standardise, *, batch_size: int = 256
) -> Evaluation:
    """Run a model in evaluation mode over all images of a dataset, in order.

    Parameters
    ----------
    model : Layer
        Maps images (n, c, h, w) to logits (n, k). Caches of an earlier forward are deleted.
    dataset : Dataset
    standardise : Standardise
        The `standardise` of the training.
    batch_size : int
        Number of images in one forward. Results for different sizes differ only by rounding.

    Raises
    ------
    ValueError
        If the dataset is empty, or an image or label doesn't fit the model.
    """
    check_positive("batch_size", batch_size)
    n = len(dataset.labels)
    if n == 0:
        raise ValueError("dataset has 0 images; at least 1 is needed")
    dtype = dtype_of(model)
    loss = 0.0
    parts = []
    # After an overflow the loss is NaN, so a warning would tell nothing new.
    run = _fastest(model, dataset.images.shape[1:], dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, n, batch_size):
            rows = slice(start, start + batch_size)
            logits = run(standardise(dataset.images[rows], dtype))  # b k
            part_loss, cache = softmax_cross_entropy_forward(logits, dataset.labels[rows])
            loss += float(part_loss) * len(logits) / n
            parts.append(cache.probabilities)
    probabilities = np.concatenate(parts)  # n k
    predictions = probabilities.argmax(axis=1)  # n
    return Evaluation(
        loss=loss,
        accuracy=float((predictions == dataset.labels).mean()),
        confusion=confusion_matrix(dataset.labels, predictions, probabilities.shape[1]),
        predictions=predictions,
        probabilities=probabilities,
    )


def _fastest(
    model: Layer, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Callable[[Array], Array]:
    """Return an inference plan of the model (only for float32 with Numba), or its `infer`."""
    if backend.current() == "numba" and dtype == np.float32:
        from numpy_shufflenet.plan import InferencePlan

        plan = InferencePlan(model)
        with contextlib.suppress(ValueError):  # plans lack some operations and shapes
            plan.program(shape)
            return plan
    return model.infer


def dtype_of(model: Layer) -> np.dtype[np.floating[Any]]:
    """Return the dtype of a model's parameters. The input needs the same dtype."""
    dtype: np.dtype[np.floating[Any]] = next(iter(model.parameters().values())).dtype
    return dtype


def confusion_matrix(labels: Array, predictions: Array, classes: int) -> Array:
    """Count the predictions for each class.

    Parameters
    ----------
    labels, predictions : int array, shape (n,)
        From 0 to classes - 1.
    classes : int

    Returns
    -------
    confusion : int64 array, shape (classes, classes)
        confusion[i, j] is the number of images of class i with the prediction j. The diagonal
        counts the correct predictions.

    Raises
    ------
    ValueError
        If shapes differ, or a class is out of range.
    """
    check_positive("classes", classes)
    for name, values in (("labels", labels), ("predictions", predictions)):
        if not isinstance(values, np.ndarray) or not np.issubdtype(values.dtype, np.integer):
            kind = getattr(values, "dtype", type(values).__name__)
            raise ValueError(f"{name} is of type {kind}; an integer array is needed")
        outside = (values < 0) | (values >= classes)
        if outside.any():
            raise ValueError(
                f"{name}[{outside.argmax()}]={values[outside][0]} is out of range; "
                f"0 to {classes - 1} is needed"
            )
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ValueError(
            f"labels has shape {labels.shape} and predictions {predictions.shape}; "
            "the same (n,) is needed"
        )
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, predictions), 1)
    return confusion
