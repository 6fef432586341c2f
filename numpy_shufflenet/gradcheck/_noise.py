"""How noisy y is: measured at points beside each other, and in the last bits of its values."""

from itertools import pairwise

import numpy as np

from ._arrays import Array
from .differences import Change

CLOSER = 2.0**-12
POINTS = 10  # from which noise is measured
BITS = 8  # if the last 8 bits of all values are 0, that is no coincidence
ENOUGH = 4  # values that are needed to tell


def measured_noise(change: Change, spacing: float, usual: float) -> Array | None:
    """Return the standard deviation of the noise of each output, and last that of their sum.

    y is measured at ten points beside each other, on one side of 0. The third differences of a
    smooth function are almost 0 there; those of noise have sqrt(20) times its standard deviation.
    The median ignores a single kink, which is in three of the seven differences. If the median is
    above `usual`, there may be several kinks. Then closer points are measured too; they count
    unless y has the same value at two of them, which shows that it moves in steps.

    An output that keeps every bit while others are noisy may be as noisy as they are: 1 + x, for x
    below 1e-16, rounds the noise of x away. So it gets the largest noise of the others.

    Returns None if y is not defined at some of the points.

    Source: More, Wild, Estimating computational noise, 2011.
    """
    noise, _ = _third_differences(change, spacing)
    if noise is None or noise[-1] > usual:
        closer, moves = _third_differences(change, spacing * CLOSER)
        if closer is not None and moves:
            return closer if noise is None else np.minimum(noise, closer)
    return noise


def _third_differences(change: Change, spacing: float) -> tuple[Array | None, bool]:
    """Return the noise, and whether y is different at each of the points."""
    points = [change(j * spacing)[0] for j in range(1, POINTS)]
    values = np.array([np.zeros_like(points[0]), *points])
    moves = all((a != b).any() for a, b in pairwise(values))
    with np.errstate(all="ignore"):
        values = np.concatenate([values, values.sum(axis=1, keepdims=True)], axis=1)
        found = np.median(np.abs(np.diff(values, 3, axis=0)), axis=0) * 1.5 / np.sqrt(20)
        found[(values == 0).all(axis=0)] = found[:-1].max(initial=0.0)
    return (found if np.isfinite(found).all() else None), moves


class Grain:
    """The steps in which y moves, read from its values at random points.

    Values that all end in zero bits were computed less precisely than their dtype: in float32, or
    by adding a large number and subtracting it again. They move in steps that are far larger than
    their own rounding. `y` is flat and taken at the point itself; `eps` is that of its dtype.
    """

    def __init__(self, y: Array, eps: float) -> None:
        self._y = y
        self._bits = int(-np.log2(eps)) + 1
        self._rough, self._moved = np.zeros(y.size, int), np.zeros(y.size, int)
        self._coarse = np.ones(y.size, bool)  # so far
        self._step = np.full(y.size, np.inf)
        self.add(y)

    def add(self, y: Array) -> None:
        """Use y at another point, too."""
        if not self._coarse.any() or not np.isfinite(y).all():
            return
        mantissa, exponent = np.frexp(y)
        whole = np.ldexp(np.abs(mantissa), self._bits).astype(np.int64)
        last = whole & -whole  # the last bit that is not 0
        self._rough += last >= 2**BITS
        self._moved += y != self._y
        self._coarse &= (last >= 2**BITS) | (y == 0)
        steps = np.ldexp(last.astype(np.float64), exponent - self._bits)
        self._step = np.where(y == 0, self._step, np.minimum(self._step, steps))

    def steps(self) -> Array:
        """Return the step in which each output moves; 0 if that is its own rounding."""
        sure = self._coarse & (self._rough >= ENOUGH) & (self._moved >= ENOUGH)
        found = np.where(sure, self._step, 0.0)
        # An output that moved too seldom to tell, or never, may move in steps as large.
        unsure = (self._moved == 0) | (self._coarse & (self._moved < ENOUGH))
        return np.asarray(np.where(unsure, found.max(initial=0.0), found))
