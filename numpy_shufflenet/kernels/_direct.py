"""Matrix products in register tiles that read their operands in place.

`_tiles` packs both operands, which pays if rows are long. If rows fit in the cache, packing isn't
needed: a tile is 6 rows of y and 48 columns, and its 18 vectors of sums stay in registers in one
loop over the depth. The remaining columns are computed 16 or 8 at a time.
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels import _tiles
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._tiles import TILE, _add_up4, _fma4
from numpy_shufflenet.kernels._vectors import (
    HALF,
    at,
    fill,
    fill_half,
    fma,
    load,
    load_half,
    load_inside,
    store,
)

WIDE = 48  # columns of a tile
LONG = 4096  # with so many columns or more, packing is faster
Three = tuple[Array, Array, Array]


def suits_directly(
    dtype: np.dtype[np.floating], a: int, b: int, columns: int, below: int = LONG
) -> bool:
    """Whether a product (a, b) @ (b, columns), with columns < below, is fastest here."""
    fits = min(a, b, columns) >= 16 and columns < below
    return bool(_tiles._HAS_REGISTERS and dtype == np.float32 and fits)


@register_jitable
def _fma3(number: float, x0: Array, x1: Array, x2: Array, sums: Three) -> Three:
    """Add number times three vectors to three vectors of sums."""
    return fma(number, x0, sums[0]), fma(number, x1, sums[1]), fma(number, x2, sums[2])


@register_jitable
def _store3(row: Array, i: int, sums: Three) -> None:
    """Write three vectors side by side."""
    store(row, i, sums[0])
    store(row, i + 16, sums[1])
    store(row, i + 32, sums[2])


@register_jitable
def _multiply_narrow(
    a: Array,
    i: int,
    row: int,
    step: int,
    x: Array,
    starts: Array,
    first: int,
    y: Array,
    o: int,
    place: int,
    load: Any,
    fill: Any,
) -> None:
    """Compute six rows of as many columns as `load` loads."""
    s0 = s1 = s2 = s3 = s4 = s5 = fill(0.0)
    for c in range(starts.size):
        v = load(x, starts[c] + first)
        s0 = fma(at(a, i), v, s0)
        s1 = fma(at(a, i + row), v, s1)
        s2 = fma(at(a, i + 2 * row), v, s2)
        s3 = fma(at(a, i + 3 * row), v, s3)
        s4 = fma(at(a, i + 4 * row), v, s4)
        s5 = fma(at(a, i + 5 * row), v, s5)
        i += step
    store(y[o], place, s0)
    store(y[o + 1], place, s1)
    store(y[o + 2], place, s2)
    store(y[o + 3], place, s3)
    store(y[o + 4], place, s4)
    store(y[o + 5], place, s5)


@compiled
def multiply_six(
    a: Array,
    i: int,
    row: int,
    step: int,
    x: Array,
    starts: Array,
    first: int,
    columns: int,
    y: Array,
    o: int,
    place: int,
) -> None:
    """Compute y[o : o + 6, place : place + columns], six rows of a product a @ x.

    Parameters
    ----------
    a : array, one-dimensional
        Row r of the six is a[i + r * row] and every `step`-th number after it.
    x : array, one-dimensional
        Row c is x[starts[c] + first] and the numbers after it.
    columns : int
        At least 16.
    y : array, shape (at least o + 6, m)
    """
    zero = fill(0.0)
    y0, y1, y2, y3, y4, y5 = y[o], y[o + 1], y[o + 2], y[o + 3], y[o + 4], y[o + 5]
    for start in range(0, columns - WIDE + 1, WIDE):
        s0 = s1 = s2 = s3 = s4 = s5 = (zero, zero, zero)
        k = i
        for c in range(starts.size):
            j = starts[c] + first + start
            v0, v1, v2 = load(x, j), load(x, j + 16), load(x, j + 32)
            s0 = _fma3(at(a, k), v0, v1, v2, s0)
            s1 = _fma3(at(a, k + row), v0, v1, v2, s1)
            s2 = _fma3(at(a, k + 2 * row), v0, v1, v2, s2)
            s3 = _fma3(at(a, k + 3 * row), v0, v1, v2, s3)
            s4 = _fma3(at(a, k + 4 * row), v0, v1, v2, s4)
            s5 = _fma3(at(a, k + 5 * row), v0, v1, v2, s5)
            k += step
        k = place + start
        _store3(y0, k, s0)
        _store3(y1, k, s1)
        _store3(y2, k, s2)
        _store3(y3, k, s3)
        _store3(y4, k, s4)
        _store3(y5, k, s5)
    for start in range(columns // WIDE * WIDE, columns, 16):
        if columns - start > HALF:
            j = min(start, columns - 16)
            _multiply_narrow(a, i, row, step, x, starts, first + j, y, o, place + j, load, fill)
        else:
            j = columns - HALF
            _multiply_narrow(
                a, i, row, step, x, starts, first + j, y, o, place + j, load_half, fill_half
            )


@register_jitable
def multiply_rows(
    a: Array,
    i: int,
    row: int,
    step: int,
    rows: int,
    x: Array,
    starts: Array,
    first: int,
    columns: int,
    y: Array,
    place: int,
) -> None:
    """Compute y[:rows], at least 6 rows, by `multiply_six`; the last six may overlap others."""
    for r_start in range(0, rows, TILE):
        r = min(r_start, rows - TILE)
        multiply_six(a, i + r * row, row, step, x, starts, first, columns, y, r, place)


@register_jitable
def multiply_pieces(
    g: Array, place: int, x: Array, starts: Array, begins: Array, columns: int, product: Array
) -> None:
    """Compute product (o, c) = g @ x^T, like `multiply_transposed`, for several pieces of columns.

    Each piece has `columns` columns. In g (o, m) they are side by side, from `place` on. In row c
    of x a piece starts at x[starts[c] + begins[piece]].
    """
    rows, depth = product.shape
    zero = fill(0.0)
    for o_start in range(0, rows, TILE):
        o = min(o_start, rows - TILE)
        g0, g1, g2, g3, g4, g5 = g[o], g[o + 1], g[o + 2], g[o + 3], g[o + 4], g[o + 5]
        for c_start in range(0, depth, 4):
            c = min(c_start, depth - 4)
            s0 = s1 = s2 = s3 = s4 = s5 = (zero, zero, zero, zero)
            for p in range(begins.size):
                j0, j1 = starts[c] + begins[p], starts[c + 1] + begins[p]
                j2, j3 = starts[c + 2] + begins[p], starts[c + 3] + begins[p]
                for k in range(0, columns, 16):
                    i = place + p * columns + k
                    v0 = load_inside(x, j0 + k, k, columns, 0.0)
                    v1 = load_inside(x, j1 + k, k, columns, 0.0)
                    v2 = load_inside(x, j2 + k, k, columns, 0.0)
                    v3 = load_inside(x, j3 + k, k, columns, 0.0)
                    s0 = _fma4(load_inside(g0, i, k, columns, 0.0), v0, v1, v2, v3, s0)
                    s1 = _fma4(load_inside(g1, i, k, columns, 0.0), v0, v1, v2, v3, s1)
                    s2 = _fma4(load_inside(g2, i, k, columns, 0.0), v0, v1, v2, v3, s2)
                    s3 = _fma4(load_inside(g3, i, k, columns, 0.0), v0, v1, v2, v3, s3)
                    s4 = _fma4(load_inside(g4, i, k, columns, 0.0), v0, v1, v2, v3, s4)
                    s5 = _fma4(load_inside(g5, i, k, columns, 0.0), v0, v1, v2, v3, s5)
            _add_up4(product[o], c, s0)
            _add_up4(product[o + 1], c, s1)
            _add_up4(product[o + 2], c, s2)
            _add_up4(product[o + 3], c, s3)
            _add_up4(product[o + 4], c, s4)
            _add_up4(product[o + 5], c, s5)
