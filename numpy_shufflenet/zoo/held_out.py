"""More wrong backwards, written after `explain` was finished, and not looked at to mend it.

They measure how often it names the right family for mistakes that it was not made for.
"""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.batch_norm import BatchNormCache
from numpy_shufflenet.ops.conv2d import Conv2dCache
from numpy_shufflenet.zoo._bug import wrong_backward
from numpy_shufflenet.zoo.convolutions import square, strided
from numpy_shufflenet.zoo.units import wrong_unit

SLIPS = "slips of the pen, of the kind that the zoo's published ones are"


@wrong_backward("conv2d", cause="transpose", found_in=SLIPS, example=square, part="held out")
def kernel_mirrored(dy: Array, cache: Conv2dCache) -> tuple[Any, ...]:
    """Turn the kernel of dx around one axis only."""
    _, dw, db = ops.conv2d_backward(dy, cache)
    mirrored = cache._replace(w=cache.w[:, :, :, ::-1])
    return ops.conv2d_backward(dy, mirrored)[0], dw, db


@wrong_backward("conv2d", cause="stride", found_in=SLIPS, example=strided, part="held out")
def repeated_for_zeros(dy: Array, cache: Conv2dCache) -> tuple[Any, ...]:
    """Fill the gaps that the stride leaves with the neighbour's gradient in place of zeros."""
    _, dw, db = ops.conv2d_backward(dy, cache)
    wide = dy.repeat(2, axis=2).repeat(2, axis=3)
    dense = cache.windows._replace(stride=(1, 1), output=(wide.shape[2], wide.shape[3]))
    dense = dense._replace(padding=((1, 1), (1, 1)), size=(wide.shape[2], wide.shape[3]))
    x = np.zeros((*cache.x.shape[:2], *wide.shape[2:]), dy.dtype)
    return ops.conv2d_backward(wide, cache._replace(x=x, windows=dense))[0], dw, db


