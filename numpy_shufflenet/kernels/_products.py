"""Products of matrices by BLAS, cut into blocks of columns that stay in cache.

The cut depends on shapes alone, so results don't depend on the number of threads.
"""

import math

import numpy as np

from numpy_shufflenet._threads import single_threaded_blas
from numpy_shufflenet._typing import Array

CACHED = 1 << 18  # numbers that stay in a core's own cache: 1 MB of float32
SHARES = 4  # sums over columns are made in so many parts, one thread each at the most


def blocks(columns: int, rows: int) -> list[slice]:
    """Cut the columns of matrices that have so many rows in all into blocks."""
    size = max(256, 1 << int(math.log2(max(1, CACHED // max(rows, 1)))))
    count = max(1, round(columns / size))
    ends = [columns * (i + 1) // count for i in range(count)]
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def multiply(a: Array, b: Array, out: Array) -> None:
    """Compute out = a @ b on this thread."""
    with single_threaded_blas:
        np.matmul(a, b, out=out)
