"""Channel-major layout: an image (n, c, h, w) is stored as (c, h, w, n), so a channel is one row.

Then a pointwise convolution is one matrix product, batch normalisation runs along rows, a shuffle
copies rows, and a window that moves by one pixel moves by n numbers.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share_range
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled

BLOCK = 16  # pixels: one cache line of float32


@compiled
def transpose(images: Array, first: int, last: int, pixels: Array) -> None:
    """Copy pixels first to last of images (n, m) to pixels (m, n), block by block."""
    for start in range(first, last, BLOCK):
        end = min(start + BLOCK, last)
        for i in range(images.shape[0]):
            for k in range(start, end):
                pixels[k, i] = images[i, k]


def contiguous(x: Array) -> Array:
    """Return x in the layout that kernels are compiled for: row-major, aligned, and writable.

    For read-only arrays Numba would compile each kernel again, and it can't compile a kernel that
    mixes both. No kernel writes to its inputs, so a read-only array is passed as a writable one.
    """
    if type(x) is np.ndarray and x.flags.carray:
        return x
    x = np.ascontiguousarray(x)
    return _writable(x if x.flags.aligned else x.copy())


class _Interface:
    """The memory of x, declared writable; a view of it keeps x alive."""

    def __init__(self, x: Array) -> None:
        self.x = x
        address, _ = x.__array_interface__["data"]
        self.__array_interface__ = {**x.__array_interface__, "data": (address, False)}


def _writable(x: Array) -> Array:
    return x if x.flags.writeable else np.asarray(_Interface(x))


def as_rows(x: Array) -> Array:
    """Return the channels of x (n, c, h, w) as rows (c, h w n): a view if x is channel-major."""
    _check_real(x)
    n, c, h, w = x.shape
    moved = x.transpose(1, 2, 3, 0)
    if moved.flags.c_contiguous or not x.flags.c_contiguous:
        return contiguous(moved).reshape(c, h * w * n)
    images, pixels = contiguous(x).reshape(n, c * h * w), empty((c * h * w, n), x.dtype)
    share_range(len(pixels), lambda i, j: transpose(images, i, j, pixels), work=2 * x.size)
    return pixels.reshape(c, h * w * n)


def as_spaced_rows(x: Array) -> tuple[Array, int]:
    """Return rows (r, h w n) and a step: every step-th row is a channel of x (n, c, h, w).

    It is also a view if x is, for example, every second channel of a channel-major image.
    """
    n, c, h, w = x.shape
    moved, row = x.transpose(1, 2, 3, 0), h * w * n * x.itemsize
    step = moved.strides[0] // row if row and moved[0].flags.c_contiguous else 0
    if x.flags.aligned and c > 1 and step > 1 and moved.strides[0] == step * row:
        shape = ((c - 1) * step + 1, h * w * n)
        return as_strided(_writable(moved), shape, (row, x.itemsize)), step
    return as_rows(x), 1


def as_image(rows: Array, n: int, h: int, w: int) -> Array:
    """Return the view (n, c, h, w) of rows (c, h w n)."""
    return rows.reshape(len(rows), h, w, n).transpose(3, 0, 1, 2)


def empty_rows(c: int, n: int, h: int, w: int, dtype: np.dtype[np.floating]) -> Array:
    """Return rows (c, h w n) without setting their entries."""
    return empty((c, h * w * n), dtype)


def memory_order(x: Array) -> tuple[int, ...]:
    """Return the axes of x from the slowest to the fastest in memory."""
    return tuple(sorted(range(x.ndim), key=lambda axis: (-abs(x.strides[axis]), axis)))


def as_flat(x: Array, order: tuple[int, ...]) -> Array:
    """Return x with its axes in this order, flat: a view if its memory has this order."""
    _check_real(x)
    return contiguous(x.transpose(order)).reshape(x.size)


def empty_like_flat(x: Array, order: tuple[int, ...]) -> tuple[Array, Array]:
    """Return new flat memory, and the view of it that has the shape of x."""
    flat = empty((x.size,), x.dtype)
    shape = tuple(x.shape[axis] for axis in order)
    inverse = np.argsort(order)
    return flat, flat.reshape(shape).transpose(inverse)


def _check_real(x: Array) -> None:
    """Raise ValueError for complex numbers, which `ops` supports and compiled loops don't."""
    if x.dtype.kind == "c":
        raise ValueError(f"x has dtype {x.dtype}; kernels need float32 or float64, `ops` doesn't")
