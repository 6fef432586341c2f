"""A gradient check as heat maps: analytic gradient, numeric gradient, and their difference."""

import numpy as np

from numpy_shufflenet._text import plain_label
from numpy_shufflenet._typing import Array
from numpy_shufflenet.gradcheck import Verdict
from numpy_shufflenet.plots.figures import ORANGE, Figure, new_figure


def gradient_map(verdict: Verdict, *, title: str = "") -> Figure:
    """Draw the analytic and numeric gradients of each array, and their difference.

    A cross marks an entry where the two gradients disagree. An array with more than two axes is
    drawn as tiles; see `mosaic`.

    Parameters
    ----------
    verdict : gradcheck.Verdict
        The verdict of a check with `per_entry=True`, or of a check that failed.

    Raises
    ------
    ValueError
        If no array was compared entry by entry.
    """
    compared = [report for report in verdict.arrays if report.analytic is not None]
    if not compared:
        raise ValueError("nothing was compared entry by entry; check with per_entry=True")
    heights = [1.1 if len(report.shape) < 2 else 2.6 for report in compared]
    figure = new_figure(9.6, sum(heights) + 0.5)
    grid = figure.subplots(len(compared), 3, squeeze=False, height_ratios=heights)
    for row, report in zip(grid, compared, strict=True):
        assert report.analytic is not None
        assert report.numeric is not None
        assert report.error is not None
        analytic, numeric = mosaic(report.analytic), mosaic(report.numeric)
        difference = analytic - numeric
        largest = float(np.nanmax(np.abs(analytic), initial=1e-300))
        style = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
        for axes, values, name in (
            (row[0], analytic, f"d{plain_label(report.name)}, analytic"),
            (row[1], numeric, "numeric"),
            (row[2], difference, "difference"),
        ):
            drawn = axes.imshow(values, **style)
            axes.set_title(name, size=10)
            axes.set(xticks=[], yticks=[])
        noise = mosaic(report.error)
        wrong = np.abs(difference) > np.maximum(1e3 * noise, 1e-6 * largest)
        for r, s in np.argwhere(wrong):
            row[2].text(s, r, "✗", ha="center", va="center", color=ORANGE, size=12)
        worst = float(np.nanmax(np.abs(difference), initial=0.0))
        row[2].set_xlabel(f"largest: {worst:.1g}", size=9)
        figure.colorbar(drawn, ax=list(row), fraction=0.02)
    figure.suptitle(title or f"gradient check: {verdict.status}", size=11)
    figure.alt = (
        f"Gradient check of {', '.join(f'd{report.name}' for report in compared)}: analytic, "
        f"numeric, and their difference; {verdict.status}"
    )
    return figure


def mosaic(array: Array) -> Array:
    """Arrange an array of any rank in two dimensions, with lines of NaN between its tiles.

    An array of shape (a, b, h, w) becomes `a` rows of b tiles of h x w entries. An array of shape
    (h, w) does not change, and an array of shape (k,) becomes a row.
    """
    array = np.asarray(array, np.float64)
    if array.ndim < 2:
        return array.reshape(1, -1)
    if array.ndim == 2:
        return array
    h, w = array.shape[-2:]
    tiles = array.reshape(-1, array.shape[-3], h, w)
    rows, columns = tiles.shape[:2]
    laid = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1), np.nan)
    for r, s in np.ndindex(rows, columns):
        laid[r * (h + 1) : r * (h + 1) + h, s * (w + 1) : s * (w + 1) + w] = tiles[r, s]
    return laid
