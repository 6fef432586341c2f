"""Pooling: for each output row, one pass over the stream of each tap (see `_planes`).

The winner of a max pool is a small number a pixel, kept for backward; there each stream of dy is
added to where it was read from, masked by the winner or scaled by the average's share.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import as_image, as_rows
from numpy_shufflenet.kernels._planes import (
    Planes,
    empty_plane,
    planes_of,
    read_image_jit,
    write_image_jit,
)
from numpy_shufflenet.ops._check import check_gradient
from numpy_shufflenet.ops._windows import Windows
from numpy_shufflenet.ops.pooling import (
    average_share,
    check_pixels,
    first_tap_inside,
    pool_windows,
)


def max_pool_channels(
    x: Array, y: Array, winner: Array, first: Array, kh: int, n: int, planes: Planes, plane: Array
) -> None:
    """Compute y and winner (c, oh, ow n) of some channels x (c, h, w n); plane's border is -inf.

    first (oh, ow n) is the winner where all values are -inf. The last NaN of a window wins.
    """
    stream, offsets = planes.stream, planes.offsets
    kw, number = offsets.size, winner.dtype.type
    for c in range(x.shape[0]):
        write_image_jit(x[c], n, planes, plane)
        for p in range(y.shape[1]):
            best, win = y[c, p], winner[c, p]
            best[:] = -np.inf
            win[:] = first[p]
            for i in range(kh):
                row = plane[p * planes.row_stride + i * planes.row_step]
                if kw == 3:
                    x0 = row[offsets[0] : offsets[0] + stream]
                    x1 = row[offsets[1] : offsets[1] + stream]
                    x2 = row[offsets[2] : offsets[2] + stream]
                    n0, n1, n2 = number(3 * i), number(3 * i + 1), number(3 * i + 2)
                    for k in range(stream):
                        b, w = best[k], win[k]
                        wins = x0[k] > b or x0[k] != x0[k]
                        b, w = (x0[k], n0) if wins else (b, w)
                        wins = x1[k] > b or x1[k] != x1[k]
                        b, w = (x1[k], n1) if wins else (b, w)
                        wins = x2[k] > b or x2[k] != x2[k]
                        best[k], win[k] = (x2[k], n2) if wins else (b, w)
                else:
                    for j in range(kw):
                        x_ij, n_ij = row[offsets[j] : offsets[j] + stream], number(i * kw + j)
                        for k in range(stream):
                            wins = x_ij[k] > best[k] or x_ij[k] != x_ij[k]
                            best[k], win[k] = (x_ij[k], n_ij) if wins else (best[k], win[k])


def max_pool_backward_channels(
    dy: Array, winner: Array, dx: Array, kh: int, n: int, planes: Planes, dplane: Array
) -> None:
    """Compute dx (c, h, w n): each dy goes to the pixel that won."""
    stream, kw = planes.stream, planes.offsets.size
    zero = dy.dtype.type(0)
    for c in range(dx.shape[0]):
        dplane[:] = zero
        for p in range(dy.shape[1]):
            g, win = dy[c, p], winner[c, p]
            for i in range(kh):
                row = dplane[p * planes.row_stride + i * planes.row_step]
                for j in range(kw):
                    start, number = planes.offsets[j], win.dtype.type(i * kw + j)
                    target = row[start : start + stream]
                    for k in range(stream):
                        target[k] += g[k] if win[k] == number else zero
        read_image_jit(dplane, n, planes, dx[c])


def avg_pool_channels(
    x: Array, y: Array, weight: Array, kh: int, n: int, planes: Planes, plane: Array
) -> None:
    """Compute y (c, oh, ow n) of some channels; plane's border is 0, weight (oh, ow n) is 1 / k."""
    stream = planes.stream
    for c in range(x.shape[0]):
        write_image_jit(x[c], n, planes, plane)
        for p in range(y.shape[1]):
            out, weight_p = y[c, p], weight[p]
            out[:] = 0
            for i in range(kh):
                row = plane[p * planes.row_stride + i * planes.row_step]
                for start in planes.offsets:
                    x_ij = row[start : start + stream]
                    for k in range(stream):
                        out[k] += x_ij[k]
            for k in range(stream):
                out[k] *= weight_p[k]


def avg_pool_backward_channels(
    dy: Array, dx: Array, weight: Array, kh: int, n: int, planes: Planes, dplane: Array
) -> None:
    """Compute dx (c, h, w n): each dy / k goes to every pixel of its window."""
    stream = planes.stream
    zero = dy.dtype.type(0)
    for c in range(dx.shape[0]):
        dplane[:] = zero
        for p in range(dy.shape[1]):
            g, weight_p = dy[c, p], weight[p]
            for i in range(kh):
                row = dplane[p * planes.row_stride + i * planes.row_step]
                for start in planes.offsets:
                    target = row[start : start + stream]
                    for k in range(stream):
                        target[k] += g[k] * weight_p[k]
        read_image_jit(dplane, n, planes, dx[c])


def add_pixels(x: Array, sums: Array) -> None:
    """Add all pixels of x (c, h w, n) to sums (c, n)."""
    for c in range(x.shape[0]):
        if x.shape[2] == 1:
            pixels, total = x[c, :, 0], x.dtype.type(0)
            for k in range(pixels.size):
                total += pixels[k]
            sums[c, 0] += total
        else:
            for k in range(x.shape[1]):
                for i in range(x.shape[2]):
                    sums[c, i] += x[c, k, i]


