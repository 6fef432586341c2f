"""Inference plans: a network compiled to a program that runs from images to logits without Python.

    plan = shufflenet_v2(seed=0).plan()
    logits = plan(images)                       # n classes
    print(plan.program((3, 224, 224)))          # what it runs, instruction by instruction

A plan is made in four steps. Each is one file, which can be read alone:

    record      runs the network's forward on symbolic channels, and records the operations; split,
                concatenation and channel shuffle only reorder channels
    fuse        fuses ReLU, additions and depthwise convolutions with the operation before them
    program     allocates memory for every channel, and turns operations into instructions
    machine     runs the instructions in one compiled loop, on all threads

It needs Numba.
"""

from numpy_shufflenet.plan.plan import InferencePlan
from numpy_shufflenet.plan.program import Program
from numpy_shufflenet.plan.record import record

__all__ = ["InferencePlan", "Program", "record"]
