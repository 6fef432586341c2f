"""Every operation as the text of the course has it: vectorised NumPy, forward and backward.

Each is a pair of pure functions: `y, cache = x_forward(...)`, `gradients = x_backward(dy, cache)`.
"""

from numpy_shufflenet.ops.add import (
    add_backward,
    add_forward,
)
from numpy_shufflenet.ops.batch_norm import (
    batch_norm_backward,
    batch_norm_backward_graph,
    batch_norm_backward_simplified,
    batch_norm_forward,
    batch_norm_inference_backward,
    batch_norm_inference_forward,
    update_running_statistics,
)
from numpy_shufflenet.ops.channel_shuffle import (
    channel_shuffle_backward,
    channel_shuffle_forward,
    channel_unshuffle_backward,
    channel_unshuffle_forward,
)
from numpy_shufflenet.ops.channels import (
    channel_concat_backward,
    channel_concat_forward,
    channel_split_backward,
    channel_split_forward,
)
from numpy_shufflenet.ops.conv2d import (
    conv2d_backward,
    conv2d_forward,
)
from numpy_shufflenet.ops.depthwise_conv2d import (
    depthwise_conv2d_backward,
    depthwise_conv2d_forward,
)
from numpy_shufflenet.ops.dropout import (
    dropout_backward,
    dropout_forward,
)
from numpy_shufflenet.ops.fused import (
    add_relu_backward,
    add_relu_forward,
    batch_norm_relu_backward,
    batch_norm_relu_forward,
    channel_concat_shuffle_backward,
    channel_concat_shuffle_forward,
    conv2d_relu_backward,
    conv2d_relu_forward,
    pointwise_conv2d_relu_backward,
    pointwise_conv2d_relu_forward,
)
from numpy_shufflenet.ops.group_conv2d import (
    group_conv2d_backward,
    group_conv2d_forward,
)
from numpy_shufflenet.ops.linear import (
    linear_backward,
    linear_forward,
)
from numpy_shufflenet.ops.loss import (
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from numpy_shufflenet.ops.pointwise_conv2d import (
    pointwise_conv2d_backward,
    pointwise_conv2d_forward,
)
from numpy_shufflenet.ops.pooling import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    global_avg_pool_backward,
    global_avg_pool_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from numpy_shufflenet.ops.relu import (
    relu_backward,
    relu_forward,
)
from numpy_shufflenet.ops.sigmoid import (
    sigmoid_backward,
    sigmoid_forward,
)
from numpy_shufflenet.ops.squeeze_excitation import (
    squeeze_excitation_backward,
    squeeze_excitation_forward,
)
from numpy_shufflenet.ops.upsample import (
    upsample_bilinear_backward,
    upsample_bilinear_forward,
    upsample_nearest_backward,
    upsample_nearest_forward,
)

__all__ = [
    "add_backward",
    "add_forward",
    "add_relu_backward",
    "add_relu_forward",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batch_norm_backward",
    "batch_norm_backward_graph",
    "batch_norm_backward_simplified",
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
    "dropout_backward",
    "dropout_forward",
    "global_avg_pool_backward",
    "global_avg_pool_forward",
    "group_conv2d_backward",
    "group_conv2d_forward",
    "linear_backward",
    "linear_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "pointwise_conv2d_backward",
    "pointwise_conv2d_forward",
    "pointwise_conv2d_relu_backward",
    "pointwise_conv2d_relu_forward",
    "relu_backward",
    "relu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "squeeze_excitation_backward",
    "squeeze_excitation_forward",
    "update_running_statistics",
    "upsample_bilinear_backward",
    "upsample_bilinear_forward",
    "upsample_nearest_backward",
    "upsample_nearest_forward",
]
