"""Instructions of a convolution with any window, computed as a matrix product.

For some pixels of an output row, the pixels that one tap reads are gathered as one packed row. So
the convolution is the product of w (o, c kh kw) with these rows. The same tiles as in `products`
compute it.

    dx     w^T dy, the gradient of the packed rows, is added to the pixels that they were read from
    dw     dy times the transposed packed rows
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine.instruction import Arrays, instruction
from numpy_shufflenet.engine.products import (
    SPACE,
    filled_up,
    multiply_packed,
    packed_columns,
)
from numpy_shufflenet.engine.rows import (
    FACTOR,
    LOW,
    MEAN,
    SHIFT,
    add_moments,
    add_sums,
    copy_gradient,
)
from numpy_shufflenet.engine.tiles import COLUMNS, G_ROWS, ROWS, X_ROWS, dot_tile
from numpy_shufflenet.kernels._compile import compiled

CONVOLUTION = np.dtype(
    [
        ("turns", np.int64),  # groups * parts
        ("parts", np.int64),  # into which the rows of the output are divided; at most PARTS
        ("n", np.int64),
        ("h", np.int64),
        ("w", np.int64),
        ("oh", np.int64),
        ("ow", np.int64),
        ("channels", np.int64),  # inputs of a group
        ("kh", np.int64),
        ("kw", np.int64),
        ("stride_h", np.int64),
        ("stride_w", np.int64),
        ("dilation_h", np.int64),
        ("dilation_w", np.int64),
        ("top", np.int64),
        ("left", np.int64),
        ("rows", np.int64),  # outputs of a group
        ("taps", np.int64),  # table: position of each packed row
        ("packed", np.int64),  # table: positions of 6 rows of results in scratch
        ("inputs", np.int64),  # table: positions
        ("input_slots", np.int64),  # table
        ("outputs", np.int64),  # table: positions, padded to a multiple of 6 per group
        ("output_slots", np.int64),  # table; only in backward
        ("gradients", np.int64),  # table: positions; only in backward
        ("weights", np.int64),  # position of the packed matrix; for dx, of the transposed ones
        ("bias", np.int64),
        ("slot", np.int64),  # slot of the first output; -1 if no moments are computed
        ("dw", np.int64),  # position of the sums of each part; only in backward
        ("results", np.int64),  # table: where dx goes
        ("more", np.int64),  # whether dx is added to what is there: 0 or 1
        ("last", np.int64),  # whether dx is complete, so that its sums are computed: 0 or 1
    ]
)


@compiled
def gather_pixels(
    it: Any, arrays: Arrays, group: int, p: int, first: int, pixels: int, pitch: int,
    start: int,
) -> None:  # fmt: skip
    """Pack the views of the pixels that the taps read for some pixels of output row p."""
    tables, memory, scratch, n = arrays.tables, arrays.memory, arrays.scratch, it.n
    to, columns = start, pixels * n
    for c in range(it.channels):
        row = group * it.channels + c
        z, s = tables[it.inputs + row], arrays.slots[tables[it.input_slots + row]]
        mean, a, shift, low = s[MEAN], s[FACTOR], s[SHIFT], s[LOW]
        for i in range(it.kh):
            y = p * it.stride_h + i * it.dilation_h - it.top
            for j in range(it.kw):
                for q in range(pixels):
                    x = (first + q) * it.stride_w + j * it.dilation_w - it.left
                    out = scratch[to + q * n : to + (q + 1) * n]
                    if y < 0 or y >= it.h or x < 0 or x >= it.w:
                        out[:] = 0
                    else:
                        at = z + (y * it.w + x) * n
                        for k in range(n):
                            v = a * (memory[at + k] - mean) + shift
                            out[k] = low if v < low else v
                scratch[to + columns : to + filled_up(columns, COLUMNS)] = 0
                to += pitch


@register_jitable
def pixels_at_once(w: int, n: int, rows: int) -> int:
    """Return how many of the w pixels (of n numbers each) of an output row are packed at once."""
    return max(1, min(w, packed_columns(rows) // n))


@instruction(CONVOLUTION)
def run_convolution(it: Any, arrays: Arrays, turn: int) -> None:
    """Compute some rows of one group's outputs."""
    group, part = turn // it.parts, turn % it.parts
    tables, memory, scratch, wide = arrays.tables, arrays.memory, arrays.scratch, arrays.wide
    depth, tiles, n = it.channels * it.kh * it.kw, filled_up(it.rows, ROWS) // ROWS, it.n
    step = pixels_at_once(it.ow, n, depth)
    pitch = filled_up(step * n, COLUMNS) + SPACE
    result = depth * pitch
    count = 0
    wide[: 2 * it.rows] = 0
    for p in range(it.oh * part // it.parts, it.oh * (part + 1) // it.parts):
        for first in range(0, it.ow, step):
            pixels = min(step, it.ow - first)
            columns, to = pixels * n, (p * it.ow + first) * n
            gather_pixels(it, arrays, group, p, first, pixels, pitch, 0)
            for t in range(tiles):
                tile = (group * tiles + t) * ROWS
                multiply_packed(
                    arrays, it.taps, depth, columns, it.weights + tile * depth, it.bias + tile,
                    np.float32(-np.inf), scratch, it.packed, 0, False,
                )  # fmt: skip
                for r in range(min(ROWS, it.rows - t * ROWS)):
                    at, y = result + r * pitch, tables[it.outputs + tile + r] + to
                    memory[y : y + columns] = scratch[at : at + columns]
                    if it.slot >= 0:
                        add_moments(memory, y, columns, count, wide, 2 * (t * ROWS + r))
            count += columns
    if it.slot >= 0:
        for row in range(it.rows):
            moments = arrays.moments[it.slot + group * it.rows + row, part]
            moments[0], moments[1], moments[2] = count, wide[2 * row], wide[2 * row + 1]


@instruction(CONVOLUTION)
def run_convolution_backward(it: Any, arrays: Arrays, turn: int) -> None:
    """Compute what some rows of one group's outputs contribute to dw."""
    group, part = turn // it.parts, turn % it.parts
    tables, memory, scratch, n = arrays.tables, arrays.memory, arrays.scratch, it.n
    depth, rows = it.channels * it.kh * it.kw, it.rows
    g_rows, x_rows = filled_up(rows, G_ROWS), filled_up(depth, X_ROWS)
    step = pixels_at_once(it.ow, n, g_rows + x_rows)
    pitch = filled_up(step * n, COLUMNS) + SPACE
    x = g_rows * pitch
    scratch[: (g_rows + x_rows) * pitch] = 0  # the padding rows of the last tiles stay 0
    total = it.dw + (group * it.parts + part) * g_rows * x_rows
    memory[total : total + g_rows * x_rows] = 0
    for p in range(it.oh * part // it.parts, it.oh * (part + 1) // it.parts):
        for first in range(0, it.ow, step):
            pixels = min(step, it.ow - first)
            columns, to = pixels * n, (p * it.ow + first) * n
            gather_pixels(it, arrays, group, p, first, pixels, pitch, x)
            for k in range(rows):
                row = group * rows + k
                g, z = tables[it.gradients + row] + to, tables[it.outputs + row] + to
                slot = tables[it.output_slots + row]
                copy_gradient(memory, g, z, arrays.slots, slot, columns, scratch, k * pitch)
            around = filled_up(columns, 16)
            for i in range(0, g_rows, G_ROWS):
                for k in range(0, x_rows, X_ROWS):
                    dot_tile(
                        scratch, i * pitch, pitch, scratch, x + k * pitch, pitch, around,
                        memory, total + i * x_rows + k, x_rows,
                    )  # fmt: skip


@instruction(CONVOLUTION)
def run_convolution_dx(it: Any, arrays: Arrays, turn: int) -> None:
    """Compute some rows of dx of one group.

    Output row p reads input row y at row i of the window if y = p stride + i dilation - top. So for
    each such i, w^T dy of row p is added to the pixels that the columns of the window read.
    """
    group, part = turn // it.parts, turn % it.parts
    tables, memory, scratch, wide, n = (
        arrays.tables,
        arrays.memory,
        arrays.scratch,
        arrays.wide,
        it.n,
    )
    columns = it.channels * it.kw
    tiles = filled_up(columns, ROWS) // ROWS
    step = pixels_at_once(it.ow, n, it.rows)
    pitch = filled_up(step * n, COLUMNS) + SPACE
    wide[: 2 * it.channels] = 0
    for y in range(it.h * part // it.parts, it.h * (part + 1) // it.parts):
        for c in range(it.channels):
            if not it.more:
                to = tables[it.results + group * it.channels + c] + y * it.w * n
                memory[to : to + it.w * n] = 0
        for i in range(it.kh):
            p, between = divmod(y + it.top - i * it.dilation_h, it.stride_h)
            if between or p < 0 or p >= it.oh:
                continue
            for first in range(0, it.ow, step):
                pixels = min(step, it.ow - first)
                at = (p * it.ow + first) * n
                for k in range(it.rows):
                    row = group * it.rows + k
                    g, z = tables[it.gradients + row] + at, tables[it.outputs + row] + at
                    slot = tables[it.output_slots + row]
                    copy_gradient(memory, g, z, arrays.slots, slot, pixels * n, scratch, k * pitch)
                for t in range(tiles):
                    weights = it.weights + ((group * it.kh + i) * tiles + t) * ROWS * it.rows
                    multiply_packed(
                        arrays, it.taps, it.rows, pixels * n, weights, 0, np.float32(-np.inf),
                        scratch, it.packed, 0, False,
                    )  # fmt: skip
                    for r in range(min(ROWS, columns - t * ROWS)):
                        c, j = divmod(t * ROWS + r, it.kw)
                        to = tables[it.results + group * it.channels + c] + y * it.w * n
                        scatter_pixels(
                            it, memory, to, j, first, pixels, scratch, (it.rows + r) * pitch
                        )
        if it.last:
            for c in range(it.channels):
                row = group * it.channels + c
                g, z = tables[it.results + row], tables[it.inputs + row]
                at, slot = y * it.w * n, tables[it.input_slots + row]
                add_sums(memory, g + at, z + at, arrays.slots, slot, it.w * n, wide, 2 * c)
    if it.last:
        for c in range(it.channels):
            sums = arrays.sums[tables[it.input_slots + group * it.channels + c], part]
            sums[0], sums[1] = wide[2 * c], wide[2 * c + 1]


@compiled
def scatter_pixels(
    it: Any, memory: Array, to: int, j: int, first: int, pixels: int, packed: Array, at: int
) -> None:
    """Add a packed row to the pixels that column j of the window reads."""
    for q in range(pixels):
        x = (first + q) * it.stride_w + j * it.dilation_w - it.left
        if 0 <= x < it.w:
            for i in range(it.n):
                memory[to + x * it.n + i] += packed[at + q * it.n + i]
