"""Instructions that look at one plane through a window of 3x3: depthwise convolution, pooling."""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    fill,
    fma,
    load,
    load_even,
    maximum,
    relu,
    scale,
    store,
)
from numpy_shufflenet.plan.layout import (
    CUT,
    IN_H,
    IN_W,
    MAXIMUM,
    OPTION,
    OUT_H,
    OUT_W,
    TABLE,
    columns_of,
    lead_of,
)


@register_jitable
def depthwise(
    instruction: Array,
    tables: Array,
    parameters: Array,
    memory: Array,
    scratch: Array,
    first: int,
    last: int,
) -> None:
    """Convolve every plane 3x3 by itself."""
    h, w = instruction[IN_H], instruction[IN_W]
    x = lead_of(w)
    for number in range(first, last):
        plane = instruction[TABLE] + 3 * number  # where it is, where its result goes, its weights
        copy(memory, tables[plane], scratch, x, columns_of(h, w))
        clear_gaps(scratch, x, h, w, 0.0)
        window(
            instruction,
            parameters,
            tables[plane + 2],
            scratch,
            x,
            memory,
            tables[plane + 1],
        )


@register_jitable
def window(
    instruction: Array,
    parameters: Array,
    weights: int,
    scratch: Array,
    x: int,
    memory: Array,
    y: int,
) -> None:
    """Slide a 3x3 window over a plane in scratch, in steps of 1 or 2."""
    h, w, oh, ow = instruction[IN_H], instruction[IN_W], instruction[OUT_H], instruction[OUT_W]
    cut = instruction[CUT]
    p, k = parameters, weights
    taps = (
        p[k], p[k + 1], p[k + 2], p[k + 3], p[k + 4],
        p[k + 5], p[k + 6], p[k + 7], p[k + 8], p[k + 9],
    )  # fmt: skip
    if oh == h and ow == w:
        for j in range(0, columns_of(h, w), WIDTH):
            a = weigh(scratch, x + j - w - 2, w + 1, taps, load)
            store(memory, y + j, relu(a) if cut else a)
        return
    for row in range(oh):
        for column in range(0, ow, WIDTH):
            i = x + (2 * row - 1) * (w + 1) + 2 * column - 1
            a = weigh(scratch, i, w + 1, taps, load_even)
            store(memory, y + row * (ow + 1) + column, relu(a) if cut else a)


@register_jitable
def weigh(scratch: Array, i: int, pitch: int, w: Any, load: Any) -> Any:
    """Return the weighted sums of windows whose upper left corners start at i, and the bias.

    They are 1 apart with the function load, 2 with load_even. w holds 9 weights and the bias.
    """
    a = fill(w[9])
    a = fma(w[0], load(scratch, i), a)
    a = fma(w[1], load(scratch, i + 1), a)
    a = fma(w[2], load(scratch, i + 2), a)
    i += pitch
    a = fma(w[3], load(scratch, i), a)
    a = fma(w[4], load(scratch, i + 1), a)
    a = fma(w[5], load(scratch, i + 2), a)
    i += pitch
    a = fma(w[6], load(scratch, i), a)
    a = fma(w[7], load(scratch, i + 1), a)
    a = fma(w[8], load(scratch, i + 2), a)
    return a


@register_jitable
def clear_gaps(scratch: Array, x: int, h: int, w: int, value: float) -> None:
    """Write a value into all gaps of a plane: before it, after its rows, and after its images."""
    pitch = w + 1
    for i in range(x - pitch - 1, x):
        scratch[i] = value
    for row in range(h):
        scratch[x + row * pitch + w] = value
    for i in range(x + h * pitch, x + (h + 1) * pitch):
        scratch[i] = value


@register_jitable
def copy(x: Array, start: int, y: Array, to: int, count: int) -> None:
    """Copy so many numbers, rounded up to 16."""
    for j in range(0, count, WIDTH):
        store(y, to + j, load(x, start + j))


@register_jitable
def pool(
    instruction: Array, tables: Array, memory: Array, scratch: Array, first: int, last: int
) -> None:
    """Take the mean or the maximum of windows of 3x3, in steps of 2."""
    h, w, oh, ow = instruction[IN_H], instruction[IN_W], instruction[OUT_H], instruction[OUT_W]
    x = lead_of(w)
    largest = instruction[OPTION] == MAXIMUM
    for number in range(first, last):
        plane = instruction[TABLE] + 2 * number  # where it is, and where its result goes
        copy(memory, tables[plane], scratch, x, columns_of(h, w))
        clear_gaps(scratch, x, h, w, -np.inf if largest else 0.0)
        for row in range(oh):
            for column in range(0, ow, WIDTH):
                i = x + (2 * row - 1) * (w + 1) + 2 * column - 1
                if largest:
                    a = join(scratch, i, w + 1, maximum)
                else:
                    a = scale(np.float32(1 / 9), join(scratch, i, w + 1, add))
                j = tables[plane + 1] + row * (ow + 1) + column
                store(memory, j, relu(a) if instruction[CUT] else a)


@register_jitable
def join(scratch: Array, i: int, pitch: int, combine: Any) -> Any:
    """Return the sum or the maximum of windows, 2 apart, whose upper left corners start at i."""
    a = combine(load_even(scratch, i), load_even(scratch, i + 1))
    a = combine(a, load_even(scratch, i + 2))
    for _ in range(2):
        i += pitch
        a = combine(a, load_even(scratch, i))
        a = combine(a, load_even(scratch, i + 1))
        a = combine(a, load_even(scratch, i + 2))
    return a
