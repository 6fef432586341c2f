"""The machine that runs a program: one compiled loop over instructions, the same on every thread.

All numbers live in one array, `memory`, all weights in another, `parameters`, and an instruction is
a row of whole numbers that says where. So a network runs from image to logits without Python, and
threads that share it meet after each instruction without the operating system.

    a plane     one channel: rows of w pixels and a gap of one. A 3x3 window slides over it as over
                one long row, after a copy with zeros in the gaps; otherwise nothing depends on
                what stands there.
    scratch     what a thread alone works on, small enough for its first-level cache

Instructions are read by the names below; `tables` holds what an instruction needs for each plane,
or for each block of 6 planes.
"""

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    at,
    fill,
    fma,
    load,
    load_even,
    maximum,
    relu,
    scale,
    store,
    total,
)
from numpy_shufflenet.plan._barrier import meet

# What an instruction does
INPUT, CONVOLUTION, PRODUCT, PRODUCT_DEPTHWISE, DEPTHWISE, POOL, ADD, RELU, MEAN, LINEAR = range(10)

# Where it says what: columns of the program. CUT is 1 if it ends in a ReLU.
OPERATION, COUNT, TABLE, H, W, OH, OW, CUT, OPTION = range(9)
SOURCES, CHANNELS, KH, KW, STRIDE_H, STRIDE_W, DILATION_H, DILATION_W, TOP, LEFT = range(9, 19)
COLUMNS = 19

BLOCK = 6  # planes of a product that are computed at once: their sums stay in registers
# Where a block of a product says what: weights, bias, a list of the planes that it reads (taps) and
# how long it is, how many planes it makes, 6 places to write to, then 6 shortcuts to start from, or
# 6 places for weights of the depthwise convolution that follows and 6 for its outputs. What fills
# up a block goes where its first plane goes, before that one is written.
WEIGHTS, BIAS, TAPS, DEPTH, ROWS, OUTPUTS, SHORTCUTS, FILTERS, FILTERED = 0, 1, 2, 3, 4, 5, 11, 11, 17
BLOCK_COLUMNS = 23

AVERAGE, MAXIMUM = 0, 1  # OPTION of a pool


@register_jitable
def round_up(count):
    """Return the next multiple of 16."""
    return (count + WIDTH - 1) // WIDTH * WIDTH


@register_jitable
def columns_of(h, w):
    """Return how many numbers of a plane are computed: up to its last pixel, in vectors."""
    return round_up(h * (w + 1) - 1)


@register_jitable
def lead_of(w):
    """Return how many numbers before a plane in scratch a 3x3 window may look at."""
    return round_up(w + 2)


@register_jitable
def scratch_plane(h, w):
    """Return how many numbers a plane with all its gaps takes in scratch."""
    return lead_of(w) + round_up((h + 1) * (w + 1)) + 2 * WIDTH


@register_jitable
def read_image(instruction, tables, memory, image, first, last):
    """Copy channels of the image into planes."""
    h, w = instruction[H], instruction[W]
    for channel in range(first, last):
        for row in range(h):
            x = (channel * h + row) * w
            y = tables[instruction[TABLE] + channel] + row * (w + 1)
            for column in range(0, w - WIDTH + 1, WIDTH):
                store(memory, y + column, load(image, x + column))
            for column in range(w - w % WIDTH, w):
                memory[y + column] = image[x + column]


