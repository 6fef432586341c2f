"""Mistakes of students in short functions: means, copies, shuffles, sums; see `answers`."""

import itertools
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import as_pair
from numpy_shufflenet.zoo.answers.windows import RIGHT, Wrong
from numpy_shufflenet.zoo.catalogue import variants

# Means and copies


@variants(
    "global_avg_pool_forward",
    not_divided=("factor", "you sum up the pixels; divide by their number h w"),
    largest=("swapped", "this is the largest pixel of each channel; return the mean"),
    rows_only=("sum", "you average over rows only; average over columns, too: axis=(2, 3)"),
    columns_only=("sum", "you average over columns only; average over rows, too: axis=(2, 3)"),
    over_channels=("sum", "you average over the channels, too; only over pixels: axis=(2, 3)"),
    over_the_batch=("sum", "you average over the batch, too; only over pixels: axis=(2, 3)"),
    first_axes=("sum", "you average over axes 0 and 1; the pixels are axes 2 and 3"),
    axes_kept=("sum", "the pixels are still axes of y: leave out keepdims"),
)
def global_avg_pool_forward(x: Array, *, wrong: Wrong = RIGHT) -> Any:
    """Average the pixels."""
    if "not_divided" in wrong:
        return x.sum(axis=(2, 3))
    if "largest" in wrong:
        return x.max(axis=(2, 3))
    axes = {
        "rows_only": (2,),
        "columns_only": (3,),
        "over_channels": (1, 2, 3),
        "over_the_batch": (0, 2, 3),
        "first_axes": (0, 1),
    }
    axis = next((axes[name] for name in axes if name in wrong), (2, 3))
    return x.mean(axis=axis, keepdims="axes_kept" in wrong)


COPIES = {
    "tiled": ("permutation", "you repeat the whole image (tile); repeat each pixel (repeat)"),
    "zeros_between": ("dropped", "only one pixel of each block has a value; fill the whole block"),
    "axes_swapped": ("transpose", "the scales of rows and columns are swapped"),
}


@variants("upsample_nearest_forward", **COPIES)
def upsample_nearest_forward(x: Array, *, scale: Any, wrong: Wrong = RIGHT) -> Any:
    """Repeat each pixel."""
    sh, sw = as_pair("scale", scale)
    if "axes_swapped" in wrong:
        sh, sw = sw, sh
    if "tiled" in wrong:
        return np.tile(x, (1, 1, sh, sw))
    y = x.repeat(sh, axis=2).repeat(sw, axis=3)
    if "zeros_between" in wrong:
        kept = np.zeros_like(y)
        kept[:, :, ::sh, ::sw] = x
        return kept
    return y


@variants(
    "upsample_nearest_backward",
    tiled=(
        "permutation",
        "you add up pixels that lie h and w apart; add up the pixels of each block: reshape to "
        "(n, c, h, scale, w, scale)",
    ),
    mean=("factor", "you average each block; its gradients add up"),
    first_pixel=("dropped", "you take one pixel of each block; add all of them up"),
    largest=("swapped", "you take the largest gradient of each block; add all of them up"),
    rows_only=("sum", "you add up rows only; add up the columns of each block, too"),
)
def upsample_nearest_backward(dy: Array, x: Array, *, scale: Any, wrong: Wrong = RIGHT) -> Any:
    """Add up each block."""
    (n, c, h, w), (sh, sw) = x.shape, as_pair("scale", scale)
    if "tiled" in wrong:
        return dy.reshape(n, c, sh, h, sw, w).sum(axis=(2, 4))
    blocks = dy.reshape(n, c, h, sh, w, sw)
    if "first_pixel" in wrong:
        return blocks[:, :, :, 0, :, 0]
    if "rows_only" in wrong:
        return blocks.sum(axis=3).reshape(n, c, h, -1)
    how = np.mean if "mean" in wrong else np.max if "largest" in wrong else np.sum
    return how(blocks, axis=(3, 5))


# Activations and dense layers


