"""Figures from plain data: each function returns a matplotlib Figure and touches nothing else.

Colours are from a set that colour-blind readers can tell apart (Okabe, Ito, 2008).
"""

import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_shufflenet._files import write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from numpy_shufflenet.training import History

BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#767676", "#009E73"
SEVERAL = (BLUE, ORANGE, GREEN, GREY)
SMOOTHED_STEPS = 25  # of the loss curve


def learning_curves(history: "History | Mapping[str, History]") -> "Figure":
    """Draw loss by step, with its running mean, and accuracy by epoch.

    Parameters
    ----------
    history : training.History, or mapping of str to History
        Of at least one step. Several by name, at most 4, share the plot: each has one colour, and
        what was measured on the training images is dashed.

    Raises
    ------
    ValueError
        If there are none, or more than 4.
    """
    if isinstance(history, Mapping):
        if not 1 <= len(history) <= len(SEVERAL):
            raise ValueError(f"history has {len(history)} entries; 1 to {len(SEVERAL)} are needed")
        drawn = [
            (f"{name}, ", one, colour, "--", colour)
            for (name, one), colour in zip(history.items(), SEVERAL, strict=False)
        ]
    else:
        drawn = [("", history, BLUE, "-", ORANGE)]
    figure = _figure(9 if len(drawn) == 1 else 11, 3.6 if len(drawn) == 1 else 4.2)
    losses, rates = figure.subplots(1, 2)
    for curves in drawn:
        _draw_losses(losses, *curves)
        _draw_rates(rates, *curves)
    losses.set(xlabel="step", ylabel="cross-entropy in nats", title="Loss", ylim=(0, None))
    rates.set(xlabel="epoch", ylabel="images classified rightly, %", title="Accuracy")
    rates.set_xticks(sorted({record.epoch for curves in drawn for record in curves[1].epochs}))
    for axes in (losses, rates):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=None if len(drawn) == 1 else 8.5)
    figure.alt = "Learning curves, loss by step and accuracy by epoch. " + " ".join(
        f"{name}at the end: training {record.train_accuracy:.1%}"
        + (f", test {record.test_accuracy:.1%}." if record.test_accuracy is not None else ".")
        for name, record in ((curves[0], curves[1].epochs[-1]) for curves in drawn)
    )
    return figure


def _draw_losses(
    axes: Any, name: str, history: "History", training: str, line: str, test: str
) -> None:
    steps = np.arange(1, len(history.loss) + 1)
    window = min(SMOOTHED_STEPS, len(steps))
    mean = np.convolve(history.loss, np.full(window, 1 / window), mode="valid")
    axes.plot(steps, history.loss, color=training, alpha=0.25, linewidth=0.8)
    label = f"{name}training, mean of {window} steps"
    axes.plot(steps[window - 1 :], mean, line, color=training, label=label)
    ends = [record.steps for record in history.epochs]
    found = [record.test_loss for record in history.epochs]
    if None not in found:
        axes.plot(ends, found, "o-", color=test, label=f"{name}test, after each epoch")


def _draw_rates(
    axes: Any, name: str, history: "History", training: str, line: str, test: str
) -> None:
    epochs = [record.epoch for record in history.epochs]
    percent = [100 * record.train_accuracy for record in history.epochs]
    axes.plot(
        epochs, percent, f"s{line}", color=training, label=f"{name}training, during the epoch"
    )
    found = [record.test_accuracy for record in history.epochs]
    if None not in found:
        percent = [100 * (accuracy or 0) for accuracy in found]
        axes.plot(epochs, percent, "o-", color=test, label=f"{name}test, after the epoch")


def confusion_matrix(confusion: Array, classes: Sequence[str]) -> "Figure":
    """Draw which class is taken for which: a row a label, a column a prediction.

    Parameters
    ----------
    confusion : int array, shape (k, k)
    classes : sequence of str
        The k names.
    """
    k = len(classes)
    figure = _figure(2.6 + 0.52 * k, 2 + 0.46 * k)
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    for i, j in np.ndindex(k, k):
        if confusion[i, j]:
            colour = "white" if share[i, j] > 0.5 else "black"
            axes.text(j, i, str(confusion[i, j]), ha="center", va="center", color=colour, size=8)
    axes.set_xticks(range(k), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(k), classes)
    axes.set(xlabel="predicted", ylabel="label")
    right = np.trace(confusion) / max(confusion.sum(), 1)
    axes.set_title(f"Confusion matrix: {right:.1%} right")
    figure.colorbar(image, ax=axes, label="% of the label's images", fraction=0.046)
    figure.alt = (
        f"Confusion matrix of {k} classes, {right:.1%} right{_most_confused(confusion, classes)}"
    )
    return figure


