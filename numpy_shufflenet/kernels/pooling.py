"""Pooling, compiled.

With 3x3 windows and float32, a kernel reads the image without copying it (see `_pool_windows`).
With other windows or dtypes, it copies each channel to a plane, and each output row takes one loop
over the run of each tap (see `_planes`).

Max pooling keeps the number of the tap that won, a small integer for each output. Backward, each
run of dy is added to the numbers that its tap read, masked by the winner or scaled by the weight of
the average.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share_range
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._gather import gather_of
from numpy_shufflenet.kernels._layout import as_image, as_rows, contiguous, transpose
from numpy_shufflenet.kernels._planes import (
    Planes,
    empty_plane,
    planes_of,
    read_image,
    read_rows,
    write_image,
    write_rows,
)
from numpy_shufflenet.kernels._pool_windows import (
    average_windows,
    gather_averages,
    gather_from_winners,
    largest_windows,
)
from numpy_shufflenet.kernels._slide import slide_of
from numpy_shufflenet.kernels._vectors import WIDTH, add, load_inside, sum_lanes
from numpy_shufflenet.kernels.depthwise_planes import convolve_plane, scatter_plane
from numpy_shufflenet.ops._sums import FEW, wide
from numpy_shufflenet.ops.checks import check_gradient
from numpy_shufflenet.ops.pooling import (
    average_share,
    check_pixels,
    first_tap_inside,
    pool_windows,
)
from numpy_shufflenet.ops.windows import Windows

__all__ = [
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "global_avg_pool_backward",
    "global_avg_pool_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
]


@compiled
def max_pool_channels(
    x: Array,
    first: Array,
    n: int,
    planes: Planes,
    plane: Array,
    best: Array,
    win: Array,
    y: Array,
    winner: Array,
) -> None:
    """Compute y and winner (c, oh, ow n) of some channels x (c, h, w n).

    Parameters
    ----------
    first : array, shape (oh, ow n)
        The winner where all values are -inf. If a window holds NaN, its last NaN wins.
    plane : array
        A plane with a border of -inf.
    best, win : array
        Scratch for one run each.
    """
    offsets, number = planes.offsets, winner.dtype.type
    for c in range(x.shape[0]):
        write_image(x[c], n, planes, plane)
        for p in range(0, y.shape[1], planes.rows):
            rows = y[c, p : p + planes.rows]
            start, m = p * planes.pitch, (rows.shape[0] - 1) * planes.pitch + planes.stream
            best.fill(-np.inf)
            write_rows(first[p : p + planes.rows], planes, win)
            t = 0
            while t < offsets.size:
                x0 = plane[start + offsets[t] : start + offsets[t] + m]
                if t + 2 < offsets.size:  # three taps in one pass
                    x1 = plane[start + offsets[t + 1] : start + offsets[t + 1] + m]
                    x2 = plane[start + offsets[t + 2] : start + offsets[t + 2] + m]
                    n0, n1, n2 = number(t), number(t + 1), number(t + 2)
                    for k in range(m):
                        b, w = best[k], win[k]
                        wins = x0[k] > b or x0[k] != x0[k]
                        b, w = (x0[k], n0) if wins else (b, w)
                        wins = x1[k] > b or x1[k] != x1[k]
                        b, w = (x1[k], n1) if wins else (b, w)
                        wins = x2[k] > b or x2[k] != x2[k]
                        best[k], win[k] = (x2[k], n2) if wins else (b, w)
                    t += 3
                else:
                    n0 = number(t)
                    for k in range(m):
                        wins = x0[k] > best[k] or x0[k] != x0[k]
                        best[k], win[k] = (x0[k], n0) if wins else (best[k], win[k])
                    t += 1
            read_rows(best, planes, rows)
            read_rows(win, planes, winner[c, p : p + planes.rows])


@compiled
def max_pool_backward_channels(
    dy: Array,
    winner: Array,
    n: int,
    planes: Planes,
    dplane: Array,
    g: Array,
    win: Array,
    dx: Array,
) -> None:
    """Compute dx (c, h, w n): dy is added to the pixel that won; g is 0 between outputs."""
    zero = dy.dtype.type(0)
    for c in range(dx.shape[0]):
        dplane[:] = zero
        for p in range(0, dy.shape[1], planes.rows):
            rows = dy[c, p : p + planes.rows]
            start, m = p * planes.pitch, (rows.shape[0] - 1) * planes.pitch + planes.stream
            write_rows(rows, planes, g)
            write_rows(winner[c, p : p + planes.rows], planes, win)
            for t in range(planes.offsets.size):
                place, number = start + planes.offsets[t], win.dtype.type(t)
                target = dplane[place : place + m]
                for k in range(m):
                    target[k] += g[k] if win[k] == number else zero
        read_image(dplane, n, planes, dx[c])


@compiled
def avg_pool_channels(
    x: Array, ones: Array, weight: Array, n: int, planes: Planes, plane: Array, run: Array, y: Array
) -> None:
    """Compute y (c, oh, ow n) of some channels: a convolution with ones (kh kw), times the weight.

    plane has a border of 0; weight (oh, ow n) is 1 / k; run is scratch for one run.
    """
    zero = x.dtype.type(0)
    for c in range(x.shape[0]):
        write_image(x[c], n, planes, plane)
        convolve_plane(plane, planes, ones, zero, run, y[c])
        for p in range(y.shape[1]):
            row, weight_p = y[c, p], weight[p]
            for k in range(row.size):
                row[k] *= weight_p[k]


@compiled
def avg_pool_backward_channels(
    dy: Array,
    ones: Array,
    weight: Array,
    n: int,
    planes: Planes,
    plane: Array,
    run: Array,
    dx: Array,
) -> None:
    """Compute dx (c, h, w n): dy / k is added to each pixel of its window.

    plane is for dx; run is 0 between outputs.
    """
    zero = dy.dtype.type(0)
    weighed = np.empty_like(dy[0])
    for c in range(dx.shape[0]):
        for p in range(dy.shape[1]):
            row, dy_p, weight_p = weighed[p], dy[c, p], weight[p]
            for k in range(row.size):
                row[k] = dy_p[k] * weight_p[k]
        plane[:] = zero
        scatter_plane(weighed, planes, ones, run, plane)
        read_image(plane, n, planes, dx[c])


@compiled
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


@compiled
def add_many_pixels(x: Array, sums: Array) -> None:
    """Add all pixels of x (c, h w, n) to sums (c, n) of float64; a few at a time in the dtype."""
    few = np.empty(x.shape[2], x.dtype)
    for c in range(x.shape[0]):
        for start in range(0, x.shape[1], FEW):
            few[:] = x[c, start]
            for k in range(start + 1, min(start + FEW, x.shape[1])):
                for i in range(few.size):
                    few[i] += x[c, k, i]
            for i in range(few.size):
                sums[c, i] += few[i]


@compiled
def average_rows(x: Array, m: int, means: Array) -> None:
    """Compute the mean of each m numbers of x (c m,), of float32, by vectors; means is (c,)."""
    size = x.dtype.type(m)
    for c in range(means.size):
        total = load_inside(x, c * m, 0, m, 0.0)
        for k in range(WIDTH, m, WIDTH):
            total = add(total, load_inside(x, c * m + k, k, m, 0.0))
        means[c] = sum_lanes(total) / size


@compiled
def spread_pixels(dy: Array, dx: Array) -> None:
    """Write dy (c, n) to every pixel of dx (c, h w, n): the transpose of `add_pixels`."""
    for c in range(dx.shape[0]):
        for k in range(dx.shape[1]):
            for i in range(dx.shape[2]):
                dx[c, k, i] = dy[c, i]


class MaxPool2dCache(NamedTuple):
    """What `max_pool2d_backward` needs; checks of kinks use the winner, too."""

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
    number = np.dtype(np.uint8 if kh * kw <= 256 else np.int32)
    rows, y, winner = as_rows(x), empty((c, oh, ow * n), x.dtype), empty((c, oh, ow * n), number)
    cache = MaxPool2dCache(as_image(winner, n, oh, ow), windows, x.dtype)
    if slide := slide_of(windows, n, x.dtype):
        a, out = rows.ravel(), (y.ravel(), winner.ravel())
        share_range(c, lambda i, j: largest_windows(a, slide, i, j, *out), work=9 * y.size)
        return as_image(y, n, oh, ow), cache
    planes = planes_of(windows, n)
    images = rows.reshape(c, h, w * n)
    first_winner = np.repeat(first_tap_inside(windows).astype(number), n, axis=1)  # oh, ow n

    def run(first: int, last: int) -> None:
        part = slice(first, last)
        max_pool_channels(
            images[part],
            first_winner,
            n,
            planes,
            empty_plane(planes, x.dtype, -np.inf),
            empty((planes.run,), x.dtype),
            np.zeros(planes.run, number),
            y[part],
            winner[part],
        )

    share_range(c, run, work=9 * y.size)
    return as_image(y, n, oh, ow), cache


def max_pool2d_backward(dy: Array, cache: MaxPool2dCache) -> Array:
    """`ops.max_pool2d_backward`, compiled."""
    winner, windows, dtype = cache
    check_gradient(dy, winner.shape, dtype)
    (n, c, oh, ow), (h, w) = winner.shape, windows.size
    dx, rows, winners = empty((c, h, w * n), dtype), as_rows(dy), as_rows(winner)
    if gather := gather_of(windows, n, dtype):
        operands, out = (rows.ravel(), winners.ravel(), gather), dx.ravel()
        share_range(c, lambda i, j: gather_from_winners(*operands, i, j, out), work=2 * dx.size)
        return as_image(dx, n, h, w)
    planes, number = planes_of(windows, n), wide(dtype, math.prod(windows.kernel))
    gradients, winners = (a.reshape(c, oh, ow * n) for a in (rows, winners))

    def run(first: int, last: int) -> None:
        part = slice(first, last)
        max_pool_backward_channels(
            gradients[part],
            winners[part],
            n,
            planes,
            empty_plane(planes, number, 0),
            np.zeros(planes.run, dtype),
            np.zeros(planes.run, winners.dtype),
            dx[part],
        )

    share_range(c, run, work=dx.size)
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
    weight = _weights(windows, n, count_include_pad, x.dtype)
    cache = AvgPool2dCache((n, c, oh, ow), weight, windows)
    rows, y = as_rows(x), empty((c, oh, ow * n), x.dtype)
    if slide := slide_of(windows, n, x.dtype):
        operands = rows.ravel(), weight.ravel(), slide
        share_range(c, lambda i, j: average_windows(*operands, i, j, y.ravel()), work=2 * y.size)
        return as_image(y, n, oh, ow), cache
    planes = planes_of(windows, n, sort=n > 1)
    number = wide(x.dtype, math.prod(windows.kernel))
    images = rows.reshape(c, h, w * n)
    sums = y if number == y.dtype else np.empty(y.shape, number)
    ones = np.ones(math.prod(windows.kernel), number)

    def run_part(first: int, last: int) -> None:
        part = slice(first, last)
        plane, run = empty_plane(planes, number, 0), empty((planes.run,), number)
        avg_pool_channels(
            images[part], ones, weight.astype(number), n, planes, plane, run, sums[part]
        )

    share_range(c, run_part, work=9 * y.size)
    y = sums.astype(x.dtype, copy=False)
    return as_image(y, n, oh, ow), cache


@functools.lru_cache(maxsize=256)
def _weights(windows: Windows, n: int, count_include_pad: bool, dtype: Any) -> Array:
    """Return 1 / k for each window and image, (oh, ow n). Calls share it, so never write to it."""
    return np.repeat(average_share(windows, count_include_pad, dtype), n, axis=1)


def avg_pool2d_backward(dy: Array, cache: AvgPool2dCache) -> Array:
    """`ops.avg_pool2d_backward`, compiled."""
    shape, weight, windows = cache
    check_gradient(dy, shape, weight.dtype)
    (n, c, oh, ow), (h, w) = shape, windows.size
    rows, dx = as_rows(dy), empty((c, h, w * n), weight.dtype)
    if gather := gather_of(windows, n, weight.dtype):
        operands, out = (rows.ravel(), weight.ravel(), gather), dx.ravel()
        share_range(c, lambda i, j: gather_averages(*operands, i, j, out), work=dx.size)
        return as_image(dx, n, h, w)
    planes = planes_of(windows, n, sort=n > 1)
    gradients = rows.reshape(c, oh, ow * n)
    number = wide(weight.dtype, math.prod(windows.kernel))
    ones = np.ones(math.prod(windows.kernel), weight.dtype)

    def run_part(first: int, last: int) -> None:
        part = slice(first, last)
        plane, run = empty_plane(planes, number, 0), np.zeros(planes.run, weight.dtype)
        avg_pool_backward_channels(gradients[part], ones, weight, n, planes, plane, run, dx[part])

    share_range(c, run_part, work=9 * dy.size)
    return as_image(dx, n, h, w)


class GlobalAvgPoolCache(NamedTuple):
    """What `global_avg_pool_backward` needs."""

    shape: tuple[int, ...]  # of x
    dtype: np.dtype[np.floating]


def global_avg_pool_forward(x: Array) -> tuple[Array, GlobalAvgPoolCache]:
    """`ops.global_avg_pool_forward`, on rows."""
    check_pixels(x)
    n, c, h, w = x.shape
    if n == 1 and x.dtype == np.float32 and h * w <= FEW * WIDTH:
        means = np.empty((n, c), x.dtype)
        average_rows(as_rows(x).reshape(x.size), h * w, means[0])
        return means, GlobalAvgPoolCache(x.shape, x.dtype)
    number = wide(x.dtype, h * w)
    add_up_pixels = add_pixels if h * w <= FEW else add_many_pixels
    sums, pixels = np.zeros((c, n), number), as_rows(x).reshape(c, h * w, n)
    share_range(c, lambda i, j: add_up_pixels(pixels[i:j], sums[i:j]), work=x.size)
    means = np.ascontiguousarray(sums.T)  # n c
    means /= h * w
    means = means.astype(x.dtype, copy=False)
    return means, GlobalAvgPoolCache(x.shape, x.dtype)


def global_avg_pool_backward(dy: Array, cache: GlobalAvgPoolCache) -> Array:
    """`ops.global_avg_pool_backward`, on rows."""
    (n, c, h, w), dtype = cache
    check_gradient(dy, (n, c), dtype)
    dx, means, dy = empty((c, h * w, n), dtype), empty((c, n), dtype), contiguous(dy)

    def run(first: int, last: int) -> None:
        own = means[first:last]
        transpose(dy, first, last, means)
        own /= h * w
        spread_pixels(own, dx[first:last])

    share_range(c, run, work=dx.size)
    return as_image(dx, n, h, w)
