"""Instructions that look at one plane through a window of 3x3: depthwise convolution, pooling.

A vector of outputs looks through each of nine taps at a vector of pixels. A plane is one long row
of pixels, so a tap sees a neighbour even where there is none, in another row or another image: then
its bit in a mask is 0, and it counts as what lies outside.
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._slide import PAIRS, Three, apart
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    fill,
    fma,
    load_kept,
    maximum,
    relu,
    scale,
    store,
)
from numpy_shufflenet.plan.layout import (
    BORDERS,
    CUT,
    IN_H,
    IN_W,
    MAXIMUM,
    OPTION,
    OUT_H,
    OUT_W,
    STEP,
    TABLE,
    Arrays,
    Share,
)

ALL = (1 << WIDTH) - 1  # a mask of ones


@register_jitable
def depthwise(instruction: Array, arrays: Arrays, share: Share) -> None:
    """Convolve every plane 3x3 by itself."""
    for number in range(share.first, share.last):
        plane = instruction[TABLE] + 3 * number  # where it is, where its result goes, its weights
        x, y, weights = arrays.tables[plane], arrays.tables[plane + 1], arrays.tables[plane + 2]
        window(instruction, arrays, share, weights, arrays.memory, x, y)


@register_jitable
def window(
    instruction: Array, arrays: Arrays, share: Share, weights: int, source: Array, x: int, y: int
) -> None:
    """Slide a 3x3 window over a plane, in steps of 1 or 2."""
    h, w, oh, ow = instruction[IN_H], instruction[IN_W], instruction[OUT_H], instruction[OUT_W]
    y += share.image * instruction[STEP]
    cut, p, k = instruction[CUT], arrays.parameters, weights
    taps = (
        p[k], p[k + 1], p[k + 2], p[k + 3], p[k + 4],
        p[k + 5], p[k + 6], p[k + 7], p[k + 8], p[k + 9],
    )  # fmt: skip
    if oh == h and ow == w:
        borders = instruction[BORDERS]
        for j in range(0, share.images * h * w, WIDTH):
            above, below = arrays.tables[borders], arrays.tables[borders + 1]
            sides = arrays.tables[borders + 2], arrays.tables[borders + 3]
            a = weigh(source, x + j - w - 1, w, taps, above, below, sides, neighbours)
            store(arrays.memory, y + j, relu(a) if cut else a)
            borders += 4
        return
    for row in range(share.images * oh):
        r = row % oh
        i = x + (row // oh * h + 2 * r - 1) * w - 1
        above, below = rows_of(r, h)
        for column in range(0, ow, PAIRS):
            sides = pixels_of(2 * column - 1, w)
            a = weigh(source, i + 2 * column, w, taps, above, below, sides, every_second)
            store(arrays.memory, y + row * ow + column, relu(a) if cut else a)


@register_jitable
def rows_of(row: int, h: int) -> tuple[int, int]:
    """Return masks of the rows above and below those that an output in this row is made of."""
    return ALL if row > 0 else 0, ALL if 2 * row + 1 < h else 0


@register_jitable
def pixels_of(column: int, w: int) -> tuple[int, int]:
    """Return masks of those that are inside, among the 32 pixels from this column of a row on."""
    inside = (1 << min(2 * WIDTH, w - column)) - 1
    inside -= 1 if column < 0 else 0
    return inside & ALL, inside >> WIDTH


@register_jitable
def neighbours(x: Array, i: int, row: int, sides: tuple[int, int], outside: float) -> Three:
    """Return what 16 outputs side by side see of a row through its three taps."""
    left, right = sides
    return (
        load_kept(x, i, row & left, outside),
        load_kept(x, i + 1, row, outside),
        load_kept(x, i + 2, row & right, outside),
    )


@register_jitable
def every_second(x: Array, i: int, row: int, sides: tuple[int, int], outside: float) -> Three:
    """Return the same for 15 outputs that are made of every second pixel."""
    first, last = sides
    return apart(
        load_kept(x, i, row & first, outside), load_kept(x, i + WIDTH, row & last, outside)
    )


@register_jitable
def weigh(
    x: Array, i: int, pitch: int, w: Any, above: int, below: int, sides: tuple[int, int], see: Any
) -> Any:
    """Return the weighted sums of windows whose upper left corners start at i, and the bias.

    w holds 9 weights and the bias; see is `neighbours` or `every_second`.
    """
    x0, x1, x2 = see(x, i, above, sides, 0.0)
    a = fma(w[2], x2, fma(w[1], x1, fma(w[0], x0, fill(w[9]))))
    x0, x1, x2 = see(x, i + pitch, ALL, sides, 0.0)
    a = fma(w[5], x2, fma(w[4], x1, fma(w[3], x0, a)))
    x0, x1, x2 = see(x, i + 2 * pitch, below, sides, 0.0)
    return fma(w[8], x2, fma(w[7], x1, fma(w[6], x0, a)))


@register_jitable
def pool(instruction: Array, arrays: Arrays, share: Share) -> None:
    """Take the mean or the maximum of windows of 3x3, in steps of 2."""
    h, w, oh, ow = instruction[IN_H], instruction[IN_W], instruction[OUT_H], instruction[OUT_W]
    memory, largest = arrays.memory, instruction[OPTION] == MAXIMUM
    for number in range(share.first, share.last):
        plane = instruction[TABLE] + 2 * number  # where it is, and where its result goes
        x = arrays.tables[plane]
        y = arrays.tables[plane + 1] + share.image * instruction[STEP]
        for row in range(share.images * oh):
            r = row % oh
            i = x + (row // oh * h + 2 * r - 1) * w - 1
            above, below = rows_of(r, h)
            for column in range(0, ow, PAIRS):
                sides = pixels_of(2 * column - 1, w)
                j = i + 2 * column
                if largest:
                    a = join(memory, j, w, above, below, sides, -np.inf, maximum)
                else:
                    a = join(memory, j, w, above, below, sides, 0.0, add)
                    a = scale(np.float32(1 / 9), a)
                store(memory, y + row * ow + column, relu(a) if instruction[CUT] else a)


@register_jitable
def join(
    x: Array,
    i: int,
    pitch: int,
    above: int,
    below: int,
    sides: tuple[int, int],
    outside: float,
    combine: Any,
) -> Any:
    """Return the sums or the maxima of windows whose upper left corners start at i, 2 apart.

    Those of the three rows come first, then those of the three taps.
    """
    first, last = sides
    a = load_kept(x, i, above & first, outside)
    b = load_kept(x, i + WIDTH, above & last, outside)
    a = combine(a, load_kept(x, i + pitch, first, outside))
    b = combine(b, load_kept(x, i + pitch + WIDTH, last, outside))
    a = combine(a, load_kept(x, i + 2 * pitch, below & first, outside))
    b = combine(b, load_kept(x, i + 2 * pitch + WIDTH, below & last, outside))
    left, middle, right = apart(a, b)
    return combine(combine(left, middle), right)
