"""The catalogue of mistakes, from published code and from students; each is a small change.

`MISTAKES` holds the mistakes by name. An entry says which function of which operation is wrong,
what the cause is, where such a mistake was found, and which hint a student reads. Exercises compare
a wrong answer with the entries (`mistakes_in`). Students' mistakes are in `answers`; `general` has
those that are possible in every exercise. `BUGS` has the entries that consist of a forward
and a backward. These bugs measure the gradient checker:

    part a    a wrong backward of a right forward: `gradcheck` catches every one
    part b    a wrong forward, and a backward that agrees with it: no gradient check can catch it
    part c    side effects: only the checks of side effects catch them
    held out  more of part a, written after `explain` was finished, to measure `explain` fairly

`checkers` holds weak and wrong gradient checkers. Each checker names a bug that it misses.

    bug = zoo.find("conv2d/kernel_not_flipped")
    example = bug.example(seed=0)
    verdict = gradcheck.check_pair(
        bug.forward, bug.backward, *example.arrays, **example.hyperparameters
    )

The gradient checker doesn't import the zoo. To add a wrong gradient, write it below a decorator of
`catalogue`: `@wrong_gradient("conv2d", "b", cause=..., found_in=...)`.
"""

from numpy_shufflenet.zoo import (  # noqa: F401 - their decorators fill the catalogue
    answers,
    convolutions,
    elementwise,
    fused,
    held_out,
    movement,
    normalisation,
    pooling,
    side_effects,
    units,
)
from numpy_shufflenet.zoo.catalogue import (
    MISTAKES,
    Bug,
    DoesNotApplyError,
    Mistake,
    both,
    mistakes_in,
    variants,
    wrong_answer,
    wrong_backward,
    wrong_forward,
    wrong_gradient,
)

__all__ = [
    "BUGS",
    "MISTAKES",
    "Bug",
    "DoesNotApplyError",
    "Mistake",
    "both",
    "find",
    "mistakes_in",
    "variants",
    "wrong_answer",
    "wrong_backward",
    "wrong_forward",
    "wrong_gradient",
]

BUGS = {name: mistake for name, mistake in MISTAKES.items() if isinstance(mistake, Bug)}
"""The mistakes that consist of a forward and a backward, by name."""


def find(name: str) -> Bug:
    """Return the bug of this name, or raise ValueError that lists all names."""
    if name not in BUGS:
        raise ValueError(f"there is no bug {name!r}; there are {', '.join(BUGS)}")
    return BUGS[name]
