"""Convolution: all taps of all channels, a run of numbers each, times a matrix.

In planes (see `_planes`) what an output row sees through one tap is a run of numbers. The kernels
(o, c kh kw) multiply these. Where products are made in tiles of our own (see `_tiles`), they read
the runs where they are; for BLAS, the runs of a few output rows at a time are copied, as columns,
that stay in the cache. (`ops` writes all columns at once, kh kw times the image.) Without such
tiles and with few channels, as in the stem of a network, 3x3 kernels add up the runs themselves.

Backward, dw adds up the products of such blocks; dx is made channel by channel, so that no two
threads add to one place.
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._depthwise_planes import nine_taps_jit
from numpy_shufflenet.kernels._direct import multiply_pieces, multiply_rows
from numpy_shufflenet.kernels._layout import as_image, as_rows, empty_rows
from numpy_shufflenet.kernels._planes import (
    Planes,
    planes_of,
    read_image_jit,
    read_rows_jit,
    write_image_jit,
)
from numpy_shufflenet.kernels._products import SHARES, blocks, cut, multiply
from numpy_shufflenet.kernels._tiles import BLOCK, PANEL, suits
from numpy_shufflenet.kernels.pointwise_conv2d import finish_jit
from numpy_shufflenet.kernels.relu import let_through
from numpy_shufflenet.ops._check import check_gradient
from numpy_shufflenet.ops._windows import Windows, windows_over
from numpy_shufflenet.ops.conv2d import check_kernel


def write_images(x: Array, n: int, planes: Planes, target: Array) -> None:
    """Copy channels x (c, h, w n) into planes target (c, size) with a border of 0."""
    for c in range(x.shape[0]):
        target[c] = 0
        write_image_jit(x[c], n, planes, target[c])


def write_columns(planes: Planes, source: Array, first: int, last: int, columns: Array) -> None:
    """Write the windows of output rows first to last as columns (c kh kw, rows stream)."""
    taps, pitch, stream = planes.offsets.size, planes.pitch, planes.stream
    for c in range(source.shape[0]):
        for t in range(taps):
            row, start = columns[c * taps + t], planes.offsets[t]
            for p in range(first, last):
                place = start + p * pitch
                row[(p - first) * stream : (p - first + 1) * stream] = source[
                    c, place : place + stream
                ]


def add_columns(planes: Planes, columns: Array, first: int, last: int, dplane: Array) -> None:
    """Add columns (kh kw, rows stream) of one channel back to where they were read from."""
    stream = planes.stream
    for p in range(first, last):
        for t in range(planes.offsets.size):
            start = planes.offsets[t] + p * planes.pitch
            target = dplane[start : start + stream]
            source = columns[t, (p - first) * stream : (p - first + 1) * stream]
            for k in range(stream):
                target[k] += source[k]


def convolve_directly(
    planes: Planes, source: Array, w: Array, b: Array, relu: bool, scratch: Array, y: Array
) -> None:
    """Compute y (o, oh, ow n) by 3x3 kernels w (o, c, 9), run by run; scratch is for one run."""
    zero = y.dtype.type(0)
    for p in range(0, y.shape[1], planes.rows):
        first = p * planes.pitch
        for o in range(y.shape[0]):
            rows = y[o, p : p + planes.rows]
            m = (rows.shape[0] - 1) * planes.pitch + planes.stream
            out = rows[0] if rows.shape[0] == 1 else scratch[:m]
            for c in range(source.shape[0]):
                nine_taps_jit(source[c], planes.offsets, first, w[o, c], c == 0, b[o], out)
            if relu:
                for k in range(m):
                    out[k] = zero if out[k] < zero else out[k]
            if rows.shape[0] > 1:
                read_rows_jit(out, planes, rows)


write_images_jit = compiled(write_images)
write_columns_jit = compiled(write_columns)
add_columns_jit = compiled(add_columns)
convolve_directly_jit = compiled(convolve_directly)


def convolve_tiles(
    planes: Planes, w: Array, x: Array, starts: Array, first: int, last: int, y: Array
) -> None:
    """Compute output rows first to last of y (o, oh ow n): a product of matrices for each row.

    Parameters
    ----------
    w : array, shape (o c kh kw,)
    x : array
        All planes in a row.
    starts : array, shape (c kh kw,)
        Where the run of each tap starts.
    """
    depth, stream, rows = starts.size, planes.stream, y.shape[0]
    for p in range(first, last):
        begin = p * planes.pitch
        multiply_rows(w, 0, depth, 1, rows, x, starts, begin, stream, y, p * stream)


def correlate_tiles(
    planes: Planes, g: Array, x: Array, starts: Array, first: int, last: int, dw: Array
) -> None:
    """Compute what output rows first to last of g = dy contribute to dw (o, c kh kw)."""
    product, stream = np.empty_like(dw), planes.stream
    few = max(1, BLOCK // stream)
    dw[:] = 0
    for p in range(first, last, few):
        begins = np.arange(p, min(p + few, last)) * planes.pitch
        multiply_pieces(g, p * stream, x, starts, begins, stream, product)
        for o in range(dw.shape[0]):
            for t in range(dw.shape[1]):
                dw[o, t] += product[o, t]


def spread_tiles(
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


convolve_tiles_jit = compiled(convolve_tiles)
correlate_tiles_jit = compiled(correlate_tiles)
spread_tiles_jit = compiled(spread_tiles)


FEW = 4  # input channels


class Conv2dCache(NamedTuple):
    """What the backwards need; y only after a ReLU, to tell what it let through."""

    bordered: Array  # c, size: the planes of x
    w: Array  # o c/g kh kw
    has_bias: bool
    windows: Windows
    groups: int
    n: int
    y: Array | None  # n o oh ow


Gradients = tuple[Any, Array, Array | None]


def conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tuple[Array, Conv2dCache]:
    """`ops.conv2d_forward`, in blocks."""
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    return _forward(x, w, b, groups, relu=False, geometry=geometry)


def conv2d_backward(dy: Array, cache: Conv2dCache, *, input_gradient: bool = True) -> Gradients:
    """`ops.conv2d_backward`, in blocks."""
    return _backward(dy, cache, input_gradient=input_gradient)


def conv2d_relu_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tuple[Array, Conv2dCache]:
    """`ops.conv2d_relu_forward`, in blocks."""
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    return _forward(x, w, b, groups, relu=True, geometry=geometry)


def conv2d_relu_backward(dy: Array, cache: Conv2dCache) -> Gradients:
    """`ops.conv2d_relu_backward`, in blocks."""
    return _backward(dy, cache)


def group_conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    groups: int,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
) -> tuple[Array, Conv2dCache]:
    """`ops.group_conv2d_forward`, in blocks."""
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    return _forward(x, w, b, groups, relu=False, geometry=geometry)


def group_conv2d_backward(dy: Array, cache: Conv2dCache) -> Gradients:
    """`ops.group_conv2d_backward`, in blocks."""
    return _backward(dy, cache)


def _forward(
    x: Array, w: Array, b: Array | None, groups: int, *, relu: bool, geometry: dict[str, Any]
) -> tuple[Array, Conv2dCache]:
    check_kernel(x, w, b, groups)
    windows = windows_over(x, w.shape[2:], **geometry)
    n, o, (oh, ow) = len(x), len(w), windows.output
    planes, rows = planes_of(windows, n), as_rows(x)
    bordered = _bordered(rows, windows, planes, n)  # c, size
    y = empty_rows(o, n, oh, ow, x.dtype)
    o_share, c_share, depth = o // groups, len(rows) // groups, w[0].size
    kernels = w.reshape(groups, o_share, depth)
    shift = np.zeros(o, x.dtype) if b is None else np.ascontiguousarray(b)
    heights = _row_blocks(oh, planes.stream, o_share, depth)

    def run(first: int, last: int) -> None:
        scratch = empty((depth, heights[0].stop * planes.stream), x.dtype)
        for p in heights[first:last]:
            columns = scratch[:, : (p.stop - p.start) * planes.stream]
            place = slice(p.start * planes.stream, p.stop * planes.stream)
            for g in range(groups):
                source = bordered[g * c_share : (g + 1) * c_share]
                write_columns_jit(planes, source, p.start, p.stop, columns)
                multiply(kernels[g], columns, y[g * o_share : (g + 1) * o_share, place])
            if relu or b is not None:
                finish_jit(y, place.start, place.stop, shift, relu)

    def run_directly(first: int, last: int) -> None:
        part = y.reshape(o, oh, ow * n)[first:last]
        taps = np.ascontiguousarray(w[first:last]).reshape(last - first, len(rows), 9)
        scratch = empty((planes.run,), x.dtype)
        convolve_directly_jit(planes, bordered, taps, shift[first:last], relu, scratch, part)

    def run_tiles(first: int, last: int) -> None:
        for g in range(groups):
            y_g, x_g = y[g * o_share : (g + 1) * o_share], bordered[g * c_share : (g + 1) * c_share]
            convolve_tiles_jit(planes, kernels[g].ravel(), x_g.ravel(), starts, first, last, y_g)
        if relu or b is not None:
            finish_jit(y, first * planes.stream, last * planes.stream, shift, relu)

    if suits(x.dtype, o_share, depth, planes.stream, PANEL):
        starts = _starts(planes, c_share)
        share(oh, run_tiles, work=depth * y.size // 8)
    elif groups == 1 and len(rows) <= FEW and windows.kernel == (3, 3):
        share(o, run_directly, work=depth * y.size)
    else:
        share(len(heights), run, work=depth * y.size // 8)
    image = as_image(y, n, oh, ow)
    cache = Conv2dCache(bordered, w, b is not None, windows, groups, n, image if relu else None)
    return image, cache


def _backward(dy: Array, cache: Conv2dCache, *, input_gradient: bool = True) -> Gradients:
    bordered, w, has_bias, windows, _, n, y = cache
    check_gradient(dy, (n, len(w), *windows.output), bordered.dtype)
    gradients = as_rows(dy)
    if y is not None:
        gradients = let_through(gradients, y)
    dw = _weight_gradient(gradients, cache)
    dx = as_image(_input_gradient(gradients, cache), n, *windows.size) if input_gradient else None
    db = gradients.sum(axis=1) if has_bias else None
    return dx, dw, db


def _weight_gradient(gradients: Array, cache: Conv2dCache) -> Array:
    """dw = dy @ columns^T, added up over blocks of output rows."""
    bordered, w, _, windows, groups, n, _ = cache
    planes, dtype = planes_of(windows, n), bordered.dtype
    o_share, c_share, depth = len(w) // groups, len(bordered) // groups, w[0].size
    heights = _row_blocks(windows.output[0], planes.stream, o_share, depth)
    shares = min(SHARES, len(heights))
    parts = empty((shares, groups, o_share, depth), dtype)

    def run(first: int, last: int) -> None:
        scratch = empty((depth, heights[0].stop * planes.stream), dtype)
        product = empty((o_share, depth), dtype)
        for part in range(first, last):
            parts[part] = 0
            for p in heights[cut(len(heights), shares)[part]]:
                columns = scratch[:, : (p.stop - p.start) * planes.stream]
                place = slice(p.start * planes.stream, p.stop * planes.stream)
                for g in range(groups):
                    source = bordered[g * c_share : (g + 1) * c_share]
                    write_columns_jit(planes, source, p.start, p.stop, columns)
                    dy_block = gradients[g * o_share : (g + 1) * o_share, place]
                    multiply(dy_block, columns.T, product)
                    parts[part, g] += product

    def run_tiles(first: int, last: int) -> None:
        for part in range(first, last):
            p = by_row[part]
            for g in range(groups):
                x_g = bordered[g * c_share : (g + 1) * c_share].ravel()
                dy_g = gradients[g * o_share : (g + 1) * o_share]
                correlate_tiles_jit(planes, dy_g, x_g, starts, p.start, p.stop, parts[part, g])

    if suits(dtype, o_share, depth, planes.stream, PANEL):
        by_row, starts = cut(windows.output[0], SHARES), _starts(planes, c_share)
        parts = empty((SHARES, groups, o_share, depth), dtype)
        share(SHARES, run_tiles, work=depth * gradients.size // 8)
    else:
        share(shares, run, work=depth * gradients.size // 8)
    return parts.sum(axis=0).reshape(w.shape)


def _input_gradient(gradients: Array, cache: Conv2dCache) -> Array:
    """dx = w^T @ dy, each column added back to its window, channel by channel."""
    bordered, w, _, windows, groups, n, _ = cache
    planes, (kh, kw), dtype = planes_of(windows, n), windows.kernel, bordered.dtype
    c, o_share, c_share = len(bordered), len(w) // groups, len(bordered) // groups
    taps = w.reshape(groups, o_share, c_share, kh * kw)
    heights = _row_blocks(windows.output[0], planes.stream, o_share, kh * kw)
    (h, width) = windows.size
    dx = empty((c, h, width * n), dtype)

    def run(first: int, last: int) -> None:
        scratch = empty((kh * kw, heights[0].stop * planes.stream), dtype)
        dplane = empty((planes.size,), dtype)
        for c in range(first, last):
            g, k = divmod(c, c_share)
            dplane.fill(0)
            kernel = taps[g, :, k].T  # kh kw, o/g
            for p in heights:
                columns = scratch[:, : (p.stop - p.start) * planes.stream]
                place = slice(p.start * planes.stream, p.stop * planes.stream)
                multiply(kernel, gradients[g * o_share : (g + 1) * o_share, place], columns)
                add_columns_jit(planes, columns, p.start, p.stop, dplane)
            read_image_jit(dplane, n, planes, dx[c])

    def run_tiles(first: int, last: int) -> None:
        for g in range(groups):
            mine = slice(g * c_share, (g + 1) * c_share)
            dy_g = gradients[g * o_share : (g + 1) * o_share]
            spread_tiles_jit(planes, taps[g].ravel(), dy_g, delays, first, last, dplanes[mine])
        rows = slice(max(0, first * stride - top), max(0, last * stride - top))
        part = planes._replace(row_places=planes.row_places[rows])
        for k in range(c):
            read_image_jit(dplanes[k], n, part, dx[k, rows])

    work = kh * kw * c_share * gradients.size // 8
    if suits(dtype, o_share, c_share * kh * kw, planes.stream, PANEL):
        stride, top = windows.stride[0], windows.padding[0][0]
        delays = np.repeat(np.arange(kh) * windows.dilation[0] // stride, kw)
        dplanes = empty((c, planes.size), dtype)
        share(planes.size // planes.classes // planes.pitch, run_tiles, work)
    else:
        share(c, run, work)
    return dx.reshape(c, h * width * n)


def _bordered(rows: Array, windows: Windows, planes: Planes, n: int) -> Array:
    """Return all channels as planes with a border of 0: (c, size)."""
    c, (h, width) = len(rows), windows.size
    images = rows.reshape(c, h, width * n)
    target = empty((c, planes.size), rows.dtype)
    share(
        c,
        lambda i, j: write_images_jit(images[i:j], n, planes, target[i:j]),
        work=target.size,
    )
    return target


def _starts(planes: Planes, channels: int) -> Array:
    """Return where the run of each tap of each channel starts, in planes one after the other."""
    return np.add.outer(np.arange(channels) * planes.size, planes.offsets).ravel()


def _row_blocks(oh: int, stream: int, a: int, b: int) -> list[slice]:
    """Cut output rows into blocks for a product (a, b) @ (b, columns); the first is the largest."""
    size = -(-oh // len(blocks(oh * stream, a, b)))
    return [slice(start, min(start + size, oh)) for start in range(0, oh, size)]
