"""The catalogue of mistakes, most from published code: each is a small diff of what is right.

`MISTAKES` holds them by name. An entry says which operation is wrong and in which direction, what
the cause is, where its like was found, and what a student reads who makes it. Exercises compare a
wrong answer with the entries (`mistakes_in`). `BUGS` has those that are a forward with a backward;
they measure the gradient checker:

    part a    wrong backward of a right forward: `gradcheck` catches every one
    part b    wrong forward, and a backward that agrees with it: no gradient check can see it
    part c    side effects: only side checks see them
    held out  more of part a, written after `explain` was finished, so that it is measured fairly

and `checkers` holds wrong and weak gradient checkers, each with a bug that slips through it.

    bug = zoo.find("conv2d/kernel_not_flipped")
    example = bug.example(seed=0)
    verdict = gradcheck.check_pair(
        bug.forward, bug.backward, *example.arrays, **example.hyperparameters
    )

The checker knows nothing of the zoo. To add a mistake in a gradient, write the wrong gradient below
a decorator of `catalogue`: `@wrong_gradient("conv2d", "b", cause=..., found_in=...)`.
"""

from numpy_shufflenet.zoo import (
    convolutions,
    elementwise,
    fused,
    held_out,
    movement,
    normalisation,
    pooling,
    side_effects,
    training,
    units,
)
from numpy_shufflenet.zoo.catalogue import (
    MISTAKES,
    Bug,
    Mistake,
    mistakes_in,
    wrong_answer,
    wrong_backward,
    wrong_forward,
    wrong_gradient,
)

__all__ = [
    "BUGS",
    "MISTAKES",
    "Bug",
    "Mistake",
    "convolutions",
    "elementwise",
    "find",
    "fused",
    "held_out",
    "mistakes_in",
    "movement",
    "normalisation",
    "pooling",
    "side_effects",
    "training",
    "units",
    "wrong_answer",
    "wrong_backward",
    "wrong_forward",
    "wrong_gradient",
]

BUGS = {name: mistake for name, mistake in MISTAKES.items() if isinstance(mistake, Bug)}
"""Every mistake that is a forward with a backward, by name."""


def find(name: str) -> Bug:
    """Return the bug of this name, or raise ValueError that lists all names."""
    if name not in BUGS:
        raise ValueError(f"there is no bug {name!r}; there are {', '.join(BUGS)}")
    return BUGS[name]
