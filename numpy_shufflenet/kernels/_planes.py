"""Planes: a channel with its border, stored so that each tap reads one contiguous run of numbers.

With stride s and dilation d, output (p, q) reads, through tap (i, j), row p s + i d and column
q s + j d of the bordered image. So rows and columns are sorted into s classes, by their remainder:

    stride 2:   0 1 2 3 4 5 6   ->   0 2 4 6 | 1 3 5

The plane of a channel consists of s x s small planes, one for each pair of classes. In a small
plane, neighbouring outputs read neighbouring pixels, and the next row of outputs reads the next
row, for every stride. So what all outputs read through one tap is a single run of numbers, which
starts at `offsets[tap]`. It holds a few more columns than there are outputs; those are skipped. A
kernel only adds up kh kw runs, whatever stride, border and dilation are.

Each column holds n numbers, one for each image of the batch. Sorting columns is fast if n is large.
For a single image, the columns may stay in their order (`sort=False`): then outputs are computed at
every column, and every `step`-th is used.
"""

import functools
from typing import NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.ops.windows import Windows

RUN = 512  # numbers: short rows are joined to runs of about this length; a long row is one run


class Planes(NamedTuple):
    """The layout of a plane, for a batch of n images."""

    size: int  # numbers in a plane
    offsets: Array  # kh kw: where the run of each tap starts
    pitch: int  # numbers from one row of a small plane to the next
    stream: int  # numbers in a row of outputs within a run
    step: int  # from one output to the next within a run; 1 if columns are sorted
    rows: int  # rows of outputs in a run
    stride: int  # the stride of columns, which is the number of their classes
    classes: int  # the number of small planes
    row_places: Array  # h: the position of each row of the image, in pixels
    column_places: Array  # w: the position of each column within a row

    @property
    def run(self) -> int:
        """The length of a run, in numbers."""
        return (self.rows - 1) * self.pitch + self.stream


@functools.lru_cache(maxsize=256)
def planes_of(windows: Windows, n: int, sort: bool = True) -> Planes:
    """Work out the planes for these windows; the arrays are shared, so never written to."""
    (row_stride, step), (row_dilation, dilation) = windows.stride, windows.dilation
    stride, step = (step, 1) if sort else (1, step)
    (h, w), (kh, kw), (oh, ow) = windows.size, windows.kernel, windows.output
    (top, _), (left, _) = windows.padding
    height, width = windows.padded_size
    row_slots, slots = -(-height // row_stride), -(-width // stride)

    def row_place(u: Array) -> Array:
        return (u % row_stride * stride * row_slots + u // row_stride) * slots

    def column_place(v: Array) -> Array:
        return v % stride * row_slots * slots + v // stride

    rows = row_place(row_dilation * np.arange(kh))
    columns = column_place(dilation * np.arange(kw))
    return Planes(
        row_stride * stride * row_slots * slots * n,
        (rows[:, None] + columns).ravel() * n,
        slots * n,
        ((ow - 1) * step + 1) * n,
        step,
        min(oh, max(1, RUN // max(1, slots * n))),
        stride,
        row_stride * stride,
        row_place(top + np.arange(h)),
        column_place(left + np.arange(w)),
    )


def empty_plane(planes: Planes, dtype: np.dtype[np.floating], border: float) -> Array:
    """Return a plane that holds the border value everywhere."""
    plane = empty((planes.size,), dtype)
    plane.fill(border)
    return plane


@compiled
def write_row(source: Array, n: int, planes: Planes, r: int, plane: Array) -> None:
    """Copy row r (w n) of a channel into its plane; the border keeps its values."""
    columns, stride, w = planes.column_places, planes.stride, planes.column_places.size
    target = plane[planes.row_places[r] * n :]
    if stride == 1:
        slots = target[columns[0] * n : (columns[0] + w) * n]
        for k in range(slots.size):
            slots[k] = source[k]
    elif n == 1 and stride == 2:
        even, odd = target[columns[0] :], target[columns[min(1, w - 1)] :]
        for k in range(w // 2):
            even[k] = source[2 * k]
            odd[k] = source[2 * k + 1]
        if w % 2:
            even[w // 2] = source[w - 1]
    elif n == 1:
        for first in range(min(stride, w)):
            of_class, slots = source[first:], target[columns[first] :]
            for k in range((w - first + stride - 1) // stride):
                slots[k] = of_class[stride * k]
    else:
        pixels = source.reshape(w, n)
        slots_2d = target[: target.size // n * n].reshape(target.size // n, n)
        for s in range(w):
            place = columns[s]
            for t in range(n):
                slots_2d[place, t] = pixels[s, t]


@compiled
def write_image(image: Array, n: int, planes: Planes, plane: Array) -> None:
    """Copy a channel (h, w n) into its plane; the border keeps its values."""
    for r in range(image.shape[0]):
        write_row(image[r], n, planes, r, plane)


@compiled
def read_image(plane: Array, n: int, planes: Planes, image: Array) -> None:
    """Copy a channel (h, w n) out of its plane: the transpose of `write_image`."""
    columns, stride, w = planes.column_places, planes.stride, planes.column_places.size
    for r in range(image.shape[0]):
        source, target = plane[planes.row_places[r] * n :], image[r]
        if stride == 1:
            slots = source[columns[0] * n : (columns[0] + w) * n]
            for k in range(slots.size):
                target[k] = slots[k]
        elif n == 1 and stride == 2:
            even, odd = source[columns[0] :], source[columns[min(1, w - 1)] :]
            for k in range(w // 2):
                target[2 * k] = even[k]
                target[2 * k + 1] = odd[k]
            if w % 2:
                target[w - 1] = even[w // 2]
        elif n == 1:
            for first in range(min(stride, w)):
                slots, of_class = source[columns[first] :], target[first:]
                for k in range((w - first + stride - 1) // stride):
                    of_class[stride * k] = slots[k]
        else:
            slots_2d = source[: source.size // n * n].reshape(source.size // n, n)
            pixels = target.reshape(w, n)
            for s in range(w):
                place = columns[s]
                for t in range(n):
                    pixels[s, t] = slots_2d[place, t]


@compiled
def write_rows(rows: Array, planes: Planes, run: Array) -> None:
    """Copy rows of outputs (r, ow n) to their positions in a run; others keep their values."""
    for p in range(rows.shape[0]):
        row, target = rows[p], run[p * planes.pitch :]
        if planes.step == 1:
            for k in range(row.size):
                target[k] = row[k]
        else:
            for k in range(row.size):
                target[k * planes.step] = row[k]


@compiled
def read_rows(run: Array, planes: Planes, rows: Array) -> None:
    """Copy rows of outputs (r, ow n) out of a run: the transpose of `write_rows`."""
    for p in range(rows.shape[0]):
        row, source = rows[p], run[p * planes.pitch :]
        if planes.step == 1:
            for k in range(row.size):
                row[k] = source[k]
        else:
            for k in range(row.size):
                row[k] = source[k * planes.step]
