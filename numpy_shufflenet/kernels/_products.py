"""Products of matrices by BLAS, cut into blocks of columns that stay in cache.

The cut depends on shapes alone, so results don't depend on the number of threads.
"""

import math

import numpy as np

from numpy_shufflenet._threads import single_threaded_blas
from numpy_shufflenet._typing import Array

CACHED = 1 << 18  # numbers that stay in a core's own cache: 1 MB of float32
THIN = 20  # multiply-adds for each number read or written, below which memory is what counts
SHARES = 4  # sums over columns are made in so many parts, one thread each at the most


def blocks(columns: int, a: int, b: int) -> list[slice]:
    """Cut the columns of a product (a, b) @ (b, columns) into blocks that stay in cache."""
    room = CACHED if a * b >= THIN * (a + b) else CACHED // 4
    size = max(256, 1 << int(math.log2(room / (a + b))))
    count = max(1, round(columns / size))
    ends = [columns * (i + 1) // count for i in range(count)]
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def multiply(a: Array, b: Array, out: Array) -> None:
    """Compute out = a @ b on this thread."""
    with single_threaded_blas:
        np.matmul(a, b, out=out)
