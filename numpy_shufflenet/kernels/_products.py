"""Matrix products by BLAS, in blocks of columns that fit in the cache.

The blocks depend on the shapes alone, so results don't depend on the number of threads.
"""

import math

import numpy as np

from numpy_shufflenet._threads import single_threaded_blas
from numpy_shufflenet._typing import Array

CACHED = 1 << 18  # numbers that fit in a core's own cache: 1 MB of float32
THIN = 20  # with fewer multiply-adds for each number read or written, memory limits the speed
WORTH_TWO = 1 << 24  # with so many multiply-adds or more, two threads are faster than one
DEEP = 2048  # terms of a sum that BLAS adds in the dtype, a few hundred at a time
SHARES = 4  # parts of a sum over columns; each is computed by one thread


def blocks(columns: int, a: int, b: int) -> list[slice]:
    """Cut the columns of a product (a, b) @ (b, columns) into blocks that fit in the cache.

    Blocks are long enough that the product of a block takes longer than adding a matrix (a, b), and
    their number can be divided evenly among threads.
    """
    room = CACHED if a * b >= THIN * (a + b) else CACHED // 4
    shortest = max(256, a * b // 512)
    count = round(columns / max(shortest, 1 << max(0, int(math.log2(room / (a + b))))))
    return cut(columns, count if count <= 2 else SHARES * max(1, round(count / SHARES)))


def cut(size: int, count: int) -> list[slice]:
    """Cut range(size) into `count` slices, or one if count is 0."""
    ends = [size * (i + 1) // max(1, count) for i in range(max(1, count))]
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def tiles(columns: int, a: int, b: int) -> list[tuple[slice, slice]]:
    """Cut a product (a, b) @ (b, columns) into tiles of rows and columns, each for one thread.

    They are blocks of columns. If there is one block only, but much work, it is cut by rows.
    """
    if a * b * columns < WORTH_TWO:
        return [(slice(0, a), slice(0, columns))]
    of_columns = blocks(columns, a, b)
    of_rows = cut(a, 2 if len(of_columns) == 1 else 1)
    return [(rows, block) for block in of_columns for rows in of_rows]


def all_finite(x: Array) -> bool:
    """Whether all numbers of x are finite; False, too, if their squares overflow."""
    flat = x.reshape(x.size)
    return math.isfinite(flat.dot(flat))


def sum_of_parts(dw: Array, w: Array) -> Array:
    """Return dw, shaped like w: the sum of its parts (groups, parts, o / groups, depth)."""
    total = dw[:, 0] if dw.shape[1] == 1 else dw.sum(axis=1)
    return total.astype(w.dtype, copy=False).reshape(w.shape)


def multiply_by_blas(a: Array, b: Array, out: Array) -> None:
    """Compute out = a @ b on this thread; the parts of long sums are added in float64."""
    depth = a.shape[1]
    with (
        single_threaded_blas(),
        np.errstate(invalid="ignore", over="ignore"),
    ):  # compiled code doesn't warn either
        if depth <= DEEP:
            np.matmul(a, b, out=out)
            return
        total = np.zeros(out.shape)
        for k in range(0, depth, DEEP):
            total += a[:, k : k + DEEP] @ b[k : k + DEEP]
        out[...] = total
