"""Figures about classes: the accuracy of each class, and which classes are similar."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from numpy_shufflenet._text import plain_label
from numpy_shufflenet._typing import Array
from numpy_shufflenet.plots.figures import SEVERAL, Figure, draw_matrix, hide_frame, new_figure

Z95 = 1.959964  # 95 % of a normal distribution are within this number of standard deviations
MARKERS = "osD^"


def wilson_interval(right: int, of: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share, from `right` successes in `of` trials.

    Unlike p +- 2 sqrt(p (1 - p) / n), this interval stays between 0 and 1, and is accurate even for
    few trials.

    Raises
    ------
    ValueError
        Unless 0 <= right <= of and of > 0.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if not 0 <= right <= of or of == 0:
        raise ValueError(f"right={right} of={of}: 0 <= right <= of and of >= 1 are needed")
    share, z2 = right / of, Z95**2
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2)) / (1 + z2 / of)
    return max(0.0, centre - half), min(1.0, centre + half)


def accuracy_by_class(confusions: Mapping[str, Array], classes: Sequence[str]) -> Figure:
    """Draw the accuracy of each class, with its 95 % confidence interval.

    Parameters
    ----------
    confusions : mapping of str to int array, shape (k, k)
        The confusion matrices of 1 to 4 networks; a row holds the images of one label.
    classes : sequence of str
        The k names.

    Raises
    ------
    ValueError
        If there is no network, there are more than 4, or a class has no images.
    """
    if not 1 <= len(confusions) <= len(SEVERAL):
        raise ValueError(
            f"confusions has {len(confusions)} entries; 1 to {len(SEVERAL)} are needed"
        )
    figure = new_figure(8, 0.9 + 0.36 * len(classes))
    axes = figure.subplots()
    shift = 0.24 / max(1, len(confusions) - 1)
    worst_classes = []
    for number, (name, confusion) in enumerate(confusions.items()):
        right, of = np.diag(confusion), confusion.sum(axis=1)
        shares = right / np.maximum(of, 1)
        ends = np.array([wilson_interval(int(r), int(n)) for r, n in zip(right, of, strict=True)])
        y = np.arange(len(classes)) + shift * (number - (len(confusions) - 1) / 2)
        axes.errorbar(
            100 * shares,
            y,
            xerr=100 * np.abs(ends.T - shares),
            fmt=MARKERS[number],
            color=SEVERAL[number],
            capsize=2,
            label=plain_label(name),
        )
        worst = int(shares.argmin())
        worst_classes.append(f"{name} is worst on {classes[worst]}, {shares[worst]:.0%}")
    axes.set_yticks(range(len(classes)), list(map(plain_label, classes)))
    axes.invert_yaxis()
    axes.set(xlabel="accuracy in %, with 95 % interval", xlim=(None, 100.5))
    axes.grid(axis="x", alpha=0.3)
    hide_frame(axes)
    axes.legend(frameon=False)
    figure.alt = f"Accuracy of each class: {'; '.join(worst_classes)}"
    return figure


def similarity(matrix: Array, names: Sequence[str], *, title: str = "") -> Figure:
    """Draw a matrix of similarities: red is similar, blue is opposite, white is unrelated.

    Parameters
    ----------
    matrix : array, shape (k, k)
        Correlations or cosines, from -1 to 1, symmetric.
    names : sequence of str
        The k names.

    Raises
    ------
    ValueError
        If the matrix has another shape.
    """
    k = len(names)
    if matrix.shape != (k, k):
        raise ValueError(f"matrix has shape {matrix.shape}; ({k}, {k}) is needed")
    figure = new_figure(2.4 + 0.46 * k, 1.8 + 0.42 * k)
    texts = np.array([[f"{value + 0.0:.1f}" for value in row] for row in matrix.round(1)])
    texts = np.char.replace(texts, "-", "\N{MINUS SIGN}")
    style = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1}
    axes, image = draw_matrix(figure, matrix, names, texts, np.abs(matrix) > 0.6, **style)
    axes.set_title(title or "Similarity", size=11)
    figure.colorbar(image, ax=axes, fraction=0.046)
    others = np.where(np.eye(k, dtype=bool), -np.inf, matrix)
    i, j = divmod(int(others.argmax()), k)
    figure.alt = f"{title or 'Similarity'} of {k} classes; most similar: {names[i]} and {names[j]}"
    return figure
