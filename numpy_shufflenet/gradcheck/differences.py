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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ._arrays import Array, norm

MUCH = 100  # times the rounding that y must have
AT_ONCE = 1e4  # an error that falls by more between two steps does so for no good reason
DEEPEST = 32  # the smallest step is 2^-32 of the scale
KINK = 1e-6  # a jump that is a smaller part of the slope is none
BREAK = 1e-4  # of y: a jump of y itself that is smaller is none
CLOSER = 2.0**-12
POINTS = 10  # from which noise is measured
ROUNDING = 4  # times the standard deviation of noise
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
    outputs : tuple of int
        Flat positions of the outputs whose slope jumps.
    smooth : float
        The part of `error` that is no kink's.
    """

    value: float
    error: float
    jump: float
    step: float
    rounding: float
    kink: bool = False
    detectors: tuple[str, ...] = ()
    method: str = ""
    outputs: tuple[int, ...] = ()
    smooth: float = 0.0


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
    noise : array, optional
        Standard deviation of the noise of each output, as `measured_noise` finds it, and last
        that of their sum.
    least : float
        Smallest distance of two numbers of the dtype.
    """

    def __init__(
        self,
        change: Callable[[float], tuple[Array, bool]],
        magnitude: Array,
        eps: float,
        method: str = "five-point",
        noise: Array | None = None,
        least: float = 0.0,
    ) -> None:
        self._change = change
        self._method = method
        self.straight = False  # as `affine` found
        self._halves: dict[int, tuple[Array, Array]] = {}
        self._chose_alike: dict[int, bool] = {}
        self._eps = eps
        self._magnitude, self._measured, self._least = magnitude, noise, least
        self._know_noise(np.ones(len(magnitude), bool))

    def _know_noise(self, noisy: Array) -> None:
        """Set the noise: of each output, and of their sum. Outputs that are not noisy have none."""
        magnitude = np.where(noisy, self._magnitude, 0.0)
        self._noise = NOISE * (self._eps * magnitude + self._least)
        self.rounding = ROUNDING * (self._eps * norm(magnitude) + self._least)
        if self._measured is not None:
            parts, total = np.where(noisy, self._measured[:-1], 0.0), self._measured[-1]
            self._noise = np.maximum(self._noise, 2 * ROUNDING * parts)
            total = total if noisy.all() else 0.0
            self.rounding = max(self.rounding, ROUNDING * max(norm(parts), total))

    @property
    def moved(self) -> Array:
        """Which outputs changed by a bit or more at any step of this line, the largest included."""
        self.halves(0)
        return np.asarray(
            np.any([(odd != 0) | (even != 0) for odd, even in self._halves.values()], axis=0)
        )

    def movement(self, step: float) -> tuple[Array, float]:
        """Return which outputs moved by more than rounding, and the size of slopes at a step."""
        live = np.zeros(len(self._magnitude), bool)
        moves = 0.0
        for level, (odd, _) in self._halves.items():
            with np.errstate(all="ignore"):
                clear = np.abs(odd) * 2.0**-level > self._noise
                own = ROUNDING * (self._eps * self._magnitude + self._least)
                live |= np.abs(odd) * 2.0**-level > own
            if 2.0**-level <= step:
                moves = max(moves, norm(np.where(clear & np.isfinite(odd), odd, 0.0)))
        return live, moves

    @property
    def still(self) -> bool:
        """Whether y keeps every bit at one step, or moves no more than its noise at the largest."""
        if any(not (odd.any() or even.any()) for odd, even in self._halves.values()):
            return True
        odd, _ = self._halves[min(self._halves)]
        return bool(abs(odd.sum()) * 2.0 ** -min(self._halves) <= self.rounding)

    @property
    def breaks(self) -> bool:
        """Whether y itself jumps at 0: on one side it is as far away at any of the small steps."""
        levels = sorted(level for level in self._halves if level >= 10)[-4:]
        if len(levels) < 4:
            return False
        odd, even = (np.array([self._halves[k][i] for k in levels]) for i in (0, 1))
        h = 2.0 ** -np.array(levels, float)[:, None]
        with np.errstate(all="ignore"):
            for side in (h * (even / 2 + odd), h * (even / 2 - odd)):
                least, largest = np.abs(side).min(axis=0), np.abs(side).max(axis=0)
                enough = BREAK * norm(self._magnitude) + NOISE * self._least
                if ((least > enough) & (largest < 1.01 * least)).any():
                    return True
        return False

    def know_noise(self, measured: Array | None) -> None:
        """Take over the noise that was measured since the line was made."""
        self._measured = measured
        self._know_noise(np.ones(len(self._magnitude), bool))

    def quieten(self, outputs: Array) -> None:
        """Take these outputs as independent of what moves along the line: they have no noise."""
        self._know_noise(~outputs)

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
        with np.errstate(all="ignore"):
            noise = self._step_noise(odd)
            if not (np.abs(even) <= noise).all() or not self._chose_alike[0]:
                return None
            if not again and not (np.abs(self.halves(1)[0] - odd) <= 2 * noise).all():
                return None
        self.straight = True
        error = norm(noise)
        return Slope(
            float(odd.sum()), error, 0.0, 1.0, error, method="adjoint identity", smooth=error
        )

    def _step_noise(self, odd: Array) -> Array:
        """What rounding leaves in each output at h = 1; in one near 0, what it leaves in others."""
        sizes = self._noise + NOISE * self._eps * np.abs(odd)
        return np.asarray(sizes + norm(sizes) / np.sqrt(sizes.size))

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
        jumping = np.abs(jump) > noise
        jumps = float(np.abs(jump[jumping]).sum())
        least = KINK * float(np.abs(value).max(initial=0.0))
        left_over = _stays(once, noise, least) | _stays(
            (odd[1] - odd[0], odd[2] - odd[1]), noise, least
        )
        rounding = self.rounding / step
        smooth = _size(difference, noise) + rounding
        error = max(smooth, jumps + rounding)
        if not np.isfinite(error):
            error = np.inf
        found = {"slopes": jumps > least, "parabola": bool(left_over.any()), "winners": not alike}
        detectors = tuple(name for name, seen in found.items() if seen)
        total = float(value.sum())
        return Slope(
            total,
            error,
            jumps,
            step,
            rounding,
            detectors=detectors,
            method=self._method,
            outputs=tuple(np.flatnonzero(jumping).tolist()) if jumps > least else (),
            smooth=smooth,
        )


