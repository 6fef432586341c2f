"""Channel shuffle: deal the channels of each group out to all groups.

With g groups of n = c/g channels, write the channel numbers as a table of g rows and n columns,
transpose it, and read it off again:

    y[:, j g + i] = x[:, i n + j]        i = 0 .. g-1 (group),  j = 0 .. n-1 (place in the group)

    c = 6, g = 2:   0 1 2 | 3 4 5   ->   0 3 | 1 4 | 2 5

After the shuffle, each group of the next group convolution holds channels of every group of the
last one. Without a shuffle, the output of a group would depend on the input of that group alone, in
a network of any depth.

Backward. A permutation moves each number to one place, so the inverse permutation moves each
gradient back. To transpose the n x g table back is a shuffle itself, with n groups instead of g:

    unshuffle(x, g) = shuffle(x, c/g)

The inverse is *not* the same shuffle again, except when g = 1, g = c or g g = c. A test on 4
channels in 2 groups can't tell the two apart. Neither can any loss that is a plain sum.

Two orders are in use: the paper and torchvision use `channel_shuffle`; the authors' V1 code uses
the inverse, `channel_unshuffle`.
"""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_divides, check_gradient, check_image
from numpy_shufflenet.registry import Case, Draw, register
from numpy_shufflenet.registry.formula import movement, of_first

__all__ = [
    "channel_shuffle_backward",
    "channel_shuffle_forward",
    "channel_unshuffle_backward",
    "channel_unshuffle_forward",
]


class ChannelShuffleCache(NamedTuple):
    """What `channel_shuffle_backward` and `channel_unshuffle_backward` need."""

    groups: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.floating]


def channel_shuffle_forward(x: Array, groups: int) -> tuple[Array, ChannelShuffleCache]:
    """Deal the channels of each group out to all groups, in the paper's order.

    Parameters
    ----------
    x : array, shape (n, c, h, w), float32 or float64
    groups : int
        Divides c.

    Returns
    -------
    y : array, shape (n, c, h, w)

    Raises
    ------
    ValueError
        If x is not 4-dimensional, or groups doesn't divide c.

    Source: ShuffleNet V1, section 3.1 and figure 1.
    """
    check_image("x", x)
    groups = check_divides(groups, x.shape[1], of="channels")
    return _transpose_table(x, groups), ChannelShuffleCache(groups, x.shape, x.dtype)


def channel_shuffle_backward(dy: Array, cache: ChannelShuffleCache) -> Array:
    """Gradient of `channel_shuffle_forward`: dx (n, c, h, w), dy unshuffled."""
    check_gradient(dy, cache.shape, cache.dtype)
    return _transpose_table(dy, cache.shape[1] // cache.groups)


def channel_unshuffle_forward(x: Array, groups: int) -> tuple[Array, ChannelShuffleCache]:
    """Undo `channel_shuffle_forward` with the same groups: y[:, i n + j] = x[:, j g + i].

    Parameters, returns and errors are those of `channel_shuffle_forward`.

    Source: the order of the authors' ShuffleNet V1 code; the inverse of V1, figure 1.
    """
    check_image("x", x)
    groups = check_divides(groups, x.shape[1], of="channels")
    return _transpose_table(x, x.shape[1] // groups), ChannelShuffleCache(groups, x.shape, x.dtype)


def channel_unshuffle_backward(dy: Array, cache: ChannelShuffleCache) -> Array:
    """Gradient of `channel_unshuffle_forward`: dx (n, c, h, w), dy shuffled."""
    check_gradient(dy, cache.shape, cache.dtype)
    return _transpose_table(dy, cache.groups)


def _transpose_table(x: Array, rows: int) -> Array:
    """Write the channels as a table, transpose the table, and read it row by row."""
    n, c, h, w = x.shape
    y = np.empty_like(x)
    table = y.reshape(n, c // rows, rows, h, w)  # a view of y
    table[...] = x.reshape(n, rows, c // rows, h, w).swapaxes(1, 2)
    return y


def _cases(draw: Draw) -> Case:
    groups, c, _ = draw.groups(3)
    return (draw.spread(*draw.image(c)),), {"groups": groups}


for _forward in (channel_shuffle_forward, channel_unshuffle_forward):
    register(
        _forward,
        kind="shuffle",
        linear_in=("x",),
        kernel=True,
        cases=_cases,
        formula=movement(of_first),
    )
