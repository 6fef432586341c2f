"""Convolution in register tiles that read the runs of all taps in place (see `_direct`)."""

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share_range
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._barrier import each_turn
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._direct import multiply_pieces, multiply_rows
from numpy_shufflenet.kernels._planes import Planes, planes_of, read_image
from numpy_shufflenet.kernels._strips import Strips, write_strip
from numpy_shufflenet.kernels._tiles import BLOCK
from numpy_shufflenet.kernels.pointwise_conv2d import finish
from numpy_shufflenet.ops.windows import Windows


@compiled
def convolve(
    x: Array, strips: Strips, w: Array, b: Array, relu: bool, turns: Array, y: Array
) -> None:
    """Compute y (o, oh ow n), one strip of one group in each turn.

    Parameters
    ----------
    x : array, shape (groups, c / groups, h, w n)
    w : array, shape (groups, o / groups, c / groups kh kw)
    b : array, shape (o,), or (0,) if there is no bias and no ReLU
    turns : array
        The counters from which this thread takes turns: see `_barrier`.
    """
    strips = Strips(*strips)  # callers pass a plain tuple
    planes, (_, rows, depth) = Planes(*strips.planes), w.shape
    pitch, stream, weights = planes.pitch, planes.stream, w.reshape(w.size)
    strip = np.zeros((x.shape[1], planes.size), x.dtype)
    runs, starts = strip.reshape(strip.size), strips.starts
    for turn in each_turn(turns):
        g, p = turn // strips.pieces, turn % strips.pieces * strips.rows
        count, y_g = min(strips.rows, strips.outputs - p), y[g * rows : (g + 1) * rows]
        write_strip(x[g], strips, p, count, strip)
        for k in range(count):
            i, place = g * rows * depth, (p + k) * stream
            multiply_rows(weights, i, depth, 1, rows, runs, starts, k * pitch, stream, y_g, place)
        if b.size > 0:
            b_g = b[g * rows : (g + 1) * rows]
            finish(y_g, p * stream, (p + count) * stream, b_g, relu)


@compiled
def correlate(x: Array, strips: Strips, dy: Array, turns: Array, dw: Array) -> None:
    """Compute dw (groups, parts, o / groups, c / groups kh kw) from dy (o, oh ow n).

    Each turn computes one part: the sum over some strips of x. x and turns are as in `convolve`.
    """
    strips = Strips(*strips)  # callers pass a plain tuple
    planes, (_, parts, rows, depth) = Planes(*strips.planes), dw.shape
    stream, few = planes.stream, max(1, BLOCK // planes.stream)
    product = np.empty((rows, depth), x.dtype)
    strip = np.zeros((x.shape[1], planes.size), x.dtype)
    runs = strip.reshape(strip.size)
    for turn in each_turn(turns):
        g, part = turn // parts, turn % parts
        dy_g, total = dy[g * rows : (g + 1) * rows], dw[g, part]
        total[:] = 0
        for s in range(strips.pieces * part // parts, strips.pieces * (part + 1) // parts):
            p = s * strips.rows
            count = min(strips.rows, strips.outputs - p)
            write_strip(x[g], strips, p, count, strip)
            for k in range(0, count, few):
                begins = np.arange(k, min(k + few, count)) * planes.pitch
                place = (p + k) * stream
                multiply_pieces(dy_g, place, runs, strips.starts, begins, stream, product)
                for o in range(rows):
                    for t in range(depth):
                        total[o, t] += product[o, t]


@compiled
def spread_rows(
    planes: Planes, w: Array, dy: Array, delays: Array, first: int, last: int, dplanes: Array
) -> None:
    """Compute rows first to last of the small planes in dplanes (c, size).

    Parameters
    ----------
    w : array, shape (o c kh kw,)
    dy : array, shape (o, oh ow n)
    delays : array, shape (kh kw,)
        For each tap, the row of a small plane to which it adds the first row of dy.
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
    """Return dx (c, h w n): each column of w^T @ dy (o, oh ow n) is added to its window of dx."""
    planes, (kh, kw), (h, width) = planes_of(windows, n), windows.kernel, windows.size
    stride, top = windows.stride[0], windows.padding[0][0]
    o_share, c_share = len(w) // groups, w.shape[1]
    c, weights = groups * c_share, w.reshape(groups, o_share * w[0].size)
    delays = np.repeat(np.arange(kh) * windows.dilation[0] // stride, kw)
    dx, dplanes = empty((c, h, width * n), dy.dtype), empty((c, planes.size), dy.dtype)

    def run(first: int, last: int) -> None:
        for g in range(groups):
            dplanes_g = dplanes[g * c_share : (g + 1) * c_share]
            dy_g = dy[g * o_share : (g + 1) * o_share]
            spread_rows(planes, weights[g], dy_g, delays, first, last, dplanes_g)
        rows = slice(max(0, first * stride - top), max(0, last * stride - top))
        part = planes._replace(row_places=planes.row_places[rows])
        for k in range(c):
            read_image(dplanes[k], n, part, dx[k, rows])

    share_range(planes.size // planes.classes // planes.pitch, run, work=w[0].size * dy.size // 8)
    return dx.reshape(c, h * width * n)
