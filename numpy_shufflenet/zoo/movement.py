"""Wrong backwards of what moves numbers: shuffle, split, concatenation, pooling, up-sampling."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.operations import Draw
from numpy_shufflenet.ops.pooling import MaxPool2dCache
from numpy_shufflenet.ops.upsample import interpolation_matrix
from numpy_shufflenet.zoo._bug import wrong_backward

SHUFFLES = "published shuffles whose backward shuffles onwards, as C = 4, g = 2 can't tell"


@wrong_backward("channel_shuffle", cause="permutation", found_in=SHUFFLES)
def shuffled_onwards(dy: Array, cache: Any) -> Array:
    """Shuffle dy once more, as x was, in place of back."""
    return ops.channel_shuffle_forward(dy, cache.groups)[0]


@wrong_backward(
    "channel_shuffle", cause="permutation", found_in="units that forget it; see unit_v2"
)
def not_shuffled(dy: Array, cache: Any) -> Array:
    """Leave every gradient where it is."""
    return dy.copy()


@wrong_backward("channel_unshuffle", cause="permutation", found_in=SHUFFLES)
def unshuffled_onwards(dy: Array, cache: Any) -> Array:
    """Unshuffle dy once more in place of shuffling."""
    return ops.channel_unshuffle_forward(dy, cache.groups)[0]


@wrong_backward(
    "channel_split",
    cause="permutation",
    found_in="V2 units with the two branches exchanged on the way back",
)
def parts_in_reverse(dparts: Sequence[Array], cache: Any) -> Array:
    """Concatenate the parts from the last to the first."""
    return np.concatenate(list(dparts)[::-1], axis=1)


@wrong_backward(
    "channel_split",
    cause="dropped",
    found_in="V2 units that forget the branch through which channels just pass",
)
def first_part_forgotten(dparts: Sequence[Array], cache: Any) -> Array:
    """Leave the gradient of the first part 0."""
    first, *others = dparts
    return np.concatenate([np.zeros_like(first), *others], axis=1)


@wrong_backward(
    "channel_concat",
    cause="swapped",
    found_in="V2 units with the two branches exchanged on the way back",
    example=lambda draw: ((draw(2, 2, 3, 2), draw(2, 2, 3, 2)), {}),
)
def parts_swapped(dy: Array, cache: Any) -> tuple[Array, ...]:
    """Hand the second part's gradient to the first array, and the first part's to the second."""
    return ops.channel_concat_backward(dy, cache)[::-1]


def overlapping(draw: Draw) -> Any:
    """Windows that share many pixels."""
    return (draw(2, 2, 5, 4),), {"kernel_size": 3, "stride": 1, "padding": 1}


def _spread(cache: MaxPool2dCache, dtype: Any) -> Array:
    shape = (*cache.x.shape[:2], *cache.windows.padded_size)
    return np.zeros(shape, dtype)


@wrong_backward(
    "max_pool2d",
    cause="sum",
    found_in="0809zheng/CS231n-assignment2019, issue 19; FluxML/NNlib.jl, issue 205",
    example=overlapping,
)
def winners_assigned(dy: Array, cache: MaxPool2dCache) -> Array:
    """Write with `=` in place of `+=`: of windows that share their winner, the last one counts."""
    dpadded = _spread(cache, dy.dtype)
    for number, (i, j) in enumerate(cache.windows.taps()):
        tap = cache.windows.tap(dpadded, i, j)
        tap[...] = np.where(cache.winner == number, dy, tap)
    return cache.windows.crop(dpadded).copy()


@wrong_backward(
    "max_pool2d",
    cause="mask",
    found_in="pools that double the gradient's size and forget who won",
)
def everyone_wins(dy: Array, cache: MaxPool2dCache) -> Array:
    """Give dy to every pixel of the window."""
    dpadded = _spread(cache, dy.dtype)
    for i, j in cache.windows.taps():
        cache.windows.tap(dpadded, i, j)[...] += dy
    return cache.windows.crop(dpadded).copy()


@wrong_backward(
    "max_pool2d",
    cause="padding",
    found_in="published max pools whose backward reads the unpadded input",
)
def border_not_cut_off(dy: Array, cache: MaxPool2dCache) -> Array:
    """Take the top left of the padded gradient, border and all, as that of x."""
    dpadded = _spread(cache, dy.dtype)
    for number, (i, j) in enumerate(cache.windows.taps()):
        cache.windows.tap(dpadded, i, j)[...] += dy * (cache.winner == number)
    h, w = cache.x.shape[2:]
    return dpadded[:, :, :h, :w].copy()


@wrong_backward(
    "max_pool2d",
    cause="dropped",
    found_in="riccardoandreoni0/CNN-from-scratch, issue 1: the return stands inside of the loop",
)
def returned_too_early(dy: Array, cache: MaxPool2dCache) -> Array:
    """Return after the first image: the others' gradients stay 0."""
    dx = ops.max_pool2d_backward(dy, cache).copy()
    dx[1:] = 0
    return dx


