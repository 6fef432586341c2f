"""Instructions that multiply: 1x1 convolutions, 1x1 fused with 3x3, and any other size."""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._vectors import (
    HALF,
    WIDTH,
    add,
    at,
    fill,
    fill_half,
    fma,
    load,
    load_even,
    load_half,
    relu,
    store,
)
from numpy_shufflenet.plan.layout import (
    BIAS,
    BLOCK,
    BLOCK_COLUMNS,
    CHANNELS,
    COUNT,
    CUT,
    DEPTH,
    DILATION_H,
    FILTERED,
    FILTERS,
    IN_H,
    IN_W,
    KH,
    KW,
    OPTION,
    OUT_H,
    OUT_W,
    OUTPUTS,
    ROWS,
    SHORTCUTS,
    SOURCES,
    SPANS,
    STEP,
    STRIDE_H,
    STRIDE_W,
    TABLE,
    TAPS,
    TOP,
    WEIGHTS,
    Arrays,
    Portion,
    round_up,
)
from numpy_shufflenet.plan.windows import slide_window

DEEP = 512  # terms that are added one by one; the sums of 512 terms are added after that


@register_jitable
def multiply_block(
    tables: Array,
    block: int,
    parameters: Array,
    x: Array,
    start: int,
    y: Array,
    to: int,
    cut: Any,
    shortcut: Any,
    load: Any,
    fill: Any,
) -> None:
    """Compute columns from `start` on of the 6 planes of a block, and write them to `to`.

    It computes as many columns as a vector has numbers: 16, or 8 if `load` and `fill` are those of
    half vectors. The sums over the planes that the block reads stay in registers.
    """
    bias = at(tables, block + BIAS)
    a0 = fill(at(parameters, bias))
    a1 = fill(at(parameters, bias + 1))
    a2 = fill(at(parameters, bias + 2))
    a3 = fill(at(parameters, bias + 3))
    a4 = fill(at(parameters, bias + 4))
    a5 = fill(at(parameters, bias + 5))
    if shortcut:
        a0 = add(a0, load(x, at(tables, block + SHORTCUTS) + start))
        a1 = add(a1, load(x, at(tables, block + SHORTCUTS + 1) + start))
        a2 = add(a2, load(x, at(tables, block + SHORTCUTS + 2) + start))
        a3 = add(a3, load(x, at(tables, block + SHORTCUTS + 3) + start))
        a4 = add(a4, load(x, at(tables, block + SHORTCUTS + 4) + start))
        a5 = add(a5, load(x, at(tables, block + SHORTCUTS + 5) + start))
    w = at(tables, block + WEIGHTS)
    tap = at(tables, block + TAPS)
    last = tap + at(tables, block + DEPTH)
    t0 = t1 = t2 = t3 = t4 = t5 = fill(np.float32(0))  # the sums of earlier terms
    while True:
        for _ in range(min(DEEP, last - tap)):
            v = load(x, at(tables, tap) + start)
            a0 = fma(at(parameters, w), v, a0)
            a1 = fma(at(parameters, w + 1), v, a1)
            a2 = fma(at(parameters, w + 2), v, a2)
            a3 = fma(at(parameters, w + 3), v, a3)
            a4 = fma(at(parameters, w + 4), v, a4)
            a5 = fma(at(parameters, w + 5), v, a5)
            w += BLOCK
            tap += 1
        if tap == last:
            break
        t0, t1, t2, t3, t4, t5 = (
            add(t0, a0), add(t1, a1), add(t2, a2), add(t3, a3), add(t4, a4), add(t5, a5),
        )  # fmt: skip
        a0 = a1 = a2 = a3 = a4 = a5 = fill(np.float32(0))
    if at(tables, block + DEPTH) > DEEP:
        a0, a1, a2 = add(t0, a0), add(t1, a1), add(t2, a2)
        a3, a4, a5 = add(t3, a3), add(t4, a4), add(t5, a5)
    if cut:
        a0 = relu(a0)
        a1 = relu(a1)
        a2 = relu(a2)
        a3 = relu(a3)
        a4 = relu(a4)
        a5 = relu(a5)
    store(y, at(tables, block + OUTPUTS + 5) + to, a5)
    store(y, at(tables, block + OUTPUTS + 4) + to, a4)
    store(y, at(tables, block + OUTPUTS + 3) + to, a3)
    store(y, at(tables, block + OUTPUTS + 2) + to, a2)
    store(y, at(tables, block + OUTPUTS + 1) + to, a1)
    store(y, at(tables, block + OUTPUTS) + to, a0)


