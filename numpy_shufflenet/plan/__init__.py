"""Plans: a network compiled to a program, which runs from image to logits without Python.

    plan = shufflenet_v2(seed=0).plan()
    logits = plan(images)                       # n classes
    print(plan.program((3, 224, 224)))          # what it runs, instruction by instruction

A plan is made in four steps, each in a file of its own that can be read alone:

    record      the network's own forward runs on names of rows; split, concatenation and channel
                shuffle turn out to be nothing but other orders of names
    fuse        ReLU, additions and depthwise convolutions join the operation before them
    program     every row gets a place in memory, and every operation becomes an instruction
    machine     a compiled loop runs the instructions, on all threads at once

It needs Numba.
"""

from numpy_shufflenet.plan.plan import InferencePlan
from numpy_shufflenet.plan.program import Program
from numpy_shufflenet.plan.record import record

__all__ = ["InferencePlan", "Program", "record"]
