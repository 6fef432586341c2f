"""Kinds of operations, as the pictures and the audit group them."""

from numpy_shufflenet.operations import OPERATIONS

ADDITION = "addition"
"""Shortcuts: what units add themselves."""

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
"""What guideline 4 calls element-wise; BN is included, as it is where it is not folded."""
