"""Mistakes of students in pooling and upsampling; see `answers`."""

from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import as_pair
from numpy_shufflenet.ops.windows import Windows, windows_over
from numpy_shufflenet.zoo.answers.windows import (
    ASSIGNED,
    BORDER,
    MOVES,
    RIGHT,
    Wrong,
    cropped,
    moved,
)
from numpy_shufflenet.zoo.catalogue import variants

POOL_MOVES = {name: MOVES[name] for name in ("steps_of_one", "kernel_as_stride")}


def _windows(x: Array, kernel_size: Any, stride: Any, padding: Any) -> Windows:
    kernel = as_pair("kernel_size", kernel_size)
    return windows_over(x, kernel, stride=kernel if stride is None else stride, padding=padding)


def _with_room(windows: Windows, wrong: Wrong) -> Windows:
    """Return windows with space at the end: Python shortens slices that go beyond an array."""
    if "kernel_as_stride" not in wrong:
        return windows
    (top, bottom), (left, right) = windows.padding
    more = [k * size for k, size in zip(windows.kernel, windows.output, strict=True)]
    return windows._replace(padding=((top, bottom + more[0]), (left, right + more[1])))


def _pixels(x: Array, windows: Windows, value: float, wrong: Wrong) -> Array:
    """Return the pixels of each window: (taps, n, c, oh, ow)."""
    windows = _with_room(windows, wrong)
    where, padded = moved(windows, wrong), windows.pad(x, value)
    return np.stack([where.tap(padded, i, j) for i, j in windows.taps()])


def _scattered(terms: Array, x: Array, windows: Windows, wrong: Wrong) -> Array:
    """Add the terms (taps, n, c, oh, ow) to the pixels of each window."""
    windows = _with_room(windows, wrong)
    where = moved(windows, wrong)
    dpadded = np.zeros((*x.shape[:2], *windows.padded_size))
    for (i, j), term in zip(windows.taps(), terms, strict=True):
        view = where.tap(dpadded, i, j)
        view[...] = term if "columns_written" in wrong else view + term
    return cropped(dpadded, windows, wrong)


# Average pooling


DIVIDED = {
    "not_divided": ("factor", "you sum up the pixels of a window; divide by their number"),
    "divided_by_k": (
        "factor",
        "you divide by kernel_size; a window has kernel_size * kernel_size pixels",
    ),
}


def _share(windows: Windows, counted: bool, wrong: Wrong) -> Any:
    if "not_divided" in wrong:
        return 1.0
    if "divided_by_k" in wrong:
        return 1 / windows.kernel[0]
    if counted:
        return 1 / np.prod(windows.kernel)
    inside = windows.pad(np.ones((1, 1, *windows.size)))
    return 1 / sum(windows.tap(inside, i, j) for i, j in windows.taps())


@variants(
    "avg_pool2d_forward",
    **POOL_MOVES,
    **DIVIDED,
    largest=("swapped", "this is the largest pixel of each window (max pooling); return the mean"),
    smallest=("swapped", "this is the smallest pixel of each window; return the mean"),
    median=("swapped", "this is the median of each window; return the mean"),
    first_pixel=("dropped", "this is the first pixel of each window; return the mean of all"),
    first_row=("dropped", "you average the first row of each window; average all of its pixels"),
    first_column=("dropped", "you average the first column of each window; average all pixels"),
    blocks_interleaved=(
        "permutation",
        "you average pixels that lie far apart; reshape to (n, c, oh, k, ow, k), not "
        "(n, c, k, oh, k, ow)",
    ),
)
def avg_pool2d_forward(
    x: Array,
    *,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    count_include_pad: bool,
    wrong: Wrong = RIGHT,
) -> Any:
    """Sum the taps up, and divide."""
    windows = _windows(x, kernel_size, stride, padding)
    pixels = _pixels(x, windows, 0.0, wrong)
    for name, function in (("largest", np.max), ("smallest", np.min), ("median", np.median)):
        if name in wrong:
            return function(pixels, axis=0)
    kh, kw = windows.kernel
    if "first_pixel" in wrong:
        return pixels[0]
    if "first_row" in wrong:
        return pixels[:kw].mean(axis=0)
    if "first_column" in wrong:
        return pixels[::kw].mean(axis=0)
    if "blocks_interleaved" in wrong:
        oh, ow = windows.output
        return x[:, :, : oh * kh, : ow * kw].reshape(*x.shape[:2], kh, oh, kw, ow).mean(axis=(2, 4))
    return pixels.sum(axis=0) * _share(windows, count_include_pad, wrong)


@variants(
    "avg_pool2d_backward",
    **POOL_MOVES,
    **BORDER,
    **DIVIDED,
    columns_written=("sum", ASSIGNED),
    first_pixel=("dropped", "only the first pixel of each window gets its share; all pixels do"),
)
def avg_pool2d_backward(
    dy: Array,
    x: Array,
    *,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    count_include_pad: bool,
    wrong: Wrong = RIGHT,
) -> Any:
    """Send each share of dy back."""
    windows = _windows(x, kernel_size, stride, padding)
    share = dy * _share(windows, count_include_pad, wrong)
    terms = np.stack([share for _ in windows.taps()])
    if "first_pixel" in wrong:
        terms[1:] = 0
    return _scattered(terms, x, windows, wrong)


# Max pooling


WINNERS = {
    "smallest": ("swapped", "you take the smallest pixel of each window; take the largest"),
    "largest_absolute": (
        "swapped",
        "you take the pixel with the largest absolute value; its sign counts",
    ),
}


def _values(pixels: Array, wrong: Wrong) -> Array:
    if "largest_absolute" in wrong:
        return np.where(np.isfinite(pixels), np.abs(pixels), -np.inf)
    return -np.where(np.isfinite(pixels), pixels, np.inf) if "smallest" in wrong else pixels


