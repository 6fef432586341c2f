"""Mistakes in pooling and upsampling."""

from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.operations import Draw
from numpy_shufflenet.ops.checks import as_padding
from numpy_shufflenet.ops.upsample import interpolation_matrix
from numpy_shufflenet.zoo.catalogue import wrong_forward, wrong_gradient


def overlapping(draw: Draw) -> Any:
    """Draw windows that share many pixels."""
    return (draw(2, 2, 5, 4),), {"kernel_size": 3, "stride": 1, "padding": 1}


def _padded_zeros(cache: Any, dtype: Any) -> Array:
    return np.zeros((*cache.x.shape[:2], *cache.windows.padded_size), dtype)


def _crop_forgotten(dpadded: Array, cache: Any) -> Array:
    h, w = cache.x.shape[2:]
    return dpadded[:, :, :h, :w]


def _crop_zeros(dy: Array, cache: Any) -> Array:
    pool, (top, left) = cache
    dpadded = ops.max_pool2d_backward(dy, pool)
    h, w = dpadded.shape[2:]
    return dpadded[:, :, top : h - top, left : w - left].copy()


@wrong_forward(
    "max_pool2d",
    backward=_crop_zeros,
    cause="padding",
    example=lambda draw: ((draw(2, 3, 6, 5) - 2,), {"kernel_size": 3, "stride": 2, "padding": 1}),
)
def border_of_zeros(x: Array, kernel_size: Any, **windows: Any) -> tuple[Array, Any]:
    """Pad a max pool with 0, which is larger than negative values.

    Found in: published NumPy max pools that pad with 0.
    Hint: the zeros in your padding are larger than negative numbers; padding must never be the
    maximum: pad with -inf, or leave the padding out.
    """
    (top, bottom), (left, right) = as_padding(windows.get("padding", 0))
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    y, cache = ops.max_pool2d_forward(padded, kernel_size, stride=windows.get("stride"))
    return y, (cache, (top, left))


@wrong_gradient("max_pool2d", "x", cause="sum", example=overlapping)
def winners_assigned(dx: Array, dy: Array, cache: Any) -> Array:
    """Write with `=` instead of `+=`, so that windows with the same largest pixel don't add up.

    Found in: 0809zheng/CS231n-assignment2019, issue 19; FluxML/NNlib.jl, issue 205.
    Hint: a pixel that is the largest in several windows gets the gradient of the last window only:
    add up the gradients of all these windows (+=, not =).
    """
    windows, dpadded = cache.windows, _padded_zeros(cache, dy.dtype)
    row, column = np.divmod(cache.winner, windows.kernel[1])
    for p, q in np.ndindex(*windows.output):
        at = p * windows.stride[0] + row[..., p, q], q * windows.stride[1] + column[..., p, q]
        dpadded[(*np.indices(row.shape[:2]), *at)] = dy[..., p, q]
    return windows.crop(dpadded)


@wrong_gradient("max_pool2d", "x", cause="mask")
def everyone_wins(dx: Array, dy: Array, cache: Any) -> Array:
    """Give dy to every pixel of the window.

    Found in: pools that upsample the gradient and ignore which pixel was the largest.
    """
    dpadded = _padded_zeros(cache, dy.dtype)
    for i, j in cache.windows.taps():
        cache.windows.tap(dpadded, i, j)[...] += dy
    return cache.windows.crop(dpadded)


@wrong_gradient("max_pool2d", "x", cause="padding")
def border_not_cut_off(dx: Array, dy: Array, cache: Any) -> Array:
    """Return the top left part of the padded gradient, including the padding.

    Found in: published max pools whose backward reads the unpadded input.
    """
    dpadded = _padded_zeros(cache, dy.dtype)
    for number, (i, j) in enumerate(cache.windows.taps()):
        cache.windows.tap(dpadded, i, j)[...] += dy * (cache.winner == number)
    return _crop_forgotten(dpadded, cache)


@wrong_gradient("max_pool2d", "x", cause="dropped")
def returned_too_early(dx: Array, dy: Array, cache: Any) -> Array:
    """Return after the first image, so that the gradients of the others stay 0.

    Found in: riccardoandreoni0/CNN-from-scratch, issue 1: the return statement is in the loop.
    """
    wrong = dx.copy()
    wrong[1:] = 0
    return wrong


