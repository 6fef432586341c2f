"""Kinds of operations, by which pictures, tables and the audit group the layers of a network."""

from numpy_shufflenet.operations import OPERATIONS

ADDITION = "addition"
"""Shortcuts: additions that a unit computes itself."""

_FIRST = (
    "convolution",
    "1x1 convolution",
    "depthwise",
    "classifier",
    "batch norm",
    "ReLU",
    "shuffle",
    "split, concat",
    "pooling",
)
ORDER = tuple(dict.fromkeys([*_FIRST, *(each.kind for each in OPERATIONS.values()), ADDITION]))
"""Every kind, in the order of pictures and tables."""

ELEMENT_WISE = ("batch norm", "ReLU", ADDITION)
"""The element-wise kinds of guideline 4; batch normalisation counts unless it is folded."""
