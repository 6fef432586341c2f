"""More wrong backwards, written after `explain` was finished and never used to improve `explain`.

They measure how often `explain` names the right family of causes for mistakes that its author
didn't know. Exercises don't compare answers with these mistakes, so a test can measure what
exercises say of an unknown mistake.
"""

import functools
from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo import catalogue
from numpy_shufflenet.zoo.convolutions import square, strided
from numpy_shufflenet.zoo.units import wrong_unit

SLIPS = "nowhere: written for this measurement, similar to published mistakes"
wrong_gradient = functools.partial(catalogue.wrong_gradient, part="held out", found_in=SLIPS)
wrong_backward = functools.partial(catalogue.wrong_backward, part="held out", found_in=SLIPS)


@wrong_gradient("conv2d", "x", cause="transpose", example=square)
def kernel_mirrored(dx: Array, dy: Array, cache: Any) -> Array:
    """Flip the weights for dx along one axis only."""
    return ops.conv2d_backward(dy, cache._replace(w=cache.w[:, :, :, ::-1]))[0]


@wrong_gradient("conv2d", "x", cause="stride", example=strided)
def repeated_for_zeros(dx: Array, dy: Array, cache: Any) -> Array:
    """Fill the gaps between the gradients at stride 2 with copies instead of zeros."""
    wide = dy.repeat(2, axis=2).repeat(2, axis=3)
    dense = cache.windows._replace(stride=(1, 1), output=(wide.shape[2], wide.shape[3]))
    dense = dense._replace(padding=((1, 1), (1, 1)), size=(wide.shape[2], wide.shape[3]))
    x = np.zeros((*cache.x.shape[:2], *wide.shape[2:]), dy.dtype)
    return ops.conv2d_backward(wide, cache._replace(x=x, windows=dense))[0]


@wrong_gradient("group_conv2d", "x", cause="permutation")
def groups_shifted(dx: Array, dy: Array, cache: Any) -> Array:
    """Give the dx of each group to the next group."""
    return np.roll(dx, cache.split.shapes[0][1], axis=1)


@wrong_gradient("depthwise_conv2d", "x", cause="padding")
def one_side_cropped(dx: Array, dy: Array, cache: Any) -> Array:
    """Cut the padding off at the bottom instead of the top."""
    (top, bottom), (left, right) = cache.windows.padding
    h, w = cache.x.shape[2:]
    wide = cache.windows._replace(padding=((0, 0), (left, right)), size=(h + top + bottom, w))
    x = np.zeros((*cache.x.shape[:2], h + top + bottom, w), dy.dtype)
    padded, _, _ = ops.depthwise_conv2d_backward(dy, cache._replace(x=x, windows=wide))
    return padded[:, :, :h]


@wrong_gradient("pointwise_conv2d", "w", cause="single entry")
def off_by_one(dw: Array, dy: Array, cache: Any) -> Array:
    """Start a loop over the weights at 1 instead of 0."""
    wrong = dw.copy()
    wrong.reshape(-1)[0] = 0
    return wrong


@wrong_gradient("batch_norm", "x", cause="term")
def sign_of_the_mean_term(dx: Array, dy: Array, cache: Any) -> Array:
    """Add the mean of the gradient instead of subtracting it."""
    scale = cache.gamma / np.sqrt(cache.var + cache.eps)
    return dx + 2 * (scale * dy.mean(axis=(0, 2, 3)))[:, None, None]


@wrong_gradient("batch_norm", "beta", cause="factor")
def shift_scaled(dbeta: Array, dy: Array, cache: Any) -> Array:
    """Multiply dbeta by the number of pixels."""
    return dbeta * dy[0, 0].size


@wrong_backward("batch_norm_inference", cause="swapped")
def scale_and_shift_swapped(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Swap dgamma and dbeta."""
    dx, dgamma, dbeta = ops.batch_norm_inference_backward(dy, cache)
    return dx, dbeta, dgamma


@wrong_gradient("channel_shuffle", "x", cause="permutation")
def channels_in_reverse(dx: Array, dy: Array, cache: Any) -> Array:
    """Return the channels of dy in reverse order."""
    return dx[:, ::-1]


@wrong_backward("channel_concat", cause="dropped")
def last_part_forgotten(dy: Array, cache: Any) -> tuple[Array, ...]:
    """Leave the gradient of the last array at 0."""
    *others, last = ops.channel_concat_backward(dy, cache)
    return *others, np.zeros_like(last)


@wrong_gradient("max_pool2d", "x", cause="mask")
def ties_by_value(dx: Array, dy: Array, cache: Any) -> Array:
    """Give dy to all pixels of a window that are within 0.5 of the largest."""
    windows = cache.windows
    dpadded = np.zeros((*cache.x.shape[:2], *windows.padded_size), dy.dtype)
    padded = windows.pad(cache.x, value=-np.inf)
    best = np.max([windows.tap(padded, i, j) for i, j in windows.taps()], axis=0)
    for i, j in windows.taps():
        windows.tap(dpadded, i, j)[...] += dy * (windows.tap(padded, i, j) >= best - 0.5)
    return windows.crop(dpadded)


@wrong_gradient("relu", "x", cause="mask")
def leaky(dx: Array, dy: Array, cache: Any) -> Array:
    """Multiply dy by 0.1 instead of 0 where y is 0, as for a leaky ReLU."""
    return np.where(cache.y > 0, dy, dy / 10)


@wrong_gradient("sigmoid", "x", cause="slope")
def slope_of_tanh(dx: Array, dy: Array, cache: Any) -> Array:
    """Use 1 - y^2, the slope of tanh."""
    return dy * (1 - cache.y * cache.y)


@wrong_gradient("linear", "x", cause="not linear")
def sign_of_dy(dx: Array, dy: Array, cache: Any) -> Array:
    """Use the sign of dy instead of dy for dx."""
    return np.sign(dy) @ cache.w


@wrong_gradient("linear", "w", cause="sum")
def last_row_only(dw: Array, dy: Array, cache: Any) -> Array:
    """Assign dw in a loop over the batch instead of adding."""
    return np.outer(dy[-1], cache.x[-1])


@wrong_gradient("softmax_cross_entropy", "logits", cause="factor")
def averaged_over_classes(dlogits: Array, dy: Any, cache: Any) -> Array:
    """Divide by the number of classes instead of the batch size."""
    n, classes = dlogits.shape
    return dlogits * (n / classes)


@wrong_gradient("upsample_bilinear", "x", cause="weights")
def blocks_added(dx: Array, dy: Array, cache: Any) -> Array:
    """Add up blocks of pixels, as the backward of nearest-neighbour upsampling does."""
    (n, c, h, w), rows, columns = cache
    return dy.reshape(n, c, h, len(rows) // h, w, len(columns) // w).sum(axis=(3, 5))


@wrong_unit("unit_v1", cause="term", found_in=SLIPS, part="held out")
def shortcut_counted_twice(unit: Any, dy: Array) -> Array:
    """Add the gradient of the shortcut twice."""
    dy = unit.relu.backward(dy)
    return 2 * dy + unit.branch.backward(dy)
