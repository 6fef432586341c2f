"""The machine: one compiled loop over the instructions of a program, the same on every thread.

All activations are in one array, `memory`, all weights in another, `parameters`. An instruction is
a row of integers: what to do, and positions in these arrays. So a network runs from images to
logits without Python. After each instruction, the threads wait for each other at a barrier, without
calls of the operating system.

The first instructions, on large planes, run for one image after the other. When all images are side
by side in small planes, each of the other instructions runs once for all of them.
"""

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._barrier import meet, start_together
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    fill,
    fma,
    keep_first,
    load,
    relu,
    scale,
    store,
    sum_lanes,
)
from numpy_shufflenet.plan.layout import (
    ADD,
    CHANNELS,
    CONVOLUTION,
    COUNT,
    CUT,
    DEPTHWISE,
    IN_H,
    IN_W,
    INPUT,
    LINEAR,
    MAKES,
    MEAN,
    OPERATION,
    OPTION,
    POOL,
    PRODUCT,
    PRODUCT_DEPTHWISE,
    READS,
    RELU,
    SCALE,
    SIGMOID,
    SOURCES,
    STEP,
    TABLE,
    Arrays,
    Portion,
    round_up,
)
from numpy_shufflenet.plan.products import run_convolution, run_product, run_product_depthwise
from numpy_shufflenet.plan.windows import run_depthwise, run_pool

LONG = 2048  # numbers that are added in float32; their sums are added in float64


@register_jitable
def run_input(instruction: Array, arrays: Arrays, share: Portion, image: Array) -> None:
    """Copy the channels of an image to planes."""
    size = instruction[IN_H] * instruction[IN_W]
    for channel in range(share.first, share.last):
        x = channel * size
        y = arrays.tables[instruction[TABLE] + channel] + share.image * instruction[STEP]
        for j in range(0, size - WIDTH + 1, WIDTH):
            store(arrays.memory, y + j, load(image, x + j))
        for j in range(size - size % WIDTH, size):
            arrays.memory[y + j] = image[x + j]


@register_jitable
def run_addition(instruction: Array, arrays: Arrays, share: Portion) -> None:
    """Add two planes, or copy one; then apply ReLU if CUT is set."""
    tables, memory = arrays.tables, arrays.memory
    for number in range(share.first, share.last):
        plane = instruction[TABLE] + 3 * number  # positions of both planes, and of the result
        y = tables[plane + 2] + share.image * instruction[STEP]
        for j in range(0, share.images * instruction[IN_H] * instruction[IN_W], WIDTH):
            a = load(memory, tables[plane] + j)
            if instruction[OPERATION] == ADD:
                a = add(a, load(memory, tables[plane + 1] + j))
            store(memory, y + j, relu(a) if instruction[CUT] else a)


@register_jitable
def run_mean(instruction: Array, arrays: Arrays, share: Portion) -> None:
    """Write the mean of each channel as a feature."""
    size, memory = instruction[IN_H] * instruction[IN_W], arrays.memory
    for channel in range(share.first, share.last):
        for image in range(share.images):
            x = arrays.tables[instruction[TABLE] + channel] + image * size
            total = np.float64(0)
            for begin in range(0, size, LONG):
                a = fill(np.float32(0))
                for j in range(begin, min(begin + LONG, size), WIDTH):
                    a = add(a, keep_first(load(memory, x + j), size - j))
                total += sum_lanes(a)
            y = instruction[MAKES] + (share.image + image) * instruction[STEP] + channel
            memory[y] = total / size


