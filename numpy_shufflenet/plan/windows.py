"""Instructions with a 3x3 window over each plane: depthwise convolution and pooling.

For a vector of outputs, each of nine taps reads a vector of pixels. A plane is one long row of
pixels, so beyond a border a tap reads a pixel of another row or image. The bit of that pixel in a
mask is 0, so it is replaced by the border value.
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
    AVERAGE,
    AVERAGE_INSIDE,
    BORDERS,
    CUT,
    IN_H,
    IN_W,
    LEFT,
    MAXIMUM,
    OPTION,
    OUT_H,
    OUT_W,
    STEP,
    TABLE,
    TOP,
    Arrays,
    Portion,
)

ALL = (1 << WIDTH) - 1  # a mask of 16 ones


@register_jitable
def run_depthwise(instruction: Array, arrays: Arrays, share: Portion) -> None:
    """Run a 3x3 depthwise convolution on each plane."""
    for number in range(share.first, share.last):
        plane = (
            instruction[TABLE] + 3 * number
        )  # positions of the plane, the result and the weights
        x, y, weights = arrays.tables[plane], arrays.tables[plane + 1], arrays.tables[plane + 2]
        slide_window(instruction, arrays, share, weights, arrays.memory, x, y)


@register_jitable
def slide_window(
    instruction: Array, arrays: Arrays, share: Portion, weights: int, source: Array, x: int, y: int
) -> None:
    """Convolve one plane with a 3x3 filter, with stride 1 or 2."""
    h, w, oh, ow = instruction[IN_H], instruction[IN_W], instruction[OUT_H], instruction[OUT_W]
    y += share.image * instruction[STEP]
    cut, p, k = instruction[CUT], arrays.parameters, weights
    top, left = instruction[TOP], instruction[LEFT]
    taps = (
        p[k], p[k + 1], p[k + 2], p[k + 3], p[k + 4],
        p[k + 5], p[k + 6], p[k + 7], p[k + 8], p[k + 9],
    )  # fmt: skip
    if oh == h and ow == w:
        borders = instruction[BORDERS]
        for j in range(0, share.images * h * w, WIDTH):
            above, below = arrays.tables[borders], arrays.tables[borders + 1]
            sides = arrays.tables[borders + 2], arrays.tables[borders + 3]
            a = weighted_windows(source, x + j - w - 1, w, taps, above, below, sides, neighbours)
            store(arrays.memory, y + j, relu(a) if cut else a)
            borders += 4
        return
    for row in range(share.images * oh):
        r = row % oh
        i = x + (row // oh * h + 2 * r - top) * w - left
        above, below = row_masks(2 * r - top, h)
        for column in range(0, ow, PAIRS):
            sides = column_masks(2 * column - left, w)
            a = weighted_windows(source, i + 2 * column, w, taps, above, below, sides, every_second)
            store(arrays.memory, y + row * ow + column, relu(a) if cut else a)


@register_jitable
def row_masks(row: int, h: int) -> tuple[int, int]:
    """Return the masks of the upper and the lower row of a window whose upper row this is."""
    return ALL if row >= 0 else 0, ALL if row + 2 < h else 0


@register_jitable
def column_masks(column: int, w: int) -> tuple[int, int]:
    """Return two masks of the 32 pixels from this column on: which are inside the row."""
    inside = (1 << min(2 * WIDTH, w - column)) - 1
    inside -= 1 if column < 0 else 0
    return inside & ALL, inside >> WIDTH


@register_jitable
def neighbours(x: Array, i: int, row: int, sides: tuple[int, int], outside: float) -> Three:
    """Return what 16 neighbouring outputs read of a row through three taps."""
    left, right = sides
    return (
        load_kept(x, i, row & left, outside),
        load_kept(x, i + 1, row, outside),
        load_kept(x, i + 2, row & right, outside),
    )


@register_jitable
def every_second(x: Array, i: int, row: int, sides: tuple[int, int], outside: float) -> Three:
    """Return what 15 outputs that read every second pixel read of a row through three taps."""
    first, last = sides
    return apart(
        load_kept(x, i, row & first, outside), load_kept(x, i + WIDTH, row & last, outside)
    )


@register_jitable
def weighted_windows(
    x: Array, i: int, pitch: int, w: Any, above: int, below: int, sides: tuple[int, int], see: Any
) -> Any:
    """Return the weighted sums of windows whose upper left corners start at i, plus the bias.

    w holds 9 weights and the bias. `see` is `neighbours` or `every_second`.
    """
    x0, x1, x2 = see(x, i, above, sides, 0.0)
    a = fma(w[2], x2, fma(w[1], x1, fma(w[0], x0, fill(w[9]))))
    x0, x1, x2 = see(x, i + pitch, ALL, sides, 0.0)
    a = fma(w[5], x2, fma(w[4], x1, fma(w[3], x0, a)))
    x0, x1, x2 = see(x, i + 2 * pitch, below, sides, 0.0)
    return fma(w[8], x2, fma(w[7], x1, fma(w[6], x0, a)))


@register_jitable
def run_pool(instruction: Array, arrays: Arrays, share: Portion) -> None:
    """Compute the mean or the maximum of 3x3 windows, with stride 2."""
    h, w, oh, ow = instruction[IN_H], instruction[IN_W], instruction[OUT_H], instruction[OUT_W]
    memory, kind = arrays.memory, instruction[OPTION]
    top, left = instruction[TOP], instruction[LEFT]
    for number in range(share.first, share.last):
        plane = instruction[TABLE] + 2 * number  # its position, and that of the result
        x = arrays.tables[plane]
        y = arrays.tables[plane + 1] + share.image * instruction[STEP]
        for row in range(share.images * oh):
            r = row % oh
            i = x + (row // oh * h + 2 * r - top) * w - left
            above, below = row_masks(2 * r - top, h)
            # How many rows of the window count in the mean
            rows = 3 if kind == AVERAGE else 1 + (above > 0) + (below > 0)
            for column in range(0, ow, PAIRS):
                sides = column_masks(2 * column - left, w)
                j = i + 2 * column
                if kind == MAXIMUM:
                    a = join(memory, j, w, above, below, sides, -np.inf, maximum)
                else:
                    a = join(memory, j, w, above, below, sides, 0.0, add)
                    a = scale(np.float32(1 / (3 * rows)), a)
                store(memory, y + row * ow + column, relu(a) if instruction[CUT] else a)
            if kind == AVERAGE_INSIDE:
                # The first window, the last one, or one that is both reads fewer than 3 columns.
                outside = 2 * (ow - 1) - left + 2 >= w
                both = ow == 1 and left > 0 and outside
                if left > 0:
                    memory[y + row * ow] *= np.float32(3.0 if both else 1.5)
                if outside and not both:
                    memory[y + row * ow + ow - 1] *= np.float32(1.5)


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

    It first combines the three rows, and then the three taps.
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
