"""Matrix products with few rows and many columns, computed in register tiles.

In these networks a convolution multiplies a small matrix (o, c) by rows of tens of thousands of
numbers. BLAS is made for large matrices: it copies both operands, and adds to an output that it
first sets to 0. With 20 to 200 channels, that takes a third to half as long as the product. Here,

    y = a @ x       a tile is 6 rows of y and 32 columns: one loop over c computes it in registers,
                    and writes it once; a few hundred columns of x are packed at a time
    a = y @ x^T     a tile is 6 rows of y by 4 rows of x: 24 vectors of 16 partial sums, which one
                    loop over the columns computes

The last tile of a row of tiles overlaps the tile before it, and computes the same numbers again.

This needs 32 registers of 16 numbers, as AVX-512 has. Without them, in float64, and for large
matrices, BLAS is as fast or faster (see `suits`).
"""

import functools

import llvmlite.binding
import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._memory import empty
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import contiguous
from numpy_shufflenet.kernels._vectors import (
    add,
    evens,
    fill,
    fma,
    keep_last,
    load,
    odds,
    prefetch,
    store,
    store_first,
)

TILE = 6  # rows
PANEL = 32  # columns of a tile
PACKED = 512  # columns that are packed at once: 64 rows of them take 128 KB
BLOCK = 1024  # columns of both operands that fit in a core's own cache
CHAIN = 1024  # terms of a sum that are added one after the other
LARGE = 1 << 16  # with so many numbers in a matrix or more, BLAS is as fast
Two = tuple[Array, Array]
Four = tuple[Array, Array, Array, Array]
_HAS_REGISTERS = llvmlite.binding.get_host_cpu_features().get("avx512f", False)


def suits(dtype: np.dtype[np.floating], a: int, b: int, columns: int, at_least: int = 256) -> bool:
    """Whether products (a, b) @ (b, columns) and (a, columns) @ (columns, b) are fastest here."""
    small = a * b <= LARGE and max(a, b) <= CHAIN
    fits = min(a, b) >= TILE and columns >= at_least and small
    return bool(_HAS_REGISTERS and dtype == np.float32 and fits)


@functools.lru_cache(maxsize=256)
def aligned(columns: int) -> Array:
    """Return the ends of blocks of columns: multiples of 16, and no block is short.

    Calls share the array, so never write to it.
    """
    count = max(1, round(columns / BLOCK))
    ends = np.arange(count + 1) * columns // count // 16 * 16
    ends[-1] = columns
    return ends


@compiled
def pack(a: Array, tiles: Array) -> None:
    """Write matrices a (g, o, c) as tiles (g, ceil(o / 6), c, 6), in the order of a loop over c."""
    for g in range(a.shape[0]):
        for t in range(tiles.shape[1]):
            o = min(TILE * t, a.shape[1] - TILE)
            for c in range(a.shape[2]):
                for r in range(TILE):
                    tiles[g, t, c, r] = a[g, o + r, c]


