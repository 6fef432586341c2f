"""Figures from plain data; each function returns a new matplotlib Figure and changes nothing else.

Colours are from a set that colour-blind readers can distinguish (Okabe, Ito, 2008).
"""

import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_shufflenet._files import write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet._text import plain_label
from numpy_shufflenet._typing import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure

    from numpy_shufflenet.training import History
else:
    Figure = "Figure"  # matplotlib is imported when the first figure is drawn

BLUE, ORANGE, GREY, GREEN = "#0072B2", "#D55E00", "#767676", "#009E73"
SEVERAL = (BLUE, ORANGE, GREEN, GREY)
SMOOTHED_STEPS = 25  # length of the running mean of the loss


def learning_curves(history: "History | Mapping[str, History]") -> Figure:
    """Draw loss by step, with its running mean, and accuracy by epoch.

    Parameters
    ----------
    history : training.History, or mapping of str to History
        Histories of at least one step. Up to 4 named histories share the plot. Then each history
        has one colour, and curves of the training images are dashed.

    Raises
    ------
    ValueError
        If there is no history, or there are more than 4.
    """
    if isinstance(history, Mapping):
        if not 1 <= len(history) <= len(SEVERAL):
            raise ValueError(f"history has {len(history)} entries; 1 to {len(SEVERAL)} are needed")
        drawn = [
            (f"{plain_label(name)}, ", one, colour, "--", colour)
            for (name, one), colour in zip(history.items(), SEVERAL, strict=False)
        ]
    else:
        drawn = [("", history, BLUE, "-", ORANGE)]
    figure = new_figure(9 if len(drawn) == 1 else 11, 3.6 if len(drawn) == 1 else 4.2)
    losses, rates = figure.subplots(1, 2)
    for curves in drawn:
        _draw_losses(losses, *curves)
        _draw_rates(rates, *curves)
    losses.set(xlabel="step", ylabel="cross-entropy in nats", title="Loss", ylim=(0, None))
    rates.set(xlabel="epoch", ylabel="correct images, %", title="Accuracy")
    rates.set_xticks(sorted({record.epoch for curves in drawn for record in curves[1].epochs}))
    for axes in (losses, rates):
        axes.grid(alpha=0.3)
        hide_frame(axes)
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