def _stays(left_over: Sequence[Array], noise: Array, least: float) -> Array:
    """Whether what a parabola leaves over at h is still there at h/2: truncation shrinks by 4."""
    larger, smaller = np.abs(left_over[0]), np.abs(left_over[1])
    return np.asarray(smaller > np.maximum(np.maximum(noise, least), larger / 2))


def measured_noise(
    change: Callable[[float], tuple[Array, bool]], spacing: float, usual: float
) -> Array | None:
    """Return the standard deviation of the noise of each output, and last that of their sum.

    Third differences of ten points beside each other, on one side of 0, have next to nothing of a
    smooth function, and of noise the root of 20. Their median ignores a kink, which is in three
    of seven. Where that finds more than `usual`, it may be many kinks: points that are closer
    tell, unless y keeps still between them and moves in steps.

    An output that keeps every bit, where others are noisy, may be as noisy as they are and round
    its noise away: 1 + x does below 1e-16, and a logarithm of it shows no trace.

    Source: More, Wild, Estimating computational noise, 2011.
    """
    noise, _ = _third_differences(change, spacing)
    if noise is None or noise[-1] > usual:
        closer, moves = _third_differences(change, spacing * CLOSER)
        if closer is not None and moves:
            return closer if noise is None else np.minimum(noise, closer)
    return noise


def _third_differences(
    change: Callable[[float], tuple[Array, bool]], spacing: float
) -> tuple[Array | None, bool]:
    """Return the noise, and whether y is different at each of the points."""
    points = [change(j * spacing)[0] for j in range(1, POINTS)]
    values = np.array([np.zeros_like(points[0]), *points])
    moves = all((a != b).any() for a, b in pairwise(values))
    with np.errstate(all="ignore"):
        values = np.concatenate([values, values.sum(axis=1, keepdims=True)], axis=1)
        found = np.median(np.abs(np.diff(values, 3, axis=0)), axis=0) * 1.5 / np.sqrt(20)
        found[(values == 0).all(axis=0)] = found[:-1].max(initial=0.0)
    return (found if np.isfinite(found).all() else None), moves


def _combine(weights: Sequence[float], odd: Sequence[Array]) -> Array:
    total: Array = sum(w * d for w, d in zip(weights, odd, strict=True) if w)  # type: ignore[assignment]
    return total


def find_slope(
    line: Line,
    first_level: int,
    precise: Callable[[Slope], bool],
    *,
    patient: bool = True,
    smaller: int = 0,
) -> Slope:
    """Try steps until one is good enough; otherwise return the best.

    What is found depends on y alone, not on the gradient that it will be compared with: a wrong
    gradient is compared with the same number as a right one.

    Parameters
    ----------
    line : Line
    first_level : int
        The first step is 2^-first_level. Smaller ones, the cure for kinks, follow as long as they
        can gain anything, and then larger ones, the cure for noise.
    precise : callable
        True ends the search.
    patient : bool
        False gives up as soon as three steps agree that there is a kink.
    smaller : int
        How many smaller steps must have been tried, too; they show how noisy y is.

    Returns
    -------
    Slope
        The one with the smallest error estimate.
    """
    seen: list[Slope] = []

    def enough() -> bool:
        best = _best(seen)
        return precise(best) and sum(slope.step < best.step for slope in seen) >= smaller

    for level in range(first_level, DEEPEST - 1, 2):
        seen.append(line.slope(level))
        if enough():
            return _best(seen)
        if not patient and len(seen) >= 3 and all(_alike(seen[-1], s) for s in seen[-3:-1]):
            return _best(seen)
        last = seen[-1]
        if last.jump == 0 and 2 * last.rounding > last.error and len(seen) > smaller:
            break  # all of it is rounding
    for level in range(first_level - 2, -1, -2):
        seen.append(line.slope(level))
        if enough():
            break
    return _best(seen)


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
        raised = noise / slope.step
        error, smooth = max(slope.error, raised), max(slope.smooth, raised - slope.jump)
        kink = any(_alike(slope, other) for other in seen if other is not slope)
        known.append(replace(slope, error=error, kink=kink, smooth=smooth))
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
