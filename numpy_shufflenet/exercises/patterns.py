"""Reads from the difference between a wrong result and the target what is wrong, if it shows."""

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.exercises.cases import Case
from numpy_shufflenet.exercises.judge import differs

TELLING = 4  # entries: in fewer, any pattern can be found


class Wrong(NamedTuple):
    """A wrong result of a case, beside the target."""

    case: Case
    name: str  # of the result
    yours: Array
    target: Array

    @property
    def comparable(self) -> bool:
        """Whether shapes are equal, and there are numbers enough to see a pattern."""
        yours, target = self.yours, self.target
        same = yours.shape == target.shape and target.size >= TELLING
        return same and bool(np.isfinite(yours).all())


def equal(yours: Array, other: Array) -> bool:
    """Whether a result is this array, within the tolerance of the exercises."""
    if yours.shape != other.shape or not np.isfinite(yours).all():
        return False
    return not differs(yours, other).any()


def named_factors(wrong: Wrong) -> list[str]:
    """Return which number a result must be divided by, or must not, if that is all."""
    factor = _factor(wrong)
    found = []
    for size, name in _numbers(wrong.case) if factor is not None else []:
        if size > 1 and math.isclose(factor or 0, size):
            found.append(f"every entry is too large by a factor: divide by {name}")
        if size > 1 and math.isclose(factor or 0, 1 / size):
            found.append(f"every entry is too small by a factor: don't divide by {name}")
    return found


def patterns(wrong: Wrong) -> list[str]:
    """Return all that can be said of a wrong result, the most telling first."""
    yours, target = wrong.yours, wrong.target
    if yours.shape != target.shape:
        return list(_of_shapes(yours, target))
    if not yours.any():
        return ["every entry is 0: is the result ever written to?"]
    if found := [*_scaled(wrong), *_moved(yours, target)]:
        return found
    if equal(yours - yours.ravel()[0], target - target.ravel()[0]):
        return ["every entry is too large by one and the same number: a bias or a mean?"]
    return list(_by_place(yours, target))


def _of_shapes(yours: Array, target: Array) -> Iterator[str]:
    if sorted(yours.shape) == sorted(target.shape):
        yield "the axes are in another order"
    elif yours.size == target.size:
        yield "there are as many numbers as there should be: a reshape is missing or wrong"
    elif yours.ndim == target.ndim == 4 and yours.shape[2:] != target.shape[2:]:
        yield "height and width: (size + 2 padding - dilation (kernel - 1) - 1) // stride + 1"


def _by_place(yours: Array, target: Array) -> Iterator[str]:
    """Yield what the wrong entries have in common: their places, or zeros."""
    wrong: Any = differs(yours, target)
    if yours.ndim == 4:
        images, channels = list(wrong.any(axis=(1, 2, 3))), list(wrong.any(axis=(0, 2, 3)))
        if len(images) > 1 and not images[0] and all(images[1:]):
            yield "right for the first image, wrong for all others: is the batch left out?"
        if len(channels) > 1 and not channels[0] and all(channels[1:]):
            yield "right for the first channel, wrong for all others"
        inside = wrong[:, :, 1:-1, 1:-1]
        if inside.size and not inside.any():
            yield "only entries at the border are wrong: look at the padding"
    if not yours[wrong].any():
        yield "the wrong entries are all 0: something never reaches them"
    if not target[wrong].any():
        yield "the wrong entries should all be 0"


def _scaled(wrong: Wrong) -> list[str]:
    """Return the constant factor of a result, and where it may come from."""
    factor = _factor(wrong)
    if factor is None:
        return []
    if math.isclose(factor, -1):
        return ["every entry has the wrong sign"]
    return [*named_factors(wrong), f"every entry is {factor:.4g} times what it should be"]


def _factor(wrong: Wrong) -> float | None:
    """Return the constant by which the target must be multiplied, if there is one."""
    yours, target = wrong.yours, wrong.target
    if not np.any(target):
        return None
    factor = float((yours * target).sum() / (target * target).sum())
    if not math.isfinite(factor) or factor == 0 or differs(yours, factor * target).any():
        return None
    return factor


def _numbers(case: Case) -> list[tuple[int, str]]:
    """Return the sizes by which a student may divide, and what they are."""
    arrays, settings = case
    found = []
    x = arrays.get("x")
    if x is not None and x.ndim == 4:
        n, c, h, w = x.shape
        found += [(n * h * w, "the n h w values of a channel"), (h * w, "the h w pixels")]
        found += [(n, "the batch size"), (c, "the number of channels")]
    kernel = settings.get("kernel_size")
    if isinstance(kernel, int):
        found.insert(0, (kernel * kernel, "the pixels of the window"))
    logits = arrays.get("logits")
    if logits is not None:
        found.append((len(logits), "the batch size"))
    return found


def _moved(yours: Array, target: Array) -> list[str]:
    """Return in which order the right numbers stand, if they are in wrong places."""
    found = []
    for axes in itertools.chain.from_iterable(
        itertools.combinations(range(target.ndim), count) for count in (1, 2)
    ):
        if equal(yours, np.flip(target, axes)):
            names = " and ".join(f"axis {axis}" for axis in axes)
            found.append(f"the right numbers, but in reverse order along {names}")
    for a, b in itertools.combinations(range(target.ndim), 2):
        if target.shape[a] == target.shape[b] > 1 and equal(yours, target.swapaxes(a, b)):
            found.append(f"axes {a} and {b} are swapped")
    if equal(np.sort(yours, axis=None), np.sort(target, axis=None)):
        found.append("the right numbers at wrong places: a permutation, or its inverse, is missing")
    return found
