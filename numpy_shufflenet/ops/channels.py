"""Split and concatenation of channels: they move data and compute nothing.

    split    x -> (x[:, :c1], x[:, c1:c1+c2], ...)         backward: concatenate the gradients
    concat   (x1, x2, ...) -> [x1, x2, ...]                backward: split the gradient

Each is the inverse of the other. Since both only move numbers, each is also the backward of the
other. A unit of V2 splits its channels, passes one half on unchanged, and concatenates both halves
at the end. A unit of V1 adds instead.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import (
    check_gradient,
    check_image,
    check_part_count,
    is_integer,
    is_sequence,
)
from numpy_shufflenet.registry import Case, Draw, register
from numpy_shufflenet.registry.formula import movement, of_all, of_first

__all__ = [
    "channel_concat_backward",
    "channel_concat_forward",
    "channel_split_backward",
    "channel_split_forward",
]


class ChannelSplitCache(NamedTuple):
    """What `channel_split_backward` needs."""

    shapes: tuple[tuple[int, ...], ...]  # of each part
    dtype: np.dtype[np.floating]


def channel_split_forward(
    x: Array, sizes: Sequence[int]
) -> tuple[tuple[Array, ...], ChannelSplitCache]:
    """Cut an image into parts of consecutive channels.

    Parameters
    ----------
    x : array, shape (n, c, h, w), float32 or float64
    sizes : sequence of int
        Channels of each part, at least 1 each; their sum is c.

    Returns
    -------
    parts : tuple of arrays, shape (n, sizes[i], h, w)
        Views of x.

    Raises
    ------
    ValueError
        If x is not 4-dimensional, or the sizes don't add up to c.

    Source: ShuffleNet V2, section 3.1.
    """
    check_sizes(x, sizes)
    ends = list(accumulate(sizes))
    parts = tuple(x[:, end - size : end] for size, end in zip(sizes, ends, strict=True))
    return parts, ChannelSplitCache(tuple(part.shape for part in parts), x.dtype)


def channel_split_backward(dparts: Sequence[Array], cache: ChannelSplitCache) -> Array:
    """Gradient of `channel_split_forward`: dx (n, c, h, w), from one gradient for each part."""
    check_part_count(dparts, len(cache.shapes))
    for dpart, shape in zip(dparts, cache.shapes, strict=True):
        check_gradient(dpart, shape, cache.dtype)
    return _concatenate(dparts)


class ChannelConcatCache(NamedTuple):
    """What `channel_concat_backward` needs."""

    sizes: tuple[int, ...]
    shape: tuple[int, ...]  # of y
    dtype: np.dtype[np.floating]


def channel_concat_forward(*arrays: Array) -> tuple[Array, ChannelConcatCache]:
    """Concatenate the channels of several images.

    Parameters
    ----------
    *arrays : arrays, shape (n, c_i, h, w), float32 or float64
        At least one; n, h, w and the dtype are common to all.

    Returns
    -------
    y : array, shape (n, sum of c_i, h, w)

    Raises
    ------
    ValueError
        If there is no array, or the arrays differ in more than their channels.

    Source: ShuffleNet V1, section 3.2 (stride 2); V2, section 3.1.
    """
    check_parts(arrays)
    y = _concatenate(arrays)
    return y, ChannelConcatCache(tuple(array.shape[1] for array in arrays), y.shape, y.dtype)


def channel_concat_backward(dy: Array, cache: ChannelConcatCache) -> tuple[Array, ...]:
    """Gradients of `channel_concat_forward`: a tuple, (n, c_i, h, w) for each array."""
    check_gradient(dy, cache.shape, cache.dtype)
    ends = accumulate(cache.sizes)
    return tuple(dy[:, end - size : end] for size, end in zip(cache.sizes, ends, strict=True))


def check_sizes(x: Array, sizes: Sequence[int]) -> None:
    """Raise ValueError unless the channels of x can be cut into parts of these sizes."""
    check_image("x", x)
    channels = x.shape[1]
    if (
        not is_sequence(sizes)
        or not all(is_integer(size) and size >= 1 for size in sizes)
        or sum(sizes) != channels
    ):
        raise ValueError(
            f"sizes={sizes!r} are not whole numbers that add up to {channels} channels"
        )


def check_parts(arrays: Sequence[Array]) -> None:
    """Raise ValueError unless the arrays can be concatenated along their channels."""
    if not arrays:
        raise ValueError("there is no array; at least one is needed")
    first = arrays[0]
    check_image("arrays[0]", first)
    for i, array in enumerate(arrays[1:], start=1):
        check_image(f"arrays[{i}]", array)
        if array.dtype != first.dtype:
            raise ValueError(
                f"arrays[{i}] has dtype {array.dtype}, but arrays[0] has {first.dtype}; "
                "make them equal"
            )
        if (len(array), *array.shape[2:]) != (len(first), *first.shape[2:]):
            raise ValueError(
                f"arrays[{i}] has shape {array.shape}, but arrays[0] has {first.shape}; "
                "only the channels may differ"
            )


def _concatenate(arrays: Sequence[Array]) -> Array:
    """Like np.concatenate along channels, in the memory layout of the first array."""
    n, _, h, w = arrays[0].shape
    y = np.empty_like(arrays[0], shape=(n, sum(array.shape[1] for array in arrays), h, w))
    return np.concatenate(arrays, axis=1, out=y)


def _split_cases(draw: Draw) -> Case:
    sizes = draw.sizes(example=(1, 3, 2))
    return (draw.spread(*draw.image(sum(sizes))),), {"sizes": sizes}


def channel_concat_cases(draw: Draw) -> tuple[tuple[Array, ...], dict[str, Any]]:
    """Draw one to four arrays."""
    sizes = draw.sizes(example=(1, 3, 2))
    n, _, h, w = draw.image(1)
    return tuple(draw(n, c, h, w) for c in sizes), {}


register(
    channel_split_forward,
    kind="split, concat",
    linear_in=("x",),
    kernel=True,
    cases=_split_cases,
    formula=movement(of_first),
)
register(
    channel_concat_forward,
    kind="split, concat",
    linear_in=("*arrays",),
    kernel=True,
    cases=channel_concat_cases,
    formula=movement(of_all),
)
