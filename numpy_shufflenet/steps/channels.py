"""Split and concatenation of channels, one output at a time: channel k is channel c of part t.

A shuffle of one group leaves the channels in their order. So a concatenation alone is the same loop
as a concatenation with a shuffle.
"""

from collections.abc import Sequence

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Steps, add_up
from numpy_shufflenet.steps.channel_shuffle import shuffled_from, shuffled_to

__all__ = [
    "channel_concat_backward_steps",
    "channel_concat_forward_steps",
    "channel_concat_shuffle_backward_steps",
    "channel_concat_shuffle_forward_steps",
    "channel_split_backward_steps",
    "channel_split_forward_steps",
]


def channel_split_forward_steps(x: Array, sizes: Sequence[int]) -> Steps:
    """Channel c of part t reads channel c + (all channels of earlier parts) of x."""
    n_images, _, height, width = x.shape
    shapes = [(n_images, size, height, width) for size in sizes]
    for t, shape in enumerate(shapes):
        yield Output(f"y[{t}]", shape)
    for t, shape in enumerate(shapes):
        for n, c, h, w in np.ndindex(shape):
            source = (n, sum(sizes[:t]) + c, h, w)
            yield add_up(f"y[{t}]", (n, c, h, w), [("x", source)], [x[source]])


def channel_split_backward_steps(dy: Sequence[Array], x: Array, sizes: Sequence[int]) -> Steps:
    """A channel reaches one channel of one part."""
    yield Output("dx", x.shape)
    for n, k, h, w in np.ndindex(x.shape):
        t, c = part_and_place(k, sizes)
        target = (n, c, h, w)
        yield add_up("dx", (n, k, h, w), [(f"dy[{t}]", target)], [dy[t][target]])


def channel_concat_forward_steps(*arrays: Array) -> Steps:
    """Channel k reads one channel of one array."""
    yield from channel_concat_shuffle_forward_steps(*arrays, groups=1)


def channel_concat_backward_steps(dy: Array, *arrays: Array) -> Steps:
    """Channel c of array t reaches channel c + (all channels of earlier arrays)."""
    yield from channel_concat_shuffle_backward_steps(dy, *arrays, groups=1)


def channel_concat_shuffle_forward_steps(*arrays: Array, groups: int) -> Steps:
    """Channel k reads one channel of one array."""
    sizes = [array.shape[1] for array in arrays]
    y_shape = (len(arrays[0]), sum(sizes), *arrays[0].shape[2:])
    yield Output("y", y_shape)
    for n, k, h, w in np.ndindex(y_shape):
        t, c = part_and_place(shuffled_from(k, sum(sizes), groups), sizes)
        source = (n, c, h, w)
        yield add_up("y", (n, k, h, w), [(f"arrays[{t}]", source)], [arrays[t][source]])


def channel_concat_shuffle_backward_steps(dy: Array, *arrays: Array, groups: int) -> Steps:
    """Channel c of array t reaches one channel, which the shuffle decides."""
    sizes = [array.shape[1] for array in arrays]
    for t, array in enumerate(arrays):
        yield Output(f"darrays[{t}]", array.shape)
    for t, array in enumerate(arrays):
        for n, c, h, w in np.ndindex(array.shape):
            k = shuffled_to(sum(sizes[:t]) + c, sum(sizes), groups)
            target = (n, k, h, w)
            yield add_up(f"darrays[{t}]", (n, c, h, w), [("dy", target)], [dy[target]])


def part_and_place(k: int, sizes: Sequence[int]) -> tuple[int, int]:
    """Return the part that contains channel k, and the channel's number in this part."""
    part = 0
    while k >= sizes[part]:
        k -= sizes[part]
        part += 1
    return part, k