@variants(
    "relu_backward",
    sign_of_x=("mask", "you multiply by the sign of x; where x is negative, dx is 0"),
    times_y=("slope", "you multiply by y = max(x, 0); multiply by its slope, 0 or 1"),
    ones_for_dy=("not linear", "you write 1 where dy belongs"),
    y_itself=(
        "swapped",
        "this is the forward, max(x, 0); dx is dy where x is positive",
    ),
)
def relu_backward(dy: Array, x: Array, *, wrong: Wrong = RIGHT) -> Any:
    """Send dy where x is positive."""
    if "sign_of_x" in wrong:
        return dy * np.sign(x)
    if "times_y" in wrong:
        return dy * np.maximum(x, 0)
    if "ones_for_dy" in wrong:
        return np.where(x > 0, 1.0, 0 * dy)
    return np.maximum(x, 0) if "y_itself" in wrong else dy * (x > 0)


@variants(
    "linear_forward",
    bias_forgotten=("dropped", "the bias is missing: add b"),
    weights_not_transposed=("transpose", "you multiply by w; multiply by its transpose: x @ w.T"),
)
def linear_forward(x: Array, w: Array, b: Any, *, wrong: Wrong = RIGHT) -> Any:
    """Multiply by w transposed."""
    y = x @ (w if "weights_not_transposed" in wrong else w.T)
    return y if b is None or "bias_forgotten" in wrong else y + b


# Channels


TABLE = ("groups", "channels of a group", "rows", "columns")


def _orders() -> dict[str, tuple[int, ...]]:
    """Return wrong orders of the axes (n, g, c/g, h, w) of the table, by name."""
    right = (1, 0, 2, 3)
    found = {}
    for order in itertools.permutations(range(4)):
        if order not in (right, (0, 1, 2, 3)):
            found["order_" + "".join(map(str, order))] = (0, *(1 + axis for axis in order))
    return found


def _said(order: tuple[int, ...]) -> tuple[str, str]:
    words = ", ".join(TABLE[axis - 1] for axis in order[1:])
    return (
        "permutation",
        f"your transposed table has the axes (images, {words}); swap groups with channels of a "
        "group only",
    )


ORDERS = {name: _said(order) for name, order in _orders().items()}


def _shuffled(x: Array, rows: int, wrong: Wrong) -> Array:
    n, c, h, w = x.shape
    order = next((o for name, o in _orders().items() if name in wrong), (0, 2, 1, 3, 4))
    table = x.reshape(n, rows, c // rows, h, w)
    if "reversed_groups" in wrong:
        table = table[:, ::-1]
    return table.transpose(order).reshape(x.shape)


REVERSED = ("permutation", "you take the groups in reverse order")


@variants("channel_shuffle_forward", **ORDERS, reversed_groups=REVERSED)
def channel_shuffle_forward(x: Array, *, groups: int, wrong: Wrong = RIGHT) -> Any:
    """Transpose the table of channels."""
    return _shuffled(x, groups, wrong)


@variants("channel_shuffle_backward", **ORDERS, reversed_groups=REVERSED)
def channel_shuffle_backward(dy: Array, x: Array, *, groups: int, wrong: Wrong = RIGHT) -> Any:
    """Transpose the table back."""
    return _shuffled(dy, x.shape[1] // groups, wrong)


@variants(
    "channel_concat_backward",
    equal_parts=("swapped", "you cut dy into equal parts; a part has the channels of its array"),
    reverse_order=("permutation", "the gradients are in reverse order"),
    from_the_start=(
        "dropped",
        "every part begins at channel 0; begin where the part before ends",
    ),
    first_sizes=("swapped", "every part has as many channels as the first array"),
    last_part_forgotten=("dropped", "the gradient of the last array is 0"),
    along_axis_0=("transpose", "you split along axis 0, the images; split channels: axis 1"),
)
def channel_concat_backward(dy: Array, *arrays: Array, wrong: Wrong = RIGHT) -> Any:
    """Cut dy where the arrays end."""
    sizes = [array.shape[1] for array in arrays]
    if "first_sizes" in wrong:
        sizes = sizes[:1] * len(sizes)
    if "equal_parts" in wrong:
        return tuple(np.array_split(dy, len(arrays), axis=1))
    if "along_axis_0" in wrong:
        return tuple(np.array_split(dy, len(arrays), axis=0))
    begins = [0] * len(sizes) if "from_the_start" in wrong else [0, *np.cumsum(sizes)[:-1]]
    parts = [dy[:, b : b + size] for b, size in zip(begins, sizes, strict=True)]
    if "last_part_forgotten" in wrong:
        parts[-1] = np.zeros_like(parts[-1])
    return tuple(parts[::-1] if "reverse_order" in wrong else parts)