def confusion_matrix(confusion: Array, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix, with one row for each label and one column for each prediction.

    Parameters
    ----------
    confusion : int array, shape (k, k)
    classes : sequence of str
        The k names.
    """
    k = len(classes)
    figure = new_figure(2.6 + 0.52 * k, 2 + 0.46 * k)
    percent = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    texts = np.where(confusion, confusion.astype(str), "")
    style = {"cmap": "Blues", "vmin": 0, "vmax": 100}
    axes, image = draw_matrix(figure, percent, classes, texts, percent > 50, **style)
    axes.set(xlabel="predicted", ylabel="label")
    right = np.trace(confusion) / max(confusion.sum(), 1)
    axes.set_title(f"Confusion matrix: {right:.1%} correct")
    figure.colorbar(image, ax=axes, label="% of the label's images", fraction=0.046)
    figure.alt = (
        f"Confusion matrix of {k} classes, {right:.1%} correct{_most_confused(confusion, classes)}"
    )
    return figure


def _most_confused(confusion: Array, classes: Sequence[str]) -> str:
    wrong = confusion * (1 - np.eye(len(classes), dtype=int))
    if not wrong.any():
        return ""
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    return f". Most frequent error: {classes[i]} as {classes[j]}, {wrong[i, j]} times"


def draw_matrix(
    figure: Any, values: Array, names: Sequence[str], texts: Array, white: Array, **style: Any
) -> tuple[Any, Any]:
    """Draw a matrix of shape (k, k) with names on both axes, and the texts that are not empty.

    Where `white` is true, the text is white instead of black. `style` goes to imshow. Returns the
    axes and the image.
    """
    axes = figure.subplots()
    image = axes.imshow(values, **style)
    for i, j in np.argwhere(texts != ""):
        colour = "white" if white[i, j] else "black"
        axes.text(j, i, texts[i, j], ha="center", va="center", color=colour, size=8)
    names = list(map(plain_label, names))
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    return axes, image


def filters(weights: Array, *, columns: int = 8) -> Figure:
    """Draw the filters of a first layer, in colour for 3 input channels, or from blue to red for 1.

    Parameters
    ----------
    weights : array, shape (o, c, kh, kw)
        c is 1 or 3 (red, green, blue).

    Raises
    ------
    ValueError
        If c is neither 1 nor 3.
    """
    o, c = weights.shape[:2]
    if c not in (1, 3):
        raise ValueError(f"weights has shape {weights.shape}; 1 or 3 input channels are needed")
    figure, grid = new_grid(o, columns, (0.9, 0.9), 0.7)
    largest = float(np.abs(weights).max()) or 1.0
    for axes, weight in zip(grid, weights, strict=True):
        axes.axis("off")
        if c == 3:
            axes.imshow(0.5 + 0.5 * weight.transpose(1, 2, 0) / largest)
        else:
            axes.imshow(weight[0], cmap="RdBu_r", vmin=-largest, vmax=largest)
    scale = "grey is 0" if c == 3 else f"white is 0, red {largest:.2g}, blue {-largest:.2g}"
    figure.suptitle(f"First-layer filters ({scale})", size=11)
    figure.alt = (
        f"The {o} filters of a first layer, {weights.shape[2]} by {weights.shape[3]} weights each"
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
) -> Figure:
    """Draw images with their predicted classes; if a prediction is wrong, also show the label.

    Parameters
    ----------
    images : uint8 array, shape (n, c, h, w)
        c is 1 or 3.
    predicted : int array, shape (n,)
    probabilities : array, shape (n, k)
    labels : int array, shape (n,), optional
    """
    figure, grid = new_grid(len(images), columns, (1.45, 1.85), 0.5)
    for number, axes in enumerate(grid):
        show_image(axes, images[number])
        guess = predicted[number]
        name, percent = plain_label(classes[guess]), f"{probabilities[number, guess]:.0%}"
        label = guess if labels is None else labels[number]
        wrong = label != guess
        title = (
            f"{name} ({percent})\nis {plain_label(classes[label])}"
            if wrong
            else f"{name}\n{percent}"
        )
        axes.set_title(title, size=8, color=ORANGE if wrong else "black")
        for spine in axes.spines.values():
            spine.set(color=ORANGE if wrong else GREY, linewidth=2 if wrong else 0.5)
    if labels is not None:
        figure.suptitle("Predictions on test images; orange: wrong", size=11)
    figure.alt = f"{len(images)} images with their predicted classes" + (
        "" if labels is None else f"; {int((labels != predicted).sum())} of them are wrong"
    )
    return figure


def save(figure: "Figure", path: str | os.PathLike[str]) -> bytes:
    """Write a figure as PNG, or as SVG if path ends so, and return the bytes.

    An interrupted write leaves the old file.
    """
    buffer = io.BytesIO()
    kind = "svg" if os.fspath(path).endswith(".svg") else "png"
    figure.savefig(buffer, format=kind, dpi=110)
    write_bytes(path, buffer.getvalue())
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of this size in inches."""
    need("matplotlib", "drawing")
    from numpy_shufflenet.plots._notebook import NotebookFigure

    return NotebookFigure(figsize=(width, height), layout="constrained")


def new_grid(
    count: int, columns: int, cell: tuple[float, float], extra: float
) -> tuple[Any, list[Any]]:
    """Return a figure with a grid of cells, and the axes of the first `count` cells.

    A cell is (width, height) in inches; `extra` is the height of a title.
    """
    rows = math.ceil(count / columns)
    figure = new_figure(cell[0] * columns, cell[1] * rows + extra)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[count:]:
        axes.axis("off")
    return figure, grid[:count]


def show_image(axes: Any, image: Array, largest: float = 255) -> None:
    """Draw an image of shape (c, h, w) with 1 or 3 channels and values from 0 to `largest`."""
    axes.set(xticks=[], yticks=[])
    shown = image.transpose(1, 2, 0) if len(image) == 3 else image[0]
    axes.imshow(shown, cmap="gray", vmin=0, vmax=largest)


def hide_frame(axes: Any) -> None:
    """Hide the upper and right edges of a plot."""
    axes.spines[["top", "right"]].set_visible(False)