@variants(
    "max_pool2d_forward",
    **POOL_MOVES,
    **WINNERS,
    mean=("swapped", "this is the mean of each window (average pooling); return the largest pixel"),
)
def max_pool2d_forward(
    x: Array, *, kernel_size: Any, stride: Any, padding: Any, wrong: Wrong = RIGHT
) -> Any:
    """Take the largest tap."""
    windows = _windows(x, kernel_size, stride, padding)
    pixels = _pixels(x, windows, -np.inf, wrong)
    if "mean" in wrong:
        return _pixels(x, windows, 0.0, wrong).mean(axis=0)
    winner = _values(pixels, wrong).argmax(axis=0)
    return np.take_along_axis(pixels, winner[None], axis=0)[0]


@variants(
    "max_pool2d_backward",
    **POOL_MOVES,
    **BORDER,
    **WINNERS,
    all_of_a_tie=(
        "mask",
        "where several pixels of a window are equal and largest, you give dy to all of them; "
        "the first in row-major order gets it",
    ),
    tie_shared=(
        "mask",
        "where several pixels of a window are equal and largest, you share dy among them; "
        "the first in row-major order gets all of it",
    ),
    last_of_a_tie=(
        "mask",
        "where several pixels of a window are equal and largest, you give dy to the last one; "
        "the first in row-major order gets it",
    ),
    columns_written=("sum", ASSIGNED),
    first_pixel=("mask", "the first pixel of each window gets dy; the largest should"),
    mean=("swapped", "this is the backward of an average pool; only the largest pixel gets dy"),
    value_for_dy=("not linear", "you write the largest value itself into dx; write dy"),
)
def max_pool2d_backward(
    dy: Array, x: Array, *, kernel_size: Any, stride: Any, padding: Any, wrong: Wrong = RIGHT
) -> Any:
    """Send dy to the largest pixel."""
    windows = _windows(x, kernel_size, stride, padding)
    pixels = _values(_pixels(x, windows, -np.inf, wrong), wrong)
    number = np.arange(len(pixels))[:, None, None, None, None]
    largest = pixels == pixels.max(axis=0)
    if not wrong & {"all_of_a_tie", "tie_shared"}:
        last = len(pixels) - 1 - largest[::-1].argmax(axis=0)
        largest = number == (last if "last_of_a_tie" in wrong else largest.argmax(axis=0))
    if "first_pixel" in wrong:
        largest = number + 0 * largest == 0
    if "mean" in wrong:
        largest = np.ones(pixels.shape, bool)
    shares = largest / largest.sum(axis=0) if wrong & {"tie_shared", "mean"} else largest
    sent = pixels.max(axis=0) if "value_for_dy" in wrong else dy
    return _scattered(shares * sent, x, windows, wrong)


# Upsampling


UPSAMPLING = {
    "not_clipped": ("weights", "you don't clip t: outside of the image, use the pixel at its edge"),
    "no_half_pixel": ("weights", "row p lies at (p + 0.5) / scale - 0.5; you use p / scale"),
    "half_pixel_once": ("weights", "row p lies at (p + 0.5) / scale - 0.5; you don't subtract 0.5"),
    "rows_only": ("dropped", "you interpolate rows only; interpolate columns, too"),
    "columns_only": ("dropped", "you interpolate columns only; interpolate rows, too"),
    "nearest": ("weights", "this is nearest-neighbour upsampling; interpolate between two pixels"),
    "weights_swapped": ("weights", "the two weights are swapped: the nearer pixel has 1 - |t - r|"),
}


def _matrix(size: int, scale: int, align_corners: bool, wrong: Wrong) -> Array:
    p = np.arange(size * scale)
    t = (p + 0.5) / scale - 0.5
    if align_corners:
        t = p * (size - 1) / max(size * scale - 1, 1)
    if "no_half_pixel" in wrong:
        t = p / scale
    if "half_pixel_once" in wrong:
        t = (p + 0.5) / scale
    if "not_clipped" not in wrong:
        t = np.clip(t, 0, size - 1)
    if "nearest" in wrong:
        return np.eye(size).repeat(scale, axis=0)
    weights: Array = np.maximum(0, 1 - np.abs(t[:, None] - np.arange(size)))
    if "weights_swapped" in wrong:
        weights = np.where(weights > 0, np.where(weights < 1, 1 - weights, 1), 0)
    return weights


def _both(
    x: Array, scale: Any, align_corners: bool, wrong: Wrong, given: Array
) -> tuple[Array, Array]:
    """Return the matrices of rows and columns; identities where `given` is not multiplied."""
    sh, sw = as_pair("scale", scale)
    rows = _matrix(x.shape[2], sh, align_corners, wrong)
    columns = _matrix(x.shape[3], sw, align_corners, wrong)
    return (
        np.eye(given.shape[2]) if "columns_only" in wrong else rows,
        np.eye(given.shape[3]) if "rows_only" in wrong else columns,
    )


@variants("upsample_bilinear_forward", **UPSAMPLING)
def upsample_bilinear_forward(
    x: Array, *, scale: Any, align_corners: bool, wrong: Wrong = RIGHT
) -> Any:
    """Multiply by a matrix for rows and a matrix for columns."""
    rows, columns = _both(x, scale, align_corners, wrong, x)
    return rows @ x @ columns.T


@variants("upsample_bilinear_backward", **UPSAMPLING)
def upsample_bilinear_backward(
    dy: Array, x: Array, *, scale: Any, align_corners: bool, wrong: Wrong = RIGHT
) -> Any:
    """Multiply by the transposed matrices."""
    rows, columns = _both(x, scale, align_corners, wrong, dy)
    return rows.T @ dy @ columns