add_pixels_jit = compiled(add_pixels)
max_pool_channels_jit = compiled(max_pool_channels)
max_pool_backward_channels_jit = compiled(max_pool_backward_channels)
avg_pool_channels_jit = compiled(avg_pool_channels)
avg_pool_backward_channels_jit = compiled(avg_pool_backward_channels)


class MaxPool2dCache(NamedTuple):
    """What `max_pool2d_backward` needs; winner is also what a check of kinks looks at."""

    winner: Array  # n c oh ow: number of the tap that won, i kw + j
    windows: Windows
    dtype: np.dtype[np.floating]


def max_pool2d_forward(
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
) -> tuple[Array, MaxPool2dCache]:
    """`ops.max_pool2d_forward`, compiled."""
    windows = pool_windows(x, kernel_size, stride, padding)
    (n, c, h, w), (kh, kw), (oh, ow) = x.shape, windows.kernel, windows.output
    planes = planes_of(windows, n)
    images = as_rows(x).reshape(c, h, w * n)
    number = np.dtype(np.uint8 if kh * kw <= 256 else np.int32)
    first_winner = np.repeat(first_tap_inside(windows).astype(number), n, axis=1)  # oh, ow n
    y, winner = empty((c, oh, ow * n), x.dtype), empty((c, oh, ow * n), number)

    def run(first: int, last: int) -> None:
        part = slice(first, last)
        plane = empty_plane(planes, x.dtype, -np.inf)
        max_pool_channels_jit(
            images[part], y[part], winner[part], first_winner, kh, n, planes, plane
        )

    share(c, run, work=x.size)
    cache = MaxPool2dCache(as_image(winner, n, oh, ow), windows, x.dtype)
    return as_image(y, n, oh, ow), cache


def max_pool2d_backward(dy: Array, cache: MaxPool2dCache) -> Array:
    """`ops.max_pool2d_backward`, compiled."""
    winner, windows, dtype = cache
    check_gradient(dy, winner.shape, dtype)
    (n, c, oh, ow), (h, w) = winner.shape, windows.size
    planes = planes_of(windows, n)
    gradients, winners = (as_rows(a).reshape(c, oh, ow * n) for a in (dy, winner))
    dx = empty((c, h, w * n), dtype)

    def run(first: int, last: int) -> None:
        part = slice(first, last)
        dplane = empty_plane(planes, dtype, 0)
        max_pool_backward_channels_jit(
            gradients[part], winners[part], dx[part], windows.kernel[0], n, planes, dplane
        )

    share(c, run, work=dx.size)
    return as_image(dx, n, h, w)


class AvgPool2dCache(NamedTuple):
    """What `avg_pool2d_backward` needs."""

    shape: tuple[int, ...]  # of y
    weight: Array  # oh, ow n: 1 / k, the weight of each pixel of the window
    windows: Windows


def avg_pool2d_forward(
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    count_include_pad: bool = True,
) -> tuple[Array, AvgPool2dCache]:
    """`ops.avg_pool2d_forward`, compiled."""
    windows = pool_windows(x, kernel_size, stride, padding)
    (n, c, h, w), (oh, ow) = x.shape, windows.output
    planes = planes_of(windows, n)
    images = as_rows(x).reshape(c, h, w * n)
    weight = np.repeat(average_share(windows, count_include_pad, x.dtype), n, axis=1)  # oh, ow n
    y = empty((c, oh, ow * n), x.dtype)

    def run(first: int, last: int) -> None:
        part = slice(first, last)
        plane = empty_plane(planes, x.dtype, 0)
        avg_pool_channels_jit(images[part], y[part], weight, windows.kernel[0], n, planes, plane)

    share(c, run, work=x.size)
    return as_image(y, n, oh, ow), AvgPool2dCache((n, c, oh, ow), weight, windows)


def avg_pool2d_backward(dy: Array, cache: AvgPool2dCache) -> Array:
    """`ops.avg_pool2d_backward`, compiled."""
    shape, weight, windows = cache
    check_gradient(dy, shape, weight.dtype)
    (n, c, oh, ow), (h, w) = shape, windows.size
    planes = planes_of(windows, n)
    gradients = as_rows(dy).reshape(c, oh, ow * n)
    dx = empty((c, h, w * n), weight.dtype)

    def run(first: int, last: int) -> None:
        part = slice(first, last)
        dplane = empty_plane(planes, weight.dtype, 0)
        avg_pool_backward_channels_jit(
            gradients[part], dx[part], weight, windows.kernel[0], n, planes, dplane
        )

    share(c, run, work=dx.size)
    return as_image(dx, n, h, w)


class GlobalAvgPoolCache(NamedTuple):
    """What `global_avg_pool_backward` needs."""

    shape: tuple[int, ...]  # of x
    dtype: np.dtype[np.floating]


def global_avg_pool_forward(x: Array) -> tuple[Array, GlobalAvgPoolCache]:
    """`ops.global_avg_pool_forward`, on rows."""
    check_pixels(x)
    n, c, h, w = x.shape
    sums = np.zeros((c, n), x.dtype)
    add_pixels_jit(as_rows(x).reshape(c, h * w, n), sums)
    means = np.ascontiguousarray(sums.T)  # n c
    means /= h * w
    return means, GlobalAvgPoolCache(x.shape, x.dtype)


def global_avg_pool_backward(dy: Array, cache: GlobalAvgPoolCache) -> Array:
    """`ops.global_avg_pool_backward`, on rows."""
    (n, c, h, w), dtype = cache
    check_gradient(dy, (n, c), dtype)
    dx = empty((c, h * w, n), dtype)
    dx[...] = (dy.T / (h * w))[:, None, :]
    return as_image(dx, n, h, w)
