"""What is checked, how precise the check can be, and how much time it may take."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from ._arrays import Array, norm
from ._trial import Trial
from .settings import Settings

ROUNDINGS = 1e3  # the backward's rounding may be at most ROUNDINGS * eps * (size of y)
PATIENCE = 5.0  # seconds until a terminal shows the progress


@dataclass(frozen=True)
class Precision:
    """How precisely a gradient can be checked in a dtype."""

    eps: float
    least: float  # the smallest distance of two numbers
    first_level: int  # at the step 2^-first_level truncation and rounding are about equal
    spacing: float  # distance of the points at which noise is measured
    tolerance: float  # the relative difference that rounding in the backward may make
    enough: float  # the search for a step stops when the slope has this relative error
    limit: float  # an entry counts as seen if a relative error of this size would be seen

    @property
    def zero(self) -> float:
        """A slope of 0 is precise enough if its error, relative to y, is below this."""
        return 64 * self.eps * 2.0 ** (self.first_level + 2)


def precision_of(dtype: np.dtype[Any], tolerance: float | None = None) -> Precision:
    """Return how precisely a gradient can be checked in float64 or float32."""
    info = np.finfo(dtype)
    eps, least = float(info.eps), float(info.smallest_subnormal)
    if eps < 1e-10:
        own = 1e-9 if tolerance is None else tolerance
        return Precision(eps, least, 8, 2.0**-20, own, 1e-8, max(1e-3, 100 * own))
    own = 1e-4 if tolerance is None else tolerance
    return Precision(eps, least, 3, 2.0**-9, own, 1e-3, max(3e-2, 100 * own))


class Subject:
    """What is checked, and how; all arrays share it.

    `dys` are flat cotangents, one for each direction. The time limit counts from the creation of
    this object.
    """

    def __init__(
        self, trial: Trial, dys: Sequence[Array], settings: Settings, rng: np.random.Generator
    ) -> None:
        self.trial, self.dys, self.settings, self.rng = trial, dys, settings, rng
        self.precision = precision_of(trial.dtype, settings.tolerance)
        self._start = self._shown = time.perf_counter()
        self._line = ""
        self._natural = cache(lambda number: norm(dys[number] * trial.y))

    # The budget

    def within_budget(self) -> bool:
        """Whether calls of f and time are left; after some seconds, show the progress."""
        now, evaluations = time.perf_counter(), self.trial.evaluations
        spent, settings = now - self._start, self.settings
        if spent > PATIENCE and now - self._shown > 0.5 and sys.stderr.isatty():
            self._shown = now
            self._line = (
                f"gradient check: {evaluations} of at most {settings.max_evaluations} "
                f"evaluations, {spent:.0f} of at most {settings.max_seconds:.0f} s"
            )
            print(f"\r{self._line}", end="", file=sys.stderr, flush=True)
        return evaluations < settings.max_evaluations and spent < settings.max_seconds

    def hide_progress(self) -> None:
        """Clear the line that shows the progress."""
        if self._line:
            print(f"\r{' ' * len(self._line)}\r", end="", file=sys.stderr, flush=True)

    # Gradients, and their rounding

    @cached_property
    def gradients(self) -> list[list[Array | None]]:
        """The gradients that vjp gives for each cotangent."""
        return [self.trial.pull_back(dy) for dy in self.dys]

    def gradient(self, position: int, number: int = 0) -> Array:
        """Return the gradient of an array for a cotangent."""
        gradient = self.gradients[number][position]
        assert gradient is not None
        return gradient

    def natural(self, number: int = 0) -> float:
        """Return the slope that y would have if it changed by its own size."""
        return self._natural(number)

    @cached_property
    def roundings(self) -> list[Array | None]:
        """The rounding in each gradient, by entry.

        A right gradient is linear in dy, so every deviation from linearity is rounding.
        """
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
                rounding[...] = largest  # the whole gradient is only rounding
            found.append(rounding)
        return found

    def rounding(self, position: int, direction: Array) -> float:
        """Return the rounding in the slope that the gradient gives along a direction."""
        rounding = self.roundings[position]
        most = ROUNDINGS * self.precision.eps * self.natural()  # a larger error is not rounding
        return 0.0 if rounding is None else min(32 * norm(rounding * direction), most)
