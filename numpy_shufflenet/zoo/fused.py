"""Mistakes in the addition and in fused operations."""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo.catalogue import wrong_backward, wrong_gradient

ACTIVATION = "fused layers whose backward leaves the activation out for some gradients"


@wrong_gradient("add", "x2", cause="dropped")
def second_summand_forgotten(dx2: Array, dy: Array, cache: Any) -> Array:
    """Return dy for the first array only, and 0 for the second.

    Found in: residual units, such as karpathy/micrograd, issue 2.
    """
    return np.zeros_like(dx2)


@wrong_backward("batch_norm_relu", cause="mask", found_in=ACTIVATION)
def activation_forgotten(dy: Array, cache: Any) -> tuple[Array, ...]:
    """Leave the ReLU out of the backward."""
    return ops.batch_norm_backward(dy, cache.first)


@wrong_backward("batch_norm_relu", cause="mask")
def mask_from_the_input(dy: Array, cache: Any) -> tuple[Array, ...]:
    """Set the gradient to 0 where x is negative, not where the normalised value is.

    Found in: PaddlePaddle, pull request 18678: the mask of the input instead of the output.
    """
    return ops.batch_norm_backward(dy * (cache.x > 0), cache.first)


@wrong_gradient("add_relu", "x2", cause="mask", found_in=ACTIVATION)
def shortcut_unmasked(dx2: Array, dy: Array, cache: Any) -> Array:
    """Apply the mask of the ReLU to the gradient of the first array only."""
    return dy


@wrong_gradient("conv2d_relu", "b", cause="mask", found_in=ACTIVATION)
def bias_unmasked(db: Array, dy: Array, cache: Any) -> Array:
    """Add up dy for the bias without the mask of the ReLU."""
    return dy.sum(axis=(0, 2, 3))


@wrong_gradient("pointwise_conv2d_relu", "x", cause="mask", found_in=ACTIVATION)
def input_unmasked(dx: Array, dy: Array, cache: Any) -> Array:
    """Apply the mask of the ReLU to dw, but not to dx."""
    return ops.pointwise_conv2d_backward(dy, cache.first)[0]


@wrong_backward("channel_concat_shuffle", cause="permutation")
def shuffle_skipped(dy: Array, cache: Any) -> tuple[Array, ...]:
    """Split dy without undoing the shuffle first.

    Found in: units whose backward doesn't undo the shuffle.
    """
    return ops.channel_concat_backward(dy, cache.first)
