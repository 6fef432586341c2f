"""Instructions that look at one plane through a window of 3x3: depthwise convolution, pooling."""

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
    pitch = w + 1
    w0, w1, w2 = parameters[weights], parameters[weights + 1], parameters[weights + 2]
    w3, w4, w5 = parameters[weights + 3], parameters[weights + 4], parameters[weights + 5]
    w6, w7, w8 = parameters[weights + 6], parameters[weights + 7], parameters[weights + 8]
    bias = parameters[weights + 9]
    cut = instruction[CUT]
    if oh == h and ow == w:
        for j in range(0, columns_of(h, w), WIDTH):
            i = x + j - pitch - 1  # the window's upper left corner
            a = fma(w0, load(scratch, i), fill(bias))
            a = fma(w1, load(scratch, i + 1), a)
            a = fma(w2, load(scratch, i + 2), a)
            i += pitch
            a = fma(w3, load(scratch, i), a)
            a = fma(w4, load(scratch, i + 1), a)
            a = fma(w5, load(scratch, i + 2), a)
            i += pitch
            a = fma(w6, load(scratch, i), a)
            a = fma(w7, load(scratch, i + 1), a)
            a = fma(w8, load(scratch, i + 2), a)
            store(memory, y + j, relu(a) if cut else a)
        return
    for row in range(oh):
        for column in range(0, ow, WIDTH):
            i = x + 2 * row * pitch + 2 * column - pitch - 1
            a = fma(w0, load_even(scratch, i), fill(bias))
            a = fma(w1, load_even(scratch, i + 1), a)
            a = fma(w2, load_even(scratch, i + 2), a)
            i += pitch
            a = fma(w3, load_even(scratch, i), a)
            a = fma(w4, load_even(scratch, i + 1), a)
            a = fma(w5, load_even(scratch, i + 2), a)
            i += pitch
            a = fma(w6, load_even(scratch, i), a)
            a = fma(w7, load_even(scratch, i + 1), a)
            a = fma(w8, load_even(scratch, i + 2), a)
            j = y + row * (ow + 1) + column
            store(memory, j, relu(a) if cut else a)


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
    pitch = w + 1
    x = lead_of(w)
    largest = instruction[OPTION] == MAXIMUM
    for number in range(first, last):
        plane = instruction[TABLE] + 2 * number  # where it is, and where its result goes
        copy(memory, tables[plane], scratch, x, columns_of(h, w))
        clear_gaps(scratch, x, h, w, -np.inf if largest else 0.0)
        for row in range(oh):
            for column in range(0, ow, WIDTH):
                i = x + 2 * row * pitch + 2 * column - pitch - 1
                if largest:
                    a = load_even(scratch, i)
                    a = maximum(a, load_even(scratch, i + 1))
                    a = maximum(a, load_even(scratch, i + 2))
                    i += pitch
                    a = maximum(a, load_even(scratch, i))
                    a = maximum(a, load_even(scratch, i + 1))
                    a = maximum(a, load_even(scratch, i + 2))
                    i += pitch
                    a = maximum(a, load_even(scratch, i))
                    a = maximum(a, load_even(scratch, i + 1))
                    a = maximum(a, load_even(scratch, i + 2))
                else:
                    a = add(load_even(scratch, i), load_even(scratch, i + 1))
                    a = add(a, load_even(scratch, i + 2))
                    i += pitch
                    a = add(a, load_even(scratch, i))
                    a = add(a, load_even(scratch, i + 1))
                    a = add(a, load_even(scratch, i + 2))
                    i += pitch
                    a = add(a, load_even(scratch, i))
                    a = add(a, load_even(scratch, i + 1))
                    a = add(a, load_even(scratch, i + 2))
                    a = scale(np.float32(1 / 9), a)
                j = tables[plane + 1] + row * (ow + 1) + column
                store(memory, j, relu(a) if instruction[CUT] else a)
