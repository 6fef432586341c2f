"""Pooling: for each output row, one pass over the stream of each tap (see `_planes`).

The winner of a max pool is a small number a pixel, kept for backward; there each stream of dy is
added to where it was read from, masked by the winner or scaled by the average's share.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._gather import Gather, gather_of, gather_windows
from numpy_shufflenet.kernels._layout import as_image, as_rows
from numpy_shufflenet.kernels._planes import (
    Planes,
    empty_plane,
    planes_of,
    read_image_jit,
    read_rows_jit,
    write_image_jit,
    write_rows_jit,
)
from numpy_shufflenet.kernels._slide import Slide, apart, rows_of, slide_of, three
from numpy_shufflenet.kernels._vectors import (
    add,
    choose_equal,
    fill,
    in_order,
    larger,
    load_inside,
    scale,
    store_first,
)
from numpy_shufflenet.kernels.depthwise_conv2d import convolve_plane_jit, scatter_plane_jit
from numpy_shufflenet.ops._check import check_gradient
from numpy_shufflenet.ops._windows import Windows
from numpy_shufflenet.ops.pooling import (
    average_share,
    check_pixels,
    first_tap_inside,
    pool_windows,
)


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
        The winner where all values are -inf. The last NaN of a window wins.
    plane : array
        With a border of -inf.
    best, win : array
        For one run.
    """
    offsets, number = planes.offsets, winner.dtype.type
    for c in range(x.shape[0]):
        write_image_jit(x[c], n, planes, plane)
        for p in range(0, y.shape[1], planes.rows):
            rows = y[c, p : p + planes.rows]
            start, m = p * planes.pitch, (rows.shape[0] - 1) * planes.pitch + planes.stream
            best.fill(-np.inf)
            write_rows_jit(first[p : p + planes.rows], planes, win)
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
            read_rows_jit(best, planes, rows)
            read_rows_jit(win, planes, winner[c, p : p + planes.rows])


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
    """Compute dx (c, h, w n): each dy goes to the pixel that won; g is 0 between outputs."""
    zero = dy.dtype.type(0)
    for c in range(dx.shape[0]):
        dplane[:] = zero
        for p in range(0, dy.shape[1], planes.rows):
            rows = dy[c, p : p + planes.rows]
            start, m = p * planes.pitch, (rows.shape[0] - 1) * planes.pitch + planes.stream
            write_rows_jit(rows, planes, g)
            write_rows_jit(winner[c, p : p + planes.rows], planes, win)
            for t in range(planes.offsets.size):
                place, number = start + planes.offsets[t], win.dtype.type(t)
                target = dplane[place : place + m]
                for k in range(m):
                    target[k] += g[k] if win[k] == number else zero
        read_image_jit(dplane, n, planes, dx[c])