@register_jitable
def multiply_planes(
    arrays: Arrays, block: int, y: Array, to: int, columns: int, cut: Any, shortcut: Any
) -> None:
    """Compute the columns of the 6 planes of a block; for the last 8, by half vectors."""
    tables, parameters, x = arrays.tables, arrays.parameters, arrays.memory
    for j in range(0, columns, WIDTH):
        if columns - j > HALF:
            multiply_block(tables, block, parameters, x, j, y, to + j, cut, shortcut, load, fill)
        else:
            multiply_block(
                tables, block, parameters, x, j, y, to + j, cut, shortcut, load_half, fill_half
            )


@register_jitable
def run_product(instruction: Array, arrays: Arrays, share: Portion) -> None:
    """Run a 1x1 convolution: each output plane is a weighted sum of the planes of its group."""
    columns = share.images * instruction[IN_H] * instruction[IN_W]
    to = share.image * instruction[STEP]
    cut, shortcut = instruction[CUT], instruction[OPTION]
    for number in range(share.first, share.last):
        block = instruction[TABLE] + number * BLOCK_COLUMNS
        multiply_planes(arrays, block, arrays.memory, to, columns, cut, shortcut)


@register_jitable
def run_product_depthwise(instruction: Array, arrays: Arrays, share: Portion) -> None:
    """Run a 1x1 convolution, and on each block of its output, in scratch, a 3x3 depthwise one."""
    columns = share.images * instruction[IN_H] * instruction[IN_W]
    tables, scratch = arrays.tables, arrays.scratch
    for number in range(share.first, share.last):
        block = instruction[TABLE] + number * BLOCK_COLUMNS
        multiply_planes(arrays, block, scratch, 0, columns, instruction[OPTION], False)
        for i in range(tables[block + ROWS]):
            x, y = tables[block + OUTPUTS + i], tables[block + FILTERED + i]
            slide_window(instruction, arrays, share, tables[block + FILTERS + i], scratch, x, y)


@register_jitable
def run_convolution(
    instruction: Array, arrays: Arrays, share: Portion, thread: int, threads: int
) -> None:
    """Run a convolution by im2col, one row of the output after the other.

    Threads share the rows. If rows are shorter than a vector, a vector also writes to the next row,
    so the first thread computes all of them.
    """
    oh, ow = instruction[OUT_H], instruction[OUT_W]
    if ow < WIDTH:
        threads = 1
        if thread > 0:
            return
    rows = share.images * oh
    for row in range(rows * thread // threads, rows * (thread + 1) // threads):
        gather(instruction, arrays, row // oh, row % oh)
        for block in range(instruction[COUNT]):
            for column in range(0, ow, WIDTH):
                j = max(0, min(column, ow - WIDTH))
                multiply_block(
                    arrays.tables,
                    instruction[TABLE] + block * BLOCK_COLUMNS,
                    arrays.parameters,
                    arrays.scratch,
                    j,
                    arrays.memory,
                    share.image * instruction[STEP] + row * ow + j,
                    instruction[CUT],
                    False,
                    load,
                    fill,
                )


@register_jitable
def gather(instruction: Array, arrays: Arrays, image: int, row: int) -> None:
    """Copy the pixels that each tap reads for one row of the output, with zeros in the border."""
    h, w, ow = instruction[IN_H], instruction[IN_W], instruction[OUT_W]
    tables, memory, scratch = arrays.tables, arrays.memory, arrays.scratch
    stride = instruction[STRIDE_W]
    to = 0
    for channel in range(instruction[CHANNELS]):
        plane = tables[instruction[SOURCES] + channel] + image * h * w
        for i in range(instruction[KH]):
            y = row * instruction[STRIDE_H] + i * instruction[DILATION_H] - instruction[TOP]
            for j in range(instruction[KW]):
                span = (
                    instruction[SPANS] + 3 * j
                )  # the pixel that column 0 reads, and which columns are inside
                x, first, last = tables[span], tables[span + 1], tables[span + 2]
                if y < 0 or y >= h:
                    first, last = ow, ow
                start = plane + y * w + x
                if stride <= 2:
                    for column in range(first // WIDTH * WIDTH, last, WIDTH):
                        if stride == 1:
                            store(scratch, to + column, load(memory, start + column))
                        else:
                            store(scratch, to + column, load_even(memory, start + 2 * column))
                else:
                    for column in range(first, last):
                        scratch[to + column] = memory[start + column * stride]
                for column in range(first):
                    scratch[to + column] = 0.0
                for column in range(last, ow):
                    scratch[to + column] = 0.0
                to += round_up(ow)
