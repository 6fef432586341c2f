"""Wrong backwards of the addition and of fused operations: one of the two steps goes wrong."""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.fused import FusedCache
from numpy_shufflenet.zoo._bug import wrong_backward

ACTIVATION = "fused layers that were written for the forward alone, and differentiated in part"


@wrong_backward("add", cause="dropped", found_in="residual units, as karpathy/micrograd 2")
def second_summand_forgotten(dy: Array, cache: Any) -> tuple[Array, Array]:
    """Hand dy to the first summand only: the shortcut's gradient is 0."""
    first, second = ops.add_backward(dy, cache)
    return first, np.zeros_like(second)


@wrong_backward("batch_norm_relu", cause="mask", found_in=ACTIVATION)
def activation_forgotten(dy: Array, cache: FusedCache) -> tuple[Array, ...]:
    """Go back through the normalisation alone, as if there were no ReLU behind it."""
    return ops.batch_norm_backward(dy, cache.first)


@wrong_backward(
    "batch_norm_relu",
    cause="mask",
    found_in="PaddlePaddle, pull request 18678: deciding by the wrong one of input and output",
)
def mask_from_the_input(dy: Array, cache: FusedCache) -> tuple[Array, ...]:
    """Cut off where x is negative, and not where the normalised value is."""
    return ops.batch_norm_backward(dy * (cache.x > 0), cache.first)


@wrong_backward("add_relu", cause="mask", found_in=ACTIVATION)
def shortcut_unmasked(dy: Array, cache: FusedCache) -> tuple[Array, Array]:
    """Cut off the gradient of the first summand only."""
    first, _ = ops.add_relu_backward(dy, cache)
    return first, dy.copy()


@wrong_backward("conv2d_relu", cause="mask", found_in=ACTIVATION)
def bias_unmasked(dy: Array, cache: FusedCache) -> tuple[Any, ...]:
    """Add up dy for the bias, before the ReLU has cut it off."""
    dx, dw, db = ops.conv2d_relu_backward(dy, cache)
    return dx, dw, None if db is None else dy.sum(axis=(0, 2, 3))


@wrong_backward("pointwise_conv2d_relu", cause="mask", found_in=ACTIVATION)
def input_unmasked(dy: Array, cache: FusedCache) -> tuple[Any, ...]:
    """Cut off what goes to the weights, and not what goes to x."""
    _, dw, db = ops.pointwise_conv2d_relu_backward(dy, cache)
    return ops.pointwise_conv2d_backward(dy, cache.first)[0], dw, db


@wrong_backward(
    "channel_concat_shuffle", cause="permutation", found_in="units whose shuffle is not undone"
)
def shuffle_skipped(dy: Array, cache: FusedCache) -> tuple[Array, ...]:
    """Cut dy into its parts without undoing the shuffle first."""
    return ops.channel_concat_backward(dy, cache.first)
