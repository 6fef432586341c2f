"""The operations that networks spend their time in, as compiled loops and blocked products.

Same signatures as in `ops`. What is not here is fast enough there.
"""

from numpy_shufflenet.kernels import _barrier  # noqa: F401
from numpy_shufflenet.kernels.batch_norm import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference_backward,
    batch_norm_inference_forward,
    batch_norm_relu_backward,
    batch_norm_relu_forward,
)
from numpy_shufflenet.kernels.channels import (
    channel_concat_backward,
    channel_concat_forward,
    channel_concat_shuffle_backward,
    channel_concat_shuffle_forward,
    channel_shuffle_backward,
    channel_shuffle_forward,
    channel_split_backward,
    channel_split_forward,
    channel_unshuffle_backward,
    channel_unshuffle_forward,
)
from numpy_shufflenet.kernels.conv2d import (
    conv2d_backward,
    conv2d_forward,
    conv2d_relu_backward,
    conv2d_relu_forward,
    group_conv2d_backward,
    group_conv2d_forward,
)
from numpy_shufflenet.kernels.depthwise_conv2d import (
    depthwise_conv2d_backward,
    depthwise_conv2d_forward,
)
from numpy_shufflenet.kernels.pointwise_conv2d import (
    pointwise_conv2d_backward,
    pointwise_conv2d_forward,
    pointwise_conv2d_relu_backward,
    pointwise_conv2d_relu_forward,
)
from numpy_shufflenet.kernels.pooling import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    global_avg_pool_backward,
    global_avg_pool_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from numpy_shufflenet.kernels.relu import (
    add_backward,
    add_forward,
    add_relu_backward,
    add_relu_forward,
    relu_backward,
    relu_forward,
)

__all__ = [
    "add_backward",
    "add_forward",
    "add_relu_backward",
    "add_relu_forward",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference_backward",
    "batch_norm_inference_forward",
    "batch_norm_relu_backward",
    "batch_norm_relu_forward",
    "channel_concat_backward",
    "channel_concat_forward",
    "channel_concat_shuffle_backward",
    "channel_concat_shuffle_forward",
    "channel_shuffle_backward",
    "channel_shuffle_forward",
    "channel_split_backward",
    "channel_split_forward",
    "channel_unshuffle_backward",
    "channel_unshuffle_forward",
    "conv2d_backward",
    "conv2d_forward",
    "conv2d_relu_backward",
    "conv2d_relu_forward",
    "depthwise_conv2d_backward",
    "depthwise_conv2d_forward",
    "global_avg_pool_backward",
    "global_avg_pool_forward",
    "group_conv2d_backward",
    "group_conv2d_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "pointwise_conv2d_backward",
    "pointwise_conv2d_forward",
    "pointwise_conv2d_relu_backward",
    "pointwise_conv2d_relu_forward",
    "relu_backward",
    "relu_forward",
]
