"""Channel shuffle, one output at a time: every output reads a single number.

With n channels in each group, channel k of x is number k % n of group k // n. After the shuffle
this channel is number k // n of group k % n, in n groups. The inverse is a shuffle of n groups.
"""

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.steps._driver import Output, Steps, add_up

__all__ = [
    "channel_shuffle_backward_steps",
    "channel_shuffle_forward_steps",
    "channel_unshuffle_backward_steps",
    "channel_unshuffle_forward_steps",
]


def channel_shuffle_forward_steps(x: Array, groups: int) -> Steps:
    """Output channel k reads group k % g, place k // g."""
    yield Output("y", x.shape)
    for n, k, h, w in np.ndindex(x.shape):
        source = (n, shuffled_from(k, x.shape[1], groups), h, w)
        yield add_up("y", (n, k, h, w), [("x", source)], [x[source]])


def channel_shuffle_backward_steps(dy: Array, x: Array, groups: int) -> Steps:
    """A channel reaches one output: the one that read it."""
    yield Output("dx", x.shape)
    for n, k, h, w in np.ndindex(x.shape):
        target = (n, shuffled_to(k, x.shape[1], groups), h, w)
        yield add_up("dx", (n, k, h, w), [("dy", target)], [dy[target]])


def channel_unshuffle_forward_steps(x: Array, groups: int) -> Steps:
    """Output channel k reads the channel to which a shuffle moves channel k."""
    yield from channel_shuffle_forward_steps(x, x.shape[1] // groups)


def channel_unshuffle_backward_steps(dy: Array, x: Array, groups: int) -> Steps:
    """A channel reaches one output: the channel that a shuffle would move to this place."""
    yield from channel_shuffle_backward_steps(dy, x, x.shape[1] // groups)


def shuffled_from(k: int, channels: int, groups: int) -> int:
    """Return the channel that is at place k after the shuffle."""
    place, group = divmod(k, groups)
    return group * (channels // groups) + place


def shuffled_to(k: int, channels: int, groups: int) -> int:
    """Return the place of channel k after the shuffle."""
    group, place = divmod(k, channels // groups)
    return place * groups + group
