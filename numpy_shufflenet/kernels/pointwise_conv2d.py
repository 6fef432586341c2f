"""Pointwise convolution: matrix products, one block of columns after the other.

While a block of pixels is in the cache, all operations on it run: forward the product, bias and
ReLU; backward both products with dy. So each array is read from memory once. Small matrices are
multiplied in register tiles (see `_tiles`), large ones by BLAS. If there are few pixels, as in a
single image, everything fits in the cache, and products read their operands in place (`_direct`).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import take_turns
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._barrier import each_turn
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._direct import multiply_six, suits_directly
from numpy_shufflenet.kernels._layout import (
    as_image,
    as_rows,
    contiguous,
    empty_rows,
    transpose,
)
from numpy_shufflenet.kernels._products import (
    SHARES,
    blocks,
    cut,
    multiply_by_blas,
    sum_of_parts,
    tiles,
)
from numpy_shufflenet.kernels._tiles import (
    CHAIN,
    TILE,
    aligned,
    multiply_tiles,
    multiply_transposed,
    packed,
    suits,
)
from numpy_shufflenet.kernels.relu import masked_by_relu
from numpy_shufflenet.ops._sums import wide
from numpy_shufflenet.ops.checks import check_gradient
from numpy_shufflenet.ops.pointwise_conv2d import check_pointwise

__all__ = [
    "pointwise_conv2d_backward",
    "pointwise_conv2d_forward",
    "pointwise_conv2d_relu_backward",
    "pointwise_conv2d_relu_forward",
]

TURNS = 32  # at most so many partial sums over pixels
FEW = 256  # with fewer pixels, it is fastest to transpose x for dw, and to read it in place for dx


@compiled
def finish(y: Array, first: int, last: int, b: Array, relu: bool) -> None:
    """Add b to columns first to last of y (o, m), and apply ReLU if asked for."""
    zero = y.dtype.type(0)
    for o in range(y.shape[0]):
        row, b_o = y[o, first:last], b[o]
        if relu:
            for k in range(row.size):
                v = row[k] + b_o
                row[k] = zero if v < zero else v
        else:
            for k in range(row.size):
                row[k] += b_o


@compiled
def mix_tiles(
    tiles: Array, x: Array, ends: Array, b: Array, relu: bool, turns: Array, y: Array
) -> None:
    """Compute y (o, m): one block of columns in each turn, group by group.

    Parameters
    ----------
    tiles : array, shape (groups, ceil(o / groups / 6), c / groups, 6)
        The matrices, packed by `packed`.
    x : array, shape (c m,)
    ends : array
        Columns at which a block ends and the next one starts.
    b : array, shape (o,), or (0,) if there is no bias and no ReLU
    """
    groups, depth = tiles.shape[0], tiles.shape[2]
    rows, m = y.shape[0] // groups, y.shape[1]
    starts = np.arange(groups * depth) * m
    for block in each_turn(turns):
        first, columns = ends[block], ends[block + 1] - ends[block]
        for g in range(groups):
            y_g, starts_g = y[g * rows : (g + 1) * rows], starts[g * depth : (g + 1) * depth]
            multiply_tiles(tiles[g], x, starts_g, first, columns, y_g, first)
        if b.size > 0:
            finish(y, first, first + columns, b, relu)


@compiled
def mix_tiles_gradients(
    tiles: Array, dy: Array, x: Array, ends: Array, turns: Array, dx: Array, dw: Array
) -> None:
    """Compute the gradients: some columns of one group in each turn, block by block.

    Both products read a block of dy from the cache.

    Parameters
    ----------
    tiles : array, shape (groups, ceil(c / groups / 6), o / groups, 6)
        The transposed matrices, packed by `packed`.
    dy, dx : array, shapes (o, m) and (c, m)
    x : array, shape (c m,)
    ends : array
        Columns at which a block ends and the next starts.
    dw : array, shape (groups, parts, o / groups, c / groups)
        In float64 if a part has many blocks.
    """
    (_, parts, o, c), m, blocks = dw.shape, dy.shape[1], ends.size - 1
    product, dy_flat = np.empty((o, c), x.dtype), dy.reshape(dy.size)
    for turn in each_turn(turns):
        g, part = turn // parts, turn % parts
        dy_starts, x_starts = (np.arange(o) + g * o) * m, (np.arange(c) + g * c) * m
        dy_g, dx_g, total = dy[g * o : (g + 1) * o], dx[g * c : (g + 1) * c], dw[g, part]
        total[:] = 0
        for block in range(blocks * part // parts, blocks * (part + 1) // parts):
            first, columns = ends[block], ends[block + 1] - ends[block]
            multiply_tiles(tiles[g], dy_flat, dy_starts, first, columns, dx_g, first)
            multiply_transposed(dy_g, first, x, x_starts, first, columns, product)
            for i in range(o):
                for k in range(c):
                    total[i, k] += product[i, k]


@register_jitable
def mix_six(
    a: Array,
    transposed: bool,
    groups: int,
    tile: int,
    x: Array,
    starts: Array,
    skip: int,
    y: Array,
) -> None:
    """Compute one tile, six rows of one group, of the products y = a @ x.

    Parameters
    ----------
    a : array, shape (groups rows depth,), or (groups depth rows,) if transposed
    x : array, one-dimensional
        Group g starts at g * skip, and `starts` has the positions of its rows from there.
    y : array, shape (groups rows, m)
    """
    rows, m, depth = y.shape[0] // groups, y.shape[1], starts.size
    tiles = -(-rows // TILE)
    g, r = tile // tiles, min(tile % tiles * TILE, rows - TILE)
    row, step = (1, rows) if transposed else (depth, 1)
    i = g * rows * depth + r * row
    place = np.int64(0)  # Numba would compile another version for the constant 0
    multiply_six(a, i, row, step, x, starts, g * skip, m, y, g * rows + r, place)


@compiled
def mix_directly(w: Array, groups: int, x: Array, turns: Array, y: Array) -> None:
    """Compute y (o, m) from x (c m,) and w (o c / groups,), one tile of six rows in each turn."""
    m, depth = y.shape[1], w.size // y.shape[0]
    starts = np.arange(depth) * m
    for tile in each_turn(turns):
        mix_six(w, False, groups, tile, x, starts, depth * m, y)


@compiled
def mix_directly_gradients(
    w: Array, groups: int, dy: Array, pixels: Array, turns: Array, dx: Array, dw: Array
) -> None:
    """Compute dx (c, m) and dw (o, c / groups) from dy (o m,), one tile of six rows in each turn.

    Parameters
    ----------
    w : array, shape (o c / groups,)
    pixels : array, shape (m c,)
        x, pixel by pixel.
    """
    (c, m), (o, c_share) = dx.shape, dw.shape
    tiles, o_share = groups * -(-c_share // TILE), o // groups
    starts, pixel_starts = np.arange(o_share) * m, np.arange(m) * c
    for tile in each_turn(turns):
        if tile < tiles:
            mix_six(w, True, groups, tile, dy, starts, o_share * m, dx)
        else:
            mix_six(dy, False, groups, tile - tiles, pixels, pixel_starts, c_share, dw)


class PointwiseConv2dCache(NamedTuple):
    """What the backward functions need; y only after a ReLU, to tell which outputs are positive."""

    x: Array  # c, h w n
    w: Array  # o c/g 1 1
    has_bias: bool
    groups: int
    size: tuple[int, int, int]  # n h w
    y: Array | None  # n o h w


def pointwise_conv2d_forward(
    x: Array, w: Array, b: Array | None = None, *, groups: int = 1
) -> tuple[Array, PointwiseConv2dCache]:
    """`ops.pointwise_conv2d_forward`, on rows."""
    return _forward(x, w, b, groups, relu=False)


def pointwise_conv2d_backward(
    dy: Array, cache: PointwiseConv2dCache
) -> tuple[Array, Array, Array | None]:
    """`ops.pointwise_conv2d_backward`, on rows."""
    return _backward(dy, cache)


def pointwise_conv2d_relu_forward(
    x: Array, w: Array, b: Array | None = None, *, groups: int = 1
) -> tuple[Array, PointwiseConv2dCache]:
    """`ops.pointwise_conv2d_relu_forward`, on rows."""
    return _forward(x, w, b, groups, relu=True)


def pointwise_conv2d_relu_backward(
    dy: Array, cache: PointwiseConv2dCache
) -> tuple[Array, Array, Array | None]:
    """`ops.pointwise_conv2d_relu_backward`, on rows."""
    return _backward(dy, cache)


def _forward(
    x: Array, w: Array, b: Array | None, groups: int, *, relu: bool
) -> tuple[Array, PointwiseConv2dCache]:
    check_pointwise(x, w, b, groups)
    w = contiguous(w)
    n, c, h, width = x.shape
    o = len(w)
    rows, y = as_rows(x), empty_rows(o, n, h, width, x.dtype)
    m, o_share, c_share = rows.shape[1], o // groups, c // groups
    matrices = w.reshape(groups, o_share, c_share)
    shift = np.zeros(o if relu else 0, x.dtype) if b is None else contiguous(b)

    def run(turns: Array) -> None:
        for turn in each_turn(turns):
            g, part, block = tasks[turn]
            mine = slice(g * o_share + part.start, g * o_share + part.stop)
            x_g = rows[g * c_share : (g + 1) * c_share, block]
            multiply_by_blas(matrices[g, part], x_g, y[mine, block])
            if shift.size:
                finish(y[mine], block.start, block.stop, shift[mine], relu)

    def run_tiles(turns: Array) -> None:
        mix_tiles(ready, rows.ravel(), ends, shift, relu, turns, y)

    def run_directly(turns: Array) -> None:
        mix_directly(w.reshape(w.size), groups, rows.ravel(), turns, y)

    work = c_share * y.size // 8
    if c_share <= CHAIN and suits_directly(x.dtype, o_share, c_share, m):
        take_turns(groups * -(-o_share // TILE), run_directly, work)
        if shift.size:
            finish(y, 0, m, shift, relu)
    elif suits(x.dtype, o_share, c_share, m):
        ready, ends = packed(matrices), aligned(m)
        take_turns(len(ends) - 1, run_tiles, work)
    else:
        cuts = tiles(m, o_share, c_share)
        tasks = [(g, part, block) for part, block in cuts for g in range(groups)]
        take_turns(len(tasks), run, work)
    image = as_image(y, n, h, width)
    cache = PointwiseConv2dCache(
        rows, w, b is not None, groups, (n, h, width), image if relu else None
    )
    return image, cache


def _backward(dy: Array, cache: PointwiseConv2dCache) -> tuple[Array, Array, Array | None]:
    rows, w, has_bias, groups, (n, h, width), y = cache
    c, o = len(rows), len(w)
    check_gradient(dy, (n, o, h, width), rows.dtype)
    gradients = as_rows(dy)
    if y is not None:
        gradients = masked_by_relu(gradients, y)
    dx = empty_rows(c, n, h, width, rows.dtype)
    m, o_share, c_share = rows.shape[1], o // groups, c // groups
    turned = w.reshape(groups, o_share, c_share).transpose(0, 2, 1)
    suitable = suits(rows.dtype, o_share, c_share, m)
    ends = aligned(m) if suitable else np.array([0, *(s.stop for s in blocks(m, o_share, c_share))])
    directly = o_share <= CHAIN and suits_directly(rows.dtype, o_share, c_share, m, FEW)
    shares = 1 if directly else min(TURNS if suitable else SHARES, len(ends) - 1)
    blocks_of_share = 1 if directly else -(-(len(ends) - 1) // shares)
    dw = empty((groups, shares, o_share, c_share), wide(rows.dtype, blocks_of_share))

    def run(turns: Array) -> None:
        product = empty(dw.shape[2:], rows.dtype)
        for turn in each_turn(turns):
            g, part = divmod(turn, shares)
            own, theirs = (
                slice(g * c_share, (g + 1) * c_share),
                slice(g * o_share, (g + 1) * o_share),
            )
            total = dw[g, part]
            mine = cut(len(ends) - 1, shares)[part]
            total[...] = 0
            for start, stop in pairwise(ends[mine.start : mine.stop + 1]):
                dy_block, x_block = gradients[theirs, start:stop], rows[own, start:stop]
                multiply_by_blas(turned[g], dy_block, dx[own, start:stop])
                multiply_by_blas(dy_block, x_block.T, product)
                total += product

    def run_tiles(turns: Array) -> None:
        mix_tiles_gradients(ready, gradients, rows.ravel(), ends, turns, dx, dw)

    def run_directly(turns: Array) -> None:
        a, dy_flat, dw_rows = w.reshape(w.size), gradients.ravel(), dw.reshape(o, c_share)
        mix_directly_gradients(a, groups, dy_flat, pixels.ravel(), turns, dx, dw_rows)

    work = 2 * o * dx.size // groups // 8
    if directly:
        pixels = empty((m, c), rows.dtype)
        transpose(rows, 0, m, pixels)
        take_turns(groups * (-(-c_share // TILE) + -(-o_share // TILE)), run_directly, work)
    elif suitable:
        ready = packed(turned)
        take_turns(groups * shares, run_tiles, work)
    else:
        take_turns(groups * shares, run, work)
    db = gradients.sum(axis=1) if has_bias else None
    return as_image(dx, n, h, width), sum_of_parts(dw, w), db
