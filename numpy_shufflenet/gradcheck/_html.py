"""A verdict as HTML: a table, and for each array that was compared entry by entry a heat map.

The map of an image has a row for each image and a tile for each channel; of a kernel, a row for
each output channel. Plain HTML and SVG: no script, nothing loaded, readable on dark and light.
"""

import html
from collections.abc import Iterator, Sequence

import numpy as np

from ._arrays import Array
from .report import ArrayReport

CELL = 12
MOST_TILES = 64
COLOURS = {"pass": "#009E73", "fail": "#D55E00"}
LIGHT = ((255, 255, 255), (253, 208, 162), (230, 85, 13), (127, 0, 0))  # by decades of error


def verdict_html(
    status: str, reason: str, reports: Sequence[ArrayReport], notes: Sequence[str], footer: str
) -> str:
    """Return the whole view."""
    colour = COLOURS.get(status, "#E69F00")
    lines = [
        '<div style="font: 14px/1.5 system-ui, sans-serif">',
        f'<p><b style="background: {colour}; color: black; padding: 2px 8px; border-radius: 4px">'
        f"{status}</b> {html.escape(reason)}</p>",
        "<table><tr>"
        + "".join(
            f"<th>{name}</th>"
            for name in ("array", "shape", "verdict", "method", "entries", "kinks", "difference")
        )
        + "</tr>",
        *(_row(report) for report in reports),
        "</table>",
        *(_map(report) for report in reports if report.analytic is not None),
        *(f"<p>note: {html.escape(note)}</p>" for note in notes),
        f"<p><small>{html.escape(footer)}</small></p>",
        "</div>",
    ]
    return "\n".join(lines)


def _row(report: ArrayReport) -> str:
    cells = (
        report.name,
        str(report.shape),
        report.status,
        report.method,
        str(report.entries or f"{report.directions} directions"),
        str(len(report.kinks)),
        f"{report.difference:.1e}",
    )
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _map(report: ArrayReport) -> str:
    """Return the heat map of one array: |analytic - numeric| beside the largest gradient."""
    assert report.analytic is not None
    assert report.numeric is not None
    difference = np.abs(report.analytic - report.numeric)
    size = float(np.nanmax(np.abs(report.numeric), initial=0.0)) or 1.0
    kinks = {kink.index for kink in report.kinks}
    shape = (1,) * (4 - report.analytic.ndim) + report.analytic.shape
    if report.analytic.ndim > 4:
        shape = (1, int(np.prod(report.analytic.shape[:-2])), *report.analytic.shape[-2:])
    rows, columns, h, w = shape
    shown = min(rows, max(1, MOST_TILES // max(columns, 1)))
    across = min(columns, MOST_TILES)
    width, height = across * (w + 1) * CELL, shown * (h + 1) * CELL
    parts = [
        f"<p>{html.escape(report.name)}: error by entry, a tile for each channel</p>",
        f'<svg width="{width}" height="{height}" style="background: #8882" role="img" '
        f'aria-label="{html.escape(report.name)}: error by entry">',
    ]
    indices = np.arange(report.analytic.size).reshape(shape)[:shown, :across]
    for place, flat in _cells(indices):
        index = tuple(int(i) for i in np.unravel_index(flat, report.analytic.shape))
        error = float(difference[index]) / size
        title = (
            f"{report.name}[{', '.join(map(str, index))}]: analytic "
            f"{report.analytic[index]:.6g}, numeric {report.numeric[index]:.6g}"
        )
        fill = "#56B4E9" if index in kinks else _colour(error)
        title += ", on a kink" if index in kinks else ""
        parts.append(
            f'<rect x="{place[0]}" y="{place[1]}" width="{CELL - 1}" height="{CELL - 1}" '
            f'fill="{fill}"><title>{html.escape(title)}</title></rect>'
        )
    parts.append("</svg>")
    if shown < rows or across < columns:
        parts.append(f"<p>({shown} of {rows} rows, {across} of {columns} tiles are shown)</p>")
    parts.append(
        "<p><small>white: right; orange: off by a percent; dark red: by all of it; blue: on a "
        "kink, left out; grey: not compared</small></p>"
    )
    return "\n".join(parts)


def _cells(indices: Array) -> Iterator[tuple[tuple[int, int], int]]:
    h, w = indices.shape[2:]
    for n, c, i, j in np.ndindex(indices.shape):
        yield ((c * (w + 1) + j) * CELL, (n * (h + 1) + i) * CELL), int(indices[n, c, i, j])


def _colour(error: float) -> str:
    """White up to 1e-8, through orange near 1e-2, to dark red at 1 and above."""
    if not np.isfinite(error):
        return "#888888"
    place = float(np.interp(np.log10(max(error, 1e-12)), (-8, -4, -2, 0), (0, 1, 2, 3)))
    low = min(int(place), 2)
    share = place - low
    mixed = (round(a + share * (b - a)) for a, b in zip(LIGHT[low], LIGHT[low + 1], strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)
