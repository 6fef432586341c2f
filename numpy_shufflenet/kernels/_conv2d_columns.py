"""Convolution by BLAS (im2col): what each tap reads is copied to a matrix, strip by strip."""

from numpy_shufflenet._memory import empty
from numpy_shufflenet._threads import share_range
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._barrier import each_turn
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._planes import Planes, planes_of, read_image
from numpy_shufflenet.kernels._products import blocks, cut, multiply_by_blas
from numpy_shufflenet.kernels._strips import Strips, strips_of, write_strip
from numpy_shufflenet.kernels.pointwise_conv2d import finish
from numpy_shufflenet.ops._sums import wide
from numpy_shufflenet.ops.windows import Windows


@compiled
def write_columns(planes: Planes, strip: Array, rows: int, columns: Array) -> None:
    """Copy the windows of the first output rows of a strip (c, size) to columns.

    columns : array, shape (c kh kw, at least rows stream)
    """
    taps, pitch, stream = planes.offsets.size, planes.pitch, planes.stream
    for c in range(strip.shape[0]):
        for t in range(taps):
            row, start = columns[c * taps + t], planes.offsets[t]
            for p in range(rows):
                place = start + p * pitch
                row[p * stream : (p + 1) * stream] = strip[c, place : place + stream]


@compiled
def add_columns(planes: Planes, columns: Array, first: int, last: int, dplane: Array) -> None:
    """Add columns (kh kw, rows stream) of one channel to the positions they were read from."""
    stream = planes.stream
    for p in range(first, last):
        for t in range(planes.offsets.size):
            start = planes.offsets[t] + p * planes.pitch
            target = dplane[start : start + stream]
            source = columns[t, (p - first) * stream : (p - first + 1) * stream]
            for k in range(stream):
                target[k] += source[k]


class _Columns:
    """Writes the columns of one strip at a time, always to the same memory."""

    def __init__(self, x: Array, strips: Strips) -> None:
        self.x, self.strips, self.planes = x, strips, Planes(*strips.planes)
        self.strip = empty((x.shape[1], self.planes.size), x.dtype)
        self.strip.fill(0)
        self.columns = empty((strips.starts.size, strips.rows * self.planes.stream), x.dtype)

    def __call__(self, g: int, number: int) -> tuple[Array, slice]:
        """Return a strip's windows, of group g, as columns (c kh kw, m), and their slice of y."""
        p, planes = number * self.strips.rows, self.planes
        rows = min(self.strips.rows, self.strips.outputs - p)
        write_strip(self.x[g], self.strips, p, rows, self.strip)
        write_columns(planes, self.strip, rows, self.columns)
        place = slice(p * planes.stream, (p + rows) * planes.stream)
        return self.columns[:, : rows * planes.stream], place


def rows_of_block(windows: Windows, n: int, o: int, depth: int) -> int:
    """Return the number of output rows in a block of a product (o, depth) @ (depth, columns)."""
    oh, ow = windows.output
    return -(-oh // len(blocks(oh * ow * n, o, depth)))


def strips_for(w: Array, windows: Windows, groups: int, n: int) -> Strips:
    """Return strips whose columns fit in the cache."""
    rows = rows_of_block(windows, n, len(w) // groups, w[0].size)
    return strips_of(windows, n, w.shape[1], rows)


def convolve(
    x: Array, strips: Strips, w: Array, b: Array, relu: bool, turns: Array, y: Array
) -> None:
    """Compute the same as `_conv2d_tiles.convolve`."""
    strips = Strips(*strips)  # callers pass a plain tuple
    columns_of, rows = _Columns(x, strips), w.shape[1]
    for turn in each_turn(turns):
        g, number = divmod(turn, strips.pieces)
        mine = slice(g * rows, (g + 1) * rows)
        columns, place = columns_of(g, number)
        multiply_by_blas(w[g], columns, y[mine, place])
        if b.size:
            finish(y[mine], place.start, place.stop, b[mine], relu)


def correlate(x: Array, strips: Strips, dy: Array, turns: Array, dw: Array) -> None:
    """Compute the same as `_conv2d_tiles.correlate`."""
    strips = Strips(*strips)  # callers pass a plain tuple
    _, parts, rows, depth = dw.shape
    columns_of, product = _Columns(x, strips), empty((rows, depth), x.dtype)
    for turn in each_turn(turns):
        g, part = divmod(turn, parts)
        dw[g, part] = 0
        for number in range(strips.pieces)[cut(strips.pieces, parts)[part]]:
            columns, place = columns_of(g, number)
            multiply_by_blas(dy[g * rows : (g + 1) * rows, place], columns.T, product)
            dw[g, part] += product


def spread(dy: Array, w: Array, windows: Windows, n: int, groups: int) -> Array:
    """Return the same as `_conv2d_tiles.spread`."""
    planes, (kh, kw), (h, width) = planes_of(windows, n), windows.kernel, windows.size
    o_share, c_share = len(w) // groups, w.shape[1]
    taps = w.reshape(groups, o_share, c_share, kh * kw)
    rows = rows_of_block(windows, n, o_share, kh * kw)
    dx = empty((groups * c_share, h, width * n), dy.dtype)

    def run(first: int, last: int) -> None:
        scratch = empty((kh * kw, rows * planes.stream), dy.dtype)
        dplane = empty((planes.size,), wide(dy.dtype, kh * kw))
        for c in range(first, last):
            g, k = divmod(c, c_share)
            dplane.fill(0)
            for p in range(0, windows.output[0], rows):
                p_end = min(p + rows, windows.output[0])
                place = slice(p * planes.stream, p_end * planes.stream)
                columns = scratch[:, : place.stop - place.start]
                multiply_by_blas(
                    taps[g, :, k].T, dy[g * o_share : (g + 1) * o_share, place], columns
                )
                add_columns(planes, columns, p, p_end, dplane)
            read_image(dplane, n, planes, dx[c])

    share_range(len(dx), run, work=w[0].size * dy.size // 8)
    return dx.reshape(len(dx), h * width * n)