@wrong_backward("group_conv2d", cause="permutation", found_in=SLIPS, part="held out")
def groups_shifted(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Hand each group's dx to the next group."""
    dx, dw, db = ops.group_conv2d_backward(dy, cache)
    return np.roll(dx, cache.split.shapes[0][1], axis=1), dw, db


@wrong_backward("depthwise_conv2d", cause="padding", found_in=SLIPS, part="held out")
def one_side_cropped(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Cut the border off at the left, and at the bottom where it should be the top."""
    _, dw, db = ops.depthwise_conv2d_backward(dy, cache)
    (top, bottom), (left, right) = cache.windows.padding
    h, w = cache.x.shape[2:]
    wide = cache.windows._replace(padding=((0, 0), (left, right)), size=(h + top + bottom, w))
    x = np.zeros((*cache.x.shape[:2], h + top + bottom, w), dy.dtype)
    padded, _, _ = ops.depthwise_conv2d_backward(dy, cache._replace(x=x, windows=wide))
    return padded[:, :, :h].copy(), dw, db


@wrong_backward("pointwise_conv2d", cause="single entry", found_in=SLIPS, part="held out")
def off_by_one(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Start a loop over the weights at 1."""
    dx, dw, db = ops.pointwise_conv2d_backward(dy, cache)
    dw.reshape(-1)[0] = 0
    return dx, dw, db


@wrong_backward("batch_norm", cause="term", found_in=SLIPS, part="held out")
def sign_of_the_mean_term(dy: Array, cache: BatchNormCache) -> tuple[Any, ...]:
    """Add the mean of the gradient in place of subtracting it."""
    dx, dgamma, dbeta = ops.batch_norm_backward(dy, cache)
    m = dy.size // dy.shape[1]
    scale = cache.gamma / np.sqrt(cache.var + dy.dtype.type(cache.eps))
    return dx + 2 * (scale * dbeta / m)[:, None, None], dgamma, dbeta


@wrong_backward("batch_norm", cause="factor", found_in=SLIPS, part="held out")
def shift_scaled(dy: Array, cache: BatchNormCache) -> tuple[Any, ...]:
    """Multiply dbeta by the number of pixels: a mean that was never taken is undone."""
    dx, dgamma, dbeta = ops.batch_norm_backward(dy, cache)
    return dx, dgamma, dbeta * dbeta.dtype.type(dy.shape[2] * dy.shape[3])


@wrong_backward("batch_norm_inference", cause="swapped", found_in=SLIPS, part="held out")
def scale_and_shift_swapped(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Return dbeta for gamma, and dgamma for beta."""
    dx, dgamma, dbeta = ops.batch_norm_inference_backward(dy, cache)
    return dx, dbeta, dgamma


@wrong_backward("channel_shuffle", cause="permutation", found_in=SLIPS, part="held out")
def channels_in_reverse(dy: Array, cache: Any) -> Array:
    """Read the table of channels from its end."""
    return ops.channel_shuffle_backward(dy, cache)[:, ::-1].copy()


@wrong_backward("channel_concat", cause="dropped", found_in=SLIPS, part="held out")
def last_part_forgotten(dy: Array, cache: Any) -> tuple[Array, ...]:
    """Leave the gradient of the last array 0."""
    *others, last = ops.channel_concat_backward(dy, cache)
    return *others, np.zeros_like(last)


@wrong_backward("max_pool2d", cause="mask", found_in=SLIPS, part="held out")
def ties_by_value(dy: Array, cache: Any) -> Array:
    """Let all pixels of a window win that are within 0.5 of the largest."""
    dpadded = np.zeros((*cache.x.shape[:2], *cache.windows.padded_size), dy.dtype)
    padded = cache.windows.pad(cache.x, value=-np.inf)
    best = np.full(dy.shape, -np.inf)
    for i, j in cache.windows.taps():
        best = np.maximum(best, cache.windows.tap(padded, i, j))
    for i, j in cache.windows.taps():
        near = cache.windows.tap(padded, i, j) >= best - 0.5
        cache.windows.tap(dpadded, i, j)[...] += dy * near
    return cache.windows.crop(dpadded).copy()


@wrong_backward("relu", cause="mask", found_in=SLIPS, part="held out")
def leaky(dy: Array, cache: Any) -> Array:
    """Let a tenth through where nothing should: the backward of another activation."""
    return np.where(cache.y > 0, dy, dy / 10)


@wrong_backward("sigmoid", cause="slope", found_in=SLIPS, part="held out")
def slope_of_tanh(dy: Array, cache: Any) -> Array:
    """Take 1 - y^2, the slope of tanh."""
    return dy * (1 - cache.y * cache.y)


@wrong_backward("linear", cause="not linear", found_in=SLIPS, part="held out")
def sign_of_dy(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Use the sign of dy for dx."""
    _, dw, db = ops.linear_backward(dy, cache)
    return np.sign(dy) @ cache.w, dw, db


@wrong_backward("linear", cause="sum", found_in=SLIPS, part="held out")
def last_row_only(dy: Array, cache: Any) -> tuple[Any, ...]:
    """Assign dw in a loop over the batch in place of adding."""
    dx, _, db = ops.linear_backward(dy, cache)
    return dx, np.outer(dy[-1], cache.x[-1]), db


@wrong_backward("softmax_cross_entropy", cause="factor", found_in=SLIPS, part="held out")
def averaged_over_classes(dy: Any, cache: Any) -> Array:
    """Divide by the number of classes in place of the batch size."""
    n, classes = cache.targets.shape
    return ops.softmax_cross_entropy_backward(dy, cache) * cache.targets.dtype.type(n / classes)


@wrong_backward("upsample_bilinear", cause="weights", found_in=SLIPS, part="held out")
def blocks_added(dy: Array, cache: Any) -> Array:
    """Add up blocks, as for nearest neighbours."""
    (n, c, h, w), rows, columns = cache
    return dy.reshape(n, c, h, len(rows) // h, w, len(columns) // w).sum(axis=(3, 5))


@wrong_unit("unit_v1", cause="term", found_in=SLIPS, part="held out")
def shortcut_counted_twice(unit: Any, dy: Array) -> Array:
    """Add the shortcut's gradient twice."""
    dy = unit.relu.backward(dy)
    return 2 * dy + unit.branch.backward(dy)
