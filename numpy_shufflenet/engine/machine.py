"""The machine: one compiled loop over the instructions of a program, the same on every thread.

Each thread takes the next turn of an instruction until none is left. Then the threads wait for each
other at a barrier, and go on with the next instruction.
"""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine.instruction import Arrays, call_turn
from numpy_shufflenet.kernels._barrier import fetch_add, meet, start_together
from numpy_shufflenet.kernels._compile import compiled

LINE = 8  # int64 numbers in a cache line; the counter of each instruction has a line of its own

STEP = np.dtype(
    [
        ("instruction", np.int64),  # address of the machine code
        ("record", np.int64),  # address of the record
        ("turns", np.int64),
    ]
)


@compiled
def run_program(
    job: Array,
    caller: bool,
    steps: Array,
    counters: Array,
    arrays: Arrays,
    scratch: Array,
    wide: Array,
) -> None:
    """Run this thread's turns of all instructions.

    Parameters
    ----------
    job, caller
        As in `_threads.run_together`.
    steps : array, shape (k,), of dtype STEP
    counters : array, shape (k * LINE,), int64
        Zeros at the start. Every LINE-th number counts the turns that threads have taken of one
        instruction.
    arrays : Arrays
        Its scratch and wide are not used.
    scratch, wide : array, shape (threads, size), float32 and float64
    """
    thread, threads = start_together(job, caller)
    if threads == 0:
        return
    mine = Arrays(
        arrays.memory, arrays.images, arrays.tables, arrays.slots, arrays.parameter_gradients,
        arrays.moments, arrays.sums, scratch[thread], wide[thread],
    )  # fmt: skip
    for k in range(steps.size):
        step = steps[k]
        turn = fetch_add(counters, k * LINE, 1)
        while turn < step["turns"]:
            call_turn(step["instruction"], step["record"], mine, turn)
            turn = fetch_add(counters, k * LINE, 1)
        if threads > 1:
            meet(job, (k + 1) * threads)
