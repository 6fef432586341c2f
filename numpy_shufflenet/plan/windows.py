"""Instructions that look at one plane through a window of 3x3: depthwise convolution, pooling.

A vector of outputs looks through each of nine taps at a vector of pixels. A plane is one long row
of pixels, so a tap sees a neighbour even where there is none, in another row or another image: then
its bit in a mask is 0, and it counts as what lies outside.
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    fill,
    fma,
    load_even_kept,
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
            sides = (
                arrays.tables[borders],
                arrays.tables[borders + 1],
                arrays.tables[borders + 2],
                arrays.tables[borders + 3],
            )
            a = weigh(source, x + j - w - 1, w, taps, sides, load_kept)
            store(arrays.memory, y + j, relu(a) if cut else a)
            borders += 4
        return
    for image in range(share.images):
        for row in range(oh):
            for column in range(0, ow, WIDTH):
                i = x + (image * h + 2 * row - 1) * w + 2 * column - 1
                a = weigh(source, i, w, taps, sides_of(row, column, h, w), load_even_kept)
                j = y + (image * oh + row) * ow + column
                store(arrays.memory, j, relu(a) if cut else a)


@register_jitable
def sides_of(row: int, column: int, h: int, w: int) -> Any:
    """Return masks of outputs that have a neighbour above, below, on the left and on the right.

    They are 16 in a row, from this column on, and look at every second pixel of (h, w).
    """
    above = ALL if row > 0 else 0
    below = ALL if 2 * row + 1 < h else 0
    left = ALL if column > 0 else ALL - 1
    right = (1 << max(0, min(w // 2 - column, WIDTH))) - 1
    return above, below, left, right


@register_jitable
def weigh(x: Array, i: int, pitch: int, w: Any, sides: Any, see: Any) -> Any:
    """Return the weighted sums of windows whose upper left corners start at i, and the bias.

    They are 1 apart with the function load_kept, 2 with load_even_kept. w holds 9 weights and the
    bias.
    """
    above, below, left, right = sides
    a = fill(w[9])
    a = fma(w[0], see(x, i, above & left, 0.0), a)
    a = fma(w[1], see(x, i + 1, above, 0.0), a)
    a = fma(w[2], see(x, i + 2, above & right, 0.0), a)
    i += pitch
    a = fma(w[3], see(x, i, left, 0.0), a)
    a = fma(w[4], see(x, i + 1, ALL, 0.0), a)
    a = fma(w[5], see(x, i + 2, right, 0.0), a)
    i += pitch
    a = fma(w[6], see(x, i, below & left, 0.0), a)
    a = fma(w[7], see(x, i + 1, below, 0.0), a)
    a = fma(w[8], see(x, i + 2, below & right, 0.0), a)
    return a


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
            image, r = row // oh, row % oh
            for column in range(0, ow, WIDTH):
                i = x + (image * h + 2 * r - 1) * w + 2 * column - 1
                sides = sides_of(r, column, h, w)
                if largest:
                    a = join(memory, i, w, sides, -np.inf, maximum)
                else:
                    a = scale(np.float32(1 / 9), join(memory, i, w, sides, 0.0, add))
                store(memory, y + row * ow + column, relu(a) if instruction[CUT] else a)


@register_jitable
def join(x: Array, i: int, pitch: int, sides: Any, outside: float, combine: Any) -> Any:
    """Return the sum or the maximum of windows, 2 apart, whose upper left corners start at i."""
    above, below, left, right = sides
    a = load_even_kept(x, i, above & left, outside)
    a = combine(a, load_even_kept(x, i + 1, above, outside))
    a = combine(a, load_even_kept(x, i + 2, above & right, outside))
    for rows in (ALL, below):
        i += pitch
        a = combine(a, load_even_kept(x, i, rows & left, outside))
        a = combine(a, load_even_kept(x, i + 1, rows, outside))
        a = combine(a, load_even_kept(x, i + 2, rows & right, outside))
    return a
