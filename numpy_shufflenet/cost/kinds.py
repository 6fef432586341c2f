"""Kinds of operations, as the pictures and the audit group them."""

KINDS = {
    "conv2d": "convolution",
    "group_conv2d": "convolution",
    "pointwise_conv2d": "1x1 convolution",
    "depthwise_conv2d": "depthwise",
    "linear": "classifier",
    "batch_norm": "batch norm",
    "batch_norm_inference": "batch norm",
    "relu": "ReLU",
    "sigmoid": "ReLU",
    "dropout": "ReLU",
    "channel_shuffle": "shuffle",
    "channel_unshuffle": "shuffle",
    "channel_split": "split, concat",
    "channel_concat": "split, concat",
    "max_pool2d": "pooling",
    "avg_pool2d": "pooling",
    "global_avg_pool": "pooling",
    "upsample_nearest": "pooling",
    "upsample_bilinear": "pooling",
    "squeeze_excitation": "squeeze-excitation",
    "softmax_cross_entropy": "loss",
    "add": "addition",
    "add_relu": "addition",
    "batch_norm_relu": "batch norm",
    "conv2d_relu": "convolution",
    "pointwise_conv2d_relu": "1x1 convolution",
    "channel_concat_shuffle": "shuffle",
}
"""The kind of every operation."""

ADDITION = "addition"
"""Shortcuts: what units add themselves."""

ORDER = tuple(dict.fromkeys([*KINDS.values(), ADDITION]))
ELEMENT_WISE = ("batch norm", "ReLU", ADDITION)
"""What guideline 4 calls element-wise, BN included as it is where it is not folded."""
DATA_MOVEMENT = ("shuffle", "split, concat")


def kind_of(operation: str) -> str:
    """Return the kind of an operation; a fused one belongs to the convolution or BN it holds."""
    if operation in KINDS:
        return KINDS[operation]
    for name, kind in KINDS.items():
        if operation.startswith(name):
            return kind
    return "batch norm" if "batch_norm" in operation else operation
