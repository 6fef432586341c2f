"""The machine that runs a program: one compiled loop over instructions, the same on every thread.

All numbers live in one array, `memory`, all weights in another, `parameters`, and an instruction is
a row of whole numbers that says where. So a network runs from image to logits without Python, and
threads that share it meet after each instruction without the operating system.
"""

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._barrier import meet
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    fill,
    fma,
    load,
    relu,
    scale,
    store,
    total,
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
    TABLE,
    columns_of,
    round_up,
)
from numpy_shufflenet.plan.products import convolution, product, product_depthwise
from numpy_shufflenet.plan.windows import depthwise, pool


@register_jitable
def read_image(
    instruction: Array, tables: Array, memory: Array, image: Array, first: int, last: int
) -> None:
    """Copy channels of the image into planes."""
    h, w = instruction[IN_H], instruction[IN_W]
    for channel in range(first, last):
        for row in range(h):
            x = (channel * h + row) * w
            y = tables[instruction[TABLE] + channel] + row * (w + 1)
            for column in range(0, w - WIDTH + 1, WIDTH):
                store(memory, y + column, load(image, x + column))
            for column in range(w - w % WIDTH, w):
                memory[y + column] = image[x + column]


@register_jitable
def combine(instruction: Array, tables: Array, memory: Array, first: int, last: int) -> None:
    """Add two planes, or take one; cut off what is negative if asked to."""
    columns = columns_of(instruction[IN_H], instruction[IN_W])
    for number in range(first, last):
        plane = instruction[TABLE] + 3 * number  # one plane, the other, and where the result goes
        for j in range(0, columns, WIDTH):
            a = load(memory, tables[plane] + j)
            if instruction[OPERATION] == ADD:
                a = add(a, load(memory, tables[plane + 1] + j))
            store(memory, tables[plane + 2] + j, relu(a) if instruction[CUT] else a)


@register_jitable
def mean(instruction: Array, tables: Array, memory: Array, first: int, last: int) -> None:
    """Write the mean of every channel as a feature."""
    h, w = instruction[IN_H], instruction[IN_W]
    for channel in range(first, last):
        plane = tables[instruction[TABLE] + channel]
        result = np.float32(0)
        for column in range(0, w, WIDTH):
            a = load(memory, plane + column)
            for row in range(1, h):
                a = add(a, load(memory, plane + row * (w + 1) + column))
            result += total(a, min(w - column, WIDTH))
        memory[instruction[MAKES] + channel] = result / np.float32(h * w)


@register_jitable
def linear(instruction: Array, parameters: Array, memory: Array, first: int, last: int) -> None:
    """Multiply features by the rows of a matrix; end in a ReLU or a sigmoid, or in nothing."""
    features = round_up(instruction[CHANNELS])
    x = instruction[READS]
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
        y = total(add(a, b), WIDTH) + parameters[instruction[SOURCES] + output]
        if instruction[CUT] and y < 0:
            y = np.float32(0)
        if instruction[OPTION] == SIGMOID:
            y = np.float32(1) / (np.float32(1) + np.exp(-y))
        memory[instruction[MAKES] + output] = y


@register_jitable
def excite(instruction: Array, tables: Array, memory: Array, first: int, last: int) -> None:
    """Scale every plane by its feature."""
    for channel in range(first, last):
        plane = instruction[TABLE] + 2 * channel  # where it is, and where its result goes
        feature = memory[instruction[READS] + channel]
        for j in range(0, columns_of(instruction[IN_H], instruction[IN_W]), WIDTH):
            a = scale(feature, load(memory, tables[plane] + j))
            store(memory, tables[plane + 1] + j, relu(a) if instruction[CUT] else a)


def run(
    program: Array,
    tables: Array,
    parameters: Array,
    memory: Array,
    scratch: Array,
    image: Array,
    thread: int,
    threads: int,
    arrivals: Array,
) -> None:
    """Run all instructions: thread number `thread` of so many does its share of each."""
    for step in range(program.shape[0]):
        instruction = program[step]
        operation = instruction[OPERATION]
        count = instruction[COUNT]
        first = count * thread // threads
        last = count * (thread + 1) // threads
        if operation == PRODUCT_DEPTHWISE:
            product_depthwise(instruction, tables, parameters, memory, scratch, first, last)
        elif operation == PRODUCT:
            product(instruction, tables, parameters, memory, first, last)
        elif operation == DEPTHWISE:
            depthwise(instruction, tables, parameters, memory, scratch, first, last)
        elif operation == CONVOLUTION:
            convolution(instruction, tables, parameters, memory, scratch, thread, threads)
        elif operation == POOL:
            pool(instruction, tables, memory, scratch, first, last)
        elif operation in (ADD, RELU):
            combine(instruction, tables, memory, first, last)
        elif operation == INPUT:
            read_image(instruction, tables, memory, image, first, last)
        elif operation == MEAN:
            mean(instruction, tables, memory, first, last)
        elif operation == LINEAR:
            linear(instruction, parameters, memory, first, last)
        elif operation == SCALE:
            excite(instruction, tables, memory, first, last)
        if threads > 1:
            meet(arrivals, (step + 1) * threads)


run_jit = compiled(run)
