"""Instructions of a convolution of any window: a product with the pixels that each tap reads.

For some pixels of an output row, the pixels under each tap are gathered as one packed row. So the
convolution is a product (o, c kh kw) with these rows, and the same tiles compute it.

    dx     the gradients of the packed rows, w^T dy, are added to the pixels that they were read from
    dw     dy times the transposed packed rows
"""

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine.products import (
    SPACE,
    filled_up,
    multiply_packed,
    packed_columns,
)
from numpy_shufflenet.engine.rows import (
    Arrays,
    FACTOR,
    LOW,
    MEAN,
    PARTS,
    SHIFT,
    add_moments,
    copy_gradient,
)
from numpy_shufflenet.engine.tiles import COLUMNS, G_ROWS, ROWS, X_ROWS, dot_tile

CONVOLUTION = np.dtype(
    [
        ("turns", np.int64),
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
        ("inputs", np.int64),  # table: positions
        ("input_slots", np.int64),  # table
        ("outputs", np.int64),  # table: positions, filled up to a multiple of 6 per group
        ("output_slots", np.int64),  # table; of a backward
        ("gradients", np.int64),  # table; of a backward
        ("results", np.int64),  # table: where dx goes; -1 if nobody needs it
        ("weights", np.int64),  # position of the packed matrix; of a backward, the transposed one
        ("bias", np.int64),
        ("slot", np.int64),  # of the first output, whose moments are computed; -1 if they aren't
        ("dw", np.int64),
    ]
)


@register_jitable
def gather(
    it: CONVOLUTION, arrays: Arrays, group: int, p: int, first: int, pixels: int, pitch: int,
    start: int,
) -> None:  # fmt: skip
    """Pack what the taps read for some pixels of output row p, as the views of the inputs show it."""
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
    return


@register_jitable
def pixels_at_once(it: CONVOLUTION, rows: int) -> int:
    """Return how many pixels of a row are packed at once."""
    return max(1, min(it.ow, packed_columns(rows) // it.n))


@register_jitable
def run_convolution(it: CONVOLUTION, arrays: Arrays, turn: int) -> None:
    """Compute some rows of one group's outputs."""
    group, part = turn // PARTS, turn % PARTS
    tables, memory, scratch, wide = arrays.tables, arrays.memory, arrays.scratch, arrays.wide
    depth, tiles, n = it.channels * it.kh * it.kw, filled_up(it.rows, ROWS) // ROWS, it.n
    step = pixels_at_once(it, depth)
    pitch = filled_up(step * n, COLUMNS) + SPACE
    result = depth * pitch  # 6 rows of scratch, whose positions are at the start of the tables
    count = 0
    wide[: 2 * it.rows] = 0
    for p in range(it.oh * part // PARTS, it.oh * (part + 1) // PARTS):
        for first in range(0, it.ow, step):
            pixels = min(step, it.ow - first)
            columns, to = pixels * n, (p * it.ow + first) * n
            gather(it, arrays, group, p, first, pixels, pitch, 0)
            for t in range(tiles):
                tile = (group * tiles + t) * ROWS
                multiply_packed(
                    arrays, pitch, depth, columns, it.weights + tile * depth, it.bias + tile,
                    np.float32(-np.inf), result, -1, False,
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
