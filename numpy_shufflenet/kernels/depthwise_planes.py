"""Depthwise convolution over planes (see `_planes`): any size, stride, dilation and dtype.

Each channel is copied to a plane with its border. There the nine taps of a 3x3 filter read nine
runs of numbers; one loop without branches adds them up and writes y once. Backward, dw[i, j] is the
inner product of dy and the run of tap (i, j). With stride 1, dx is a convolution of dy with the
filter turned by 180 degrees. With other strides, each run of dy is added to the numbers that its
tap read.
"""

import numpy as np
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._planes import (
    Planes,
    planes_of,
    read_image,
    read_rows,
    write_image,
    write_rows,
)
from numpy_shufflenet.ops.windows import Windows


@compiled
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


@compiled
def convolve_plane(
    plane: Array, planes: Planes, w: Array, b: float, scratch: Array, y: Array
) -> None:
    """Compute y (oh, ow n) for one filter w (kh kw); scratch is for one run."""
    for p in range(0, y.shape[0], planes.rows):
        rows = y[p : p + planes.rows]
        first, m = p * planes.pitch, (rows.shape[0] - 1) * planes.pitch + planes.stream
        alone = rows.shape[0] == 1 and planes.step == 1
        out = rows[0] if alone else scratch[:m]
        if w.size == 9:
            nine_taps(plane, planes.offsets, first, w, True, b, out)
        else:
            out[:] = b
            for t in range(w.size):
                start, w_t = planes.offsets[t] + first, w[t]
                x_t = plane[start : start + m]
                for k in range(m):
                    out[k] += w_t * x_t[k]
        if not alone:
            read_rows(out, planes, rows)


PIECE = 4096  # numbers of a run that are summed in the dtype


@register_jitable
def run_of(dy: Array, p: int, planes: Planes, scratch: Array) -> tuple[int, Array]:
    """Return where the run of rows p, p + 1, ... of outputs starts in a plane, and dy as a run.

    scratch, for one run, is 0 between the outputs.
    """
    rows = dy[p : p + planes.rows]
    m = (rows.shape[0] - 1) * planes.pitch + planes.stream
    alone = rows.shape[0] == 1 and planes.step == 1
    g = rows[0] if alone else scratch[:m]
    if not alone:
        write_rows(rows, planes, g)
    return p * planes.pitch, g


@compiled
def scatter_plane(dy: Array, planes: Planes, w: Array, scratch: Array, dplane: Array) -> None:
    """Add w[t] dy to the run of each tap: the transpose of `convolve_plane`.

    scratch, for one run, is 0 between the outputs.
    """
    for p in range(0, dy.shape[0], planes.rows):
        first, g = run_of(dy, p, planes, scratch)
        m = g.size
        for t in range(w.size):
            start, w_t = planes.offsets[t] + first, w[t]
            dx_t = dplane[start : start + m]
            for k in range(m):
                dx_t[k] += w_t * g[k]


@compiled(reorder=True)
def correlate_plane(dy: Array, plane: Array, planes: Planes, scratch: Array, dw: Array) -> None:
    """Compute dw (kh kw): the inner product of dy and the run of each tap.

    A piece of a run is summed in the dtype, in any order; the sums of pieces are added in float64.
    scratch, for one run, is 0 between the outputs.
    """
    total = np.zeros(dw.size)
    zero = dy.dtype.type(0)
    for p in range(0, dy.shape[0], planes.rows):
        first, run = run_of(dy, p, planes, scratch)
        for begin in range(0, run.size, PIECE):
            g, at = run[begin : begin + PIECE], first + begin
            m = g.size
            if dw.size == 9:
                for t in range(0, 9, 3):  # three at a time, so that dy is read only three times
                    o0, o1, o2 = (
                        planes.offsets[t] + at,
                        planes.offsets[t + 1] + at,
                        planes.offsets[t + 2] + at,
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
                    start, s = planes.offsets[t] + at, zero
                    x_t = plane[start : start + m]
                    for k in range(m):
                        s += g[k] * x_t[k]
                    total[t] += s
    dw[:] = total


@compiled
def forward_channels(
    x: Array, w: Array, b: Array, n: int, planes: Planes, plane: Array, scratch: Array, y: Array
) -> None:
    """Compute the outputs y (c m, oh, ow n) of some channels x (c, h, w n)."""
    m = w.shape[0] // x.shape[0]
    for c in range(x.shape[0]):
        write_image(x[c], n, planes, plane)
        for o in range(c * m, (c + 1) * m):
            convolve_plane(plane, planes, w[o], b[o], scratch, y[o])


@compiled
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
        A plane for x, with a border of 0, and scratch for one run.
    turned : Planes
        If `gather`, those of the windows through which dx reads dy; else `planes`.
    dplane, turned_scratch : array
        If `gather`, the same for dy; else dplane is a plane for dx.
    """
    m = w.shape[0] // x.shape[0]
    zero = w.dtype.type(0)
    for c in range(x.shape[0]):
        write_image(x[c], n, planes, plane)
        if not gather:
            dplane[:] = zero
        for o in range(c * m, (c + 1) * m):
            correlate_plane(dy[o], plane, planes, scratch, dw[o])
            if gather:
                write_image(dy[o], n, turned, dplane)
                convolve_plane(dplane, turned, w[o, ::-1].copy(), zero, turned_scratch, dx[c])
            else:
                scatter_plane(dy[o], planes, w[o], scratch, dplane)
        if not gather:
            read_image(dplane, n, planes, dx[c])


def turned_planes(windows: Windows, n: int, m: int = 1) -> tuple[Planes, bool]:
    """Return the planes of dy and True if dx is a convolution of dy, else those of x and False."""
    turned = _turned(windows) if m == 1 else None
    planes = planes_of(turned, n) if turned else planes_of(windows, n, sort=n > 1)
    return planes, turned is not None


def _turned(windows: Windows) -> Windows | None:
    """Return the windows through which dx reads dy, with the filter turned; stride 1 only."""
    if windows.stride != (1, 1):
        return None
    spans = [(k - 1) * d for k, d in zip(windows.kernel, windows.dilation, strict=True)]
    (top, bottom), (left, right) = windows.padding
    padding = ((spans[0] - top, spans[0] - bottom), (spans[1] - left, spans[1] - right))
    if min(min(sides) for sides in padding) < 0:
        return None
    return windows._replace(padding=padding, size=windows.output, output=windows.size)
