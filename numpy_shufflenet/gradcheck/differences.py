"""The slope of a function along a line, by differences, with an estimate of its own error.

Along a line, t -> y(t) is a vector; w(t) = dy (y(t) - y(0)) weighs it with the cotangent, so that
sum w(t) has the slope <dy, J v> at 0. Two halves of w tell two things:

    odd   d(h) = (w(h) - w(-h)) / 2h = slope + c2 h^2 + c4 h^4 + ...     the central difference
    even  j(h) = (w(h) + w(-h)) / h  =         c1 h   + c3 h^3 + ...     right minus left slope

Halving h and extrapolating (Richardson) removes the leading terms: two extrapolated slopes, from
h, h/2 and from h/2, h/4, differ by about the error of the worse. Extrapolating the even half
leaves the jump between the slopes on the right and on the left: 0 where y is smooth, and not 0 at
a kink, where the central difference alone would report the mean of both slopes and look perfect.

Rounding grows as h falls, truncation as h rises. No step is right for every function, so steps
are tried from `first_level` (h = 2^-level) on, until one is good enough, and the best is taken.

Kinks are looked for in three ways, each on every output alone, so that several cannot cancel:

    slopes     the jump between right and left slope, extrapolated to h = 0, is not 0
    parabola   through five points, h and h/2 to both sides: what it leaves over doesn't shrink
    winners    f says which choices it made (masks, winners), and they differ between -h and h

Sources: Ridders, Accurate computation of F'(x), 1982 (extrapolation with an error estimate);
Chainer's gradient_check (kinks from the residual of a parabola).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from numpy_shufflenet._typing import Array

MUCH = 100  # times the rounding that y must have
AT_ONCE = 1e4  # an error that falls by more between two steps does so for no good reason
DEEPEST = 32  # the smallest step is 2^-32 of the scale
KINK = 1e-6  # a jump that is a smaller part of the slope is none
NOISE = 32  # an output moves by more than this many roundings, or it doesn't move

Weights = tuple[tuple[float, ...], tuple[float, ...]]
# How the central differences at h, h/2 and h/4 make the slope, and an estimate of its error.
METHODS: dict[str, Weights] = {
    "central": ((0, 0, 1), (0, -1, 1)),
    "five-point": ((0, -1 / 3, 4 / 3), (1 / 3, -5 / 3, 4 / 3)),
    "richardson": ((1 / 45, -20 / 45, 64 / 45), (1 / 45, -5 / 45, 4 / 45)),
}


@dataclass(frozen=True)
class Slope:
    """A numeric derivative and what is known about it.

    Attributes
    ----------
    value : float
    error : float
        Estimate of |value - true slope|: truncation, rounding and kinks.
    jump : float
        Sum over the outputs of |right slope - left slope|, as far as rounding can see it.
    step : float
        The smallest h that it is made of.
    rounding : float
        The part of `error` that y must have, if it is as precise as its dtype.
    kink : bool
        Whether the error is that of a kink and stays, however small the step.
    detectors : tuple of str
        Which of "slopes", "parabola" and "winners" see a kink at this step.
    method : str
    """

    value: float
    error: float
    jump: float
    step: float
    rounding: float
    kink: bool = False
    detectors: tuple[str, ...] = ()
    method: str = ""


class Line:
    """w(t), remembered: the weighted change of all outputs along a line through the point.

    Parameters
    ----------
    change : callable
        t -> the vector dy (y(t) - y(0)), not finite where y isn't defined; and whether f made
        the choices there that it makes at 0.
    magnitude : array
        |dy y(0)| of each output: its rounding is eps times that.
    eps : float
        Of the dtype that y is computed in.
    method : str
        One of METHODS.
    """

    def __init__(
        self,
        change: Callable[[float], tuple[Array, bool]],
        magnitude: Array,
        eps: float,
        method: str = "five-point",
    ) -> None:
        self._change = change
        self._method = method
        self.straight = False  # as `affine` found
        self._halves: dict[int, tuple[Array, Array]] = {}
        self._chose_alike: dict[int, bool] = {}
        self._eps = eps
        self._noise = NOISE * eps * magnitude  # one per output
        self.rounding = 4 * eps * float(np.sqrt(np.square(magnitude).sum()))

    def halves(self, level: int) -> tuple[Array, Array]:
        """Return the odd and the even half at h = 2^-level, one number per output."""
        if level not in self._halves:
            h = 2.0**-level
            (right, right_alike), (left, left_alike) = self._change(h), self._change(-h)
            self._chose_alike[level] = right_alike and left_alike
            with np.errstate(all="ignore"):
                self._halves[level] = (right - left) / (2 * h), (right + left) / h
        return self._halves[level]

    def affine(self, *, again: bool = False) -> Slope | None:
        """Return the slope if y is a straight line along all of this line; exact to rounding.

        `again`: another line of the same array was straight; one pair of points is enough then.

        It is the adjoint identity <A v, dy> = <v, A^T dy> of linear maps: no step is small, so
        nothing cancels.
        """
        odd, even = self.halves(0)
        noise = self._step_noise(odd)
        if not (np.abs(even) <= noise).all():
            return None
        if not self._chose_alike[0]:
            return None
        if not again and not (np.abs(self.halves(1)[0] - odd) <= 2 * noise).all():
            return None
        self.straight = True
        error = float(np.sqrt(np.square(noise).sum()))
        return Slope(float(odd.sum()), error, 0.0, 1.0, error, method="adjoint identity")

    def _step_noise(self, odd: Array) -> Array:
        """What rounding leaves in each output at h = 1; in one near 0, what it leaves in others."""
        sizes = self._noise + NOISE * self._eps * np.abs(odd)
        return np.asarray(sizes + np.sqrt(np.mean(np.square(sizes))))

    def slope(self, level: int) -> Slope:
        """Extrapolate from h = 2^-level, h/2 and h/4."""
        odd, even = zip(*(self.halves(level + i) for i in range(3)), strict=True)
        alike = all(self._chose_alike[level + i] for i in range(3))
        with np.errstate(all="ignore"):
            return self._extrapolate(odd, even, 2.0 ** -(level + 2), alike)

    def vector(self, level: int) -> tuple[Array, Array]:
        """Return the slope of each output, and what it may be off by."""
        if self.straight:
            odd, _ = self.halves(0)
            return odd, self._step_noise(odd)
        odds = [self.halves(level + i)[0] for i in range(3)]
        with np.errstate(all="ignore"):
            value, error = (_combine(w, odds) for w in METHODS[self._method])
            return value, np.abs(error) + self._noise * 2.0 ** (level + 2)

    def _extrapolate(
        self, odd: Sequence[Array], even: Sequence[Array], step: float, alike: bool
    ) -> Slope:
        value, difference = (_combine(weights, odd) for weights in METHODS[self._method])
        # j(h) has c1 h, c3 h^3, ...: the fourth difference, what a parabola leaves over
        once = 2 * even[1] - even[0], 2 * even[2] - even[1]
        jump = (8 * once[1] - once[0]) / 7
        noise = self._noise / step
        jumps = float(np.abs(jump[np.abs(jump) > noise]).sum())
        least = KINK * float(np.abs(value).max(initial=0.0))
        left_over = _stays(once, noise, least) | _stays(
            (odd[1] - odd[0], odd[2] - odd[1]), noise, least
        )
        rounding = self.rounding / step
        error = max(_size(difference, noise), jumps) + rounding
        if not np.isfinite(error):
            error = np.inf
        found = {"slopes": jumps > least, "parabola": bool(left_over.any()), "winners": not alike}
        detectors = tuple(name for name, seen in found.items() if seen)
        total = float(value.sum())
        return Slope(total, error, jumps, step, rounding, detectors=detectors, method=self._method)


def _stays(left_over: Sequence[Array], noise: Array, least: float) -> Array:
    """Whether what a parabola leaves over at h is still there at h/2: truncation shrinks by 4."""
    larger, smaller = np.abs(left_over[0]), np.abs(left_over[1])
    return np.asarray(smaller > np.maximum(np.maximum(noise, least), larger / 2))


def _combine(weights: Sequence[float], odd: Sequence[Array]) -> Array:
    total: Array = sum(w * d for w, d in zip(weights, odd, strict=True) if w)  # type: ignore[assignment]
    return total


def find_slope(
    line: Line,
    first_level: int,
    accept: Callable[[Slope], bool],
    precise: Callable[[Slope], bool],
    *,
    patient: bool = True,
) -> Slope:
    """Try steps until one is good enough; otherwise return the best.

    Parameters
    ----------
    line : Line
    first_level : int
        The first step is 2^-first_level.
    accept : callable
        True ends the search at once: this slope is all that is needed.
    precise : callable
        True ends it after two smaller steps, which show how noisy y is.
    patient : bool
        False gives up as soon as three steps agree that there is a kink.

    Returns
    -------
    Slope
        The one with the smallest error estimate.
    """
    seen: list[Slope] = []
    for level in _levels(first_level):
        seen.append(line.slope(level))
        best = _best(seen)
        if accept(best):
            return best
        smaller = sum(slope.step < best.step for slope in seen)
        if precise(best) and smaller >= 2:
            return best
        if not patient and len(seen) >= 3 and all(_alike(seen[-1], s) for s in seen[-3:-1]):
            break
    return _best(seen)


def _levels(first: int) -> Iterator[int]:
    """Smaller steps first, which is the cure for kinks; then larger ones, the cure for noise."""
    yield from range(first, DEEPEST - 1, 2)
    yield from range(first - 2, -1, -2)


def _best(seen: list[Slope]) -> Slope:
    """Return the slope of the smallest error, once all know what the others found.

    Noise is error x step, and smaller steps measure it: an estimate that is small by luck is
    raised to what they found. An error that is a jump, alike at another step, is a kink.

    Of a y that is computed less precisely than its dtype (in float32 inside, say), tiny steps see
    stairs: little or nothing moves, which looks like an exact slope. Where larger steps saw noise,
    errors that grew as the step fell, there is at least as much at smaller ones; unless the errors
    fell again bit by bit, as truncation does, and not at once.
    """
    floors = _floors(seen)
    known = []
    for slope in seen:
        smaller = [s for s in seen if s.step < slope.step and np.isfinite(s.error)]
        noise = max((s.error * s.step for s in smaller), default=0.0)
        noise = max(noise, floors.get(slope.step, 0.0))
        error = max(slope.error, noise / slope.step)
        kink = any(_alike(slope, other) for other in seen if other is not slope)
        known.append(replace(slope, error=error, kink=kink))
    return min(known, key=lambda slope: slope.error)


def _floors(seen: list[Slope]) -> dict[float, float]:
    """Return, for each step, the noise (error x step) that larger steps have shown there to be."""
    steps = sorted((s for s in seen if np.isfinite(s.error)), key=lambda slope: -slope.step)
    floor, floors = 0.0, {}
    for larger, smaller in pairwise(steps):
        if smaller.error > max(1.5 * larger.error, MUCH * smaller.rounding):
            floor = max(floor, smaller.error * smaller.step)
        elif larger.error / AT_ONCE < smaller.error < larger.error:
            floor = min(floor, smaller.error * smaller.step)
        floors[smaller.step] = floor
    return floors


def _alike(slope: Slope, other: Slope) -> bool:
    """Whether both see the same jump, and little else."""
    low, high = sorted((slope.jump, other.jump))
    return 0 < high <= 1.5 * low and slope.error <= 2 * slope.jump


def _size(error: Array, noise: Array) -> float:
    """Return |sum error|, but let no errors cancel that are more than noise."""
    large = np.abs(error) > noise
    return float(abs(error[~large].sum()) + np.abs(error[large]).sum())
