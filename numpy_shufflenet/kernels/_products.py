"""Products of matrices by BLAS, cut into blocks of columns that stay in cache.

The cut depends on shapes alone, so results don't depend on the number of threads.
"""

import math

import numpy as np

from numpy_shufflenet._threads import single_threaded_blas
from numpy_shufflenet._typing import Array

CACHED = 1 << 18  # numbers that stay in a core's own cache: 1 MB of float32
THIN = 20  # multiply-adds for each number read or written, below which memory is what counts
WORTH_TWO = 1 << 24  # multiply-adds that two threads do faster than one
DEEP = 2048  # terms of a sum that BLAS adds up in the dtype: it takes a few hundred at a time
SHARES = 4  # sums over columns are made in so many parts, one thread each at the most


def blocks(columns: int, a: int, b: int) -> list[slice]:
    """Cut the columns of a product (a, b) @ (b, columns) into blocks that stay in cache.

    They are so long that work on a block outweighs adding up a sum over it, a matrix (a, b), and
    can be dealt out evenly.
    """
    room = CACHED if a * b >= THIN * (a + b) else CACHED // 4
    shortest = max(256, a * b // 512)
    count = round(columns / max(shortest, 1 << max(0, int(math.log2(room / (a + b))))))
    return cut(columns, count if count <= 2 else SHARES * max(1, round(count / SHARES)))


def cut(size: int, count: int) -> list[slice]:
    """Cut range(size) into so many parts, or one."""
    ends = [size * (i + 1) // max(1, count) for i in range(max(1, count))]
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def tiles(columns: int, a: int, b: int) -> list[tuple[slice, slice]]:
    """Cut a product (a, b) @ (b, columns) into tiles of rows and columns, each for one thread.

    There are blocks of columns or, where one block is all there is but much work, parts of rows.
    """
    if a * b * columns < WORTH_TWO:
        return [(slice(0, a), slice(0, columns))]
    of_columns = blocks(columns, a, b)
    of_rows = cut(a, 2 if len(of_columns) == 1 else 1)
    return [(rows, block) for block in of_columns for rows in of_rows]


def all_finite(x: Array) -> bool:
    """Whether no number of x is infinite or NaN; no, too, if their squares are too large."""
    flat = x.reshape(x.size)
    return math.isfinite(flat.dot(flat))


def sum_of_parts(dw: Array, w: Array) -> Array:
    """Return dw like w, of its parts (groups, parts, o / groups, depth): they are few."""
    total = dw[:, 0] if dw.shape[1] == 1 else dw.sum(axis=1)
    return total.astype(w.dtype, copy=False).reshape(w.shape)


def multiply(a: Array, b: Array, out: Array) -> None:
    """Compute out = a @ b on this thread; the sums of long products are added in float64."""
    depth = a.shape[1]
    with single_threaded_blas(), np.errstate(invalid="ignore", over="ignore"):  # as compiled code
        if depth <= DEEP:
            np.matmul(a, b, out=out)
            return
        total = np.zeros(out.shape)
        for k in range(0, depth, DEEP):
            total += a[:, k : k + DEEP] @ b[k : k + DEEP]
        out[...] = total
