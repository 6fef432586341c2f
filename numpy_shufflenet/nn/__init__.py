"""Layers that own parameters, and the units of both networks."""

from numpy_shufflenet.nn.fold import fold
from numpy_shufflenet.nn.initialise import initialise
from numpy_shufflenet.nn.layer import Buffer, Layer, Parameter
from numpy_shufflenet.nn.layers import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    ChannelConcat,
    ChannelShuffle,
    ChannelSplit,
    Conv2d,
    Dropout,
    GlobalAvgPool,
    LeakyReLU,
    Linear,
    MaxPool2d,
    OperationLayer,
    ReLU,
    SqueezeExcitation,
    Swish,
)
from numpy_shufflenet.nn.parallel import Parallel
from numpy_shufflenet.nn.sequential import Sequential
from numpy_shufflenet.nn.statistics import fill_statistics
from numpy_shufflenet.nn.sync import SyncBatchNorm2d, synchronise
from numpy_shufflenet.nn.trace import Trace
from numpy_shufflenet.nn.units import ShuffleNetV1Unit, ShuffleNetV2Unit

__all__ = [
    "Add",
    "AvgPool2d",
    "BatchNorm2d",
    "Buffer",
    "ChannelConcat",
    "ChannelShuffle",
    "ChannelSplit",
    "Conv2d",
    "Dropout",
    "GlobalAvgPool",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "OperationLayer",
    "Parallel",
    "Parameter",
    "ReLU",
    "Sequential",
    "ShuffleNetV1Unit",
    "ShuffleNetV2Unit",
    "SqueezeExcitation",
    "Swish",
    "SyncBatchNorm2d",
    "Trace",
    "fill_statistics",
    "fold",
    "initialise",
    "synchronise",
]
