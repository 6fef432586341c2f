"""Convolution in tiles: products that read what each tap sees where it lies (see `_direct`)."""

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._direct import multiply_pieces, multiply_rows
from numpy_shufflenet.kernels._planes import Planes, planes_of, read_image_jit
from numpy_shufflenet.kernels._strips import Strips, write_strip_jit
from numpy_shufflenet.kernels._tiles import BLOCK
from numpy_shufflenet.kernels.pointwise_conv2d import finish_jit
from numpy_shufflenet.ops._windows import Windows


def convolve(
    x: Array,
    strips: Strips,
    w: Array,
    b: Array,
    finishing: bool,
    relu: bool,
    first: int,
    last: int,
    y: Array,
) -> None:
    """Compute strips first to last of y (o, oh ow n) by kernels w (o, c kh kw) over x (c, h, w n).

    With `finishing` there is b to add, or a ReLU.
    """
    planes, (rows, depth) = strips.planes, w.shape
    stream, kernels = planes.stream, w.reshape(w.size)
    strip = np.zeros((x.shape[0], planes.size), x.dtype)
    runs = strip.reshape(strip.size)
    end = min(last * strips.rows, strips.outputs)
    for p in range(first * strips.rows, end, strips.rows):
        count = min(strips.rows, end - p)
        write_strip_jit(x, strips, p, count, strip)
        for k in range(count):
            begin, place = k * planes.pitch, (p + k) * stream
            multiply_rows(kernels, 0, depth, 1, rows, runs, strips.starts, begin, stream, y, place)
        if finishing:
            finish_jit(y, p * stream, (p + count) * stream, b, relu)


def correlate(x: Array, strips: Strips, dy: Array, first: int, last: int, dw: Array) -> None:
    """Compute what output rows first to last of dy (o, oh ow n) contribute to dw (o, c kh kw)."""
    product, planes = np.empty_like(dw), strips.planes
    stream, few = planes.stream, max(1, BLOCK // planes.stream)
    strip = np.zeros((x.shape[0], planes.size), x.dtype)
    runs = strip.reshape(strip.size)
    dw[:] = 0
    for p in range(first, last, strips.rows):
        count = min(strips.rows, last - p)
        write_strip_jit(x, strips, p, count, strip)
        for k in range(0, count, few):
            begins = np.arange(k, min(k + few, count)) * planes.pitch
            multiply_pieces(dy, (p + k) * stream, runs, strips.starts, begins, stream, product)
            for o in range(dw.shape[0]):
                for t in range(dw.shape[1]):
                    dw[o, t] += product[o, t]


def spread_rows(
    planes: Planes, w: Array, dy: Array, delays: Array, first: int, last: int, dplanes: Array
) -> None:
    """Compute rows first to last of the small planes in dplanes (c, size).

    Parameters
    ----------
    w : array, shape (o c kh kw,)
    dy : array, shape (o, oh ow n)
    delays : array, shape (kh kw,)
        To which row of a small plane a tap takes the first row of dy.
    """
    pitch, stream, taps = planes.pitch, planes.stream, delays.size
    o, oh, rows = dy.shape[0], dy.shape[1] // stream, taps * dplanes.shape[0]
    few = max(1, BLOCK // stream)
    columns = np.empty((rows, few * stream), w.dtype)
    starts, flat = np.arange(o) * dy.shape[1], dy.reshape(dy.size)
    height = planes.size // planes.classes // pitch
    for c in range(dplanes.shape[0]):
        for start in range(0, planes.size, height * pitch):
            dplanes[c, start + first * pitch : start + last * pitch] = 0
    end = min(oh, last - delays.min())
    for p_start in range(max(0, first - delays.max()), end, few):
        p_end = min(p_start + few, end)
        m = (p_end - p_start) * stream
        multiply_rows(w, 0, 1, rows, rows, flat, starts, p_start * stream, m, columns, 0)
        for c in range(dplanes.shape[0]):
            for p in range(p_start, p_end):
                for t in range(taps):
                    if first <= p + delays[t] < last:
                        place, k = planes.offsets[t] + p * pitch, (p - p_start) * stream
                        target = dplanes[c, place : place + stream]
                        source = columns[c * taps + t, k : k + stream]
                        for i in range(stream):
                            target[i] += source[i]


def spread(dy: Array, w: Array, windows: Windows, n: int, groups: int) -> Array:
    """Return dx (c, h w n) = w^T @ dy (o, oh ow n), each column added back to its window."""
    planes, (kh, kw), (h, width) = planes_of(windows, n), windows.kernel, windows.size
    stride, top = windows.stride[0], windows.padding[0][0]
    o_share, c_share = len(w) // groups, w.shape[1]
    c, kernels = groups * c_share, w.reshape(groups, o_share * w[0].size)
    delays = np.repeat(np.arange(kh) * windows.dilation[0] // stride, kw)
    dx, dplanes = empty((c, h, width * n), dy.dtype), empty((c, planes.size), dy.dtype)

    def run(first: int, last: int) -> None:
        for g in range(groups):
            dplanes_g = dplanes[g * c_share : (g + 1) * c_share]
            dy_g = dy[g * o_share : (g + 1) * o_share]
            spread_rows_jit(planes, kernels[g], dy_g, delays, first, last, dplanes_g)
        rows = slice(max(0, first * stride - top), max(0, last * stride - top))
        part = planes._replace(row_places=planes.row_places[rows])
        for k in range(c):
            read_image_jit(dplanes[k], n, part, dx[k, rows])

    share(planes.size // planes.classes // planes.pitch, run, work=w[0].size * dy.size // 8)
    return dx.reshape(c, h * width * n)


convolve_jit = compiled(convolve)
correlate_jit = compiled(correlate)
spread_rows_jit = compiled(spread_rows)
