"""Figures class by class: how often a network is right, and which classes look alike to it."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.plots.figures import SEVERAL, _figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Z95 = 1.959964  # standard deviations that hold 95 % of a normal distribution
MARKERS = "osD^"


def wilson_interval(right: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was found as so many of so many.

    Unlike p +- 2 sqrt(p (1 - p) / n) it stays within 0 and 1, and is right for few images.

    Raises
    ------
    ValueError
        If it isn't 0 <= right <= of, of > 0.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if not 0 <= right <= of or of == 0:
        raise ValueError(f"right={right} of={of}: a part of at least one image is needed")
    share, z2 = right / of, Z95**2
    centre = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of**2)) / (1 + z2 / of)
    return max(0.0, centre - half), min(1.0, centre + half)


def accuracy_by_class(confusions: Mapping[str, Array], classes: Sequence[str]) -> "Figure":
    """Draw the share of each class that is classified rightly, with its 95 % interval.

    Parameters
    ----------
    confusions : mapping of str to int array, shape (k, k)
        The confusion matrix of each network, at most 4; a row a label.
    classes : sequence of str
        The k names.

    Raises
    ------
    ValueError
        If there are no networks or more than 4, or a class has no images.
    """
    if not 1 <= len(confusions) <= len(SEVERAL):
        raise ValueError(
            f"confusions has {len(confusions)} entries; 1 to {len(SEVERAL)} are needed"
        )
    figure = _figure(8, 0.9 + 0.36 * len(classes))
    axes = figure.subplots()
    shift = 0.24 / max(1, len(confusions) - 1)
    said = []
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
            label=name,
        )
        worst = int(shares.argmin())
        said.append(f"{name} is worst on {classes[worst]}, {shares[worst]:.0%}")
    axes.set_yticks(range(len(classes)), classes)
    axes.invert_yaxis()
    axes.set(xlabel="% classified rightly, with 95 % interval", xlim=(None, 100.5))
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.alt = f"Share of each class that is classified rightly: {'; '.join(said)}"
    return figure


def similarity(matrix: Array, names: Sequence[str], *, title: str = "") -> "Figure":
    """Draw how much things have in common: red alike, blue opposite, white unrelated.

    Parameters
    ----------
    matrix : array, shape (k, k)
        Correlations or cosines, from -1 to 1, symmetric.
    names : sequence of str
        The k names.
    title : str

    Raises
    ------
    ValueError
        If the matrix has another shape.
    """
    k = len(names)
    if matrix.shape != (k, k):
        raise ValueError(f"matrix has shape {matrix.shape}; ({k}, {k}) is needed")
    figure = _figure(2.4 + 0.46 * k, 1.8 + 0.42 * k)
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
    for i, j in np.ndindex(k, k):
        ink = "white" if abs(matrix[i, j]) > 0.6 else "black"
        text = f"{matrix[i, j]:.1f}".replace("-0.0", "0.0").replace("-", "\N{MINUS SIGN}")
        axes.text(j, i, text, ha="center", va="center", color=ink, size=8)
    axes.set_xticks(range(k), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(k), names)
    axes.set_title(title or "Similarity", size=11)
    figure.colorbar(image, ax=axes, fraction=0.046)
    others = np.where(np.eye(k, dtype=bool), -np.inf, matrix)
    i, j = divmod(int(others.argmax()), k)
    figure.alt = f"{title or 'Similarity'} of {k} classes; most alike: {names[i]} and {names[j]}"
    return figure
