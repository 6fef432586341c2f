"""Convolution: a matrix of weights times the runs of all taps of all channels.

In planes (see `_planes`), one tap of all outputs in a row reads a contiguous run of numbers. The
weights (o, c kh kw) are multiplied by these runs, one strip of the image after the other (see
`_strips`). Register tiles read the runs in place (see `_conv2d_tiles`). For BLAS, the runs of a
strip are copied to columns that fit in the cache (see `_conv2d_columns`). (`ops` writes all columns
at once, which take kh kw times the memory of the image.)

Backward, dw is the sum of the products of all strips. dx is cut by rows or channels of the image,
so that no two threads add to the same number.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import take_turns
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.kernels import _conv2d_columns, _conv2d_taps, _conv2d_tiles
from numpy_shufflenet.kernels._layout import as_image, as_rows, contiguous, empty_rows
from numpy_shufflenet.kernels._products import all_finite, sum_of_parts
from numpy_shufflenet.kernels._strips import Strips, strips_of
from numpy_shufflenet.kernels._tiles import BLOCK, CHAIN, PANEL, suits
from numpy_shufflenet.kernels.relu import masked_by_relu
from numpy_shufflenet.ops._sums import FEW as FEW_TERMS
from numpy_shufflenet.ops._sums import wide
from numpy_shufflenet.ops.checks import check_gradient
from numpy_shufflenet.ops.conv2d import (
    check_weight,
    convolve_by_taps,
    correlate_by_taps,
)
from numpy_shufflenet.ops.windows import Windows, windows_over

__all__ = [
    "conv2d_backward",
    "conv2d_forward",
    "conv2d_relu_backward",
    "conv2d_relu_forward",
    "group_conv2d_backward",
    "group_conv2d_forward",
]

FEW = 4  # at most so many input channels are convolved by `_conv2d_taps`
LONG = 16 * CHAIN  # an output row of at most so many numbers makes a sum of at most CHAIN vectors
NO_BORDER = ((0, 0), (0, 0))
PARTS = 16  # partial sums of dw, each over some strips


class Conv2dCache(NamedTuple):
    """What the backward functions need; y only after a ReLU, to tell which outputs are positive."""

    x: Array  # c, h w n
    w: Array  # o c/g kh kw
    has_bias: bool
    windows: Windows
    groups: int
    n: int
    y: Array | None  # n o oh ow


Gradients = tuple[Any, Array, Array | None]


def conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tuple[Array, Conv2dCache]:
    """`ops.conv2d_forward`, in blocks."""
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    return _forward(x, w, b, groups, relu=False, geometry=geometry)


def conv2d_backward(dy: Array, cache: Conv2dCache, *, input_gradient: bool = True) -> Gradients:
    """`ops.conv2d_backward`, in blocks."""
    return _backward(dy, cache, input_gradient=input_gradient)


def conv2d_relu_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tuple[Array, Conv2dCache]:
    """`ops.conv2d_relu_forward`, in blocks."""
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    return _forward(x, w, b, groups, relu=True, geometry=geometry)


def conv2d_relu_backward(dy: Array, cache: Conv2dCache) -> Gradients:
    """`ops.conv2d_relu_backward`, in blocks."""
    return _backward(dy, cache)


def group_conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    groups: int,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> tuple[Array, Conv2dCache]:
    """`ops.group_conv2d_forward`, in blocks."""
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    return _forward(x, w, b, groups, relu=False, geometry=geometry)


def group_conv2d_backward(dy: Array, cache: Conv2dCache) -> Gradients:
    """`ops.group_conv2d_backward`, in blocks."""
    return _backward(dy, cache)


Run = Callable[..., Any]


def _ways_forward(w: Array, windows: Windows, groups: int, n: int) -> tuple[Run, Strips]:
    """Return the fastest function for the forward, and its strips."""
    if _tiled(w, windows, groups, n):
        return _conv2d_tiles.convolve, strips_of(windows, n, w.shape[1])
    if groups == 1 and w.shape[1] <= FEW and windows.kernel == (3, 3):
        return _conv2d_taps.convolve, strips_of(windows, n, w.shape[1])
    return _conv2d_columns.convolve, _conv2d_columns.strips_for(w, windows, groups, n)


def _ways_back(w: Array, windows: Windows, groups: int, n: int) -> tuple[Run, Run, Strips]:
    """Return the fastest functions for dw and dx, and the strips of x."""
    if _tiled(w, windows, groups, n) and windows.output[1] * n <= LONG:
        strips = strips_of(windows, n, w.shape[1])
        return _conv2d_tiles.correlate, _conv2d_tiles.spread, strips
    strips = _conv2d_columns.strips_for(w, windows, groups, n)
    return _conv2d_columns.correlate, _conv2d_columns.spread, strips


def _tiled(w: Array, windows: Windows, groups: int, n: int) -> bool:
    fits = suits(w.dtype, len(w) // groups, w[0].size, windows.output[1] * n, PANEL)
    return fits and math.prod(windows.kernel) <= FEW_TERMS


def _forward(
    x: Array, w: Array, b: Array | None, groups: int, *, relu: bool, geometry: dict[str, Any]
) -> tuple[Array, Conv2dCache]:
    check_weight(x, w, b, groups)
    windows = windows_over(x, w.shape[2:], **geometry)
    w = contiguous(w)
    n, o, (h, width), (oh, ow), depth = len(x), len(w), windows.size, windows.output, w[0].size
    convolve, strips = _ways_forward(w, windows, groups, n)
    rows, y = as_rows(x), empty_rows(o, n, oh, ow, x.dtype)
    images = rows.reshape(groups, w.shape[1], h, width * n)
    weights = w.reshape(groups, o // groups, depth)
    shift = np.zeros(o if relu else 0, x.dtype) if b is None else contiguous(b)
    operands = images, tuple(strips), weights, shift, relu
    turns = groups * strips.pieces
    image = as_image(y, n, oh, ow)
    take_turns(turns, lambda own: convolve(*operands, own, y), work=depth * y.size // 8)
    # A zero of the border times infinity is NaN. Check w or y for it, whichever is smaller.
    if windows.padding != NO_BORDER and not all_finite(w if w.size <= y.size else y):
        whole = convolve_by_taps(as_image(rows, n, h, width), w, b, windows, groups)
        image[...] = np.where(whole < 0, 0, whole) if relu else whole
    kept = image if relu else None
    return image, Conv2dCache(rows, w, b is not None, windows, groups, n, kept)


def _backward(dy: Array, cache: Conv2dCache, *, input_gradient: bool = True) -> Gradients:
    rows, w, has_bias, windows, groups, n, y = cache
    check_gradient(dy, (n, len(w), *windows.output), rows.dtype)
    gradients = as_rows(dy)
    if y is not None:
        gradients = masked_by_relu(gradients, y)
    correlate, spread, strips = _ways_back(w, windows, groups, n)
    (h, width), parts, depth = windows.size, min(PARTS, strips.pieces), w[0].size
    operands = rows.reshape(groups, w.shape[1], h, width * n), tuple(strips), gradients
    blocks = strips.rows * -(-windows.output[1] * n // BLOCK)  # in the largest strip
    number = wide(w.dtype, blocks * -(-strips.pieces // parts))
    dw = empty((groups, parts, len(w) // groups, depth), number)
    work = depth * gradients.size // 8
    take_turns(groups * parts, lambda own: correlate(*operands, own, dw), work)
    dx = None
    if input_gradient:
        dx = as_image(spread(gradients, w, windows, n, groups), n, h, width)
    db = gradients.sum(axis=1) if has_bias else None
    total = sum_of_parts(dw, w)
    if windows.padding != NO_BORDER and not all_finite(total):
        dy, x = as_image(gradients, n, *windows.output), as_image(rows, n, h, width)
        total = correlate_by_taps(dy, x, w, windows, groups)
    return dx, total, db
