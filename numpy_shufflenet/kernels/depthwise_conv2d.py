"""Depthwise convolution: windows of 3x3 slide along rows (see `_depthwise_windows`).

For any others, and in float64, the runs of all taps are multiplied and added up. Every channel is
copied into a plane with its border (see `_planes`), where the nine taps of a 3x3 kernel are nine
runs of numbers; one loop without a branch adds them up, and writes y once.

Backward, dw[i, j] is the inner product of dy and the run of tap (i, j). dx of stride 1 is a
convolution again, of dy with the kernel turned by 180 degrees; of other strides, each run of dy is
added to where it was read from.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._depthwise_windows import (
    convolve_windows_jit,
    correlate_windows_jit,
    gather_through_taps_jit,
)
from numpy_shufflenet.kernels._gather import gather_of
from numpy_shufflenet.kernels._layout import as_image, as_rows, empty_rows
from numpy_shufflenet.kernels._planes import (
    RUN,
    Planes,
    empty_plane,
    planes_of,
    read_image_jit,
    read_rows_jit,
    write_image_jit,
    write_rows_jit,
)
from numpy_shufflenet.kernels._slide import Slide, slide_of
from numpy_shufflenet.ops._check import check_gradient
from numpy_shufflenet.ops._windows import Windows
from numpy_shufflenet.ops.depthwise_conv2d import check_depthwise


def nine_taps(
    plane: Array, offsets: Array, first: int, w: Array, fresh: bool, b: float, out: Array
) -> None:
    """Compute out = b + sum of w[t] times the run of tap t, or add that sum to out."""
    o0, o1, o2, o3, o4, o5, o6, o7, o8 = (
        offsets[0] + first,
        offsets[1] + first,
        offsets[2] + first,
        offsets[3] + first,
        offsets[4] + first,
        offsets[5] + first,
        offsets[6] + first,
        offsets[7] + first,
        offsets[8] + first,
    )
    m = out.size
    x0, x1, x2 = plane[o0 : o0 + m], plane[o1 : o1 + m], plane[o2 : o2 + m]
    x3, x4, x5 = plane[o3 : o3 + m], plane[o4 : o4 + m], plane[o5 : o5 + m]
    x6, x7, x8 = plane[o6 : o6 + m], plane[o7 : o7 + m], plane[o8 : o8 + m]
    w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
    if fresh:
        for k in range(m):
            top = w0 * x0[k] + w1 * x1[k] + w2 * x2[k]
            middle = w3 * x3[k] + w4 * x4[k] + w5 * x5[k]
            bottom = w6 * x6[k] + w7 * x7[k] + w8 * x8[k]
            out[k] = b + top + middle + bottom
    else:
        for k in range(m):
            top = w0 * x0[k] + w1 * x1[k] + w2 * x2[k]
            middle = w3 * x3[k] + w4 * x4[k] + w5 * x5[k]
            bottom = w6 * x6[k] + w7 * x7[k] + w8 * x8[k]
            out[k] += top + middle + bottom


nine_taps_jit = compiled(nine_taps)


def convolve_plane(
    plane: Array, planes: Planes, w: Array, b: float, scratch: Array, y: Array
) -> None:
    """Compute y (oh, ow n) of one kernel w (kh kw); scratch is for one run."""
    for p in range(0, y.shape[0], planes.rows):
        rows = y[p : p + planes.rows]
        first, m = p * planes.pitch, (rows.shape[0] - 1) * planes.pitch + planes.stream
        alone = rows.shape[0] == 1 and planes.step == 1
        out = rows[0] if alone else scratch[:m]
        if w.size == 9:
            nine_taps_jit(plane, planes.offsets, first, w, True, b, out)
        else:
            out[:] = b
            for t in range(w.size):
                start, w_t = planes.offsets[t] + first, w[t]
                x_t = plane[start : start + m]
                for k in range(m):
                    out[k] += w_t * x_t[k]
        if not alone:
            read_rows_jit(out, planes, rows)


def convolve_same(
    x: Array, n: int, w: Array, b: float, offsets: Array, framed: Array, y: Array
) -> None:
    """Compute y (h, w n) of one 3x3 kernel w (9), stride 1, with a border of one pixel.

    framed holds x (h, w n) in one piece, and a row and a pixel of 0 before and after it. So the
    run of a tap is the whole image, shifted; only where it reaches beyond the left or right end of
    a row, it finds the row before or after. These two columns are computed again, so it pays for
    few images.
    """
    width, length = x.shape[1], x.size
    image = framed[width + n : width + n + length]
    flat_x, flat_y = x.reshape(length), y.reshape(length)
    for k in range(length):
        image[k] = flat_x[k]
    for first in range(0, length, RUN):
        nine_taps_jit(framed, offsets, first, w, True, b, flat_y[first : first + RUN])
    for p in range(x.shape[0]):
        for t in range(n):
            left, right = p * width + t, (p + 1) * width - n + t
            a = c = b
            for i in range(3):
                row = offsets[3 * i]
                if width > n:
                    a += w[3 * i + 2] * framed[left + row + 2 * n]
                    c += w[3 * i] * framed[right + row]
                a += w[3 * i + 1] * framed[left + row + n]
                c += w[3 * i + 1] * framed[right + row + n]
            y[p, t] = a
            y[p, width - n + t] = c


def scatter_plane(dy: Array, planes: Planes, w: Array, scratch: Array, dplane: Array) -> None:
    """Add w[t] dy to the run of each tap: the transpose of `convolve_plane`.

    scratch, for one run, is 0 between the outputs.
    """
    for p in range(0, dy.shape[0], planes.rows):
        rows = dy[p : p + planes.rows]
        first, m = p * planes.pitch, (rows.shape[0] - 1) * planes.pitch + planes.stream
        alone = rows.shape[0] == 1 and planes.step == 1
        g = rows[0] if alone else scratch[:m]
        if not alone:
            write_rows_jit(rows, planes, g)
        for t in range(w.size):
            start, w_t = planes.offsets[t] + first, w[t]
            dx_t = dplane[start : start + m]
            for k in range(m):
                dx_t[k] += w_t * g[k]


def correlate_plane(dy: Array, plane: Array, planes: Planes, scratch: Array, dw: Array) -> None:
    """Compute dw (kh kw): the inner product of dy and the run of each tap.

    A run is added up in the dtype, in any order; runs in float64. scratch, for one run, is 0
    between the outputs.
    """
    total = np.zeros(dw.size)
    zero = dy.dtype.type(0)
    for p in range(0, dy.shape[0], planes.rows):
        rows = dy[p : p + planes.rows]
        first, m = p * planes.pitch, (rows.shape[0] - 1) * planes.pitch + planes.stream
        alone = rows.shape[0] == 1 and planes.step == 1
        g = rows[0] if alone else scratch[:m]
        if not alone:
            write_rows_jit(rows, planes, g)
        if dw.size == 9:
            for t in range(0, 9, 3):  # three at a time, so that dy is read three times only
                o0, o1, o2 = (
                    planes.offsets[t] + first,
                    planes.offsets[t + 1] + first,
                    planes.offsets[t + 2] + first,
                )
                x0, x1, x2 = plane[o0 : o0 + m], plane[o1 : o1 + m], plane[o2 : o2 + m]
                s0 = s1 = s2 = zero
                for k in range(m):
                    s0 += g[k] * x0[k]
                    s1 += g[k] * x1[k]
                    s2 += g[k] * x2[k]
                total[t] += s0
                total[t + 1] += s1
                total[t + 2] += s2
        else:
            for t in range(dw.size):
                start, s = planes.offsets[t] + first, zero
                x_t = plane[start : start + m]
                for k in range(m):
                    s += g[k] * x_t[k]
                total[t] += s
    dw[:] = total


convolve_plane_jit = compiled(convolve_plane)
convolve_same_jit = compiled(convolve_same)
scatter_plane_jit = compiled(scatter_plane)
correlate_plane_jit = compiled(correlate_plane, reorder=True)


def forward_channels(
    x: Array, w: Array, b: Array, n: int, planes: Planes, plane: Array, scratch: Array, y: Array
) -> None:
    """Compute the outputs y (c m, oh, ow n) of some channels x (c, h, w n)."""
    m = w.shape[0] // x.shape[0]
    for c in range(x.shape[0]):
        write_image_jit(x[c], n, planes, plane)
        for o in range(c * m, (c + 1) * m):
            convolve_plane_jit(plane, planes, w[o], b[o], scratch, y[o])


def forward_channels_same(
    x: Array, w: Array, b: Array, n: int, offsets: Array, framed: Array, y: Array
) -> None:
    """As `forward_channels`, for 3x3 kernels of stride 1 and a border of one pixel."""
    m = w.shape[0] // x.shape[0]
    for o in range(w.shape[0]):
        convolve_same_jit(x[o // m], n, w[o], b[o], offsets, framed, y[o])


def backward_channels(
    dy: Array,
    x: Array,
    w: Array,
    n: int,
    planes: Planes,
    plane: Array,
    scratch: Array,
    turned: Planes,
    dplane: Array,
    turned_scratch: Array,
    gather: bool,
    dx: Array,
    dw: Array,
) -> None:
    """Compute dx (c, h, w n) and dw (c m, kh kw) of some channels.

    Parameters
    ----------
    plane, scratch : array
        For x, with a border of 0, and for one run.
    turned : Planes
        If `gather`: of the windows through which dx looks at dy; else the same planes.
    dplane, turned_scratch : array
        The same for dy if `gather`; else dplane is for dx.
    """
    m = w.shape[0] // x.shape[0]
    zero = w.dtype.type(0)
    for c in range(x.shape[0]):
        write_image_jit(x[c], n, planes, plane)
        if not gather:
            dplane[:] = zero
        for o in range(c * m, (c + 1) * m):
            correlate_plane_jit(dy[o], plane, planes, scratch, dw[o])
            if gather:
                write_image_jit(dy[o], n, turned, dplane)
                convolve_plane_jit(dplane, turned, w[o, ::-1].copy(), zero, turned_scratch, dx[c])
            else:
                scatter_plane_jit(dy[o], planes, w[o], scratch, dplane)
        if not gather:
            read_image_jit(dplane, n, planes, dx[c])


forward_channels_jit = compiled(forward_channels)
forward_channels_same_jit = compiled(forward_channels_same)
backward_channels_jit = compiled(backward_channels)


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
    kernels = np.ascontiguousarray(w).reshape(c * m, w[0].size)
    shifts = np.zeros(c * m, x.dtype) if b is None else np.ascontiguousarray(b)
    y = empty_rows(c * m, n, *windows.output, x.dtype)
    cache = DepthwiseConv2dCache(rows, w, b is not None, windows, n)
    if slide := slide_of(windows, n, x.dtype):
        operands, out = (rows.ravel(), kernels, shifts, slide), y.ravel()
        share(c, lambda i, j: convolve_windows_jit(*operands, i, j, out), work=3 * y.size)
        return as_image(y, n, *windows.output), cache
    planes = planes_of(windows, n, sort=n > 1)
    images = rows.reshape(c, h, width * n)
    outputs = y.reshape(c * m, windows.output[0], windows.output[1] * n)

    def run_same(first: int, last: int) -> None:
        framed = np.zeros((h + 2) * width * n + 2 * n, x.dtype)
        offsets = np.add.outer(np.arange(3) * width, np.arange(3)).ravel() * n
        part = slice(first * m, last * m)
        forward_channels_same_jit(
            images[first:last], kernels[part], shifts[part], n, offsets, framed, outputs[part]
        )

    def run(first: int, last: int) -> None:
        forward_channels_jit(
            images[first:last],
            kernels[first * m : last * m],
            shifts[first * m : last * m],
            n,
            planes,
            empty_plane(planes, x.dtype, 0),
            empty((planes.run,), x.dtype),
            outputs[first * m : last * m],
        )

    share(c, run_same if n < 8 and _is_same(windows) else run, work=w[0].size * y.size)
    return as_image(y, n, *windows.output), cache


def depthwise_conv2d_backward(
    dy: Array, cache: DepthwiseConv2dCache
) -> tuple[Array, Array, Array | None]:
    """`ops.depthwise_conv2d_backward`, compiled."""
    rows, w, has_bias, windows, n = cache
    c, (h, width), (oh, ow) = len(rows), windows.size, windows.output
    m = len(w) // c
    check_gradient(dy, (n, len(w), oh, ow), rows.dtype)
    kernels = np.ascontiguousarray(w).reshape(c * m, w[0].size)
    gradients = as_rows(dy).reshape(c * m, oh, ow * n)
    dx, dw = empty_rows(c, n, h, width, rows.dtype), np.empty_like(kernels)
    db = gradients.sum(axis=(1, 2)) if has_bias else None
    if m == 1 and (slide := slide_of(windows, n, rows.dtype)):
        _slide_backward(gradients.ravel(), rows.ravel(), kernels, windows, slide, dx.ravel(), dw)
        return as_image(dx, n, h, width), dw.reshape(w.shape), db
    planes, (turned, gather) = planes_of(windows, n, sort=n > 1), turned_planes(windows, n, m)
    images = rows.reshape(c, h, width * n)

    def run(first: int, last: int) -> None:
        outputs = slice(first * m, last * m)
        backward_channels_jit(
            gradients[outputs],
            images[first:last],
            kernels[outputs],
            n,
            planes,
            empty_plane(planes, rows.dtype, 0),
            np.zeros(planes.run, rows.dtype),
            turned,
            empty_plane(turned, rows.dtype, 0),
            empty((turned.run,), rows.dtype),
            gather,
            dx.reshape(c, h, width * n)[first:last],
            dw[outputs],
        )

    share(c, run, work=4 * w[0].size * rows.size)
    return as_image(dx, n, h, width), dw.reshape(w.shape), db


def _slide_backward(
    dy: Array, x: Array, w: Array, windows: Windows, slide: Slide, dx: Array, dw: Array
) -> None:
    """Compute dx and dw of 3x3 kernels, one a channel, where windows slide; all images are flat."""
    turned = _turned(windows)
    over_dy = slide_of(turned, slide.n, x.dtype) if turned else None
    if over_dy:
        kernels, shifts = np.ascontiguousarray(w[:, ::-1]), np.zeros(len(w), x.dtype)
    gather = gather_of(windows, slide.n, x.dtype)

    def run(first: int, last: int) -> None:
        correlate_windows_jit(dy, x, slide, first, last, dw)
        if over_dy:
            convolve_windows_jit(dy, kernels, shifts, over_dy, first, last, dx)
        else:
            gather_through_taps_jit(dy, w, gather, first, last, dx)

    share(len(w), run, work=4 * dy.size + 3 * dx.size)


def _is_same(windows: Windows) -> bool:
    """Whether the kernel is 3x3 with stride 1, and the border keeps the size."""
    return windows[:4] == ((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))


def turned_planes(windows: Windows, n: int, m: int = 1) -> tuple[Planes, bool]:
    """Return the planes of dy through which dx is a convolution, and whether there are any."""
    turned = _turned(windows) if m == 1 else None
    planes = planes_of(turned, n) if turned else planes_of(windows, n, sort=n > 1)
    return planes, turned is not None


def _turned(windows: Windows) -> Windows | None:
    """Return the windows through which dx looks at dy, with the kernel turned; stride 1 only."""
    if windows.stride != (1, 1):
        return None
    spans = [(k - 1) * d for k, d in zip(windows.kernel, windows.dilation, strict=True)]
    (top, bottom), (left, right) = windows.padding
    padding = ((spans[0] - top, spans[0] - bottom), (spans[1] - left, spans[1] - right))
    if min(min(sides) for sides in padding) < 0:
        return None
    return windows._replace(padding=padding, size=windows.output, output=windows.size)