@register_jitable
def multiply(tables, block, parameters, x, start, y, to, cut, shortcut):
    """Compute 16 columns, from `start` on, of the 6 planes of a block, and write them to `to`.

    The sums over all planes that the block reads stay in registers until they are complete.
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
    taps = at(tables, block + TAPS)
    for tap in range(taps, taps + at(tables, block + DEPTH)):
        v = load(x, at(tables, tap) + start)
        a0 = fma(at(parameters, w), v, a0)
        a1 = fma(at(parameters, w + 1), v, a1)
        a2 = fma(at(parameters, w + 2), v, a2)
        a3 = fma(at(parameters, w + 3), v, a3)
        a4 = fma(at(parameters, w + 4), v, a4)
        a5 = fma(at(parameters, w + 5), v, a5)
        w += BLOCK
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
def product(instruction, tables, parameters, memory, first, last):
    """Convolve 1x1: every plane of the output is a weighted sum of planes of its group."""
    columns = columns_of(instruction[H], instruction[W])
    for number in range(first, last):
        block = instruction[TABLE] + number * BLOCK_COLUMNS
        for j in range(0, columns, WIDTH):
            multiply(
                tables, block, parameters, memory, j, memory, j,
                instruction[CUT], instruction[OPTION],
            )


@register_jitable
def product_depthwise(instruction, tables, parameters, memory, scratch, first, last):
    """Convolve 1x1, and each block of the output 3x3 while it is in scratch."""
    h, w = instruction[H], instruction[W]
    columns = columns_of(h, w)
    for number in range(first, last):
        block = instruction[TABLE] + number * BLOCK_COLUMNS
        for j in range(0, columns, WIDTH):
            multiply(
                tables, block, parameters, memory, j, scratch, j, instruction[OPTION], False
            )
        for i in range(tables[block + ROWS]):
            x = tables[block + OUTPUTS + i]
            clear_gaps(scratch, x, h, w, 0.0)
            window(
                instruction, parameters, tables[block + FILTERS + i],
                scratch, x, memory, tables[block + FILTERED + i],
            )


@register_jitable
def depthwise(instruction, tables, parameters, memory, scratch, first, last):
    """Convolve every plane 3x3 by itself."""
    h, w = instruction[H], instruction[W]
    x = lead_of(w)
    for number in range(first, last):
        plane = instruction[TABLE] + 3 * number  # where it is, where its result goes, its weights
        copy(memory, tables[plane], scratch, x, columns_of(h, w))
        clear_gaps(scratch, x, h, w, 0.0)
        window(
            instruction, parameters, tables[plane + 2],
            scratch, x, memory, tables[plane + 1],
        )


@register_jitable
def window(instruction, parameters, weights, scratch, x, memory, y):
    """Slide a 3x3 window over a plane in scratch, in steps of 1 or 2."""
    h, w, oh, ow = instruction[H], instruction[W], instruction[OH], instruction[OW]
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
def clear_gaps(scratch, x, h, w, value):
    """Write a value into all gaps of a plane: before it, after its rows, and after its images."""
    pitch = w + 1
    for i in range(x - pitch - 1, x):
        scratch[i] = value
    for row in range(h):
        scratch[x + row * pitch + w] = value
    for i in range(x + h * pitch, x + (h + 1) * pitch):
        scratch[i] = value


@register_jitable
def copy(x, start, y, to, count):
    """Copy so many numbers, rounded up to 16."""
    for j in range(0, count, WIDTH):
        store(y, to + j, load(x, start + j))


@register_jitable
def pool(instruction, tables, memory, scratch, first, last):
    """Take the mean or the maximum of windows of 3x3, in steps of 2."""
    h, w, oh, ow = instruction[H], instruction[W], instruction[OH], instruction[OW]
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


@register_jitable
def convolution(instruction, tables, parameters, memory, scratch, thread, threads):
    """Convolve: what the windows of one row of the output see is copied, and multiplied (im2col).

    Threads share the rows; where a row is shorter than a vector, which then writes into the next
    one, the first thread does all.
    """
    oh, ow = instruction[OH], instruction[OW]
    if ow < WIDTH:
        threads = 1
        if thread > 0:
            return
    for row in range(oh * thread // threads, oh * (thread + 1) // threads):
        gather(instruction, tables, memory, scratch, row)
        for block in range(instruction[COUNT]):
            for column in range(0, ow, WIDTH):
                j = max(0, min(column, ow - WIDTH))
                multiply(
                    tables, instruction[TABLE] + block * BLOCK_COLUMNS, parameters,
                    scratch, j, memory, row * (ow + 1) + j, instruction[CUT], False,
                )


@register_jitable
def gather(instruction, tables, memory, scratch, row):
    """Copy what each tap of the window meets along one row of the output; zeros in the border."""
    h, w, ow, stride = instruction[H], instruction[W], instruction[OW], instruction[STRIDE_W]
    to = 0
    for channel in range(instruction[CHANNELS]):
        plane = tables[instruction[SOURCES] + channel]
        for i in range(instruction[KH]):
            y = row * instruction[STRIDE_H] + i * instruction[DILATION_H] - instruction[TOP]
            for j in range(instruction[KW]):
                x = j * instruction[DILATION_W] - instruction[LEFT]  # that column 0 meets
                first = min(ow, max(0, (stride - 1 - x) // stride))
                last = min(ow, max(first, (w - 1 - x) // stride + 1))
                if y < 0 or y >= h:
                    first, last = ow, ow
                start = plane + y * (w + 1) + x
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


@register_jitable
def combine(instruction, tables, memory, first, last):
    """Add two planes, or take one; cut off what is negative if asked to."""
    columns = columns_of(instruction[H], instruction[W])
    for number in range(first, last):
        plane = instruction[TABLE] + 3 * number  # one plane, the other, and where the result goes
        for j in range(0, columns, WIDTH):
            a = load(memory, tables[plane] + j)
            if instruction[OPERATION] == ADD:
                a = add(a, load(memory, tables[plane + 1] + j))
            store(memory, tables[plane + 2] + j, relu(a) if instruction[CUT] else a)


@register_jitable
def mean(instruction, tables, memory, first, last):
    """Write the mean of every channel as a feature."""
    h, w = instruction[H], instruction[W]
    for channel in range(first, last):
        plane = tables[instruction[TABLE] + channel]
        result = np.float32(0)
        for column in range(0, w, WIDTH):
            a = load(memory, plane + column)
            for row in range(1, h):
                a = add(a, load(memory, plane + row * (w + 1) + column))
            result += total(a, min(w - column, WIDTH))
        memory[instruction[OPTION] + channel] = result / np.float32(h * w)


@register_jitable
def linear(instruction, parameters, memory, logits, first, last):
    """Multiply the features by the rows of a matrix."""
    features = round_up(instruction[CHANNELS])
    x = instruction[OPTION]
    for output in range(first, last):
        w = instruction[TABLE] + output * features
        a = fill(np.float32(0))
        b = fill(np.float32(0))
        for j in range(0, features - WIDTH, 2 * WIDTH):
            a = fma(load(parameters, w + j), load(memory, x + j), a)
            b = fma(load(parameters, w + j + WIDTH), load(memory, x + j + WIDTH), b)
        if features % (2 * WIDTH):
            j = features - WIDTH
            a = fma(load(parameters, w + j), load(memory, x + j), a)
        logits[output] = total(add(a, b), WIDTH) + parameters[instruction[SOURCES] + output]


def run(program, tables, parameters, memory, scratch, image, logits, thread, threads, arrivals):
    """Run all instructions: thread number `thread` of so many does its share of each."""
    for step in range(program.shape[0]):
        instruction = program[step]
        operation = instruction[OPERATION]
        count = instruction[COUNT]
        first = count * thread // threads
        last = count * (thread + 1) // threads
        if operation == PRODUCT_DEPTHWISE:
            product_depthwise(
                instruction, tables, parameters, memory, scratch, first, last
            )
        elif operation == PRODUCT:
            product(instruction, tables, parameters, memory, first, last)
        elif operation == DEPTHWISE:
            depthwise(instruction, tables, parameters, memory, scratch, first, last)
        elif operation == CONVOLUTION:
            convolution(instruction, tables, parameters, memory, scratch, thread, threads)
        elif operation == POOL:
            pool(instruction, tables, memory, scratch, first, last)
        elif operation == ADD or operation == RELU:
            combine(instruction, tables, memory, first, last)
        elif operation == INPUT:
            read_image(instruction, tables, memory, image, first, last)
        elif operation == MEAN:
            mean(instruction, tables, memory, first, last)
        elif operation == LINEAR:
            linear(instruction, parameters, memory, logits, first, last)
        if threads > 1:
            meet(arrivals, (step + 1) * threads)


run_jit = compiled(run)
