"""How coarse y is: values that share their last bits were computed less precisely than they look.

What is computed in float32 inside, or has had a large number added and taken away again, moves in
steps that are far larger than its own rounding.
"""

import numpy as np

from ._arrays import Array

BITS = 8  # at the end of all values that are 0: no chance
ENOUGH = 4  # values


class Grain:
    """Looks at values of y at random places.

    Parameters
    ----------
    y : array
        Flat; at the point itself.
    eps : float
        Of the dtype of y.
    """

    def __init__(self, y: Array, eps: float) -> None:
        self._y = y
        self._bits = int(-np.log2(eps)) + 1
        self._rough, self._moved = np.zeros(y.size, int), np.zeros(y.size, int)
        self._coarse = np.ones(y.size, bool)  # so far
        self._step = np.full(y.size, np.inf)
        self.add(y)

    def add(self, y: Array) -> None:
        """Take in y at another place."""
        if not self._coarse.any() or not np.isfinite(y).all():
            return
        mantissa, exponent = np.frexp(y)
        whole = np.ldexp(np.abs(mantissa), self._bits).astype(np.int64)
        last = whole & -whole  # the last bit that isn't 0
        self._rough += last >= 2**BITS
        self._moved += y != self._y
        self._coarse &= (last >= 2**BITS) | (y == 0)
        steps = np.ldexp(last.astype(np.float64), exponent - self._bits)
        self._step = np.where(y == 0, self._step, np.minimum(self._step, steps))

    def steps(self) -> Array:
        """Return the steps in which each output moves, 0 where these are its own rounding."""
        sure = self._coarse & (self._rough >= ENOUGH) & (self._moved >= ENOUGH)
        found = np.where(sure, self._step, 0.0)
        # What didn't move at all, or too seldom to tell, may move in steps as large.
        unsure = (self._moved == 0) | (self._coarse & (self._moved < ENOUGH))
        return np.asarray(np.where(unsure, found.max(initial=0.0), found))