def _most_confused(confusion: Array, classes: Sequence[str]) -> str:
    wrong = confusion * (1 - np.eye(len(classes), dtype=int))
    if not wrong.any():
        return ""
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    return f". Most often wrong: {classes[i]} taken for {classes[j]}, {wrong[i, j]} times"


def filters(weights: Array, *, columns: int = 8) -> "Figure":
    """Draw the kernels of a first layer, blue below 0 and red above; in colour if it sees three.

    Parameters
    ----------
    weights : array, shape (o, c, kh, kw)
        c is 1 or 3 (red, green, blue).
    columns : int

    Raises
    ------
    ValueError
        If there are other numbers of input channels.
    """
    o, c = weights.shape[:2]
    if c not in (1, 3):
        raise ValueError(f"weights has shape {weights.shape}; 1 or 3 input channels are needed")
    rows = math.ceil(o / columns)
    figure = _figure(0.9 * columns, 0.9 * rows + 0.7)
    grid = figure.subplots(rows, columns, squeeze=False)
    largest = float(np.abs(weights).max()) or 1.0
    for number, axes in enumerate(grid.flat):
        axes.axis("off")
        if number >= o:
            continue
        if c == 3:
            axes.imshow(0.5 + 0.5 * weights[number].transpose(1, 2, 0) / largest)
        else:
            axes.imshow(weights[number, 0], cmap="RdBu_r", vmin=-largest, vmax=largest)
    scale = "grey is 0" if c == 3 else f"white is 0, red {largest:.2g}, blue {-largest:.2g}"
    figure.suptitle(f"First-layer filters ({scale})", size=11)
    figure.alt = (
        f"The {o} kernels of a first layer, {weights.shape[2]} by {weights.shape[3]} weights each"
    )
    return figure


def predictions(
    images: Array,
    predicted: Array,
    probabilities: Array,
    classes: Sequence[str],
    labels: Array | None = None,
    *,
    columns: int = 8,
) -> "Figure":
    """Draw images with what the network takes them for; wrong ones say what they are.

    Parameters
    ----------
    images : uint8 array, shape (n, c, h, w)
        c is 1 or 3.
    predicted : int array, shape (n,)
    probabilities : array, shape (n, k)
    classes : sequence of str
    labels : int array, shape (n,), optional
    columns : int
    """
    rows = math.ceil(len(images) / columns)
    figure = _figure(1.45 * columns, 1.85 * rows + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False)
    for number, axes in enumerate(grid.flat):
        axes.set(xticks=[], yticks=[])
        if number >= len(images):
            axes.axis("off")
            continue
        image = images[number].transpose(1, 2, 0)
        axes.imshow(image if image.shape[2] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
        guess = predicted[number]
        says, surely = classes[guess], f"{probabilities[number, guess]:.0%}"
        label = guess if labels is None else labels[number]
        wrong = label != guess
        title = f"{says} ({surely})\nis {classes[label]}" if wrong else f"{says}\n{surely}"
        axes.set_title(title, size=8, color=ORANGE if wrong else "black")
        for spine in axes.spines.values():
            spine.set(color=ORANGE if wrong else GREY, linewidth=2 if wrong else 0.5)
    if labels is not None:
        figure.suptitle("Predictions on test images; orange: wrong", size=11)
    figure.alt = f"{len(images)} images, each with what the network takes it for" + (
        "" if labels is None else f"; {int((labels != predicted).sum())} of them wrongly"
    )
    return figure


def save(figure: "Figure", path: str | os.PathLike[str]) -> bytes:
    """Write a figure as PNG, whole or not at all, and return its bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_bytes(path, buffer.getvalue())
    return buffer.getvalue()


def _figure(width: float, height: float) -> Any:
    """Return an empty figure of this size in inches, or say how to get matplotlib."""
    need("matplotlib", "drawing")
    from numpy_shufflenet.plots._notebook import NotebookFigure

    return NotebookFigure(figsize=(width, height), layout="constrained")
