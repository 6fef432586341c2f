"""Pooling, one output at a time: each output reads one window of one channel."""

import numpy as np

from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.ops.checks import as_pair
from numpy_shufflenet.steps._axis import Axis, two_axes
from numpy_shufflenet.steps._driver import Index, Output, Reads, Steps, add_up

__all__ = [
    "avg_pool2d_backward_steps",
    "avg_pool2d_forward_steps",
    "global_avg_pool_backward_steps",
    "global_avg_pool_forward_steps",
    "max_pool2d_backward_steps",
    "max_pool2d_forward_steps",
]


def max_pool2d_forward_steps(
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
) -> Steps:
    """y[n, c, p, q] reads its window and keeps the largest; the border never takes part."""
    rows, columns = pool_axes(x, kernel_size, stride, padding)
    y_shape = (*x.shape[:2], rows.outputs, columns.outputs)
    yield Output("y", y_shape)
    for n, c, p, q in np.ndindex(y_shape):
        window = window_of((n, c, p, q), rows, columns)
        reads: Reads = [("x", pixel) for pixel in window]
        yield add_up("y", (n, c, p, q), reads, [x[winner(x, window)]])


def max_pool2d_backward_steps(
    dy: Array,
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
) -> Steps:
    """dx adds dy of each window in which the pixel is the winner."""
    rows, columns = pool_axes(x, kernel_size, stride, padding)
    yield Output("dx", x.shape)
    for n, c, r, s in np.ndindex(x.shape):
        reads: Reads = []
        terms = []
        for p, _ in rows.of_input[r]:
            for q, _ in columns.of_input[s]:
                window = window_of((n, c, p, q), rows, columns)
                reads += [("x", pixel) for pixel in window]
                if winner(x, window) == (n, c, r, s):
                    reads.append(("dy", (n, c, p, q)))
                    terms.append(dy[n, c, p, q])
        yield add_up("dx", (n, c, r, s), reads, terms)


def avg_pool2d_forward_steps(
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    count_include_pad: bool = True,
) -> Steps:
    """y[n, c, p, q] adds up its window, each pixel divided by their number."""
    rows, columns = pool_axes(x, kernel_size, stride, padding)
    kh, kw = as_pair("kernel_size", kernel_size)
    y_shape = (*x.shape[:2], rows.outputs, columns.outputs)
    yield Output("y", y_shape)
    for n, c, p, q in np.ndindex(y_shape):
        window = window_of((n, c, p, q), rows, columns)
        count = kh * kw if count_include_pad else len(window)
        reads: Reads = [("x", pixel) for pixel in window]
        yield add_up("y", (n, c, p, q), reads, [x[pixel] / count for pixel in window])


def avg_pool2d_backward_steps(
    dy: Array,
    x: Array,
    kernel_size: IntOrPair,
    *,
    stride: IntOrPair | None = None,
    padding: Padding = 0,
    count_include_pad: bool = True,
) -> Steps:
    """dx adds a share of dy from every window that contains the pixel."""
    rows, columns = pool_axes(x, kernel_size, stride, padding)
    kh, kw = as_pair("kernel_size", kernel_size)
    yield Output("dx", x.shape)
    for n, c, r, s in np.ndindex(x.shape):
        reads: Reads = []
        terms = []
        for p, _ in rows.of_input[r]:
            for q, _ in columns.of_input[s]:
                inside = len(rows.of_output[p]) * len(columns.of_output[q])
                reads.append(("dy", (n, c, p, q)))
                terms.append(dy[n, c, p, q] / (kh * kw if count_include_pad else inside))
        yield add_up("dx", (n, c, r, s), reads, terms)


def global_avg_pool_forward_steps(x: Array) -> Steps:
    """y[n, c] reads the whole channel c."""
    yield Output("y", x.shape[:2])
    for n, c in np.ndindex(x.shape[:2]):
        pixels = [(n, c, r, s) for r, s in np.ndindex(x.shape[2:])]
        reads: Reads = [("x", pixel) for pixel in pixels]
        yield add_up("y", (n, c), reads, [x[pixel] / len(pixels) for pixel in pixels])


def global_avg_pool_backward_steps(dy: Array, x: Array) -> Steps:
    """Every pixel reaches one output, and all weights are equal."""
    height, width = x.shape[2:]
    yield Output("dx", x.shape)
    for n, c, r, s in np.ndindex(x.shape):
        yield add_up("dx", (n, c, r, s), [("dy", (n, c))], [dy[n, c] / (height * width)])


def pool_axes(
    x: Array, kernel_size: IntOrPair, stride: IntOrPair | None, padding: Padding
) -> tuple[Axis, Axis]:
    """Return the windows' rows and columns; without a stride, windows tile the image."""
    stride = kernel_size if stride is None else stride
    return two_axes(x.shape[2:], as_pair("kernel_size", kernel_size), stride, padding)


def window_of(place: Index, rows: Axis, columns: Axis) -> list[Index]:
    """Return the pixels of an output's window, in row-major order."""
    n, c, p, q = place
    return [(n, c, r, s) for _, r in rows.of_output[p] for _, s in columns.of_output[q]]


def winner(x: Array, window: list[Index]) -> Index:
    """Return the first of the largest pixels; NaN wins over any number."""
    best = window[0]
    for pixel in window[1:]:
        if x[pixel] > x[best] or x[pixel] != x[pixel]:
            best = pixel
    return best
