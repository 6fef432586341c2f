"""Mistakes of students in convolutions; see `answers`."""

from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.windows import Windows, windows_over
from numpy_shufflenet.zoo.catalogue import variants

Wrong = frozenset[str]
RIGHT: Wrong = frozenset()
MOVES = {
    "steps_of_one": ("stride", "your code moves the window by 1 pixel, not by stride pixels"),
    "kernel_as_stride": ("stride", "your code moves the window by kernel_size, not by stride"),
    "taps_without_dilation": ("stride", "your code reads neighbouring pixels: use the dilation"),
}
BORDER = {
    "border_kept": (
        "padding",
        "dx contains the border: cut padding rows and columns off its sides",
    ),
    "border_cut_at_the_end": (
        "padding",
        "you cut the border off at the bottom and at the right only: cut it off all four sides",
    ),
}
ASSIGNED = "a pixel lies in several windows: add their gradients up with +=; you write with ="
BIAS = "b must have the shape (o, 1, 1): add b[:, None, None]; NumPy adds b along the columns"


def moved(windows: Windows, wrong: Wrong) -> Windows:
    """Return windows over the same image, moved as the mistakes would move them."""
    if "steps_of_one" in wrong:
        windows = windows._replace(stride=(1, 1))
    if "kernel_as_stride" in wrong:
        windows = windows._replace(stride=windows.kernel)
    if "taps_without_dilation" in wrong:
        windows = windows._replace(dilation=(1, 1))
    return windows


def cropped(dpadded: Array, windows: Windows, wrong: Wrong) -> Array:
    """Return the gradient of a padded image without its border, or as the mistakes say."""
    h, w = windows.size
    if "border_kept" in wrong:
        return dpadded
    return dpadded[:, :, :h, :w] if "border_cut_at_the_end" in wrong else windows.crop(dpadded)


# Convolution


@variants(
    "conv2d_forward",
    **MOVES,
    bias_along_columns=("swapped", BIAS),
    bias_multiplied=("swapped", "you multiply by b; add it"),
    taps_assigned=("sum", "only the last weight of each kernel counts: add up with +=, not ="),
    border_of_ones=("padding", "your border holds the number 1: pad with zeros"),
    border_repeated=("padding", "your border repeats the pixels at the edge: pad with zeros"),
)
def conv2d_forward(
    x: Array, w: Array, b: Array | None, *, groups: int, wrong: Wrong = RIGHT, **settings: Any
) -> Any:
    """Add up the taps of each group."""
    windows = windows_over(x, (w.shape[2], w.shape[3]), **settings)
    padded = windows.pad(x, value="border_of_ones" in wrong)
    if "border_repeated" in wrong:
        padded = np.pad(x, ((0, 0), (0, 0), *windows.padding), mode="edge")
    y = np.zeros((len(x), len(w), *windows.output))
    where = moved(windows, wrong)
    for part, inputs, kernels in zip(
        np.split(y, groups, axis=1),
        np.split(padded, groups, axis=1),
        np.split(w, groups),
        strict=True,
    ):
        for i, j in windows.taps():
            pixels = where.tap(inputs, i, j)
            term = np.einsum("nchw,oc->nohw", pixels, kernels[:, :, i, j])
            part[...] = term if "taps_assigned" in wrong else part + term
    if b is not None and "bias_multiplied" in wrong:
        return y * b[:, None, None]
    return y if b is None else y + (b if "bias_along_columns" in wrong else b[:, None, None])


@variants(
    "conv2d_backward",
    **MOVES,
    **BORDER,
    columns_written=("sum", ASSIGNED),
    image_by_image=("sum", "dw comes from the last image only: add dw up over the batch"),
    bias_per_pixel=("sum", "db is the sum over the batch only: sum over rows and columns, too"),
)
def conv2d_backward(
    dy: Array, x: Array, w: Array, b: Any, *, groups: int, wrong: Wrong = RIGHT, **settings: Any
) -> Any:
    """Scatter dy times the weights."""
    windows = windows_over(x, (w.shape[2], w.shape[3]), **settings)
    where, padded = moved(windows, wrong), windows.pad(x)
    dpadded, dw = np.zeros(padded.shape), np.zeros(w.shape)
    for parts in zip(
        *(np.split(a, groups, axis=1) for a in (dpadded, padded, dy)),
        *(np.split(a, groups) for a in (dw, w)),
        strict=True,
    ):
        dinputs, inputs, gradient, dkernels, kernels = parts
        seen = slice(-1, None) if "image_by_image" in wrong else slice(None)
        for i, j in windows.taps():
            pixels = where.tap(inputs, i, j)
            dkernels[:, :, i, j] = np.einsum("nohw,nchw->oc", gradient[seen], pixels[seen])
            term = np.einsum("nohw,oc->nchw", gradient, kernels[:, :, i, j])
            view = where.tap(dinputs, i, j)
            view[...] = term if "columns_written" in wrong else view + term
    db = dy.sum(axis=0 if "bias_per_pixel" in wrong else (0, 2, 3))
    return cropped(dpadded, windows, wrong), dw, None if b is None else db


ORDER = "your columns have the right numbers in the wrong order: "


