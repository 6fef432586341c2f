"""Split, concatenation and shuffle, which copy whole rows of channel-major memory."""

from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from numpy_shufflenet._threads import take_turns
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._barrier import each_turn
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import as_image, as_rows, as_spaced_rows, empty_rows
from numpy_shufflenet.ops.channels import check_parts, check_sizes
from numpy_shufflenet.ops.checks import check_divides, check_gradient, check_image, check_part_count

__all__ = [
    "channel_concat_backward",
    "channel_concat_forward",
    "channel_concat_shuffle_backward",
    "channel_concat_shuffle_forward",
    "channel_shuffle_backward",
    "channel_shuffle_forward",
    "channel_split_backward",
    "channel_split_forward",
    "channel_unshuffle_backward",
    "channel_unshuffle_forward",
]


@compiled
def copy_rows(x: Array, step: int, places: Array, y: Array, turns: Array) -> None:
    """Copy row k * step of x to row places[k] of y, one in each turn."""
    for k in each_turn(turns):
        source, target = x[k * step], y[places[k]]
        for i in range(source.size):
            target[i] = source[i]


@compiled
def gather_rows(x: Array, places: Array, y: Array, turns: Array) -> None:
    """Copy row places[k] of x to row k of y, one in each turn."""
    for k in each_turn(turns):
        source, target = x[places[k]], y[k]
        for i in range(source.size):
            target[i] = source[i]


@lru_cache(maxsize=256)
def shuffled_places(channels: int, groups: int) -> Array:
    """Return the new index of each channel after the shuffle: i n + j becomes j g + i.

    Calls share the array, so never write to it.
    """
    return np.arange(channels).reshape(channels // groups, groups).T.ravel()


def _write(parts: Sequence[Array], places: Array, channels: int) -> Array:
    """Return an image whose channel places[k] is channel k of the concatenated parts."""
    n, _, h, w = parts[0].shape
    y, start = empty_rows(channels, n, h, w, parts[0].dtype), 0
    for part in parts:
        targets = places[start : start + part.shape[1]]
        copy = partial(copy_rows, *as_spaced_rows(part), targets, y)
        take_turns(len(targets), copy, work=2 * len(targets) * y.shape[1])
        start += part.shape[1]
    return as_image(y, n, h, w)


def _read(dy: Array, places: Array) -> Array:
    """Return an image of the channels `places` of dy: a view if they are evenly spaced."""
    step = int(places[1] - places[0]) if len(places) > 1 else 1
    if step > 0 and np.all(np.diff(places) == step):
        return dy[:, places[0] : places[-1] + 1 : step]
    n, _, h, w = dy.shape
    rows, dx = as_rows(dy), empty_rows(len(places), n, h, w, dy.dtype)
    take_turns(len(places), partial(gather_rows, rows, places, dx), work=2 * dx.size)
    return as_image(dx, n, h, w)


class ChannelShuffleCache(NamedTuple):
    """What the backward functions of shuffle and unshuffle need."""

    places: Array  # c: the index of each channel in y
    shape: tuple[int, ...]
    dtype: np.dtype[np.floating]


def channel_shuffle_forward(x: Array, groups: int) -> tuple[Array, ChannelShuffleCache]:
    """`ops.channel_shuffle_forward`, on rows."""
    check_image("x", x)
    groups = check_divides(groups, x.shape[1], of="channels")
    places = shuffled_places(x.shape[1], groups)
    return _write([x], places, x.shape[1]), ChannelShuffleCache(places, x.shape, x.dtype)


def channel_shuffle_backward(dy: Array, cache: ChannelShuffleCache) -> Array:
    """`ops.channel_shuffle_backward`, on rows."""
    check_gradient(dy, cache.shape, cache.dtype)
    return _read(dy, cache.places)


def channel_unshuffle_forward(x: Array, groups: int) -> tuple[Array, ChannelShuffleCache]:
    """`ops.channel_unshuffle_forward`, on rows."""
    check_image("x", x)
    groups = check_divides(groups, x.shape[1], of="channels")
    places = shuffled_places(x.shape[1], x.shape[1] // groups)
    return _write([x], places, x.shape[1]), ChannelShuffleCache(places, x.shape, x.dtype)


def channel_unshuffle_backward(dy: Array, cache: ChannelShuffleCache) -> Array:
    """`ops.channel_unshuffle_backward`, on rows."""
    return channel_shuffle_backward(dy, cache)


class ChannelSplitCache(NamedTuple):
    """What `channel_split_backward` needs."""

    shapes: tuple[tuple[int, ...], ...]  # of each part
    dtype: np.dtype[np.floating]


def channel_split_forward(
    x: Array, sizes: Sequence[int]
) -> tuple[tuple[Array, ...], ChannelSplitCache]:
    """`ops.channel_split_forward`: the parts are views."""
    check_sizes(x, sizes)
    parts = _parts(x, sizes)
    return parts, ChannelSplitCache(tuple(part.shape for part in parts), x.dtype)


def channel_split_backward(dparts: Sequence[Array], cache: ChannelSplitCache) -> Array:
    """`ops.channel_split_backward`, on rows."""
    check_part_count(dparts, len(cache.shapes))
    for dpart, shape in zip(dparts, cache.shapes, strict=True):
        check_gradient(dpart, shape, cache.dtype)
    channels = sum(shape[1] for shape in cache.shapes)
    return _write(dparts, shuffled_places(channels, 1), channels)


class ChannelConcatCache(NamedTuple):
    """What the backward functions of concatenation need."""

    sizes: tuple[int, ...]
    shape: tuple[int, ...]  # of y
    dtype: np.dtype[np.floating]
    places: Array  # c: the index of each channel in y


def channel_concat_forward(*arrays: Array) -> tuple[Array, ChannelConcatCache]:
    """`ops.channel_concat_forward`, on rows."""
    return _concat(arrays, groups=1)


def channel_concat_backward(dy: Array, cache: ChannelConcatCache) -> tuple[Array, ...]:
    """`ops.channel_concat_backward`: the parts are views."""
    check_gradient(dy, cache.shape, cache.dtype)
    return _parts(dy, cache.sizes)


def channel_concat_shuffle_forward(*arrays: Array, groups: int) -> tuple[Array, ChannelConcatCache]:
    """`ops.channel_concat_shuffle_forward`, on rows: each row is copied once."""
    return _concat(arrays, groups)


def channel_concat_shuffle_backward(dy: Array, cache: ChannelConcatCache) -> tuple[Array, ...]:
    """`ops.channel_concat_shuffle_backward`, on rows: views if channels are evenly spaced."""
    check_gradient(dy, cache.shape, cache.dtype)
    ends = accumulate(cache.sizes)
    return tuple(
        _read(dy, cache.places[end - size : end])
        for size, end in zip(cache.sizes, ends, strict=True)
    )


def _concat(arrays: Sequence[Array], groups: int) -> tuple[Array, ChannelConcatCache]:
    check_parts(arrays)
    sizes = tuple(array.shape[1] for array in arrays)
    groups = check_divides(groups, sum(sizes), of="channels")
    places = shuffled_places(sum(sizes), groups)
    y = _write(arrays, places, sum(sizes))
    return y, ChannelConcatCache(sizes, y.shape, y.dtype, places)


def _parts(x: Array, sizes: Sequence[int]) -> tuple[Array, ...]:
    ends = accumulate(sizes)
    return tuple(x[:, end - size : end] for size, end in zip(sizes, ends, strict=True))