def packed(a: Array) -> Array:
    """Return matrices (g, o, c) as tiles for `multiply_tiles`."""
    g, o, c = a.shape
    tiles = empty((g, -(-o // TILE), c, TILE), a.dtype)
    pack(contiguous(a), tiles)
    return tiles


@register_jitable
def _fma2(number: float, x0: Array, x1: Array, sums: Two) -> Two:
    """Add number times two vectors to two vectors of sums."""
    return fma(number, x0, sums[0]), fma(number, x1, sums[1])


@register_jitable
def _fma4(g: Array, x0: Array, x1: Array, x2: Array, x3: Array, sums: Four) -> Four:
    """Add g times four vectors to four vectors of sums."""
    return fma(g, x0, sums[0]), fma(g, x1, sums[1]), fma(g, x2, sums[2]), fma(g, x3, sums[3])


@register_jitable
def _store2(row: Array, i: int, sums: Two) -> None:
    """Write two vectors side by side."""
    store(row, i, sums[0])
    store(row, i + 16, sums[1])


@register_jitable
def _add_up4(row: Array, i: int, sums: Four) -> None:
    """Write the sum of each of four vectors."""
    a = add(evens(sums[0], sums[1]), odds(sums[0], sums[1]))  # sums of neighbours
    b = add(evens(sums[2], sums[3]), odds(sums[2], sums[3]))
    quarters = add(evens(a, b), odds(a, b))  # four partial sums of each vector
    halves = add(evens(quarters, quarters), odds(quarters, quarters))
    store_first(row, i, add(evens(halves, halves), odds(halves, halves)), 4)


@compiled
def multiply_tiles(
    tiles: Array, x: Array, starts: Array, first: int, columns: int, y: Array, place: int
) -> None:
    """Compute y[:, place : place + columns] = a @ x, for a matrix that `packed` has packed.

    Parameters
    ----------
    tiles : array, shape (ceil(o / 6), c, 6)
    x : array, one-dimensional
        Row c is x[starts[c] + first] and the numbers after it.
    columns : int
        At least 32.
    y : array, shape (o, m)
    """
    depth, rows = starts.size, y.shape[0]
    scratch = np.empty(PACKED * depth, x.dtype)
    zero = fill(0.0)
    for begin in range(0, columns, PACKED):
        end = min(begin + PACKED, columns)
        for c in range(depth):
            row, p = starts[c] + first, PANEL * c
            for start in range(begin, end, PANEL):
                j = row + min(start, columns - PANEL)
                store(scratch, p, load(x, j))
                store(scratch, p + 16, load(x, j + 16))
                p += PANEL * depth
        ahead = 0  # the next columns are prefetched, a few cache lines at a time
        lines = -(-32 * depth // (tiles.shape[0] * 16))
        for t in range(tiles.shape[0]):
            o, a, p = min(TILE * t, rows - TILE), tiles[t], 0
            y0, y1, y2, y3, y4, y5 = y[o], y[o + 1], y[o + 2], y[o + 3], y[o + 4], y[o + 5]
            for start in range(begin, end, PANEL):
                for _ in range(lines):
                    prefetch(x, starts[ahead // 32] + first + end + ahead % 32 * 16)
                    ahead = min(ahead + 1, 32 * depth - 1)
                s0 = s1 = s2 = s3 = s4 = s5 = (zero, zero)
                for c in range(depth):
                    left, right = load(scratch, p), load(scratch, p + 16)
                    s0 = _fma2(a[c, 0], left, right, s0)
                    s1 = _fma2(a[c, 1], left, right, s1)
                    s2 = _fma2(a[c, 2], left, right, s2)
                    s3 = _fma2(a[c, 3], left, right, s3)
                    s4 = _fma2(a[c, 4], left, right, s4)
                    s5 = _fma2(a[c, 5], left, right, s5)
                    p += PANEL
                j = place + min(start, columns - PANEL)
                _store2(y0, j, s0)
                _store2(y1, j, s1)
                _store2(y2, j, s2)
                _store2(y3, j, s3)
                _store2(y4, j, s4)
                _store2(y5, j, s5)


@compiled
def multiply_transposed(
    g: Array, place: int, x: Array, starts: Array, first: int, columns: int, product: Array
) -> None:
    """Compute product (o, c) = g[:, place : place + columns] @ x^T, for at least 16 columns.

    The rows of x are as in `multiply_tiles`. Sums are added in the dtype, in any order.
    """
    rows, depth = product.shape
    zero = fill(0.0)
    for o_start in range(0, rows, TILE):
        o = min(o_start, rows - TILE)
        g0, g1, g2, g3, g4, g5 = g[o], g[o + 1], g[o + 2], g[o + 3], g[o + 4], g[o + 5]
        for c_start in range(0, depth, 4):
            c = min(c_start, depth - 4)
            c0, c1 = starts[c] + first, starts[c + 1] + first
            c2, c3 = starts[c + 2] + first, starts[c + 3] + first
            s0 = s1 = s2 = s3 = s4 = s5 = (zero, zero, zero, zero)
            for k in range(0, columns - 15, 16):
                i = place + k
                v0, v1 = load(x, c0 + k), load(x, c1 + k)
                v2, v3 = load(x, c2 + k), load(x, c3 + k)
                s0 = _fma4(load(g0, i), v0, v1, v2, v3, s0)
                s1 = _fma4(load(g1, i), v0, v1, v2, v3, s1)
                s2 = _fma4(load(g2, i), v0, v1, v2, v3, s2)
                s3 = _fma4(load(g3, i), v0, v1, v2, v3, s3)
                s4 = _fma4(load(g4, i), v0, v1, v2, v3, s4)
                s5 = _fma4(load(g5, i), v0, v1, v2, v3, s5)
            rest = columns % 16
            if rest:
                k = columns - 16
                i = place + k
                v0, v1 = keep_last(load(x, c0 + k), rest), keep_last(load(x, c1 + k), rest)
                v2, v3 = keep_last(load(x, c2 + k), rest), keep_last(load(x, c3 + k), rest)
                s0 = _fma4(keep_last(load(g0, i), rest), v0, v1, v2, v3, s0)
                s1 = _fma4(keep_last(load(g1, i), rest), v0, v1, v2, v3, s1)
                s2 = _fma4(keep_last(load(g2, i), rest), v0, v1, v2, v3, s2)
                s3 = _fma4(keep_last(load(g3, i), rest), v0, v1, v2, v3, s3)
                s4 = _fma4(keep_last(load(g4, i), rest), v0, v1, v2, v3, s4)
                s5 = _fma4(keep_last(load(g5, i), rest), v0, v1, v2, v3, s5)
            _add_up4(product[o], c, s0)
            _add_up4(product[o + 1], c, s1)
            _add_up4(product[o + 2], c, s2)
            _add_up4(product[o + 3], c, s3)
            _add_up4(product[o + 4], c, s4)
            _add_up4(product[o + 5], c, s5)
