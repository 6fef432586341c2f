"""3x3 windows over a channel that has a border of zeros in memory, 16 numbers at a time.

A kernel that writes the input of a convolution can write it into the middle of a border of zeros.
Then no window reaches beyond the memory, and each tap is a plain load, in every row and column.

Forward, 16 outputs take nine multiply-adds. Backward, the neighbours of a pixel in dy are loaded
once and used twice: times w[i, j] they add up to dx, and times x they add up to dw[i, j].
"""

import functools
from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._vectors import (
    WIDTH,
    add,
    fill,
    fma,
    keep_first,
    keep_positive,
    load,
    load_inside,
    prefetch,
    relu,
    scale,
    store,
    store_first,
    sum_lanes,
)
from numpy_shufflenet.ops.windows import Windows

OFTEN = 128  # blocks that are added in float32; their sums are added in float64


class Border(NamedTuple):
    """The positions of an image's rows in a plane that has a border."""

    rows: int
    length: int  # numbers in a row
    start: int  # of the first row
    pitch: int  # numbers from one row to the next
    size: int  # numbers in the plane; a vector may start at the last one that is used


class Sight(NamedTuple):
    """The positions of taps and outputs, in planes of a batch of n images.

    Python passes it to kernels as a plain tuple, and so the borders in it, because at each call
    Numba takes many times as long to determine the type of a named tuple.
    """

    n: int  # numbers from one tap to the next
    stride: int
    x: tuple[int, ...]  # a Border
    blocks: Array  # m 3: first output in its row, position of its first tap, number of outputs
    dy: tuple[int, ...]  # a Border
    top: int  # rows of border above x
    pixels: Array  # m 4: first pixel, position of its nearest output, whether in between, number


def is_suited(windows: Windows, dtype: np.dtype[np.floating]) -> bool:
    """Whether windows are 3x3, both strides are 1 or both 2, and the dtype is float32."""
    dense = windows.kernel == (3, 3) and windows.dilation == (1, 1)
    return dense and windows.stride in ((1, 1), (2, 2)) and dtype == np.float32


