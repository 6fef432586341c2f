"""Strips: the input of a few output rows at a time, small enough for a core's own cache.

A few rows of outputs depend on a strip of rows of the image. A thread copies the strip, with its
border, into planes (see `_planes`), computes the outputs, and reuses the planes for its next strip.
So the image is read from memory once, and no thread waits for another. Rows that two strips share
are copied twice.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._planes import Planes, planes_of, write_row
from numpy_shufflenet.kernels._vectors import WIDTH, evens, load, odds, store
from numpy_shufflenet.ops.windows import Windows

CACHED = 3 << 16  # numbers in a strip: three quarters of a core's own cache, 1 MB of float32
PIECES = 16  # strips of an image, at least, for threads to share


class Strips(NamedTuple):
    """How images are cut into strips of output rows, and the planes of one strip.

    Python passes it to kernels as a plain tuple, and so the planes in it, because at each call
    Numba takes many times as long to determine the type of a named tuple.
    """

    planes: tuple[Any, ...]  # Planes
    n: int
    pieces: int  # strips of the images
    outputs: int  # rows of outputs in all strips
    rows: int  # rows of outputs in one strip
    stride: int  # rows of the image from one output row to the next
    reach: int  # rows of the image from the first to the last that one output row reads
    top: int  # rows of border above the image
    starts: Array  # c kh kw: the start of each tap's run, in planes that follow one another


@functools.lru_cache(maxsize=256)
def strips_of(windows: Windows, n: int, channels: int, rows: int = 0) -> Strips:
    """Return strips of so many output rows; if 0, of as many as fit in the cache."""
    (_, w), (oh, ow), ((top, _), sides) = windows.size, windows.output, windows.padding
    stride, reach = windows.stride[0], (windows.kernel[0] - 1) * windows.dilation[0] + 1
    if not rows:
        room = CACHED // (channels * (w + sum(sides)) * max(1, n))  # rows of the image
        rows = max(1, min((room - reach) // stride + 1, -(-oh // PIECES)))
    size, padding = ((rows - 1) * stride + reach, w), ((0, 0), sides)
    planes = planes_of(windows._replace(size=size, padding=padding, output=(rows, ow)), n)
    starts = np.add.outer(np.arange(channels) * planes.size, planes.offsets).ravel()
    return Strips(tuple(planes), n, -(-oh // rows), oh, rows, stride, reach, top, starts)


@register_jitable
def _sort_columns(x: Array, i: int, w: int, strip: Array, even: int, odd: int) -> None:
    """Copy columns 0, 2, ... of the row of float32 at x[i] to strip[even], the others to odd."""
    for k in range(0, w - 2 * WIDTH + 1, 2 * WIDTH):
        first, second = load(x, i + k), load(x, i + k + WIDTH)
        store(strip, even + k // 2, evens(first, second))
        store(strip, odd + k // 2, odds(first, second))
    for k in range(w // (2 * WIDTH) * WIDTH, w // 2):
        strip[even + k], strip[odd + k] = x[i + 2 * k], x[i + 2 * k + 1]
    if w % 2:
        strip[even + w // 2] = x[i + w - 1]


@compiled
def write_strip(x: Array, strips: Strips, p: int, rows: int, strip: Array) -> None:
    """Copy the rows of x (c, h, w n) that output rows p to p + rows read to planes strip (c, size).

    The border on both sides is 0 already.
    """
    planes, (channels, h, width) = Planes(*strips.planes), x.shape
    start, span = p * strips.stride - strips.top, (rows - 1) * strips.stride + strips.reach
    columns, outside = planes.column_places, np.zeros(width, x.dtype)
    by_vectors = strips.n == 1 and planes.stride == 2 and x.itemsize == 4
    x_flat, strip_flat = x.reshape(x.size), strip.reshape(strip.size)
    for c in range(channels):
        for r in range(span):
            row = start + r
            if not 0 <= row < h:
                write_row(outside, strips.n, planes, r, strip[c])
            elif by_vectors:
                place = c * planes.size + planes.row_places[r]
                even, odd = place + columns[0], place + columns[min(1, width - 1)]
                _sort_columns(x_flat, (c * h + row) * width, width, strip_flat, even, odd)
            else:
                write_row(x[c, row], strips.n, planes, r, strip[c])
