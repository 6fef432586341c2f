"""The slope of a function along a line, by differences, with an estimate of its error.

Along a line, y(t) is a vector for each number t. w(t) = dy (y(t) - y(0)) is its change, weighted
with the cotangent dy, so that sum w(t) has the slope <dy, J v> at t = 0. w has an odd and an even
half:

    odd   d(h) = (w(h) - w(-h)) / 2h = slope + c2 h^2 + c4 h^4 + ...     the central difference
    even  j(h) = (w(h) + w(-h)) / h  =         c1 h   + c3 h^3 + ...     right minus left slope

Halving h and extrapolating (Richardson) removes the leading terms. One slope is extrapolated from
h and h/2, another from h/2 and h/4; they differ by about the larger of their errors. Extrapolating
the even half leaves the jump between the right and the left slope. The jump is 0 where y is smooth,
and not 0 at a kink (a point where y has no derivative). At a kink, the central difference alone
would report the mean of the right and the left slope, and its estimated error would be small.

Kinks are detected in three ways, for each output alone, so that two kinks cannot cancel:

    slopes     the jump between right and left slope, extrapolated to h = 0, is not 0
    parabola   a parabola through five points (0, h and h/2 to both sides) has a residual that
               does not shrink with h
    winners    f says which choices it made (masks, winners), and they differ between -h and h

Sources: Ridders, Accurate computation of F'(x), 1982 (extrapolation with an error estimate);
Chainer's gradient_check (kinks from the residual of a parabola).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ._arrays import Array, norm
from ._trial import Trial

KINK = 1e-6  # a jump of the slope, relative to the slope, is ignored below this
BREAK = 1e-4  # a jump of y itself, relative to y, is ignored below this
ROUNDING = 4  # noise counts as this many times its standard deviation
NOISE = 32  # a change of an output by less than this many roundings is noise

Change = Callable[[float], tuple[Array, bool]]
Weights = tuple[tuple[float, ...], tuple[float, ...]]
# Weights of the central differences at h, h/2 and h/4 in the slope, and in its estimated error.
METHODS: dict[str, Weights] = {
    "central": ((0, 0, 1), (0, -1, 1)),
    "five-point": ((0, -1 / 3, 4 / 3), (1 / 3, -5 / 3, 4 / 3)),
    "richardson": ((1 / 45, -20 / 45, 64 / 45), (1 / 45, -5 / 45, 4 / 45)),
}


@dataclass(frozen=True)
class Slope:
    """A numeric derivative and what is known about it."""

    value: float
    error: float  # estimate of |value - true slope|: truncation, rounding and kinks
    step: float  # the smallest h that was used
    rounding: float  # the part of `error` that is rounding of y in its dtype
    smooth: float  # the part of `error` that no kink causes
    method: str
    jump: float = 0.0  # sum over the outputs of |right slope - left slope| above rounding
    kink: bool = False  # whether a kink causes the error, so that no smaller step reduces it
    detectors: tuple[str, ...] = ()  # which of "slopes", "parabola" and "winners" see a kink
    outputs: tuple[int, ...] = ()  # flat positions of the outputs whose slope jumps


@dataclass
class Line:
    """The weighted change w(t) of all outputs along a line through the point; values are kept.

    `replace(line, noise=...)` is the same line, with the same values, for another noise.
    """

    # t -> w(t), which is not finite where y is not defined; and whether f makes the same choices
    # at t as at 0.
    change: Change
    magnitude: Array  # |dy y(0)| of each output; the rounding of an output is eps times that
    eps: float  # of the dtype that y is computed in
    method: str = "five-point"  # one of METHODS
    noise: Array | None = None  # standard deviation for each output; the last is for their sum
    least: float = 0.0  # smallest distance of two numbers of the dtype
    quiet: Array | None = None  # outputs without noise, as they don't depend on the moved entries
    straight: bool = False  # whether `affine` found a straight line
    # level -> the odd half, the even half, and whether f makes the same choices as at 0
    values: dict[int, tuple[Array, Array, bool]] = field(default_factory=dict)

    @cached_property
    def _noise(self) -> Array:
        """A change of an output below this is noise."""
        noise = NOISE * (self.eps * self._loud(self.magnitude) + self.least)
        if self.noise is None:
            return np.asarray(noise)
        return np.maximum(noise, 2 * ROUNDING * self._loud(self.noise[:-1]))

    @cached_property
    def rounding(self) -> float:
        """The noise of the sum of all outputs."""
        rounding = ROUNDING * (self.eps * norm(self._loud(self.magnitude)) + self.least)
        if self.noise is None:
            return rounding
        total = self.noise[-1] if self.quiet is None else 0.0
        return max(rounding, ROUNDING * max(norm(self._loud(self.noise[:-1])), total))

    def _loud(self, values: Array) -> Array:
        return values if self.quiet is None else np.where(self.quiet, 0.0, values)

    def halves(self, level: int) -> tuple[Array, Array]:
        """Return the odd and the even half at h = 2^-level, one number per output."""
        if level not in self.values:
            h = 2.0**-level
            (right, right_alike), (left, left_alike) = self.change(h), self.change(-h)
            with np.errstate(all="ignore"):
                odd, even = (right - left) / (2 * h), (right + left) / h
            self.values[level] = odd, even, right_alike and left_alike
        return self.values[level][:2]

    @property
    def moved(self) -> Array:
        """Which outputs changed at any step of this line, even if only in the last bit."""
        self.halves(0)
        changes = [(odd != 0) | (even != 0) for odd, even, _ in self.values.values()]
        return np.asarray(np.any(changes, axis=0))

    def movement(self, step: float) -> tuple[Array, float]:
        """Return which outputs moved by more than rounding, and the largest slope up to a step."""
        live, moves = np.zeros(len(self.magnitude), bool), 0.0
        own = ROUNDING * (self.eps * self.magnitude + self.least)
        for level, (odd, _, _) in self.values.items():
            h = 2.0**-level
            with np.errstate(all="ignore"):
                live |= np.abs(odd) * h > own
                clear = np.abs(odd) * h > self._noise
            if h <= step:
                moves = max(moves, norm(np.where(clear & np.isfinite(odd), odd, 0.0)))
        return live, moves

    @property
    def still(self) -> bool:
        """Whether y keeps every bit at some step, or moves only by noise at the largest step."""
        if any(not (odd.any() or even.any()) for odd, even, _ in self.values.values()):
            return True
        largest = min(self.values)
        return bool(abs(self.values[largest][0].sum()) * 2.0**-largest <= self.rounding)

    @property
    def breaks(self) -> bool:
        """Whether y itself jumps at 0: on one side, y - y(0) is the same for all small steps."""
        levels = sorted(level for level in self.values if level >= 10)[-4:]
        if len(levels) < 4:
            return False
        odd, even = (np.array([self.values[k][i] for k in levels]) for i in (0, 1))
        h = 2.0 ** -np.array(levels, float)[:, None]
        enough = BREAK * norm(self.magnitude) + NOISE * self.least
        with np.errstate(all="ignore"):
            for side in (h * (even / 2 + odd), h * (even / 2 - odd)):
                least, largest = np.abs(side).min(axis=0), np.abs(side).max(axis=0)
                if ((least > enough) & (largest < 1.01 * least)).any():
                    return True
        return False

    def affine(self, *, again: bool = False) -> Slope | None:
        """Return the slope, exact up to rounding, if y is linear along this whole line; else None.

        If `again`, y was linear along another line of the array, and one pair of points is enough.

        The slope is one side of the adjoint identity <A v, dy> = <v, A^T dy> of linear maps. No
        step is small, so nothing cancels.
        """
        odd, even = self.halves(0)
        with np.errstate(all="ignore"):
            noise = self._step_noise(odd)
            if not (np.abs(even) <= noise).all() or not self.values[0][2]:
                return None
            if not again and not (np.abs(self.halves(1)[0] - odd) <= 2 * noise).all():
                return None
        self.straight = True
        error = norm(noise)
        return Slope(float(odd.sum()), error, 1.0, error, error, "adjoint identity")

    def _step_noise(self, odd: Array) -> Array:
        """Return the rounding of each output at h = 1, plus the rms rounding of all outputs."""
        sizes = self._noise + NOISE * self.eps * np.abs(odd)
        return np.asarray(sizes + norm(sizes) / np.sqrt(sizes.size))

    def vector(self, level: int) -> tuple[Array, Array]:
        """Return the slope of each output, and its estimated error."""
        if self.straight:
            odd, _ = self.halves(0)
            return odd, self._step_noise(odd)
        odds = [self.halves(level + i)[0] for i in range(3)]
        with np.errstate(all="ignore"):
            value, error = (_combine(w, odds) for w in METHODS[self.method])
            return value, np.abs(error) + self._noise * 2.0 ** (level + 2)

    def slope(self, level: int) -> Slope:
        """Return the slope, extrapolated from h = 2^-level, h/2 and h/4."""
        odd, even = zip(*(self.halves(level + i) for i in range(3)), strict=True)
        alike = all(self.values[level + i][2] for i in range(3))
        step = 2.0 ** -(level + 2)
        with np.errstate(all="ignore"):
            value, difference = (_combine(weights, odd) for weights in METHODS[self.method])
            # j(h) = jump + c1 h + c3 h^3 + ...: `once` removes c1 h, and is the residual of a
            # parabola. `jump` also removes c3 h^3.
            once = 2 * even[1] - even[0], 2 * even[2] - even[1]
            jump = (8 * once[1] - once[0]) / 7
            noise = self._noise / step
            jumping = np.abs(jump) > noise
            jumps = float(np.abs(jump[jumping]).sum())
            least = KINK * float(np.abs(value).max(initial=0.0))
            residuals = once, (odd[1] - odd[0], odd[2] - odd[1])
            found = {
                "slopes": jumps > least,
                "parabola": any(_stays(residual, noise, least) for residual in residuals),
                "winners": not alike,
            }
            rounding = self.rounding / step
            smooth = _size(difference, noise) + rounding
            error = max(smooth, jumps + rounding)
            return Slope(
                float(value.sum()),
                error if np.isfinite(error) else np.inf,
                step,
                rounding,
                smooth,
                self.method,
                jumps,
                detectors=tuple(name for name, seen in found.items() if seen),
                outputs=tuple(np.flatnonzero(jumping).tolist()) if jumps > least else (),
            )


def change_along(
    trial: Trial, position: int, direction: Array, dy: Array, watch: Callable[[Array], Any] = id
) -> Change:
    """Return w(t) along a direction of an array, as a function; `watch` is called with each y."""

    def change(t: float) -> tuple[Array, bool]:
        with np.errstate(all="ignore"):
            y, same = trial.moved(position, t * direction)
            watch(y)
            return dy * (y - trial.y), same

    return change


def line_along(trial: Trial, position: int, direction: Array, dy: Array) -> Line:
    """Return the line along a direction of an array of a trial."""
    change = change_along(trial, position, direction, dy)
    return Line(change, np.abs(dy * trial.y), float(np.finfo(trial.dtype).eps))


def _stays(residual: Sequence[Array], noise: Array, least: float) -> bool:
    """Whether a parabola's residual hardly shrinks from h to h/2; truncation shrinks by 4."""
    larger, smaller = np.abs(residual[0]), np.abs(residual[1])
    return bool((smaller > np.maximum(np.maximum(noise, least), larger / 2)).any())


def _combine(weights: Sequence[float], odd: Sequence[Array]) -> Array:
    return np.asarray(sum(w * d for w, d in zip(weights, odd, strict=True) if w))


def _size(error: Array, noise: Array) -> float:
    """Return |sum error|, but add absolute values of errors above noise, so that none cancel."""
    large = np.abs(error) > noise
    return float(abs(error[~large].sum()) + np.abs(error[large]).sum())