@functools.lru_cache(maxsize=256)
def sight_of(windows: Windows, n: int) -> Sight:
    """Return the positions for stride 1 or 2. Calls share the arrays, so never write to them."""
    (h, w), (oh, ow), (stride, _) = windows.size, windows.output, windows.stride
    (top, bottom), (left, right) = windows.padding
    height, width = windows.padded_size
    x = _border(h, w, (top, bottom), (left, right), n)
    reach = 2 // stride  # outputs before the nearest one whose windows contain a pixel, too
    after = [-(-size // stride) - out for size, out in ((height, oh), (width, ow))]
    dy = _border(oh, ow, (reach, after[0]), (reach, after[1]), n)
    if stride == 1:
        blocks = [(k, k, min(ow * n - k, WIDTH)) for k in range(0, ow * n, WIDTH)]
        shift = (left + reach) * n
        pixels = [(k, k + shift, 0, min(w * n - k, WIDTH)) for k in range(0, w * n, WIDTH)]
    else:
        images = [(k, min(n - k, WIDTH)) for k in range(0, n, WIDTH)]
        blocks = [(q * n + k, 2 * q * n + k, count) for q in range(ow) for k, count in images]
        pixels = [
            (s * n + k, ((s + left) // 2 + reach) * n + k, (s + left) % 2, count)
            for s in range(w)
            for k, count in images
        ]
    return Sight(n, stride, tuple(x), np.array(blocks), tuple(dy), top, np.array(pixels))


def _border(h: int, w: int, rows: tuple[int, int], columns: tuple[int, int], n: int) -> Border:
    pitch = (columns[0] + w + columns[1]) * n
    start = rows[0] * pitch + columns[0] * n
    return Border(h, w * n, start, pitch, (rows[0] + h + rows[1]) * pitch + WIDTH)


@compiled
def clear_border(plane: Array, border: Border) -> None:
    """Write zeros to the plane before, between and after the rows of the image."""
    start, end = 0, border.start
    for _ in range(border.rows):
        plane[start:end] = 0
        start, end = end + border.length, end + border.pitch
    plane[start:] = 0


@compiled
def convolve_bordered(plane: Array, w: Array, sight: Sight, y: Array, ahead: Array) -> None:
    """Compute the outputs y (oh, ow n) of a filter w (9) over a plane.

    Meanwhile it prefetches `ahead`, an array of the size of y, because memory is idle.
    """
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
    blocks, n, pitch = sight.blocks, sight.n, Border(*sight.x).pitch
    for p in range(y.shape[0]):
        start, row = p * sight.stride * pitch, y[p]
        for m in range(blocks.shape[0]):
            k, count = blocks[m, 0], blocks[m, 2]
            prefetch(ahead, p * y.shape[1] + k)
            i = start + blocks[m, 1]
            a = scale(w0, load(plane, i))
            a = fma(w2, load(plane, i + 2 * n), fma(w1, load(plane, i + n), a))
            i += pitch
            b = scale(w3, load(plane, i))
            b = fma(w5, load(plane, i + 2 * n), fma(w4, load(plane, i + n), b))
            i += pitch
            c = scale(w6, load(plane, i))
            c = fma(w8, load(plane, i + 2 * n), fma(w7, load(plane, i + n), c))
            a = add(add(a, b), c)
            if count == WIDTH:
                store(row, k, a)
            else:
                store_first(row, k, a, count)


@compiled
def bordered_gradients(
    dy: Array,
    x: Array,
    normalised: bool,
    mu: float,
    a: float,
    b: float,
    w: Array,
    sight: Sight,
    dx: Array,
    dw: Array,
    ahead: tuple[Array, Array, Array],
) -> tuple[float, float]:
    """Compute dx (h, w n) and dw (9) from a plane dy, for a filter w (9) and its input x (h, w n).

    If `normalised`, its input was ReLU((x - mu) a + b) instead. Then dx is the gradient of the
    ReLU's input, and sum dx and sum dx (x - mu) are returned.

    With stride 1, a pixel belongs to the windows of nine outputs, through nine taps. With stride 2
    there are four kinds of pixels. In a row and a column between outputs, a pixel belongs to one
    window, through the middle tap; in such a row or such a column, to two; the other pixels belong
    to four, through the corner taps.

    Meanwhile it prefetches `ahead`: an array like x, and two like dy without its border.
    """
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
    pixels, n, pitch, zero = sight.pixels, sight.n, Border(*sight.dy).pitch, fill(0.0)
    minus_mu, shift = fill(-mu), fill(b)
    total, sum_g, sum_gx = np.zeros(9), np.float64(0), np.float64(0)
    often = 1 + OFTEN // pixels.shape[0]
    reach, fourfold = (2, 0) if sight.stride == 1 else (1, 2)
    x_ahead, dy_ahead, other_ahead = ahead
    for begin in range(0, x.shape[0], often):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = t = u = zero
        for r in range(begin, min(begin + often, x.shape[0])):
            v, row, target = r + sight.top, x[r], dx[r]
            between = v % 2 == 1  # of stride 2
            start = ((v if sight.stride == 1 else v // 2) + reach) * pitch
            top, middle = dy[start:], dy[start - pitch :]
            bottom = dy[start - reach * pitch :]
            for m in range(pixels.shape[0]):
                k, count = pixels[m, 0], pixels[m, 3]
                i, place = pixels[m, 1], r * x.shape[1] + k
                prefetch(x_ahead, place)
                prefetch(dy_ahead, place >> fourfold)
                prefetch(other_ahead, place >> fourfold)
                whole = count == WIDTH
                centred = load(row, k) if whole else load_inside(row, k, 0, count, 0.0)
                if normalised:
                    centred = add(centred, minus_mu)
                    before = add(scale(a, centred), shift)
                    seen = relu(before)
                else:
                    before = seen = centred
                if not whole:
                    seen = keep_first(seen, count)
                if sight.stride == 1:
                    g0, g1, g2 = load(top, i), load(top, i - n), load(top, i - 2 * n)
                    s0, s1, s2 = fma(g0, seen, s0), fma(g1, seen, s1), fma(g2, seen, s2)
                    d = fma(w2, g2, fma(w1, g1, scale(w0, g0)))
                    g0, g1, g2 = load(middle, i), load(middle, i - n), load(middle, i - 2 * n)
                    s3, s4, s5 = fma(g0, seen, s3), fma(g1, seen, s4), fma(g2, seen, s5)
                    d = add(d, fma(w5, g2, fma(w4, g1, scale(w3, g0))))
                    g0, g1, g2 = load(bottom, i), load(bottom, i - n), load(bottom, i - 2 * n)
                    s6, s7, s8 = fma(g0, seen, s6), fma(g1, seen, s7), fma(g2, seen, s8)
                    d = add(d, fma(w8, g2, fma(w7, g1, scale(w6, g0))))
                elif between and pixels[m, 2]:
                    g0 = load(top, i)
                    d, s4 = scale(w4, g0), fma(g0, seen, s4)
                elif between:
                    g0, g1 = load(top, i), load(top, i - n)
                    d = fma(w5, g1, scale(w3, g0))
                    s3, s5 = fma(g0, seen, s3), fma(g1, seen, s5)
                elif pixels[m, 2]:
                    g0, g1 = load(top, i), load(middle, i)
                    d = fma(w7, g1, scale(w1, g0))
                    s1, s7 = fma(g0, seen, s1), fma(g1, seen, s7)
                else:
                    g0, g1 = load(top, i), load(top, i - n)
                    d = fma(w2, g1, scale(w0, g0))
                    s0, s2 = fma(g0, seen, s0), fma(g1, seen, s2)
                    g0, g1 = load(middle, i), load(middle, i - n)
                    d = add(d, fma(w8, g1, scale(w6, g0)))
                    s6, s8 = fma(g0, seen, s6), fma(g1, seen, s8)
                if normalised:
                    d = keep_positive(d, before)
                if whole:
                    store(target, k, d)
                else:
                    d = keep_first(d, count)
                    store_first(target, k, d, count)
                if normalised:
                    t, u = add(t, d), fma(centred, d, u)
        total[0] += sum_lanes(s0)
        total[1] += sum_lanes(s1)
        total[2] += sum_lanes(s2)
        total[3] += sum_lanes(s3)
        total[4] += sum_lanes(s4)
        total[5] += sum_lanes(s5)
        total[6] += sum_lanes(s6)
        total[7] += sum_lanes(s7)
        total[8] += sum_lanes(s8)
        sum_g += sum_lanes(t)
        sum_gx += sum_lanes(u)
    dw[:] = total
    return sum_g, sum_gx


@compiled
def channel_gradients(
    dy: Array,
    x: Array,
    w: Array,
    sight: Sight,
    plane: Array,
    first: int,
    last: int,
    dx: Array,
    dw: Array,
) -> None:
    """Compute dx (c, h, w n) and dw (c, 9) of channels first to last, for dy (c, oh, ow n).

    plane is scratch for a channel of dy with its border.
    """
    sight, zero = Sight(*sight), x.dtype.type(0)  # it is passed as a plain tuple
    border = Border(*sight.dy)
    clear_border(plane, border)
    for c in range(first, last):
        for p in range(border.rows):
            row, target = dy[c, p], plane[border.start + p * border.pitch :]
            for k in range(row.size):
                target[k] = row[k]
        k = min(c + 1, last - 1)
        ahead, unused = (x[k], dy[k], dy[k]), (zero, zero, zero)
        bordered_gradients(plane, x[c], False, *unused, w[c], sight, dx[c], dw[c], ahead)
