"""Depthwise convolution, compiled.

With 3x3 windows and float32, the kernel reads the image without a copy (see `_depthwise_windows`).
With other windows or dtypes, it first copies each channel to a padded plane (see
`depthwise_planes`).
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share_range
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._depthwise_windows import (
    convolve_windows,
    correlate_windows,
    gather_through_taps,
)
from numpy_shufflenet.kernels._gather import gather_of
from numpy_shufflenet.kernels._layout import as_image, as_rows, contiguous, empty_rows
from numpy_shufflenet.kernels._planes import empty_plane, planes_of
from numpy_shufflenet.kernels._products import all_finite
from numpy_shufflenet.kernels._slide import slide_of
from numpy_shufflenet.kernels.depthwise_planes import (
    backward_channels,
    forward_channels,
    turned_planes,
)
from numpy_shufflenet.ops._sums import wide
from numpy_shufflenet.ops.checks import check_gradient
from numpy_shufflenet.ops.depthwise_conv2d import check_depthwise
from numpy_shufflenet.ops.windows import Windows

__all__ = ["depthwise_conv2d_backward", "depthwise_conv2d_forward"]

LONG = 1024  # at most so many blocks are summed in float32; sums of several pieces, in float64


@compiled
def backward_one_by_one(
    dy: Array, x: Array, w: Array, windows: Windows, dx: Array, dw: Array
) -> None:
    """Compute dx (h, w, n) and dw (m, kh, kw) of a channel, from dy (m, oh, ow, n), by loops."""
    (sh, sw), (top, left) = windows.stride, (windows.padding[0][0], windows.padding[1][0])
    (h, width), total_dx = windows.size, np.zeros(dx.shape)
    for o, i, j in np.ndindex(w.shape):
        total = np.float64(0)
        for p, q, t in np.ndindex(dy.shape[1:]):
            r = p * sh + i * windows.dilation[0] - top
            s = q * sw + j * windows.dilation[1] - left
            if 0 <= r < h and 0 <= s < width:
                total += dy[o, p, q, t] * x[r, s, t]
                total_dx[r, s, t] += w[o, i, j] * dy[o, p, q, t]
        dw[o, i, j] = total
    dx[:] = total_dx


@compiled
def forward_one_by_one(x: Array, w: Array, b: Array, windows: Windows, y: Array) -> None:
    """Compute y (m, oh, ow, n) of a channel x (h, w, n) and filters w (m, kh, kw), by loops."""
    (sh, sw), (top, left) = windows.stride, (windows.padding[0][0], windows.padding[1][0])
    h, width = windows.size
    for o, p, q, t in np.ndindex(y.shape):
        total = np.float64(0)
        for i, j in np.ndindex(w.shape[1:]):
            r = p * sh + i * windows.dilation[0] - top
            s = q * sw + j * windows.dilation[1] - left
            if 0 <= r < h and 0 <= s < width:
                total += w[o, i, j] * x[r, s, t]
        y[o, p, q, t] = total + b[o]


class DepthwiseConv2dCache(NamedTuple):
    """What `depthwise_conv2d_backward` needs."""

    x: Array  # c, h w n
    w: Array  # c*m 1 kh kw
    has_bias: bool
    windows: Windows
    n: int


def depthwise_conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> tuple[Array, DepthwiseConv2dCache]:
    """`ops.depthwise_conv2d_forward`, compiled."""
    windows = check_depthwise(x, w, b, stride=stride, padding=padding, dilation=dilation)
    n, c, h, width = x.shape
    m = len(w) // c
    rows = as_rows(x)  # c, h w n
    weights = contiguous(w).reshape(c * m, w[0].size)
    shifts = np.zeros(c * m, x.dtype) if b is None else contiguous(b)
    y = empty_rows(c * m, n, *windows.output, x.dtype)
    cache = DepthwiseConv2dCache(rows, w, b is not None, windows, n)
    if slide := slide_of(windows, n, x.dtype):
        operands, out = (rows.ravel(), weights, shifts, slide), y.ravel()
        share_range(c, lambda i, j: convolve_windows(*operands, i, j, out), work=3 * y.size)
    else:
        _forward_in_planes(rows, weights, shifts, windows, n, y)
    if all_finite(weights):
        return as_image(y, n, *windows.output), cache
    # The kernels above also multiply the zeros of the border, and 0 times infinity or NaN is NaN.
    # So channels with such weights are computed again, by loops that skip the border.
    finite = np.isfinite(weights).all(axis=1)
    for k in np.flatnonzero(~finite.reshape(c, m).all(axis=1)):
        forward_one_by_one(
            rows.reshape(c, h, width, n)[k],
            weights.reshape(c, m, *windows.kernel)[k],
            shifts.reshape(c, m)[k],
            windows,
            y.reshape(c, m, *windows.output, n)[k],
        )
    return as_image(y, n, *windows.output), cache


def _forward_in_planes(x: Array, w: Array, b: Array, windows: Windows, n: int, y: Array) -> None:
    c, (h, width) = len(x), windows.size
    m, planes, number = len(w) // c, planes_of(windows, n, sort=n > 1), wide(x.dtype, w.shape[1])
    images, w, b = x.reshape(c, h, width * n), w.astype(number), b.astype(number)
    sums = y if number == y.dtype else np.empty(y.shape, number)
    outputs = sums.reshape(c * m, windows.output[0], windows.output[1] * n)

    def run(first: int, last: int) -> None:
        forward_channels(
            images[first:last],
            w[first * m : last * m],
            b[first * m : last * m],
            n,
            planes,
            empty_plane(planes, number, 0),
            empty((planes.run,), number),
            outputs[first * m : last * m],
        )

    share_range(c, run, work=w.shape[1] * y.size)
    if sums is not y:
        y[...] = sums


def depthwise_conv2d_backward(
    dy: Array, cache: DepthwiseConv2dCache
) -> tuple[Array, Array, Array | None]:
    """`ops.depthwise_conv2d_backward`, compiled."""
    rows, w, has_bias, windows, n = cache
    c, (h, width), (oh, ow) = len(rows), windows.size, windows.output
    m = len(w) // c
    check_gradient(dy, (n, len(w), oh, ow), rows.dtype)
    weights = contiguous(w).reshape(c * m, w[0].size)
    gradients = as_rows(dy).reshape(c * m, oh, ow * n)
    dx, dw = empty_rows(c, n, h, width, rows.dtype), np.empty_like(weights)
    operands = gradients, rows, weights, windows, n, dx, dw
    if m == 1 and slide_of(windows, n, rows.dtype):
        _backward_in_windows(*operands)
    else:
        _backward_in_planes(*operands)
    # As in the forward: the kernels also multiply zeros in a border or between outputs. Channels in
    # which one of these products can be NaN are computed again.
    finite = np.isfinite(weights).all(axis=1) & np.isfinite(dw).all(axis=1)
    for k in np.flatnonzero(~finite.reshape(c, m).all(axis=1)):
        backward_one_by_one(
            gradients.reshape(c, m, oh, ow, n)[k],
            rows.reshape(c, h, width, n)[k],
            weights.reshape(c, m, *windows.kernel)[k],
            windows,
            dx.reshape(c, h, width, n)[k],
            dw.reshape(c, m, *windows.kernel)[k],
        )
    db = gradients.reshape(c * m, oh * ow * n).sum(axis=1) if has_bias else None
    return as_image(dx, n, h, width), dw.reshape(w.shape), db


def _pieces(blocks: Array) -> list[Array]:
    """Cut a table of more than `LONG` blocks into pieces, which are summed separately."""
    return [blocks[k : k + LONG] for k in range(0, len(blocks), LONG)]


def _backward_in_windows(
    dy: Array, x: Array, w: Array, windows: Windows, n: int, dx: Array, dw: Array
) -> None:
    slide, gather = slide_of(windows, n, x.dtype), gather_of(windows, n, x.dtype)
    assert slide is not None
    flat_dy, flat_x, flat_dx = dy.ravel(), x.ravel(), dx.ravel()

    pieces = [slide._replace(blocks=blocks) for blocks in _pieces(slide.blocks)]
    parts = [dw, *(np.empty_like(dw) for _ in pieces[1:])]

    def run(first: int, last: int) -> None:
        for piece, part in zip(pieces, parts, strict=True):
            correlate_windows(flat_dy, flat_x, piece, first, last, part)
        gather_through_taps(flat_dy, w, gather, first, last, flat_dx)

    share_range(len(w), run, work=4 * dy.size + 3 * dx.size)
    if len(parts) > 1:
        dw[...] = np.sum(parts, axis=0, dtype=np.float64)


def _backward_in_planes(
    dy: Array, x: Array, w: Array, windows: Windows, n: int, dx: Array, dw: Array
) -> None:
    c, (h, width) = len(x), windows.size
    m = len(w) // c
    planes, number = planes_of(windows, n, sort=n > 1), wide(x.dtype, w.shape[1])
    turned, gather = turned_planes(windows, n, m) if number == x.dtype else (planes, False)
    images, dimages = x.reshape(c, h, width * n), dx.reshape(c, h, width * n)

    def run(first: int, last: int) -> None:
        outputs = slice(first * m, last * m)
        backward_channels(
            dy[outputs],
            images[first:last],
            w[outputs],
            n,
            planes,
            empty_plane(planes, x.dtype, 0),
            np.zeros(planes.run, x.dtype),
            turned,
            empty_plane(turned, number, 0),
            empty((turned.run,), x.dtype),
            gather,
            dimages[first:last],
            dw[outputs],
        )

    share_range(c, run, work=4 * w[0].size * x.size)
