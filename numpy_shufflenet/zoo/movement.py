"""Mistakes in the shuffle, the split and the concatenation of channels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo.catalogue import (
    wrong_answer,
    wrong_backward,
    wrong_forward,
    wrong_gradient,
)

SHUFFLES = "published shuffles whose backward shuffles again; tests with C = 4, g = 2 miss it"
AGAIN = (
    "you moved the gradients in the same way as the channels; move them back by the inverse "
    "permutation"
)


@wrong_forward("channel_shuffle", backward=ops.channel_unshuffle_backward, cause="permutation")
def shuffled_in_the_other_order(x: Array, groups: int) -> tuple[Array, Any]:
    """Shuffle in the order of the authors' V1 code instead of the paper's.

    Found in: published networks; some use the order of the paper, others the order of the V1 code.
    Hint: this is the inverse permutation, the order of the authors' V1 code.
    """
    return ops.channel_unshuffle_forward(x, groups)


@wrong_answer("channel_shuffle_forward", cause="permutation")
def not_moved(x: Array, groups: int) -> Array:
    """Leave every channel where it is.

    Hint: no channel has moved.
    """
    return x


@wrong_answer("channel_unshuffle_forward", cause="permutation")
def shuffled(x: Array, groups: int) -> Array:
    """Shuffle instead of unshuffling.

    Hint: this is the permutation of channel_shuffle; unshuffling needs its inverse.
    """
    return ops.channel_shuffle_forward(x, groups)[0]


@wrong_gradient("channel_shuffle", "x", cause="permutation", found_in=SHUFFLES, hint=AGAIN)
def shuffled_onwards(dx: Array, dy: Array, cache: Any) -> Array:
    """Shuffle dy once more instead of undoing the shuffle."""
    return ops.channel_shuffle_forward(dy, cache.groups)[0]


@wrong_gradient("channel_shuffle", "x", cause="permutation")
def not_shuffled(dx: Array, dy: Array, cache: Any) -> Array:
    """Leave every gradient where it is.

    Found in: units that forget the shuffle in the backward; see unit_v2.
    Hint: no gradient has moved, but the forward moved the channels.
    """
    return dy


@wrong_gradient("channel_unshuffle", "x", cause="permutation", found_in=SHUFFLES, hint=AGAIN)
def unshuffled_onwards(dx: Array, dy: Array, cache: Any) -> Array:
    """Unshuffle dy once more instead of shuffling it."""
    return ops.channel_unshuffle_forward(dy, cache.groups)[0]


@wrong_gradient("channel_split", "x", cause="permutation")
def parts_in_reverse(dx: Array, dparts: Sequence[Array], cache: Any) -> Array:
    """Concatenate the parts from the last to the first.

    Found in: V2 units that swap the two branches in the backward.
    """
    return np.concatenate(dparts[::-1], axis=1)


@wrong_gradient("channel_split", "x", cause="dropped")
def first_part_forgotten(dx: Array, dparts: Sequence[Array], cache: Any) -> Array:
    """Leave the gradient of the first part at 0.

    Found in: V2 units that forget the channels that skip the branch.
    """
    first, *others = dparts
    return np.concatenate([np.zeros_like(first), *others], axis=1)


@wrong_backward(
    "channel_concat",
    cause="swapped",
    example=lambda draw: ((draw(2, 2, 3, 2), draw(2, 2, 3, 2)), {}),
)
def parts_swapped(dy: Array, cache: Any) -> tuple[Array, ...]:
    """Swap the gradients of the first and the second array.

    Found in: V2 units that swap the two branches in the backward.
    """
    return ops.channel_concat_backward(dy, cache)[::-1]
