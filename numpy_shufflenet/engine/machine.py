"""The machine: one compiled loop over the instructions of a program, the same on every thread.

Each instruction has turns, pieces of work that don't depend on each other. A thread takes the next
turn of an instruction until none is left. Then the threads meet at a barrier, and go on with the
next instruction.
"""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine.convolutions import run_convolution, run_convolution_backward
from numpy_shufflenet.engine.products import run_pack, run_product, run_product_backward, run_sum
from numpy_shufflenet.engine.rows import Arrays
from numpy_shufflenet.engine.wholes import (
    run_addition,
    run_addition_backward,
    run_bias,
    run_clear,
    run_input,
    run_mean,
    run_mean_backward,
    run_norm,
    run_norm_backward,
    run_scale,
    run_scale_backward,
    run_sigmoid,
    run_sigmoid_backward,
)
from numpy_shufflenet.engine.windows import (
    run_depthwise,
    run_depthwise_backward,
    run_pool,
    run_pool_backward,
)
from numpy_shufflenet.kernels._barrier import fetch_add, meet, start_together
from numpy_shufflenet.kernels._compile import compiled

LINE = 8  # counters in a cache line; each instruction has a line for its turns


@compiled
def run_program(
    job: Array,
    caller: bool,
    program: Array,
    instructions: tuple[Array, ...],
    counters: Array,
    arrays: Arrays,
    scratch: Array,
    wide: Array,
    images: Array,
) -> None:
    """Run this thread's turns of all instructions.

    Parameters
    ----------
    job, caller
        As in `_threads.run_together`.
    program : array, shape (steps, 3), int64
        Kind, index and number of turns of each instruction.
    instructions : tuple of arrays
        The instructions of each kind.
    counters : array, shape (steps * LINE,), int64
        Zeros: how many turns of each instruction are taken.
    arrays : Arrays
        Its scratch and wide are not used.
    scratch, wide : array, shape (threads, size), float32 and float64
    images : array, shape (n, c, pixels), float32
    """
    thread, threads = start_together(job, caller)
    if threads == 0:
        return
    mine = Arrays(
        arrays.memory, arrays.tables, arrays.slots, arrays.moments, arrays.sums,
        scratch[thread], wide[thread],
    )  # fmt: skip
    for step in range(program.shape[0]):
        kind, index, turns = program[step, 0], program[step, 1], program[step, 2]
        turn = fetch_add(counters, step * LINE, 1)
        while turn < turns:
            run_turn(kind, instructions, index, mine, images, turn)
            turn = fetch_add(counters, step * LINE, 1)
        if threads > 1:
            meet(job, (step + 1) * threads)


@compiled
def run_turn(
    kind: int, instructions: tuple[Array, ...], i: int, arrays: Arrays, images: Array, turn: int
) -> None:
    """Run one turn of an instruction; the numbers are indices of `build.KINDS`."""
    if kind == 0:
        run_pack(instructions[0][i], arrays, turn)
    elif kind == 1:
        run_input(instructions[1][i], arrays, images, turn)
    elif kind == 2:
        run_convolution(instructions[2][i], arrays, turn)
    elif kind == 3:
        run_product(instructions[3][i], arrays, turn)
    elif kind == 4:
        run_depthwise(instructions[4][i], arrays, turn)
    elif kind == 5:
        run_pool(instructions[5][i], arrays, turn)
    elif kind == 6:
        run_addition(instructions[6][i], arrays, turn)
    elif kind == 7:
        run_mean(instructions[7][i], arrays, turn)
    elif kind == 8:
        run_scale(instructions[8][i], arrays, turn)
    elif kind == 9:
        run_sigmoid(instructions[9][i], arrays, turn)
    elif kind == 10:
        run_norm(instructions[10][i], arrays, turn)
    elif kind == 11:
        run_clear(instructions[11][i], arrays, turn)
    elif kind == 12:
        run_norm_backward(instructions[12][i], arrays, turn)
    elif kind == 13:
        run_bias(instructions[13][i], arrays, turn)
    elif kind == 14:
        run_sum(instructions[14][i], arrays, turn)
    elif kind == 15:
        run_convolution_backward(instructions[15][i], arrays, turn)
    elif kind == 16:
        run_product_backward(instructions[16][i], arrays, turn)
    elif kind == 17:
        run_depthwise_backward(instructions[17][i], arrays, turn)
    elif kind == 18:
        run_pool_backward(instructions[18][i], arrays, turn)
    elif kind == 19:
        run_addition_backward(instructions[19][i], arrays, turn)
    elif kind == 20:
        run_mean_backward(instructions[20][i], arrays, turn)
    elif kind == 21:
        run_scale_backward(instructions[21][i], arrays, turn)
    elif kind == 22:
        run_sigmoid_backward(instructions[22][i], arrays, turn)