@wrong_gradient("avg_pool2d", "x", cause="factor")
def not_divided(dx: Array, dy: Array, cache: Any) -> Array:
    """Give every pixel of the window all of dy.

    Found in: pools that copy dy to every pixel.
    Hint: every entry is too large by a factor: divide by the pixels of the window.
    """
    return ops.avg_pool2d_backward(dy, cache._replace(share=np.ones_like(cache.share)))


@wrong_gradient("avg_pool2d", "x", cause="padding")
def border_counted(dx: Array, dy: Array, cache: Any) -> Array:
    """Divide by the full kernel size at the border, though the forward leaves padding out.

    Found in: tracel-ai/burn, issue 5604; pytorch, issue 198119: the full kernel as divisor.
    """
    full = np.full_like(cache.share, 1 / np.prod(cache.windows.kernel))
    return ops.avg_pool2d_backward(dy, cache._replace(share=full))


@wrong_gradient("avg_pool2d", "x", cause="sum")
def shares_assigned(dx: Array, dy: Array, cache: Any) -> Array:
    """Write with `=` instead of `+=`, so that overlapping windows don't add up.

    Found in: ghosert/cmd-editor, issue 2058: `=` for `+=` where windows overlap.
    """
    dpadded = _padded_zeros(cache, dy.dtype)
    for i, j in cache.windows.taps():
        cache.windows.tap(dpadded, i, j)[...] = dy * cache.share
    return cache.windows.crop(dpadded)


@wrong_gradient("avg_pool2d", "x", cause="padding")
def padding_not_subtracted(dx: Array, dy: Array, cache: Any) -> Array:
    """Forget that the padding shifts the windows, so that dx is shifted.

    Found in: pytorch, pull request 188345: the offset by the padding is missing.
    """
    dpadded = _padded_zeros(cache, dy.dtype)
    for i, j in cache.windows.taps():
        cache.windows.tap(dpadded, i, j)[...] += dy * cache.share
    return _crop_forgotten(dpadded, cache)


@wrong_gradient("global_avg_pool", "x", cause="factor")
def mean_not_divided(dx: Array, dy: Array, cache: Any) -> Array:
    """Give every pixel all of dy.

    Found in: pools that copy dy to every pixel.
    Hint: every entry is too large by a factor: divide by the h w pixels.
    """
    return dx * dx[0, 0].size


@wrong_gradient("global_avg_pool", "x", cause="factor")
def height_squared(dx: Array, dy: Array, cache: Any) -> Array:
    """Divide by h h instead of h w.

    Found in: Maratyszcza/NNPACK, issue 15: right for square images only.
    """
    h, w = dx.shape[2:]
    return dx * (w / h)


# Upsampling


@wrong_gradient("upsample_nearest", "x", cause="sum")
def first_pixel_of_each_block(dx: Array, dy: Array, cache: Any) -> Array:
    """Use one pixel of each block instead of the sum of the block.

    Found in: davisking/dlib, pull request 336, which discusses this mistake and avoids it.
    """
    sh, sw = cache.scale
    return dy[:, :, ::sh, ::sw]


@wrong_gradient("upsample_nearest", "x", cause="factor")
def blocks_averaged(dx: Array, dy: Array, cache: Any) -> Array:
    """Use the mean of each block instead of the sum.

    Found in: upsampling whose backward is an average pool.
    """
    return dx / np.prod(cache.scale)


@wrong_gradient("upsample_bilinear", "x", cause="weights")
def corners_aligned(dx: Array, dy: Array, cache: Any) -> Array:
    """Use the weights for align_corners=True in the backward.

    Found in: pytorch, pull request 5927: the two conventions for corners.
    """
    (_, _, h, w), rows, columns = cache
    other = [interpolation_matrix(s, len(m) // s, True) for s, m in ((h, rows), (w, columns))]
    return other[0].T @ dy @ other[1]


@wrong_gradient("upsample_bilinear", "x", cause="weights")
def nearest_weights(dx: Array, dy: Array, cache: Any) -> Array:
    """Add each gradient to the nearest pixel only.

    Found in: flagos-ai/FlagGems, issue 5218: the gradients of some outputs of a pixel are missing.
    """
    _, rows, columns = cache
    hard = [m == m.max(axis=1, keepdims=True) for m in (rows, columns)]
    return hard[0].T @ dy @ hard[1]
