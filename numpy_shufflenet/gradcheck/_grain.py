"""How coarse y is: values that share their last bits were computed less precisely than they look.

What is computed in float32 inside, or has had a large number added and taken away again, moves in
steps that are far larger than its own rounding.
"""

import numpy as np

from numpy_shufflenet._typing import Array

BITS = 8  # at the end of all values that are 0: no chance
ENOUGH = 4  # values


class Grain:
    """Collects values of y at random places.

    Parameters
    ----------
    y : array
        Flat; at the point itself.
    """

    def __init__(self, y: Array) -> None:
        self._seen: list[Array] = [y]

    def add(self, y: Array) -> None:
        """Take in y at another place."""
        self._seen.append(y)

    def coarse(self, eps: float) -> Array:
        """Return the steps in which each output moves, 0 where these are its own rounding."""
        values = np.array([y for y in self._seen if np.isfinite(y).all()])
        if len(values) <= ENOUGH:
            return np.zeros(len(self._seen[0]))
        bits = int(-np.log2(eps)) + 1
        mantissa, exponent = np.frexp(values)
        whole = np.ldexp(np.abs(mantissa), bits).astype(np.int64)
        steps = np.ldexp((whole & -whole).astype(np.float64), exponent - bits)
        rough = (steps >= np.ldexp(2.0**BITS, exponent - bits)) & (values != 0)
        moved = (values[1:] != values[0]).sum(axis=0) >= ENOUGH
        all_rough = (rough | (values == 0)).all(axis=0) & (np.count_nonzero(rough, axis=0) >= ENOUGH)
        found = np.where(all_rough & moved, np.where(values == 0, np.inf, steps).min(axis=0), 0.0)
        # What didn't move at all may move in steps as large.
        unmoved = (values == values[0]).all(axis=0)
        return np.asarray(np.where(unmoved, found.max(initial=0.0), found))
