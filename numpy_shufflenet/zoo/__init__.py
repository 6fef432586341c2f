"""A zoo of wrong gradients: mistakes from published code, each a small diff of what is right.

`BUGS` holds them by name, in four parts:

    a         wrong backward of a right forward: `gradcheck` catches every one
    b         wrong forward, and a backward that agrees with it: no gradient check can see it
    c         side effects: only side checks see them
    held out  more of part a, written after `explain` was finished, so that it is measured fairly

and `checkers` holds wrong and weak gradient checkers, each with a bug that slips through it.

    bug = zoo.find("conv2d/kernel_not_flipped")
    example = bug.example(seed=0)
    verdict = gradcheck.check_pair(
        bug.forward, bug.backward, *example.arrays, **example.hyperparameters
    )

The checker knows nothing of the zoo. To add a bug, write a wrong backward below the decorator
`wrong_backward("operation", cause=..., found_in=...)`.
"""

from numpy_shufflenet.zoo import (
    convolutions,
    elementwise,
    fused,
    held_out,
    movement,
    normalisation,
    units,
    unseen,
)
from numpy_shufflenet.zoo._bug import BUGS, Bug, wrong_backward

__all__ = [
    "BUGS",
    "Bug",
    "convolutions",
    "elementwise",
    "find",
    "fused",
    "held_out",
    "movement",
    "normalisation",
    "units",
    "unseen",
    "wrong_backward",
]


def find(name: str) -> Bug:
    """Return the bug of this name, or raise ValueError that lists all names."""
    if name not in BUGS:
        raise ValueError(f"there is no bug {name!r}; there are {', '.join(BUGS)}")
    return BUGS[name]