@variants(
    "im2col",
    **MOVES,
    channel_last=("permutation", ORDER + "rows go by channel, then kernel row, then kernel column"),
    kernel_transposed=("permutation", ORDER + "the kernel's row comes before its column"),
    pixels_transposed=("permutation", ORDER + "the output's pixels go row by row"),
    windows_as_rows=("transpose", "each window is a row of your matrix; make it a column"),
    windows_reshaped=(
        "permutation",
        ORDER + "you reshape windows to columns: transpose them first",
    ),
    batch_in_columns=("permutation", ORDER + "the image is the first axis; keep it there"),
)
def im2col(
    x: Array, *, kernel_size: tuple[int, int], wrong: Wrong = RIGHT, **settings: Any
) -> Array:
    """Fill the columns tap by tap."""
    windows = windows_over(x, kernel_size, **settings)
    where, padded = moved(windows, wrong), windows.pad(x)
    taps = [where.tap(padded, i, j) for i, j in windows.taps()]
    columns = np.stack(taps, axis=2).reshape(*x.shape[:2], *kernel_size, *windows.output)
    shape = len(x), x.shape[1] * len(taps), -1
    order = [0, 1, 2, 3, 4, 5]  # n c kh kw oh ow
    if "channel_last" in wrong:
        order[1:4] = order[2], order[3], order[1]
    if "kernel_transposed" in wrong:
        a, b = order.index(2), order.index(3)
        order[a], order[b] = 3, 2
    if "pixels_transposed" in wrong:
        order[4:] = 5, 4
    if "windows_reshaped" in wrong:
        order = [0, *order[4:], *order[1:4]]
    if "batch_in_columns" in wrong:
        order = [*order[1:], 0]
    result = columns.transpose(order).reshape(shape)
    return result.swapaxes(1, 2) if "windows_as_rows" in wrong else result


TILED = (
    "permutation",
    "you give kernel k the channel k % c; it reads channel k // m: use repeat, not tile",
)


def _copies(x: Array, multiplier: int, wrong: Wrong) -> Array:
    """Return for each kernel its own copy of the channel that it reads."""
    if "tiled" in wrong:
        return np.concatenate([x] * multiplier, axis=1)
    return x.repeat(multiplier, axis=1)


@variants(
    "depthwise_conv2d_forward",
    **MOVES,
    tiled=TILED,
    summed_over_channels=("sum", "you sum over the channels; each kernel reads one channel alone"),
    taps_assigned=("sum", "only the last weight of each kernel counts: add up with +=, not ="),
    bias_along_columns=("swapped", BIAS),
)
def depthwise_conv2d_forward(
    x: Array, w: Array, b: Any, *, wrong: Wrong = RIGHT, **settings: Any
) -> Any:
    """Add up the taps."""
    multiplier = len(w) // x.shape[1]
    x = _copies(x, multiplier, wrong)
    windows = windows_over(x, (w.shape[2], w.shape[3]), **settings)
    where, padded = moved(windows, wrong), windows.pad(x)
    y = np.zeros((*x.shape[:2], *windows.output))
    for i, j in windows.taps():
        pixels = where.tap(padded, i, j)
        if "summed_over_channels" in wrong:
            pixels = pixels.sum(axis=1, keepdims=True) / multiplier
        term = w[:, 0, i, j][:, None, None] * pixels
        y = term + np.zeros(y.shape) if "taps_assigned" in wrong else y + term
    return y if b is None else y + (b if "bias_along_columns" in wrong else b[:, None, None])


@variants(
    "depthwise_conv2d_backward",
    **MOVES,
    **BORDER,
    tiled=TILED,
    columns_written=("sum", ASSIGNED),
    outputs_averaged=("factor", "dx is the mean over the m outputs of a channel; it is the sum"),
    first_output_only=(
        "dropped",
        "dx has only the first of the m outputs of a channel: sum over m",
    ),
    outputs_kept=("sum", "dx has c m channels: sum over the m outputs of each channel"),
)
def depthwise_conv2d_backward(
    dy: Array, x: Array, w: Array, b: Any, *, wrong: Wrong = RIGHT, **settings: Any
) -> Any:
    """Scatter dy times the weights, and gather dw."""
    n, c = x.shape[:2]
    multiplier = len(w) // c
    x = _copies(x, multiplier, wrong)
    windows = windows_over(x, (w.shape[2], w.shape[3]), **settings)
    where, padded = moved(windows, wrong), windows.pad(x)
    dpadded, dw = np.zeros(padded.shape), np.zeros(w.shape)
    for i, j in windows.taps():
        dw[:, 0, i, j] = (dy * where.tap(padded, i, j)).sum(axis=(0, 2, 3))
        view, term = where.tap(dpadded, i, j), w[:, 0, i, j][:, None, None] * dy
        view[...] = term if "columns_written" in wrong else view + term
    dx = cropped(dpadded, windows, wrong)
    shape, axis = ((n, multiplier, c), 1) if "tiled" in wrong else ((n, c, multiplier), 2)
    table = dx.reshape(*shape, *dx.shape[2:])
    db = None if b is None else dy.sum(axis=(0, 2, 3))
    if "outputs_kept" in wrong:
        return dx, dw, db
    if "first_output_only" in wrong:
        return table.take(0, axis), dw, db
    total = table.sum(axis=axis)
    return total / multiplier if "outputs_averaged" in wrong else total, dw, db
