"""A verdict as HTML: its text, and a heat map for each array that was compared entry by entry.

The map of a batch has a row for each image and a tile for each channel. The map of a weight has a
row for each output channel. The HTML and SVG need no scripts, and suit dark and light backgrounds.
"""

import html
from collections.abc import Sequence

import numpy as np

from ._arrays import index_of
from .report import ArrayReport

CELL = 12
MOST_TILES = 64
COLOURS = {"pass": "#009E73", "fail": "#D55E00"}
# The colours of LIGHT stand for these powers of ten of the error: white, orange, dark red.
DECADES = (-8, -4, -2, 0)
LIGHT = ((255, 255, 255), (253, 208, 162), (230, 85, 13), (127, 0, 0))
LEGEND = (
    "white: right; orange: wrong by 1 %; dark red: wrong by 100 %; blue: on a kink, not judged; "
    "grey: not compared"
)


def verdict_html(status: str, text: str, reports: Sequence[ArrayReport]) -> str:
    """Return a verdict as HTML."""
    colour = COLOURS.get(status, "#E69F00")
    maps = [_map(report) for report in reports if report.analytic is not None]
    return "\n".join(
        (
            '<div style="font: 14px/1.5 system-ui, sans-serif">',
            f'<pre style="border-left: 8px solid {colour}; padding: 2px 8px; '
            f'white-space: pre-wrap">{html.escape(text)}</pre>',
            *maps,
            "</div>",
        )
    )


def _map(report: ArrayReport) -> str:
    """Return the heat map of one array: |analytic - numeric| relative to the largest gradient."""
    assert report.analytic is not None
    assert report.numeric is not None
    name, shape = html.escape(report.name), report.analytic.shape
    size = float(np.nanmax(np.abs(report.numeric), initial=0.0)) or 1.0
    kinks = {kink.index for kink in report.kinks}
    if len(shape) > 4:
        rows, columns, h, w = 1, int(np.prod(shape[:-2])), *shape[-2:]
    else:
        rows, columns, h, w = (1,) * (4 - len(shape)) + shape
    shown, across = min(rows, max(1, MOST_TILES // max(columns, 1))), min(columns, MOST_TILES)
    tiles = np.arange(report.analytic.size).reshape(rows, columns, h, w)[:shown, :across]
    cells = []
    for (n, c, i, j), flat in np.ndenumerate(tiles):
        index = index_of(int(flat), shape)
        analytic, numeric = report.analytic[index], report.numeric[index]
        place = ", ".join(map(str, index))
        title = f"{report.name}[{place}]: analytic {analytic:.6g}, numeric {numeric:.6g}"
        fill = _colour(abs(analytic - numeric) / size)
        if index in kinks:
            title, fill = title + ", on a kink", "#56B4E9"
        cells.append(
            f'<rect x="{(c * (w + 1) + j) * CELL}" y="{(n * (h + 1) + i) * CELL}" '
            f'width="{CELL - 1}" height="{CELL - 1}" fill="{fill}">'
            f"<title>{html.escape(title)}</title></rect>"
        )
    part = f"; {shown} of {rows} rows, {across} of {columns} tiles are shown"
    return "\n".join(
        (
            f"<p>{name}: error by entry, a tile for each channel"
            f"{part if (shown, across) < (rows, columns) else ''}</p>",
            f'<svg width="{across * (w + 1) * CELL}" height="{shown * (h + 1) * CELL}" '
            f'style="background: #8882" role="img" aria-label="{name}: error by entry">',
            *cells,
            "</svg>",
            f"<p><small>{LEGEND}</small></p>",
        )
    )


def _colour(error: float) -> str:
    """Return the colour of an error, relative to the largest gradient."""
    if not np.isfinite(error):
        return "#888888"
    decade = np.log10(max(error, 1e-12))
    return "#" + "".join(
        f"{round(np.interp(decade, DECADES, shades)):02x}" for shades in zip(*LIGHT, strict=True)
    )
