"""How noisy y is, measured at neighbouring points and in the last bits of the values of y."""

from itertools import pairwise

import numpy as np

from ._arrays import Array
from .differences import Change

CLOSER = 2.0**-12
POINTS = 10  # number of neighbouring points
BITS = 8  # if the last 8 bits of all values are 0, that is no coincidence
ENOUGH = 4  # number of values that are needed for a decision


def measured_noise(change: Change, spacing: float, usual: float) -> Array | None:
    """Return the standard deviation of each output's noise; the last entry is for their sum.

    y is measured at ten neighbouring points, on one side of 0. The third differences of a smooth
    function are almost 0 there. The third differences of noise have sqrt(20) times the standard
    deviation of the noise. The median ignores a single kink, which affects three of the seven
    differences. If the median is above `usual`, there may be several kinks. Then closer points are
    measured, too. Their noise counts unless y has the same value at two neighbouring points, which
    shows that y moves in steps.

    An output that keeps every bit may still be as noisy as the others: 1 + x, for x below 1e-16,
    rounds the noise of x away. So such an output gets the largest noise of the others.

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
    """Return the noise, and whether y differs between any two neighbouring points."""
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
    the rounding of their dtype. `y` is the flat y at the point of the check; `eps` is the eps of
    its dtype.
    """

    def __init__(self, y: Array, eps: float) -> None:
        self._y = y
        self._bits = int(-np.log2(eps)) + 1
        self._rough, self._moved = np.zeros(y.size, int), np.zeros(y.size, int)
        self._coarse = np.ones(y.size, bool)  # whether all values so far end in zero bits
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
        """Return the step in which each output moves; 0 if it is only the dtype's rounding."""
        sure = self._coarse & (self._rough >= ENOUGH) & (self._moved >= ENOUGH)
        found = np.where(sure, self._step, 0.0)
        # An output that never moved, or moved too seldom, gets the largest step of the others.
        unsure = (self._moved == 0) | (self._coarse & (self._moved < ENOUGH))
        return np.asarray(np.where(unsure, found.max(initial=0.0), found))
