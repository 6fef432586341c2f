"""Compare analytic and numeric slopes: along directions, along parts of them, entry by entry.

A slope along a direction d is measured with an error. The gradient agrees if it is no further away
than `allowed`. So an error of one entry that is larger than MARGIN allowed / |d| would have been
seen, and that is what is claimed for it, relative to the entry itself. Entries for which the claim
is too weak (small ones beside large ones) are measured again, as a direction of their own without
the large ones, and those that are still too weak one by one. What remains is not seen: it is
counted and named, and more than UNSEEN of an array make it imprecise.

A gradient of exactly 0 (or one that is nothing but rounding) has no size to compare with. It is
seen if the noise of y is little beside what y does along directions, and if y doesn't move with the
entry by more than that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from ._array import MARGIN, ZERO, ArrayCheck
from ._arrays import Array, norm
from ._budget import Budget
from ._grain import Grain
from ._trial import Trial
from .complex_step import ComplexStep
from .differences import (
    NOISE,
    Line,
    Slope,
    find_slope,
    measured_noise,
)
from .report import ArrayReport
from .settings import DIFFERENCES

SAFETY = 5  # times the estimated error may analytic and numeric be apart
ROUNDINGS = 1e3  # of y's size may the backward's rounding be
UNCONFIRMED = 3  # times the rounding that one step sees is there at least
BLAME = 0.1  # a slope that is less precise proves nothing wrong
BESIDE = (
    0.625  # of a jump: how far from the mean a value between both slopes may be; half, and room
)

Outcome = Literal["agrees", "wrong", "kink", "imprecise"]


@dataclass(frozen=True)
class Precision:
    """What can be expected of a dtype.

    Attributes
    ----------
    eps : float
    least : float
        Smallest distance of two numbers.
    first_level : int
        The first steps are 2^-first_level and its next two halves: about where the errors of
        truncation and rounding meet.
    spacing : float
        Of the points from which noise is measured.
    tolerance : float
        Relative difference that rounding in the backward may make.
    enough : float
        Relative error of a difference that is good enough to stop at.
    limit : float
        An entry is seen if an error of this share of it would be.
    """

    eps: float
    least: float
    first_level: int
    spacing: float
    tolerance: float
    enough: float
    limit: float

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


class Tried(NamedTuple):
    outcome: Outcome
    slope: Slope
    analytic: float  # in the measure of the slope
    size: float
    allowed: float
    bound: float  # like `allowed`, but at a kink anything between both slopes is


class Judge:
    """Compares the gradients of one trial.

    Parameters
    ----------
    trial : Trial
    dys : sequence of array
        Flat cotangents, one per direction.
    gradients : sequence of lists of arrays
        What vjp gives for each.
    precision : Precision
    rng : Generator
        Draws the directions.
    method : str
        See `check`.
    budget : Budget
    """

    def __init__(
        self,
        trial: Trial,
        dys: Sequence[Array],
        gradients: Sequence[Sequence[Array | None]],
        precision: Precision,
        rng: np.random.Generator,
        method: str,
        budget: Budget,
    ) -> None:
        self.trial = trial
        self.dys = dys
        self.gradients = gradients
        self.precision = precision
        self.rng = rng
        self.method = method
        self.budget = budget
        self.located = 0  # evaluations so far, in search of wrong entries
        self._live = np.zeros(trial.y.size, bool)  # outputs that have moved by more than noise
        self.moves = 0.0  # what y does along directions
        self._affine: set[int] = set()  # arrays in which y proved linear along a direction
        self._noise: dict[int, Array | None] = {}  # of y, where an array moves
        self._grains: dict[int, Grain] = {}
        self.complex: ComplexStep | None = None  # of the array at work, once f proved holomorphic
        self.natural = norm(
            dys[0] * trial.y
        )  # the slope if x changed by its own size, by and large
        self._roundings: list[Array | None] | None = None

    def arrays(self, positions: Sequence[int], per_entry: bool) -> list[ArrayReport]:
        """Judge arrays: all of them by directions, then what these leave open."""
        begun = [ArrayCheck(self, position).begin() for position in positions]
        return [array.finish(per_entry) for array in begun]

    def probe(self, position: int, number: int, direction: Array, line: Line) -> None:
        """Use the complex step for an array from here on, if f proves holomorphic in it here."""
        step = ComplexStep(self.trial, position)
        proved = step.proves(self.dys[number], direction, line)
        self.complex = step if proved else None

    def measure(
        self,
        position: int,
        number: int,
        direction: Array,
        line: Line | None = None,
        *,
        weakest: float = 0.0,
    ) -> Tried:
        """Compare the slope along a direction: along a given line, patiently, or of an entry.

        `weakest`: size of the smallest part of the gradient that the direction is to show.
        """
        gradient = self.gradients[number][position]
        assert gradient is not None
        with np.errstate(all="ignore"):
            parts = np.asarray(gradient, np.float64) * direction
            analytic, size = float(parts.sum()), norm(parts)
        if 0 < size <= ROUNDINGS * self.precision.eps * self.natural and (
            size <= self._backward_rounding(position, direction)
        ):
            size = 0.0  # rounding where all cancels: a gradient of 0
        tried = self._compared(position, number, direction, line, (analytic, size), weakest)
        if tried.outcome == "wrong":
            # The backward has rounding of its own; where all cancels, it is all there is.
            rounding = self._backward_rounding(position, direction)
            if abs(analytic - tried.slope.value) <= tried.bound + rounding:
                return tried._replace(outcome="agrees", allowed=tried.allowed + rounding)
        return tried

    def _compared(
        self,
        position: int,
        number: int,
        direction: Array,
        line: Line | None,
        part: tuple[float, float],
        weakest: float,
    ) -> Tried:
        analytic, size = part
        if self.complex is not None:
            slope = self.complex.slope(self.dys[number], direction)
            return self._judged(slope, analytic, size, number)
        patient = line is not None
        if line is None:
            line = self.line(position, number, direction)
        elif self.method in ("auto", "adjoint"):
            affine = line.affine(again=position in self._affine)
            if affine is not None and self._noise.get(position) is None:
                self._affine.add(position)
                tried = self._judged(affine, analytic, size, number)
                tried = self._confirmed(tried, line)
                return self._quieter(tried, line, position, number, direction, weakest)
        tried = self._searched(line, analytic, size, number, patient)
        if position in self._grains and self._grains[position].steps().any():
            for level in (10, 14, 18, 22):  # y moves in steps: does one lie at this point?
                line.halves(level)
            if line.breaks:
                return self._broken(tried)
        return self._quieter(tried, line, position, number, direction, weakest)

    def _confirmed(self, tried: Tried, line: Line) -> Tried:
        """Before a straight line proves something wrong: small steps must find the same slope."""
        if tried.outcome != "wrong":
            return tried
        small, large = line.slope(self.precision.first_level), tried.slope
        room = SAFETY * (small.error + large.error)
        if abs(small.value - large.value) <= room + 1e-6 * abs(large.value):
            return tried
        return tried._replace(outcome="imprecise")

    def _searched(
        self, line: Line, analytic: float, size: float, number: int, patient: bool
    ) -> Tried:
        natural = norm(self.dys[number] * self.trial.y) if size == 0 else 0.0

        def precise(slope: Slope) -> bool:
            goal = self.precision.enough * max(abs(slope.value), size)
            return slope.error <= max(goal, self.precision.zero * natural)

        level = self.precision.first_level
        slope = find_slope(line, level, precise, patient=patient)
        tried = self._judged(slope, analytic, size, number)
        if tried.outcome == "wrong":  # before it is said, noise is looked for at smaller steps
            again = find_slope(line, level, precise, patient=patient, smaller=2)
            tried = self._judged(again, analytic, size, number)
        # Smaller steps, which a wrong gradient makes it try, may find more noise than these did.
        noise = max(UNCONFIRMED * tried.slope.rounding - tried.slope.error, 0.0)
        tried = tried._replace(allowed=tried.allowed + SAFETY * noise)
        return self._broken(tried) if tried.outcome == "imprecise" and line.breaks else tried

    def _broken(self, tried: Tried) -> Tried:
        slope = replace(tried.slope, kink=True, detectors=("slopes",))
        return tried._replace(outcome="kink", slope=slope)

    def _quieter(
        self,
        tried: Tried,
        line: Line,
        position: int,
        number: int,
        direction: Array,
        weakest: float,
    ) -> Tried:
        """Measure again without the noise of outputs that do not depend on what moves here.

        An output is taken for independent if it has moved along another direction, doesn't move
        along this one by a bit, and sends nothing back to it.
        """
        if tried.outcome not in ("agrees", "imprecise") or not weakest:
            return tried
        if MARGIN * tried.allowed <= self.precision.limit * weakest:
            return tried
        moved = line.moved
        idle = ~moved & self._live
        if not idle.any() or not moved.any():
            return tried
        back = self.trial.pull_back(self.dys[number] * idle)[position]
        if back is None or (back * (direction != 0)).any():
            return tried
        line.quieten(idle)
        affine = line.affine() if line.straight else None
        if affine is not None:
            return self._confirmed(self._judged(affine, tried.analytic, tried.size, number), line)
        return self._searched(line, tried.analytic, tried.size, number, patient=True)

    def new_line(self, position: int, number: int, direction: Array, quiet: Array) -> Line:
        """Return a line along a direction of all entries; measure along `quiet` how noisy y is."""
        grain = self._grains.setdefault(position, Grain(self.trial.y, self.precision.eps))

        def change(direction: Array, t: float) -> tuple[Array, bool]:
            y, same = self.trial.moved(position, t * direction)
            grain.add(y)
            with np.errstate(all="ignore"):
                return self.dys[number] * (y - self.trial.y), same

        line = self.line(position, number, direction, lambda t: change(direction, t))
        if position in self._noise or position in self._affine:
            return line
        if (
            self.method in ("auto", "adjoint")
            and line.affine() is not None
            and not grain.steps().any()
        ):
            return line
        self._noise[position] = measured_noise(
            lambda t: change(quiet, t),
            self.precision.spacing,
            NOISE * self.precision.eps * self.natural,
        )
        self.coarser(position)
        line.know_noise(self._noise[position])
        return line

    def coarser(self, position: int) -> bool:
        """Take the steps in which y moves as noise; return whether that makes it more."""
        steps = np.abs(self.dys[0]) * self._grains[position].steps()
        noise = self._noise.get(position)
        before = np.zeros(len(steps) + 1) if noise is None else noise
        more = np.maximum(before, np.append(steps, norm(steps)))
        if (more == before).all():
            return False
        self._noise[position] = more
        return True

    def line(
        self,
        position: int,
        number: int,
        direction: Array,
        change: Callable[[float], tuple[Array, bool]] | None = None,
    ) -> Line:
        """Return the line along a direction."""
        return Line(
            change or (lambda t: self._change(position, number, direction, t)),
            np.abs(self.dys[number] * self.trial.y),
            self.precision.eps,
            DIFFERENCES[self.method],
            self._noise.get(position),
            self.precision.least,
        )

    def _change(self, position: int, number: int, direction: Array, t: float) -> tuple[Array, bool]:
        y, same = self.trial.moved(position, t * direction)
        with np.errstate(all="ignore"):
            return self.dys[number] * (y - self.trial.y), same

    def all_live(self, line: Line) -> bool:
        """Whether every output moves with something; one that never does may hide a slope."""
        if self.complex is not None:
            return True
        _ = line.moved  # the largest step, too
        live, _ = line.movement(0.0)
        large = self.dys[0] * self.trial.y != 0
        return bool((self._live | live)[large].all())

    def note_moves(self, line: Line, slope: Slope) -> None:
        """Remember which outputs move, and how far, along a direction of all entries."""
        live, moves = line.movement(slope.step)
        self._live |= live
        self.moves = max(self.moves, moves)

    def _judged(self, slope: Slope, analytic: float, size: float, number: int) -> Tried:
        tolerance = self.precision.tolerance * max(abs(analytic), abs(slope.value), size)
        allowed = tolerance + SAFETY * slope.error
        bound = tolerance + SAFETY * slope.smooth + BESIDE * slope.jump
        reference = max(abs(analytic), abs(slope.value), size)
        outcome: Outcome = "agrees"
        if not np.isfinite(slope.value) or not np.isfinite(slope.error):
            outcome = "imprecise"
        elif not abs(analytic - slope.value) <= bound:
            outcome = "wrong" if self._proves(slope, number) else "imprecise"
            # Where f chooses differently on both sides, no step tells what the slope is at 0.
            if "winners" in slope.detectors and slope.jump == 0:
                outcome = "kink"
        elif slope.error > max(0.1 * self.precision.limit * reference, self._invisible(size)):
            if slope.kink or "winners" in slope.detectors:
                outcome = "kink"
            elif abs(analytic - slope.value) > allowed or slope.jump:
                outcome = "imprecise"
        return Tried(outcome, slope, analytic, size, allowed, bound)

    def _invisible(self, size: float) -> float:
        """Return the error that is rounding beside y, for a gradient of 0, which has no size."""
        return self.precision.zero * self.natural if size == 0 else 0.0

    def _proves(self, slope: Slope, number: int) -> bool:
        """Whether a slope is precise enough, beside itself or beside y, to prove another wrong."""
        if slope.value == 0 and self.moves == 0:
            return False  # y never moves: it is constant, or too coarse
        natural = norm(self.dys[number] * self.trial.y)
        return slope.smooth <= max(BLAME * abs(slope.value), ZERO * natural)

    def _backward_rounding(self, position: int, direction: Array) -> float:
        rounding = self._rounding_of(position)
        most = ROUNDINGS * self.precision.eps * self.natural  # more is no rounding
        return 0.0 if rounding is None else min(32 * norm(rounding * direction), most)

    def _rounding_of(self, position: int) -> Array | None:
        """Return the rounding of each entry: the right gradient is linear in dy, all else is it."""
        if self._roundings is None:
            one = self.dys[0]
            other = one * self.rng.uniform(0.5, 1.5, one.shape)
            found = zip(
                self.gradients[0],
                self.trial.pull_back(other),
                self.trial.pull_back(2 * one - 3 * other),
                strict=True,
            )
            self._roundings = []
            for gradient, *others in found:
                if gradient is None or others[0] is None or others[1] is None:
                    self._roundings.append(None)
                    continue
                rounding = np.asarray(np.abs(others[1] - 2 * gradient + 3 * others[0]))
                largest = rounding.max(initial=0.0)
                if np.abs(gradient).max(initial=0.0) <= 32 * largest:
                    rounding[...] = largest  # the whole array is nothing else
                self._roundings.append(rounding)
        return self._roundings[position]

    def rounding_only(self, position: int) -> Array:
        """Return which entries of a gradient, flat, are nothing but rounding, or 0."""
        rounding, gradient = self._rounding_of(position), self.gradients[0][position]
        assert gradient is not None
        return np.asarray(np.abs(gradient) <= (0.0 if rounding is None else 32 * rounding)).ravel()

    def least_error(self, position: int) -> float:
        """Return the smallest error that could be seen in y, along any direction of an array."""
        line = self.line(position, 0, np.zeros(()))
        return MARGIN * SAFETY * 4 * line.rounding
