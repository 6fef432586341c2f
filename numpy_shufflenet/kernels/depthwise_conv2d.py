"""Depthwise convolution: for each output row, the streams of all taps are added up.

Every channel is copied into a plane with its border (see `_planes`), where the nine taps of a 3x3
kernel are nine streams; one loop without a branch multiplies and adds them, and writes y once.

Backward, dw[i, j] is the inner product of dy and the stream of tap (i, j), all nine in one pass. dx
of stride 1 is a convolution again, of dy with the kernel turned by 180 degrees; of other strides,
each stream of dy is added to where it was read from.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._threads import share
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import as_image, as_rows, empty_rows
from numpy_shufflenet.kernels._planes import (
    Planes,
    empty_plane,
    planes_of,
    read_image_jit,
    write_image_jit,
)
from numpy_shufflenet.ops._check import check_gradient
from numpy_shufflenet.ops._windows import Windows
from numpy_shufflenet.ops.depthwise_conv2d import check_depthwise


def convolve_plane(plane: Array, planes: Planes, w: Array, b: float, y: Array) -> None:
    """Compute y (oh, ow n) of one kernel w (kh, kw)."""
    offsets, stream = planes.offsets, planes.stream
    if w.shape == (3, 3):
        w00, w01, w02 = w[0]
        w10, w11, w12 = w[1]
        w20, w21, w22 = w[2]
        o0, o1, o2 = offsets[0], offsets[1], offsets[2]
        for p in range(y.shape[0]):
            row = p * planes.row_stride
            r0, r1, r2 = plane[row], plane[row + planes.row_step], plane[row + 2 * planes.row_step]
            x00, x01, x02 = r0[o0 : o0 + stream], r0[o1 : o1 + stream], r0[o2 : o2 + stream]
            x10, x11, x12 = r1[o0 : o0 + stream], r1[o1 : o1 + stream], r1[o2 : o2 + stream]
            x20, x21, x22 = r2[o0 : o0 + stream], r2[o1 : o1 + stream], r2[o2 : o2 + stream]
            out = y[p]
            for k in range(stream):
                top = w00 * x00[k] + w01 * x01[k] + w02 * x02[k]
                middle = w10 * x10[k] + w11 * x11[k] + w12 * x12[k]
                bottom = w20 * x20[k] + w21 * x21[k] + w22 * x22[k]
                out[k] = b + top + middle + bottom
        return
    for p in range(y.shape[0]):
        out = y[p]
        out[:] = b
        for i in range(w.shape[0]):
            row = plane[p * planes.row_stride + i * planes.row_step]
            for j in range(w.shape[1]):
                x_ij, w_ij = row[offsets[j] : offsets[j] + stream], w[i, j]
                for k in range(stream):
                    out[k] += w_ij * x_ij[k]


def scatter_plane(dy: Array, planes: Planes, w: Array, dplane: Array) -> None:
    """Add w[i, j] dy to the stream of each tap: the transpose of `convolve_plane`."""
    offsets, stream = planes.offsets, planes.stream
    for p in range(dy.shape[0]):
        g = dy[p]
        for i in range(w.shape[0]):
            row = dplane[p * planes.row_stride + i * planes.row_step]
            for j in range(w.shape[1]):
                dx_ij, w_ij = row[offsets[j] : offsets[j] + stream], w[i, j]
                for k in range(stream):
                    dx_ij[k] += w_ij * g[k]


def correlate_plane(dy: Array, plane: Array, planes: Planes, dw: Array) -> None:
    """Compute dw (kh, kw): the inner product of dy and the stream of each tap.

    A row is added up in the dtype, in any order; rows in float64.
    """
    offsets, stream = planes.offsets, planes.stream
    total = np.zeros(dw.shape)
    zero = dy.dtype.type(0)
    for p in range(dy.shape[0]):
        g = dy[p]
        if dw.shape == (3, 3):
            for i in range(3):
                row = plane[p * planes.row_stride + i * planes.row_step]
                x0 = row[offsets[0] : offsets[0] + stream]
                x1 = row[offsets[1] : offsets[1] + stream]
                x2 = row[offsets[2] : offsets[2] + stream]
                s0 = s1 = s2 = zero
                for k in range(stream):
                    s0 += g[k] * x0[k]
                    s1 += g[k] * x1[k]
                    s2 += g[k] * x2[k]
                total[i, 0] += s0
                total[i, 1] += s1
                total[i, 2] += s2
        else:
            for i in range(dw.shape[0]):
                row = plane[p * planes.row_stride + i * planes.row_step]
                for j in range(dw.shape[1]):
                    x_ij, s = row[offsets[j] : offsets[j] + stream], zero
                    for k in range(stream):
                        s += g[k] * x_ij[k]
                    total[i, j] += s
    dw[:] = total


convolve_plane_jit = compiled(convolve_plane)
scatter_plane_jit = compiled(scatter_plane)
correlate_plane_jit = compiled(correlate_plane, reorder=True)


def forward_channels(
    x: Array, w: Array, b: Array, y: Array, n: int, planes: Planes, plane: Array
) -> None:
    """Compute the outputs y (c m, oh, ow n) of some channels x (c, h, w n)."""
    m = w.shape[0] // x.shape[0]
    for c in range(x.shape[0]):
        write_image_jit(x[c], n, planes, plane)
        for o in range(c * m, (c + 1) * m):
            convolve_plane_jit(plane, planes, w[o], b[o], y[o])


def backward_channels(
    dy: Array,
    x: Array,
    w: Array,
    dx: Array,
    dw: Array,
    n: int,
    planes: Planes,
    plane: Array,
    dplane: Array,
    turned: Planes,
    gather: bool,
) -> None:
    """Compute dx (c, h, w n) and dw (c m, kh, kw) of some channels.

    Parameters
    ----------
    plane, dplane : array
        Scratch: for x, with a border of 0; for dx or, if `gather`, for dy with a border of 0.
    turned : Planes
        If `gather`: of the windows through which dx looks at dy.
    """
    m = w.shape[0] // x.shape[0]
    zero = w.dtype.type(0)
    for c in range(x.shape[0]):
        write_image_jit(x[c], n, planes, plane)
        if not gather:
            dplane[:] = zero
        for o in range(c * m, (c + 1) * m):
            correlate_plane_jit(dy[o], plane, planes, dw[o])
            if gather:
                write_image_jit(dy[o], n, turned, dplane)
                convolve_plane_jit(dplane, turned, w[o, ::-1, ::-1].copy(), zero, dx[c])
            else:
                scatter_plane_jit(dy[o], planes, w[o], dplane)
        if not gather:
            read_image_jit(dplane, n, planes, dx[c])


forward_channels_jit = compiled(forward_channels)
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
    planes = planes_of(windows, n)
    rows = as_rows(x)  # c, h w n
    images = rows.reshape(c, h, width * n)
    kernels = np.ascontiguousarray(w).reshape(c * m, *windows.kernel)
    shifts = np.zeros(c * m, x.dtype) if b is None else np.ascontiguousarray(b)
    y = empty_rows(c * m, n, *windows.output, x.dtype)
    outputs = y.reshape(c * m, windows.output[0], planes.stream)

    def run(first: int, last: int) -> None:
        forward_channels_jit(
            images[first:last],
            kernels[first * m : last * m],
            shifts[first * m : last * m],
            outputs[first * m : last * m],
            n,
            planes,
            empty_plane(planes, x.dtype, 0),
        )

    share(c, run, work=rows.size + y.size)
    return as_image(y, n, *windows.output), DepthwiseConv2dCache(rows, w, b is not None, windows, n)


def depthwise_conv2d_backward(
    dy: Array, cache: DepthwiseConv2dCache
) -> tuple[Array, Array, Array | None]:
    """`ops.depthwise_conv2d_backward`, compiled."""
    rows, w, has_bias, windows, n = cache
    c, (h, width), (oh, ow) = len(rows), windows.size, windows.output
    m = len(w) // c
    check_gradient(dy, (n, len(w), oh, ow), rows.dtype)
    planes, turned_windows = planes_of(windows, n), _turned(windows)
    gather = m == 1 and turned_windows is not None
    turned = planes_of(turned_windows, n) if gather and turned_windows else planes
    images = rows.reshape(c, h, width * n)
    kernels = np.ascontiguousarray(w).reshape(c * m, *windows.kernel)
    gradients = as_rows(dy).reshape(c * m, oh, ow * n)
    dx, dw = empty_rows(c, n, h, width, rows.dtype), np.empty_like(kernels)

    def run(first: int, last: int) -> None:
        outputs = slice(first * m, last * m)
        backward_channels_jit(
            gradients[outputs],
            images[first:last],
            kernels[outputs],
            dx.reshape(c, h, width * n)[first:last],
            dw[outputs],
            n,
            planes,
            empty_plane(planes, rows.dtype, 0),
            empty_plane(turned, rows.dtype, 0),
            turned,
            gather,
        )

    share(c, run, work=4 * rows.size)
    db = gradients.sum(axis=(1, 2)) if has_bias else None
    return as_image(dx, n, h, width), dw.reshape(w.shape), db


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
