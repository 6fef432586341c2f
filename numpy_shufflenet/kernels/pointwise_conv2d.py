"""Pointwise convolution: matrix products, block of columns by block of columns.

A block of pixels is read by the product and, while it is still in the cache, by what follows: bias
and ReLU forward; backward, both products with dy. Memory sees each array once. Small matrices are
multiplied in tiles of our own (see `_tiles`), large ones by BLAS.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import as_image, as_rows, empty_rows
from numpy_shufflenet.kernels._products import SHARES, blocks, cut, multiply, tiles
from numpy_shufflenet.kernels._tiles import (
    aligned,
    multiply_tiles_jit,
    multiply_transposed_jit,
    packed,
    suits,
)
from numpy_shufflenet.kernels.relu import let_through
from numpy_shufflenet.ops._check import check_gradient
from numpy_shufflenet.ops.pointwise_conv2d import check_pointwise


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


finish_jit = compiled(finish)

ALL = slice(None)


class PointwiseConv2dCache(NamedTuple):
    """What the backwards need; y only after a ReLU, to tell what it let through."""

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
    n, c, h, width = x.shape
    o = len(w)
    rows, y = as_rows(x), empty_rows(o, n, h, width, x.dtype)
    x_groups, y_groups = _grouped(rows, groups), _grouped(y, groups)
    matrices = w.reshape(groups, o // groups, c // groups)
    shift = np.zeros(o, x.dtype) if b is None else np.ascontiguousarray(b)
    shifts = shift.reshape(groups, o // groups)
    suitable = suits(x.dtype, o // groups, c // groups, rows.shape[1])
    ready = [packed(matrix) for matrix in matrices if suitable]
    starts = np.arange(c // groups) * rows.shape[1]
    tasks = (
        [(g, ALL, block) for block in aligned(rows.shape[1]) for g in range(groups)]
        if suitable
        else [
            (g, part, block)
            for part, block in tiles(rows.shape[1], o // groups, c // groups)
            for g in range(groups)
        ]
    )

    def run(first: int, last: int) -> None:
        for g, part, block in tasks[first:last]:
            y_g = y_groups[g][part]
            if suitable:
                start, columns = block.start, block.stop - block.start
                x_flat = x_groups[g].ravel()
                multiply_tiles_jit(ready[g], x_flat, starts, start, columns, y_g, start)
            else:
                multiply(matrices[g][part], x_groups[g][:, block], y_g[:, block])
            if relu or b is not None:
                finish_jit(y_g, block.start, block.stop, shifts[g][part], relu)

    share(len(tasks), run, work=c // groups * y.size // 8)
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
        gradients = let_through(gradients, y)
    dx = empty_rows(c, n, h, width, rows.dtype)
    x_groups, dx_groups, dy_groups = (_grouped(a, groups) for a in (rows, dx, gradients))
    transposed = w.reshape(groups, o // groups, c // groups).transpose(0, 2, 1)
    suitable = suits(rows.dtype, o // groups, c // groups, rows.shape[1])
    ready = [packed(matrix) for matrix in transposed if suitable]
    m = rows.shape[1]
    cuts = aligned(m) if suitable else blocks(m, o // groups, c // groups)
    shares = min(SHARES, len(cuts))
    parts = cut(len(cuts), shares)
    x_starts, dy_starts = np.arange(c // groups) * m, np.arange(o // groups) * m
    dw = empty((groups, shares, o // groups, c // groups), rows.dtype)

    def run(first: int, last: int) -> None:
        product = empty(dw.shape[2:], dw.dtype)
        for task in range(first, last):
            g, part = divmod(task, shares)
            total = dw[g, part]
            total.fill(0)
            for block in cuts[parts[part]]:
                x_g, dy_g, dx_g = x_groups[g], dy_groups[g], dx_groups[g]
                if suitable:
                    start, columns = block.start, block.stop - block.start
                    multiply_tiles_jit(
                        ready[g], dy_g.ravel(), dy_starts, start, columns, dx_g, start
                    )
                    multiply_transposed_jit(
                        dy_g, start, x_g.ravel(), x_starts, start, columns, product
                    )
                else:
                    dy_block = dy_g[:, block]
                    multiply(transposed[g], dy_block, dx_g[:, block])
                    multiply(dy_block, x_g[:, block].T, product)
                total += product

    share(groups * shares, run, work=2 * o * dx.size // groups // 8)
    db = gradients.sum(axis=1) if has_bias else None
    return as_image(dx, n, h, width), dw.sum(axis=1).reshape(w.shape), db


def _grouped(rows: Array, groups: int) -> Array:
    """Return rows (c, m) as the rows of each group (groups, c / groups, m)."""
    return rows.reshape(groups, len(rows) // groups, rows.shape[1])
