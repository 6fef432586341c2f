"""Up-sampling, one output at a time: each output reads the pixels near its position.

Bilinear: for position t along one axis, pixel r has weight 1 - |t - r|, or 0 if r is further away
than 1. The weights of the two axes are multiplied.
"""

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair
from numpy_shufflenet.ops.checks import as_pair
from numpy_shufflenet.steps._driver import Output, Reads, Steps, add_up

__all__ = [
    "upsample_bilinear_backward_steps",
    "upsample_bilinear_forward_steps",
    "upsample_nearest_backward_steps",
    "upsample_nearest_forward_steps",
]


def upsample_nearest_forward_steps(x: Array, scale: IntOrPair) -> Steps:
    """y[n, c, p, q] reads the pixel that became its block."""
    sh, sw = as_pair("scale", scale)
    y_shape = (*x.shape[:2], x.shape[2] * sh, x.shape[3] * sw)
    yield Output("y", y_shape)
    for n, c, p, q in np.ndindex(y_shape):
        source = (n, c, p // sh, q // sw)
        yield add_up("y", (n, c, p, q), [("x", source)], [x[source]])


def upsample_nearest_backward_steps(dy: Array, x: Array, scale: IntOrPair) -> Steps:
    """dx adds dy over the block that the pixel became."""
    sh, sw = as_pair("scale", scale)
    yield Output("dx", x.shape)
    for n, c, r, s in np.ndindex(x.shape):
        block = [(n, c, r * sh + i, s * sw + j) for i, j in np.ndindex(sh, sw)]
        reads: Reads = [("dy", place) for place in block]
        yield add_up("dx", (n, c, r, s), reads, [dy[place] for place in block])


def upsample_bilinear_forward_steps(
    x: Array, scale: IntOrPair, *, align_corners: bool = False
) -> Steps:
    """y[n, c, p, q] reads the pixels next to its position."""
    rows, columns = near_pixels(x, scale, align_corners)
    y_shape = (*x.shape[:2], len(rows), len(columns))
    yield Output("y", y_shape)
    for n, c, p, q in np.ndindex(y_shape):
        reads: Reads = []
        terms = []
        for r, row_weight in rows[p].items():
            for s, column_weight in columns[q].items():
                reads.append(("x", (n, c, r, s)))
                terms.append(x[n, c, r, s] * (row_weight * column_weight))
        yield add_up("y", (n, c, p, q), reads, terms)


def upsample_bilinear_backward_steps(
    dy: Array, x: Array, scale: IntOrPair, *, align_corners: bool = False
) -> Steps:
    """dx adds dy of every output near the pixel, times the pixel's weight there."""
    rows, columns = near_pixels(x, scale, align_corners)
    yield Output("dx", x.shape)
    for n, c, r, s in np.ndindex(x.shape):
        reads: Reads = []
        terms = []
        for p, row in enumerate(rows):
            for q, column in enumerate(columns):
                if r in row and s in column:
                    reads.append(("dy", (n, c, p, q)))
                    terms.append(dy[n, c, p, q] * (row[r] * column[s]))
        yield add_up("dx", (n, c, r, s), reads, terms)


def near_pixels(
    x: Array, scale: IntOrPair, align_corners: bool
) -> tuple[list[dict[int, float]], list[dict[int, float]]]:
    """Return, for each new row and each new column, the old ones near it and their weights."""
    sh, sw = as_pair("scale", scale)
    height, width = x.shape[2:]
    rows = [weights(p, height, sh, align_corners) for p in range(height * sh)]
    return rows, [weights(q, width, sw, align_corners) for q in range(width * sw)]


def weights(new: int, size: int, scale: int, align_corners: bool) -> dict[int, float]:
    """Return the weight of each old pixel near a new one, along one axis."""
    if align_corners:
        position = 0.0 if size == 1 else new * (size - 1) / (size * scale - 1)
    else:
        position = min(max((new + 0.5) / scale - 0.5, 0.0), size - 1.0)  # at the edge, the edge
    distances = {old: abs(position - old) for old in range(size)}
    return {old: 1 - distance for old, distance in distances.items() if distance < 1}
