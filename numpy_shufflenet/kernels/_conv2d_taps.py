"""Convolution of few channels by 3x3 filters: the runs of nine taps are added up in place.

BLAS is slow for so few channels, as in the stem of a network. No run is copied.
"""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._barrier import each_turn
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._planes import Planes, read_rows
from numpy_shufflenet.kernels._strips import Strips, write_strip
from numpy_shufflenet.kernels.depthwise_planes import nine_taps
from numpy_shufflenet.kernels.pointwise_conv2d import finish


@compiled
def convolve(
    x: Array, strips: Strips, w: Array, b: Array, relu: bool, turns: Array, y: Array
) -> None:
    """Compute the same as `_conv2d_tiles.convolve`, for one group."""
    strips = Strips(*strips)  # callers pass a plain tuple
    planes, (_, o, _), (_, channels, _, _) = Planes(*strips.planes), w.shape, x.shape
    pitch, stream, zero = planes.pitch, planes.stream, y.dtype.type(0)
    strip = np.zeros((channels, planes.size), x.dtype)
    scratch = np.empty((planes.rows - 1) * pitch + stream, x.dtype)
    images = y.reshape(o, strips.outputs, stream)
    for turn in each_turn(turns):
        p = turn * strips.rows
        count = min(strips.rows, strips.outputs - p)
        write_strip(x[0], strips, p, count, strip)
        for k in range(o):
            for r in range(0, count, planes.rows):
                rows = images[k, p + r : p + min(r + planes.rows, count)]
                m = (rows.shape[0] - 1) * pitch + stream
                out = rows[0] if rows.shape[0] == 1 else scratch[:m]
                for c in range(channels):
                    taps = w[0, k, 9 * c : 9 * c + 9]
                    nine_taps(strip[c], planes.offsets, r * pitch, taps, c == 0, zero, out)
                if rows.shape[0] > 1:
                    read_rows(out, planes, rows)
        if b.size > 0:
            finish(y, p * stream, (p + count) * stream, b, relu)