@wrong_backward("avg_pool2d", cause="factor", found_in="pools that copy dy to every pixel")
def not_divided(dy: Array, cache: Any) -> Array:
    """Give every pixel of the window the whole of dy."""
    return ops.avg_pool2d_backward(dy, cache._replace(share=np.ones_like(cache.share)))


@wrong_backward(
    "avg_pool2d",
    cause="padding",
    found_in="tracel-ai/burn, issue 5604; pytorch, issue 198119: the full kernel as divisor",
)
def border_counted(dy: Array, cache: Any) -> Array:
    """Divide by the whole kernel at the border too, where the forward had left padding out."""
    full = np.full_like(cache.share, 1 / np.prod(cache.windows.kernel))
    return ops.avg_pool2d_backward(dy, cache._replace(share=full))


@wrong_backward(
    "avg_pool2d",
    cause="sum",
    found_in="ghosert/cmd-editor, issue 2058: `=` for `+=` where windows overlap",
)
def shares_assigned(dy: Array, cache: Any) -> Array:
    """Write with `=` in place of `+=`."""
    windows = cache.windows
    dpadded = np.zeros((*cache.x.shape[:2], *windows.padded_size), dy.dtype)
    for i, j in windows.taps():
        windows.tap(dpadded, i, j)[...] = dy * cache.share
    return windows.crop(dpadded).copy()


@wrong_backward(
    "avg_pool2d",
    cause="padding",
    found_in="pytorch, pull request 188345: no offset by the padding, tests had ignored padding",
)
def padding_not_subtracted(dy: Array, cache: Any) -> Array:
    """Look for the windows of a pixel as if there were no border: all is moved by it."""
    windows = cache.windows
    dpadded = np.zeros((*cache.x.shape[:2], *windows.padded_size), dy.dtype)
    for i, j in windows.taps():
        windows.tap(dpadded, i, j)[...] += dy * cache.share
    h, w = cache.x.shape[2:]
    return dpadded[:, :, :h, :w].copy()


@wrong_backward("global_avg_pool", cause="factor", found_in="pools that copy dy to every pixel")
def mean_not_divided(dy: Array, cache: Any) -> Array:
    """Give every pixel the whole of dy."""
    h, w = cache.x.shape[2:]
    return ops.global_avg_pool_backward(dy, cache) * dy.dtype.type(h * w)


@wrong_backward(
    "global_avg_pool",
    cause="factor",
    found_in="Maratyszcza/NNPACK, issue 15: right for square images only",
)
def height_squared(dy: Array, cache: Any) -> Array:
    """Divide by h h in place of h w."""
    h, w = cache.x.shape[2:]
    return ops.global_avg_pool_backward(dy, cache) * dy.dtype.type(w / h)


@wrong_backward(
    "upsample_nearest",
    cause="sum",
    found_in="davisking/dlib, pull request 336, where it is discussed and done right",
)
def first_pixel_of_each_block(dy: Array, cache: Any) -> Array:
    """Take one pixel of each block in place of their sum."""
    sh, sw = cache.scale
    return dy[:, :, ::sh, ::sw].copy()


@wrong_backward(
    "upsample_nearest",
    cause="factor",
    found_in="up-samplings whose backward is an average pool",
)
def blocks_averaged(dy: Array, cache: Any) -> Array:
    """Average over each block."""
    return ops.upsample_nearest_backward(dy, cache) / dy.dtype.type(np.prod(cache.scale))


@wrong_backward(
    "upsample_bilinear",
    cause="weights",
    found_in="pytorch, pull request 5927: two conventions of the corners",
)
def corners_aligned(dy: Array, cache: Any) -> Array:
    """Use the weights of the other convention on the way back."""
    (_, _, h, w), rows, columns = cache
    other = [
        interpolation_matrix(size, len(m) // size, True).astype(dy.dtype)
        for size, m in ((h, rows), (w, columns))
    ]
    return other[0].T @ dy @ other[1]


@wrong_backward(
    "upsample_bilinear",
    cause="weights",
    found_in="flagos-ai/FlagGems, issue 5218: outputs that a pixel also reaches are left out",
)
def nearest_weights(dy: Array, cache: Any) -> Array:
    """Send each gradient to the nearest pixel alone."""
    _, rows, columns = cache
    hard = [(m == m.max(axis=1, keepdims=True)).astype(dy.dtype) for m in (rows, columns)]
    return hard[0].T @ dy @ hard[1]
