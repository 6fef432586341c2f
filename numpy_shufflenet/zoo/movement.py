"""Mistakes in what moves channels: shuffle, split, concatenation."""

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

SHUFFLES = "published shuffles whose backward shuffles onwards, as C = 4, g = 2 can't tell"
FORWARDS = (
    "you moved the gradients as the numbers were moved; they must go back instead, by the inverse "
    "permutation"
)


@wrong_forward("channel_shuffle", backward=ops.channel_unshuffle_backward, cause="permutation")
def shuffled_in_the_other_order(x: Array, groups: int) -> tuple[Array, Any]:
    """Shuffle in the order of the authors' V1 code where the paper's is meant.

    Found in: the two orders in the wild: the paper's, and the authors' V1 code's.
    Hint: this is the inverse permutation, the order of the authors' V1 code.
    """
    return ops.channel_unshuffle_forward(x, groups)


@wrong_answer("channel_shuffle_forward", cause="permutation")
def not_moved(x: Array, groups: int) -> Array:
    """Leave every channel where it is.

    Hint: nothing has moved.
    """
    return x


@wrong_answer("channel_unshuffle_forward", cause="permutation")
def shuffled(x: Array, groups: int) -> Array:
    """Shuffle in place of unshuffling.

    Hint: this is the other permutation, that of channel_shuffle.
    """
    return ops.channel_shuffle_forward(x, groups)[0]


@wrong_gradient("channel_shuffle", "x", cause="permutation", found_in=SHUFFLES, hint=FORWARDS)
def shuffled_onwards(dx: Array, dy: Array, cache: Any) -> Array:
    """Shuffle dy once more, as x was, in place of back."""
    return ops.channel_shuffle_forward(dy, cache.groups)[0]


@wrong_gradient("channel_shuffle", "x", cause="permutation")
def not_shuffled(dx: Array, dy: Array, cache: Any) -> Array:
    """Leave every gradient where it is.

    Found in: units that forget it; see unit_v2.
    Hint: every gradient stayed where it was, but the forward moved the channels.
    """
    return dy


@wrong_gradient("channel_unshuffle", "x", cause="permutation", found_in=SHUFFLES, hint=FORWARDS)
def unshuffled_onwards(dx: Array, dy: Array, cache: Any) -> Array:
    """Unshuffle dy once more in place of shuffling."""
    return ops.channel_unshuffle_forward(dy, cache.groups)[0]


@wrong_gradient("channel_split", "x", cause="permutation")
def parts_in_reverse(dx: Array, dparts: Sequence[Array], cache: Any) -> Array:
    """Concatenate the parts from the last to the first.

    Found in: V2 units with the two branches exchanged on the way back.
    """
    return np.concatenate(dparts[::-1], axis=1)


@wrong_gradient("channel_split", "x", cause="dropped")
def first_part_forgotten(dx: Array, dparts: Sequence[Array], cache: Any) -> Array:
    """Leave the gradient of the first part 0.

    Found in: V2 units that forget the branch through which channels just pass.
    """
    first, *others = dparts
    return np.concatenate([np.zeros_like(first), *others], axis=1)


@wrong_backward(
    "channel_concat",
    cause="swapped",
    example=lambda draw: ((draw(2, 2, 3, 2), draw(2, 2, 3, 2)), {}),
)
def parts_swapped(dy: Array, cache: Any) -> tuple[Array, ...]:
    """Hand the second part's gradient to the first array, and the first part's to the second.

    Found in: V2 units with the two branches exchanged on the way back.
    """
    return ops.channel_concat_backward(dy, cache)[::-1]
