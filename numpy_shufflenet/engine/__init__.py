"""The engine: a training step of a network, compiled to a program.

    record          the network's own forward runs on names of channels: nodes
    build           one instruction for each node's forward, one for its backward; static memory
    machine         the compiled loop over instructions, the same on every thread
    training        `TrainingProgram`: what a user holds

Instructions are in `products` (1x1 convolutions, linear layers), `convolutions` (any window),
`windows` (3x3 depthwise convolution and pooling) and `wholes` (the rest). `rows` says what they
read and write. Batch normalisation and ReLU are computed again wherever their output is read.
"""

import numpy_shufflenet.kernels  # noqa: F401 - it asks for Numba
from numpy_shufflenet.engine.training import ProgramMemory, TrainingProgram, state_of
from numpy_shufflenet.plan.record import Unsupported

__all__ = ["ProgramMemory", "TrainingProgram", "Unsupported", "state_of"]