@register_jitable
def run_linear(instruction: Array, arrays: Arrays, share: Portion) -> None:
    """Multiply features by the rows of a matrix, four at a time; then apply ReLU or a sigmoid.

    If fewer than four rows are left, the last one is computed several times.
    """
    features = round_up(instruction[CHANNELS])
    parameters, memory, last = arrays.parameters, arrays.memory, share.last - 1
    for output in range(share.first, share.last, 4):
        rows = output, min(output + 1, last), min(output + 2, last), min(output + 3, last)
        w0 = instruction[TABLE] + rows[0] * features
        w1 = instruction[TABLE] + rows[1] * features
        w2 = instruction[TABLE] + rows[2] * features
        w3 = instruction[TABLE] + rows[3] * features
        for image in range(share.images):
            x = instruction[READS] + image * features
            t0 = t1 = t2 = t3 = np.float64(0)
            for begin in range(0, features, LONG):
                a0 = a1 = a2 = a3 = fill(np.float32(0))
                for j in range(begin, min(begin + LONG, features), WIDTH):
                    v = load(memory, x + j)
                    a0 = fma(load(parameters, w0 + j), v, a0)
                    a1 = fma(load(parameters, w1 + j), v, a1)
                    a2 = fma(load(parameters, w2 + j), v, a2)
                    a3 = fma(load(parameters, w3 + j), v, a3)
                t0, t1, t2, t3 = (
                    t0 + sum_lanes(a0),
                    t1 + sum_lanes(a1),
                    t2 + sum_lanes(a2),
                    t3 + sum_lanes(a3),
                )
            sums = np.float32(t0), np.float32(t1), np.float32(t2), np.float32(t3)
            to = instruction[MAKES] + (share.image + image) * instruction[STEP]
            for i in range(4):
                y = sums[i] + parameters[instruction[SOURCES] + rows[i]]
                if instruction[CUT] and y < 0:
                    y = np.float32(0)
                if instruction[OPTION] == SIGMOID:
                    y = np.float32(1) / (np.float32(1) + np.exp(-y))
                memory[to + rows[i]] = y


@register_jitable
def run_scale(instruction: Array, arrays: Arrays, share: Portion) -> None:
    """Multiply each plane by its feature."""
    size, memory = instruction[IN_H] * instruction[IN_W], arrays.memory
    for channel in range(share.first, share.last):
        plane = instruction[TABLE] + 2 * channel  # its position, and that of the result
        x = arrays.tables[plane]
        y = arrays.tables[plane + 1] + share.image * instruction[STEP]
        for image in range(share.images):
            feature = memory[instruction[READS] + image * round_up(instruction[COUNT]) + channel]
            for j in range(image * size, (image + 1) * size, WIDTH):
                a = scale(feature, load(memory, x + j))
                store(memory, y + j, relu(a) if instruction[CUT] else a)


@compiled
def run_program(
    program: Array,
    each: int,
    tables: Array,
    parameters: Array,
    memory: Array,
    scratch: Array,
    images: Array,
    job: Array,
    caller: bool,
) -> None:
    """Run all instructions. Each thread of a job runs its part of each instruction.

    The first `each` instructions run for each image in turn, and the rest run once for all images.

    scratch : array, shape (threads, at least program.scratch)
    """
    thread, threads = start_together(job, caller)
    if threads == 0:
        return
    arrays = Arrays(tables, parameters, memory, scratch[thread])
    alone = each * images.shape[0]
    for turn in range(alone + program.shape[0] - each):
        if turn < alone:
            image, step, together = turn // each, turn % each, 1
        else:
            image, step, together = 0, turn - alone + each, images.shape[0]
        instruction = program[step]
        operation = instruction[OPERATION]
        count = instruction[COUNT]
        first, last = count * thread // threads, count * (thread + 1) // threads
        share = Portion(first, last, together, image)
        if operation == PRODUCT_DEPTHWISE:
            run_product_depthwise(instruction, arrays, share)
        elif operation == PRODUCT:
            run_product(instruction, arrays, share)
        elif operation == DEPTHWISE:
            run_depthwise(instruction, arrays, share)
        elif operation == CONVOLUTION:
            run_convolution(instruction, arrays, share, thread, threads)
        elif operation == POOL:
            run_pool(instruction, arrays, share)
        elif operation in (ADD, RELU):
            run_addition(instruction, arrays, share)
        elif operation == INPUT:
            run_input(instruction, arrays, share, images[image])
        elif operation == MEAN:
            run_mean(instruction, arrays, share)
        elif operation == LINEAR:
            run_linear(instruction, arrays, share)
        elif operation == SCALE:
            run_scale(instruction, arrays, share)
        if threads > 1:
            meet(job, (turn + 1) * threads)