def avg_pool_channels(
    x: Array, ones: Array, weight: Array, n: int, planes: Planes, plane: Array, run: Array, y: Array
) -> None:
    """Compute y (c, oh, ow n) of some channels: a convolution with ones (kh kw), then weighed.

    plane has a border of 0; weight (oh, ow n) is 1 / k; run is for one.
    """
    zero = x.dtype.type(0)
    for c in range(x.shape[0]):
        write_image_jit(x[c], n, planes, plane)
        convolve_plane_jit(plane, planes, ones, zero, run, y[c])
        for p in range(y.shape[1]):
            row, weight_p = y[c, p], weight[p]
            for k in range(row.size):
                row[k] *= weight_p[k]


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
    """Compute dx (c, h, w n): dy / k goes to each pixel of its window.

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
        scatter_plane_jit(weighed, planes, ones, run, plane)
        read_image_jit(plane, n, planes, dx[c])


@register_jitable
def average_plane(x: Array, weight: Array, slide: Slide, c: int, y: Array) -> None:
    """Compute a channel of a single image with stride 2, from top to bottom, block by block.

    Rows are added up before columns are taken apart. The last row of a window is the first one of
    the next.
    """
    length, out_length = slide.length, slide.out_length
    for m in range(slide.blocks.shape[0]):
        k, place, count = slide.blocks[m, 0], slide.blocks[m, 1], slide.blocks[m, 2]
        start, (l0, _, _) = rows_of(slide, c, 0)
        i, o = start + place, c * slide.out_height * out_length + k
        a = load_inside(x, i, place, l0, 0.0)
        b = load_inside(x, i + 16, place + 16, l0, 0.0)
        for p in range(slide.out_height):
            _, (_, l1, l2) = rows_of(slide, c, p)
            i += length
            s0 = add(a, load_inside(x, i, place, l1, 0.0))
            s1 = add(b, load_inside(x, i + 16, place + 16, l1, 0.0))
            i += length
            a = load_inside(x, i, place, l2, 0.0)
            b = load_inside(x, i + 16, place + 16, l2, 0.0)
            left, middle, right = apart(add(s0, a), add(s1, b))
            weights = load_inside(weight, p * out_length + k, 0, count, 0.0)
            store_first(y, o, scale(weights, add(add(left, middle), right)), count)
            o += out_length


def average_windows(x: Array, weight: Array, slide: Slide, first: int, last: int, y: Array) -> None:
    """Compute y, channels first to last, as `avg_pool_channels`; all arrays are flat."""
    blocks, length, out_length = slide.blocks, slide.length, slide.out_length
    for c in range(first, last):
        if slide.even and slide.stride == 2:
            average_plane(x, weight, slide, c, y)
            continue
        for p in range(slide.out_height):
            start, lengths = rows_of(slide, c, p)
            for m in range(blocks.shape[0]):
                k, place, count = blocks[m, 0], blocks[m, 1], blocks[m, 2]
                i = start + place
                s0 = s1 = s2 = fill(0.0)  # the three columns
                for inside in lengths:
                    x0, x1, x2 = three(x, i, place, inside, slide, 0.0)
                    s0, s1, s2 = add(s0, x0), add(s1, x1), add(s2, x2)
                    i += length
                weights = load_inside(weight, p * out_length + k, 0, count, 0.0)
                o = (c * slide.out_height + p) * out_length + k
                store_first(y, o, scale(weights, add(add(s0, s1), s2)), count)


def largest_windows(x: Array, slide: Slide, first: int, last: int, y: Array, winner: Array) -> None:
    """Compute y and winner, channels first to last, as `max_pool_channels`; all arrays are flat.

    Where a window has a NaN, or -inf only, its numbers are looked at one by one.
    """
    blocks, length = slide.blocks, slide.length
    for c in range(first, last):
        for p in range(slide.out_height):
            start, (l0, l1, l2) = rows_of(slide, c, p)
            out = (c * slide.out_height + p) * slide.out_length
            for m in range(blocks.shape[0]):
                k, place, count = out + blocks[m, 0], blocks[m, 1], blocks[m, 2]
                i = start + place
                x0, x1, x2 = three(x, i, place, l0, slide, -np.inf)
                x3, x4, x5 = three(x, i + length, place, l1, slide, -np.inf)
                x6, x7, x8 = three(x, i + 2 * length, place, l2, slide, -np.inf)
                top, any_top = larger(larger(x0, x1), x2), add(add(x0, x1), x2)
                middle, any_middle = larger(larger(x3, x4), x5), add(add(x3, x4), x5)
                bottom, any_bottom = larger(larger(x6, x7), x8), add(add(x6, x7), x8)
                best = larger(larger(top, middle), bottom)
                if in_order(best, add(add(any_top, any_middle), any_bottom), count):
                    win = choose_equal(x7, best, fill(7.0), fill(8.0))
                    win = choose_equal(x6, best, fill(6.0), win)
                    win = choose_equal(x5, best, fill(5.0), win)
                    win = choose_equal(x4, best, fill(4.0), win)
                    win = choose_equal(x3, best, fill(3.0), win)
                    win = choose_equal(x2, best, fill(2.0), win)
                    win = choose_equal(x1, best, fill(1.0), win)
                    win = choose_equal(x0, best, fill(0.0), win)
                    store_first(y, k, best, count)
                    store_first(winner, k, win, count)
                else:
                    for lane in range(count):
                        largest_jit(x, slide, c, p, m, lane, y, winner)


def largest(
    x: Array, slide: Slide, c: int, p: int, m: int, lane: int, y: Array, winner: Array
) -> None:
    """Compute one output, of block m of row p: the first tap inside wins, or whatever beats it."""
    start, lengths = rows_of(slide, c, p)
    k = (c * slide.out_height + p) * slide.out_length + slide.blocks[m, 0] + lane
    left = slide.blocks[m, 1] + (2 * lane if slide.even else lane)
    tap, best, win = 0, x.dtype.type(-np.inf), -1
    for length in lengths:
        for j in range(3):
            place = left + j * slide.n
            if 0 <= place < length:
                value = x[start + place]
                if win < 0 or value > best or value != value:
                    best, win = value, tap
            tap += 1
        start += slide.length
    y[k], winner[k] = best, win


largest_jit = compiled(largest)


@register_jitable
def _if_it_won(
    tap: int, dy: Array, winner: Array, c: int, i: int, place: int, gather: Gather
) -> Array:
    won = load_inside(winner, i, place, gather.out_length, 0.0)
    return choose_equal(fill(np.float32(tap)), won, dy, fill(0.0))


@register_jitable
def _weighed(
    tap: int, dy: Array, weight: Array, c: int, i: int, place: int, gather: Gather
) -> Array:
    i -= c * gather.out_height * gather.out_length  # the weights are those of one channel
    return scale(load_inside(weight, i, place, gather.out_length, 0.0), dy)


def largest_windows_backward(
    dy: Array, winner: Array, gather: Gather, first: int, last: int, dx: Array
) -> None:
    """Compute dx, channels first to last, as `max_pool_backward_channels`."""
    gather_windows(_if_it_won, dy, winner, gather, first, last, dx)


def average_windows_backward(
    dy: Array, weight: Array, gather: Gather, first: int, last: int, dx: Array
) -> None:
    """Compute dx, channels first to last, as `avg_pool_backward_channels`."""
    gather_windows(_weighed, dy, weight, gather, first, last, dx)


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


def spread_pixels(dy: Array, dx: Array) -> None:
    """Write dy (c, n) to every pixel of dx (c, h w, n): the transpose of `add_pixels`."""
    for c in range(dx.shape[0]):
        for k in range(dx.shape[1]):
            for i in range(dx.shape[2]):
                dx[c, k, i] = dy[c, i]


largest_windows_jit = compiled(largest_windows)
largest_windows_backward_jit = compiled(largest_windows_backward)
average_windows_backward_jit = compiled(average_windows_backward)
add_pixels_jit = compiled(add_pixels)
spread_pixels_jit = compiled(spread_pixels)
max_pool_channels_jit = compiled(max_pool_channels)
max_pool_backward_channels_jit = compiled(max_pool_backward_channels)
average_windows_jit = compiled(average_windows)
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
    number = np.dtype(np.uint8 if kh * kw <= 256 else np.int32)
    rows, y, winner = as_rows(x), empty((c, oh, ow * n), x.dtype), empty((c, oh, ow * n), number)
    cache = MaxPool2dCache(as_image(winner, n, oh, ow), windows, x.dtype)
    if slide := slide_of(windows, n, x.dtype):
        a, out = rows.ravel(), (y.ravel(), winner.ravel())
        share(c, lambda i, j: largest_windows_jit(a, slide, i, j, *out), work=6 * y.size)
        return as_image(y, n, oh, ow), cache
    planes = planes_of(windows, n)
    images = rows.reshape(c, h, w * n)
    first_winner = np.repeat(first_tap_inside(windows).astype(number), n, axis=1)  # oh, ow n

    def run(first: int, last: int) -> None:
        part = slice(first, last)
        max_pool_channels_jit(
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

    share(c, run, work=9 * y.size)
    return as_image(y, n, oh, ow), cache


def max_pool2d_backward(dy: Array, cache: MaxPool2dCache) -> Array:
    """`ops.max_pool2d_backward`, compiled."""
    winner, windows, dtype = cache
    check_gradient(dy, winner.shape, dtype)
    (n, c, oh, ow), (h, w) = winner.shape, windows.size
    dx, rows, winners = empty((c, h, w * n), dtype), as_rows(dy), as_rows(winner)
    if gather := gather_of(windows, n, dtype):
        operands, out = (rows.ravel(), winners.ravel(), gather), dx.ravel()
        share(c, lambda i, j: largest_windows_backward_jit(*operands, i, j, out), work=2 * dx.size)
        return as_image(dx, n, h, w)
    planes = planes_of(windows, n)
    gradients, winners = (a.reshape(c, oh, ow * n) for a in (rows, winners))

    def run(first: int, last: int) -> None:
        part = slice(first, last)
        max_pool_backward_channels_jit(
            gradients[part],
            winners[part],
            n,
            planes,
            empty_plane(planes, dtype, 0),
            np.zeros(planes.run, dtype),
            np.zeros(planes.run, winners.dtype),
            dx[part],
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
    weight = _weights(windows, n, count_include_pad, x.dtype)
    cache = AvgPool2dCache((n, c, oh, ow), weight, windows)
    rows, y = as_rows(x), empty((c, oh, ow * n), x.dtype)
    if slide := slide_of(windows, n, x.dtype):
        operands = rows.ravel(), weight.ravel(), slide
        share(c, lambda i, j: average_windows_jit(*operands, i, j, y.ravel()), work=2 * y.size)
        return as_image(y, n, oh, ow), cache
    planes = planes_of(windows, n, sort=n > 1)
    images = rows.reshape(c, h, w * n)
    ones = np.ones(windows.kernel[0] * windows.kernel[1], x.dtype)

    def run_part(first: int, last: int) -> None:
        part = slice(first, last)
        plane, run = empty_plane(planes, x.dtype, 0), empty((planes.run,), x.dtype)
        avg_pool_channels_jit(images[part], ones, weight, n, planes, plane, run, y[part])

    share(c, run_part, work=9 * y.size)
    return as_image(y, n, oh, ow), cache


@functools.lru_cache(maxsize=256)
def _weights(windows: Windows, n: int, count_include_pad: bool, dtype: Any) -> Array:
    """Return 1 / k for each window and image, (oh, ow n): shared, never written to."""
    return np.repeat(average_share(windows, count_include_pad, dtype), n, axis=1)


def avg_pool2d_backward(dy: Array, cache: AvgPool2dCache) -> Array:
    """`ops.avg_pool2d_backward`, compiled."""
    shape, weight, windows = cache
    check_gradient(dy, shape, weight.dtype)
    (n, c, oh, ow), (h, w) = shape, windows.size
    rows, dx = as_rows(dy), empty((c, h, w * n), weight.dtype)
    if gather := gather_of(windows, n, weight.dtype):
        operands, out = (rows.ravel(), weight.ravel(), gather), dx.ravel()
        share(c, lambda i, j: average_windows_backward_jit(*operands, i, j, out), work=dx.size)
        return as_image(dx, n, h, w)
    planes = planes_of(windows, n, sort=n > 1)
    gradients = rows.reshape(c, oh, ow * n)
    ones = np.ones(windows.kernel[0] * windows.kernel[1], weight.dtype)

    def run_part(first: int, last: int) -> None:
        part = slice(first, last)
        plane, run = empty_plane(planes, weight.dtype, 0), np.zeros(planes.run, weight.dtype)
        avg_pool_backward_channels_jit(
            gradients[part], ones, weight, n, planes, plane, run, dx[part]
        )

    share(c, run_part, work=9 * dy.size)
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
    pixels = as_rows(x).reshape(c, h * w, n)
    share(c, lambda i, j: add_pixels_jit(pixels[i:j], sums[i:j]), work=x.size)
    means = np.ascontiguousarray(sums.T)  # n c
    means /= h * w
    return means, GlobalAvgPoolCache(x.shape, x.dtype)


def global_avg_pool_backward(dy: Array, cache: GlobalAvgPoolCache) -> Array:
    """`ops.global_avg_pool_backward`, on rows."""
    (n, c, h, w), dtype = cache
    check_gradient(dy, (n, c), dtype)
    dx = empty((c, h * w, n), dtype)
    means = np.ascontiguousarray(dy.T) / dtype.type(h * w)  # c n
    share(c, lambda i, j: spread_pixels_jit(means[i:j], dx[i:j]), work=dx.size)
    return as_image(dx, n, h, w)
