"""The complex step: a slope without a difference, and so without cancellation.

If f is holomorphic, f(x + i h v) = f(x) + i h J v - h^2/2 f''[v, v] - ..., so

    J v = Im f(x + i h v) / h        exact to rounding, for h as small as 1e-30

But np.abs, np.var, comparisons and sorting are not holomorphic. They accept complex numbers and
silently return something else. So two tests must first show that f is holomorphic at this point, in
this array:

    1. Im f(x + i h v) / h is the slope that real differences find, output by output.
    2. The even part is h^2/2 f'' along the real line, and -h^2/2 f'' along the imaginary line:
       Re f(x + i h v) - f(x) = f(x) - (f(x + h v) + f(x - h v)) / 2, at an h that is not tiny.

v is random and has no entry near 0, so a failure in a single entry of x shows.

Source: Squire, Trapp, Using complex variables to estimate derivatives of real functions, 1998.
"""

import warnings

import numpy as np

from ._arrays import Array, copies, is_floating, norm
from ._trial import Trial
from .differences import Line, Slope

TINY = 2.0**-100
LEVEL = 8  # the real differences in the test have h = 2^-8, 2^-9 and 2^-10
ROUNDINGS = 64
EPS = float(np.finfo(np.float64).eps)


class ComplexStep:
    """Slopes of f in one of its arrays, by steps along the imaginary axis."""

    def __init__(self, trial: Trial, position: int) -> None:
        self._trial, self._position = trial, position
        self._point = [a.astype(np.complex128) if is_floating(a) else a for a in trial.arrays]

    def proves(self, dy: Array, direction: Array, line: Line) -> bool:
        """Whether f is holomorphic along this direction, as far as differences can tell.

        `line` has the real differences along the direction; `dy` is its flat cotangent.
        """
        level = 0 if line.straight else LEVEL
        h = 2.0**-level
        with np.errstate(all="ignore"):
            here, away = self._moved(TINY * direction), self._moved(h * direction)
            if here is None or away is None:
                return False
            slopes, errors = line.vector(level)
            largest = np.abs(slopes).max(initial=0.0)
            if not (np.abs(dy * here.imag / TINY - slopes) <= 4 * errors + 1e-7 * largest).all():
                return False
            size = float(np.abs(self._trial.y).max(initial=0.0))
            if not np.allclose(here.real, self._trial.y, rtol=1e-9, atol=1e-9 * size):
                return False
            # The even parts are h^2/2 f'' and -h^2/2 f'', up to terms of order h^4.
            real = line.halves(level)[1] * h / 2
            imaginary = dy * (away.real - self._trial.y)
            allowed = 1e-2 * np.abs(real).max(initial=0.0) + errors * h  # errors * h is rounding
            return bool((np.abs(real + imaginary) <= allowed).all())

    def slope(self, dy: Array, direction: Array, step: float = TINY) -> Slope:
        """Return the slope of <dy, y> along a direction."""
        y = self._moved(step * direction)
        terms = np.full(dy.shape, np.nan) if y is None else dy * y.imag / step
        # Where all terms cancel, rounding of the size of y is left. But an output whose imaginary
        # part is exactly 0 does not depend on the changed entries, and has no such rounding.
        sizes = np.where(terms == 0, 0.0, dy * self._trial.y)
        error = ROUNDINGS * EPS * float(np.hypot(norm(terms), norm(sizes)))
        return Slope(float(terms.sum()), error, step, error, error, "complex step")

    def _moved(self, step: Array) -> Array | None:
        """Return y at x + i step as one complex vector; None if f cannot use complex numbers."""
        arrays = copies(self._point)
        arrays[self._position] += 1j * step
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("error")  # NumPy warns if it discards an imaginary part
                parts = self._trial.call(arrays)
        except Exception:
            return None
        if any(part.dtype.kind != "c" for part in parts):
            return None
        y: Array = np.concatenate([part.ravel() for part in parts])
        return y if y.shape == self._trial.y.shape and np.isfinite(y).all() else None
