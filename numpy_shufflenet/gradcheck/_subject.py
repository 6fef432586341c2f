"""What is checked, and how precisely it can be."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ._arrays import Array, norm
from ._budget import Budget
from ._trial import Trial

ROUNDINGS = 1e3  # of y's size may the backward's rounding be


@dataclass(frozen=True)
class Precision:
    """What can be expected of a dtype."""

    eps: float
    least: float  # smallest distance of two numbers
    first_level: int  # steps 2^-level and its halves: truncation and rounding are about equal
    spacing: float  # of the points from which noise is measured
    tolerance: float  # relative difference that rounding in the backward may make
    enough: float  # relative error of a difference that is good enough to stop at
    limit: float  # an entry is seen if an error of this share of it would be

    @property
    def zero(self) -> float:
        """An error below this, relative to y, is good enough for a gradient of 0."""
        return 64 * self.eps * 2.0 ** (self.first_level + 2)


def precision_of(dtype: np.dtype[Any], tolerance: float | None = None) -> Precision:
    """Return what float64 or float32 can do."""
    info = np.finfo(dtype)
    eps, least = float(info.eps), float(info.smallest_subnormal)
    if eps < 1e-10:
        own = 1e-9 if tolerance is None else tolerance
        return Precision(eps, least, 8, 2.0**-20, own, 1e-8, max(1e-3, 100 * own))
    own = 1e-4 if tolerance is None else tolerance
    return Precision(eps, least, 3, 2.0**-9, own, 1e-3, max(3e-2, 100 * own))


@dataclass(frozen=True)
class Subject:
    """What is checked, and how: the same for all arrays."""

    trial: Trial
    dys: Sequence[Array]  # flat cotangents, one for each direction
    precision: Precision
    method: str
    rng: np.random.Generator
    budget: Budget

    @cached_property
    def gradients(self) -> list[list[Array | None]]:
        """What vjp gives for each cotangent."""
        return [self.trial.pull_back(dy) for dy in self.dys]

    def gradient(self, position: int, number: int = 0) -> Array:
        """Return what vjp gives for an array and a cotangent."""
        gradient = self.gradients[number][position]
        assert gradient is not None
        return gradient

    def natural(self, number: int = 0) -> float:
        """Return the size of the slope if x changes y by its own size."""
        return self._naturals[number]

    @cached_property
    def _naturals(self) -> list[float]:
        return [norm(dy * self.trial.y) for dy in self.dys]

    @cached_property
    def roundings(self) -> list[Array | None]:
        """Of each gradient, by entry: the right one is linear in dy, and all else is rounding."""
        one = self.dys[0]
        other = one * self.rng.uniform(0.5, 1.5, one.shape)
        others, mixed = self.trial.pull_back(other), self.trial.pull_back(2 * one - 3 * other)
        found: list[Array | None] = []
        for first, second, both in zip(self.gradients[0], others, mixed, strict=True):
            if first is None or second is None or both is None:
                found.append(None)
                continue
            rounding = np.asarray(np.abs(both - 2 * first + 3 * second))
            largest = rounding.max(initial=0.0)
            if np.abs(first).max(initial=0.0) <= 32 * largest:
                rounding[...] = largest  # the whole gradient is nothing else
            found.append(rounding)
        return found

    def rounding(self, position: int, direction: Array) -> float:
        """Return the rounding of the slope that the backward says."""
        rounding = self.roundings[position]
        most = ROUNDINGS * self.precision.eps * self.natural()  # more is no rounding
        return 0.0 if rounding is None else min(32 * norm(rounding * direction), most)
