"""Finds patterns in the difference between a wrong result and the target."""

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.exercises.exercise import Case
from numpy_shufflenet.exercises.judge import differs

FEWEST = 4  # smallest number of entries; fewer entries would fit any pattern


class Wrong(NamedTuple):
    """A wrong result of a case, and the target."""

    case: Case
    name: str  # name of the result
    yours: Array
    target: Array

    @property
    def comparable(self) -> bool:
        """Whether the shapes are equal, and there are enough finite numbers for a pattern."""
        yours, target = self.yours, self.target
        same = yours.shape == target.shape and target.size >= FEWEST
        return same and bool(np.isfinite(yours).all())


def equal(yours: Array, other: Array) -> bool:
    """Whether two arrays are equal within the tolerance of the exercises."""
    if yours.shape != other.shape or not np.isfinite(yours).all():
        return False
    return not differs(yours, other).any()


def named_factors(wrong: Wrong) -> list[str]:
    """Return hints to divide, or not to divide, by a number, if this corrects every entry."""
    factor = _factor(wrong)
    if factor is None:
        return []
    found = []
    for size, name in _sizes(wrong.case):
        if size > 1 and math.isclose(factor, size):
            found.append(f"every entry is too large by a factor: divide by {name}")
        if size > 1 and math.isclose(factor, 1 / size):
            found.append(f"every entry is too small by a factor: don't divide by {name}")
    return found


def patterns(wrong: Wrong) -> list[str]:
    """Return all patterns of a wrong result, the most specific first."""
    yours, target = wrong.yours, wrong.target
    if yours.shape != target.shape:
        return list(_of_shapes(yours, target))
    if not yours.any():
        return ["every entry is 0: is the result ever written to?"]
    if found := [*_scaled(wrong), *_moved(yours, target)]:
        return found
    if equal(yours - yours.ravel()[0], target - target.ravel()[0]):
        return ["every entry is too large by the same number: a bias or a mean?"]
    return list(_by_position(yours, target))


def _of_shapes(yours: Array, target: Array) -> Iterator[str]:
    if sorted(yours.shape) == sorted(target.shape):
        yield "the axes are in the wrong order"
    elif yours.size == target.size:
        yield "the number of entries is right: a reshape is missing or wrong"
    elif yours.ndim == target.ndim == 4 and yours.shape[2:] != target.shape[2:]:
        yield "height and width are (size + 2 padding - dilation (kernel - 1) - 1) // stride + 1"


def _by_position(yours: Array, target: Array) -> Iterator[str]:
    """Yield what the wrong entries have in common: their positions, or the value 0."""
    wrong: Any = differs(yours, target)
    if yours.ndim == 4:
        images, channels = list(wrong.any(axis=(1, 2, 3))), list(wrong.any(axis=(0, 2, 3)))
        if len(images) > 1 and not images[0] and all(images[1:]):
            yield "right for the first image, wrong for all others: do you use the whole batch?"
        if len(channels) > 1 and not channels[0] and all(channels[1:]):
            yield "right for the first channel, wrong for all others"
        inside = wrong[:, :, 1:-1, 1:-1]
        if inside.size and not inside.any():
            yield "only entries at the border are wrong: look at the padding"
    if not yours[wrong].any():
        yield "the wrong entries are all 0: your code never writes to them"
    if not target[wrong].any():
        yield "the wrong entries should all be 0"


def _scaled(wrong: Wrong) -> list[str]:
    """Return which constant factor makes the result wrong, and where the factor may come from."""
    factor = _factor(wrong)
    if factor is None:
        return []
    if math.isclose(factor, -1):
        return ["every entry has the wrong sign"]
    return [*named_factors(wrong), f"every entry is {factor:.4g} times what it should be"]


def _factor(wrong: Wrong) -> float | None:
    """Return the constant that turns the target into the result, or None."""
    yours, target = wrong.yours, wrong.target
    if not np.any(target):
        return None
    unit = target / np.abs(target).max()  # the squares of small targets would underflow to 0
    factor = float((yours * unit).sum() / (target * unit).sum())
    if not math.isfinite(factor) or factor == 0 or differs(yours, factor * target).any():
        return None
    return factor


def _sizes(case: Case) -> list[tuple[int, str]]:
    """Return the sizes by which a student may divide, and their names."""
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
    """Return how to describe the wrong order, if the right numbers are at wrong positions."""
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
        found.append(
            "the right numbers at wrong positions: a permutation, or its inverse, is missing"
        )
    return found
