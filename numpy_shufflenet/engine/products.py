"""Instructions that multiply matrices: 1x1 convolutions and linear layers, forward and backward.

    y = w x             the view of some columns of x is packed, and stays in the L2 cache while all
                        weights are multiplied with it; the weights of 6 rows stay in the L1 cache
    dx = w^T dy         likewise
    dw = dy x^T         both operands are packed

Forward and backward pack each column once. While its results are in the cache, they also compute
the statistics of y, and the sums over dx that the batch normalisation before it needs.
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine.instruction import Arrays, instruction
from numpy_shufflenet.engine.rows import (
    add_moments,
    add_sums,
    copy_gradient,
    copy_view,
    part_of,
)
from numpy_shufflenet.engine.tiles import (
    COLUMNS,
    G_ROWS,
    ROWS,
    X_ROWS,
    dot_tile,
    multiply_tile,
)
from numpy_shufflenet.kernels._compile import compiled

ROOM = 1 << 16  # at most so many numbers are packed at once: half of an L2 cache of 512 KB
WIDEST = 512  # at most so many columns are packed at once
NEAR = 5120  # numbers of x that stay in the L1 cache while they are multiplied with all rows of dy
SPACE = 16  # numbers between packed rows, so that one column of all rows uses many cache sets
DEEP = 512  # at most so many terms are added in one pass over a tile

PRODUCT = np.dtype(
    [
        ("turns", np.int64),  # groups * parts
        ("parts", np.int64),  # into which the columns are divided; at most PARTS
        ("columns", np.int64),  # of a row
        ("depth", np.int64),  # inputs of a group
        ("rows", np.int64),  # outputs of a group
        ("taps", np.int64),  # table: position of each packed row
        ("inputs", np.int64),  # table: position of each input
        ("input_slots", np.int64),  # table: slots of their views
        ("outputs", np.int64),  # table: positions, padded to a multiple of 6 per group
        ("weights", np.int64),  # position of the packed matrix
        ("bias", np.int64),  # position, in the order of `outputs`
        ("slot", np.int64),  # slot of the first output; -1 if no moments are computed
        ("low", np.float32),  # lower bound of the outputs; -inf for none
    ]
)

PRODUCT_BACKWARD = np.dtype(
    [
        ("turns", np.int64),
        ("parts", np.int64),
        ("columns", np.int64),
        ("depth", np.int64),  # outputs of the forward, in a group: rows of dy
        ("rows", np.int64),  # inputs of the forward, in a group: rows of dx
        ("taps", np.int64),  # table: position of each packed row
        ("gradients", np.int64),  # table: positions of the gradients of views of the outputs
        ("outputs", np.int64),  # table: positions of the outputs
        ("output_slots", np.int64),
        ("inputs", np.int64),  # table: positions of the inputs
        ("input_slots", np.int64),
        ("results", np.int64),  # table: where dx goes, padded as `outputs`; -1 if not needed
        ("more", np.int64),  # whether dx is added to what is there: 0 or 1
        ("last", np.int64),  # whether dx is complete, so that its sums are computed: 0 or 1
        ("weights", np.int64),  # position of the packed transposed matrix
        ("dw", np.int64),  # position of the sums of each part
    ]
)


@register_jitable
def packed_columns(rows: int) -> int:
    """Return how many columns are packed at once if each has `rows` numbers."""
    fitting = ROOM // max(rows, 1) // COLUMNS * COLUMNS
    return max(COLUMNS * 4, min(fitting, WIDEST // COLUMNS * COLUMNS))


@register_jitable
def filled_up(rows: int, step: int) -> int:
    """Return rows, rounded up to a multiple of step."""
    return (rows + step - 1) // step * step


@compiled
def multiply_packed(
    arrays: Arrays, taps: int, depth: int, columns: int, weights: int, bias: int, low: Any,
    y: Array, outputs: int, to: int, more: bool,
) -> None:  # fmt: skip
    """Compute 6 rows of a product with packed columns; see `multiply_tile`."""
    x, tables, memory = arrays.scratch, arrays.tables, arrays.memory
    least: Any = np.float32(-np.inf)
    for first in range(0, depth, DEEP):
        terms = min(DEEP, depth - first)
        start = outputs if more or first > 0 else -1
        b = bias if first == 0 else 0
        bound = low if first + terms == depth else least
        for j in range(0, columns, COLUMNS):
            multiply_tile(
                x, tables, taps + first, terms, j, memory, weights + ROWS * first, memory, b, bound,
                y, tables, start, y, tables, outputs, to + j,
            )  # fmt: skip


@instruction(PRODUCT)
def run_product(it: Any, arrays: Arrays, turn: int) -> None:
    """Compute some columns of the outputs of one group."""
    group, part = turn // it.parts, turn % it.parts
    tables, memory, wide = arrays.tables, arrays.memory, arrays.wide
    depth, tiles = it.depth, filled_up(it.rows, ROWS) // ROWS
    first, last = part_of(it.columns, part, it.parts, COLUMNS)
    block = packed_columns(depth)
    pitch = block + SPACE
    wide[: 2 * it.rows] = 0
    for start in range(first, last, block):
        columns = min(block, last - start)
        for k in range(depth):
            n = group * depth + k
            z, slot = tables[it.inputs + n], tables[it.input_slots + n]
            copy_view(memory, z + start, arrays.slots, slot, columns, arrays.scratch, k * pitch)
        for t in range(tiles):
            tile = (group * tiles + t) * ROWS
            multiply_packed(
                arrays, it.taps, depth, columns, it.weights + tile * depth, it.bias + tile, it.low,
                memory, it.outputs + tile, start, False,
            )  # fmt: skip
            if it.slot >= 0:
                for r in range(min(ROWS, it.rows - t * ROWS)):
                    row = t * ROWS + r
                    y = tables[it.outputs + tile + r] + start
                    add_moments(memory, y, columns, start - first, wide, 2 * row)
    if it.slot >= 0:
        for row in range(it.rows):
            moments = arrays.moments[it.slot + group * it.rows + row, part]
            moments[0], moments[1], moments[2] = last - first, wide[2 * row], wide[2 * row + 1]


@instruction(PRODUCT_BACKWARD)
def run_product_backward(it: Any, arrays: Arrays, turn: int) -> None:
    """Compute some columns of dx of one group, and what these columns contribute to dw."""
    group, part = turn // it.parts, turn % it.parts
    tables, memory, scratch, wide = arrays.tables, arrays.memory, arrays.scratch, arrays.wide
    depth, rows = it.depth, it.rows
    first, last = part_of(it.columns, part, it.parts, COLUMNS)
    g_rows, x_rows = filled_up(depth, G_ROWS), filled_up(rows, X_ROWS)
    block = packed_columns(g_rows + x_rows)
    pitch = block + SPACE
    x = g_rows * pitch
    scratch[depth * pitch : x] = 0  # the padding rows of the last tiles
    scratch[x + rows * pitch : x + x_rows * pitch] = 0
    total = it.dw + (group * it.parts + part) * g_rows * x_rows
    memory[total : total + g_rows * x_rows] = 0
    wide[: 2 * rows] = 0
    tiles = filled_up(rows, ROWS) // ROWS
    near = max(1, NEAR // (X_ROWS * block)) * X_ROWS
    for start in range(first, last, block):
        columns = min(block, last - start)
        for k in range(depth):
            n = group * depth + k
            g, z = tables[it.gradients + n] + start, tables[it.outputs + n] + start
            slot = tables[it.output_slots + n]
            copy_gradient(memory, g, z, arrays.slots, slot, columns, scratch, k * pitch)
        for k in range(rows):
            n = group * rows + k
            z, slot = tables[it.inputs + n] + start, tables[it.input_slots + n]
            copy_view(memory, z, arrays.slots, slot, columns, scratch, x + k * pitch)
        around = filled_up(columns, 16)
        for k0 in range(0, x_rows, near):
            for i in range(0, g_rows, G_ROWS):
                for k in range(k0, min(x_rows, k0 + near), X_ROWS):
                    dot_tile(
                        scratch, i * pitch, pitch, scratch, x + k * pitch, pitch, around,
                        memory, total + i * x_rows + k, x_rows,
                    )  # fmt: skip
        if it.results < 0:
            continue
        for t in range(tiles):
            tile = (group * tiles + t) * ROWS
            multiply_packed(
                arrays, it.taps, depth, columns, it.weights + tile * depth, 0, np.float32(-np.inf),
                memory, it.results + tile, start, it.more > 0,
            )  # fmt: skip
            if it.last:
                for r in range(min(ROWS, rows - t * ROWS)):
                    row = t * ROWS + r
                    n = group * rows + row
                    g, z = tables[it.results + tile + r] + start, tables[it.inputs + n] + start
                    slot = tables[it.input_slots + n]
                    add_sums(memory, g, z, arrays.slots, slot, columns, wide, 2 * row)
    if it.last:
        for row in range(rows):
            slot = tables[it.input_slots + group * rows + row]
            sums = arrays.sums[slot, part]
            sums[0], sums[1] = wide[2 * row], wide[2 * row + 1]


PACK = np.dtype(
    [
        ("turns", np.int64),  # groups
        ("rows", np.int64),  # of a group's matrix
        ("depth", np.int64),
        ("weights", np.int64),  # position of the matrices
        ("tiles", np.int64),  # where the packed matrices go
        ("transposed", np.int64),  # where the packed transposed ones go; -1 if not needed
        ("kh", np.int64),  # of the window; 1, 1 for products
        ("kw", np.int64),
        ("bias", np.int64),  # position of a bias; -1 if there is none
        ("filled", np.int64),  # where the bias goes, padded to a multiple of 6 per group
    ]
)

SUM = np.dtype(
    [
        ("turns", np.int64),  # groups
        ("parts", np.int64),
        ("rows", np.int64),  # of a group's matrix
        ("depth", np.int64),
        ("dw", np.int64),  # position of the sums of each part
        ("to", np.int64),
    ]
)


@instruction(PACK)
def run_pack(it: Any, arrays: Arrays, group: int) -> None:
    """Pack the weights of one group into tiles of 6 rows; a tile is stored column by column.

    The transposed matrices, one for each row of the window, have a row for each channel and each
    column of the window.
    """
    memory, rows, depth = arrays.memory, it.rows, it.depth
    w, tiles = it.weights + group * rows * depth, filled_up(rows, ROWS)
    to = it.tiles + group * tiles * depth
    for first in range(0, tiles, ROWS):
        for k in range(depth):
            for row in range(first, first + ROWS):
                memory[to] = memory[w + row * depth + k] if row < rows else np.float32(0)
                to += 1
    if it.bias >= 0:
        for row in range(tiles):
            number = memory[it.bias + group * rows + row] if row < rows else np.float32(0)
            memory[it.filled + group * tiles + row] = number
    if it.transposed >= 0:
        size = it.kh * it.kw
        columns = depth // it.kh  # channels and columns of the window
        tiles = filled_up(columns, ROWS)
        to = it.transposed + group * it.kh * tiles * rows
        for i in range(it.kh):
            for first in range(0, tiles, ROWS):
                for k in range(rows):
                    for column in range(first, first + ROWS):
                        c, j = (column, 0) if it.kw == 1 else divmod(column, it.kw)
                        source = w + k * depth + c * size + i * it.kw + j
                        memory[to] = memory[source] if column < columns else np.float32(0)
                        to += 1


@instruction(SUM)
def run_sum(it: Any, arrays: Arrays, group: int) -> None:
    """Add up the parts of a group's gradient."""
    memory, wide, pitch = arrays.memory, arrays.wide, filled_up(it.depth, X_ROWS)
    size = filled_up(it.rows, G_ROWS) * pitch
    for row in range(it.rows):
        wide[: it.depth] = 0
        for part in range(it.parts):
            start = it.dw + (group * it.parts + part) * size + row * pitch
            for k in range(it.depth):
                wide[k] += memory[start + k]
        to = it.to + (group * it.rows + row) * it.depth
        for k in range(it.depth):
            arrays.parameter_gradients[to + k] = wide[k]
