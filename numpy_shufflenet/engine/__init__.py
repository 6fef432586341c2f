"""The engine: a training step of a network, compiled to a program.

    record          runs the network's own forward on symbolic channels, and lists its operations
    build           makes instructions of each operation's forward and backward; assigns memory
    machine         the compiled loop over instructions, which every thread runs
    training        `TrainingProgram`: the class for users

Instructions are in `products` (1x1 convolutions, linear layers), `convolutions` (any window),
`windows` (3x3 depthwise convolution and pooling) and `wholes` (the rest). `rows` says what they
read and write. Batch normalisation and ReLU are computed again wherever their output is read.
"""

import numpy_shufflenet.kernels  # noqa: F401 - raises an error that names the extra without Numba
from numpy_shufflenet.engine.training import ProgramMemory, TrainingProgram, state_of
from numpy_shufflenet.plan.record import Unsupported

__all__ = ["ProgramMemory", "TrainingProgram", "Unsupported", "state_of"]
