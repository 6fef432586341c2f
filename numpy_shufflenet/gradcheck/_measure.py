"""Measure the slope of y along a direction, and compare it with what the gradient says.

The measured slope along a direction d has an error. The gradient agrees if it differs by no more
than `allowed`. So the comparison would have seen an error of one entry above MARGIN allowed / |d|.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from ._arrays import Array, norm
from ._noise import Grain, measured_noise
from ._search import find_slope
from ._subject import ROUNDINGS, Subject
from .complex_step import ComplexStep
from .differences import NOISE, Change, Line, Slope, change_along
from .settings import DIFFERENCES

MARGIN = 2.5  # an error of an entry above MARGIN times what is allowed cannot be missed
SAFETY = 5  # analytic and numeric may differ by SAFETY times the estimated error
UNCONFIRMED = 3  # the error is at least this many times the rounding that one step sees
BLAME = 0.1  # only a slope of a smaller relative error can prove a gradient wrong,
ZERO = 1e-6  # or one of a smaller error relative to y
BESIDE = 0.625  # of a jump: both slopes are half of it away from their mean; the rest is margin
SMALL_STEPS = (10, 14, 18, 22)  # levels that show whether y itself jumps at the point

Outcome = Literal["agrees", "wrong", "kink", "imprecise"]


@dataclass(frozen=True)
class Question:
    """Whether the gradient agrees with the slope along a direction."""

    number: int  # of the cotangent
    direction: Array
    line: Line
    analytic: float  # the slope that the gradient says
    size: float  # of the parts that it is a sum of; 0 if they are nothing but rounding
    weakest: float  # the smallest part that is to be seen; 0 if any will do


class Answer(NamedTuple):
    """The answer to a question, without its line and direction, which need much memory."""

    outcome: Outcome
    slope: Slope
    analytic: float
    size: float  # as in the question
    allowed: float
    bound: float  # like `allowed`, but at a kink every number between both slopes agrees

    @property
    def difference(self) -> float:
        """How far analytic and numeric are apart."""
        return abs(self.analytic - self.slope.value)

    @property
    def clearly_wrong(self) -> bool:
        """Whether they disagree where there is no kink."""
        return self.outcome == "wrong" and not self.slope.detectors


class Movement(NamedTuple):
    """What y did along directions of all entries."""

    live: Array  # outputs that moved by more than rounding
    slope: float = 0.0  # the largest, over all outputs

    def join(self, other: "Movement") -> "Movement":
        """Return what y did along the directions of both."""
        return Movement(self.live | other.live, max(self.slope, other.slope))


@dataclass(frozen=True)
class Comparer:
    """Compares slopes of one array, with all that is known of y along it.

    `along` measures a direction of all entries, and returns a new comparer that knows more. The
    last of these compares single entries.
    """

    subject: Subject
    position: int
    moved: Movement  # along all directions so far, of any array
    grain: Grain
    noise: Array | None = None  # of y, where the array moves; None if it is not known
    measured: bool = False  # whether that was tried
    straight: bool = False  # whether y proved linear along a direction
    complex: ComplexStep | None = None  # once f proved holomorphic

    # Along directions of all entries

    def along(
        self, number: int, direction: Array, quiet: Array
    ) -> tuple[Answer, Question, "Comparer"]:
        """Measure along a direction of all entries; along `quiet`, how noisy y is.

        If the measurement shows that y moves in steps, it is repeated with those as noise. The
        question that is returned keeps the first line: with more noise, no proof that f is
        holomorphic would succeed.
        """
        line, comparer = self._new_line(number, direction, quiet)
        if self.subject.settings.method == "complex" and comparer.complex is None:
            comparer = comparer.probed(number, direction, line)
        first = comparer.question(number, direction, line)
        tried = comparer.compare(first, patient=True)
        straight = self.straight or tried.slope.method == "adjoint identity"
        if comparer.complex is None and (coarser := comparer.coarser()) is not comparer:
            line, comparer = coarser._new_line(number, direction, quiet)
            tried = comparer.compare(comparer.question(number, direction, line), patient=True)
        moved = comparer.moved.join(Movement(*line.movement(tried.slope.step)))
        return tried, first, replace(comparer, straight=straight, moved=moved)

    def probed(self, number: int, direction: Array, line: Line) -> "Comparer":
        """Use the complex step from here on, if f proves holomorphic in the array here."""
        step = ComplexStep(self.subject.trial, self.position)
        proved = step.proves(self.subject.dys[number], direction, line)
        return replace(self, complex=step if proved else None)

    def coarser(self) -> "Comparer":
        """Take the steps in which y moves as noise, if they are more; else return this comparer."""
        steps = np.abs(self.subject.dys[0]) * self.grain.steps()
        before = np.zeros(len(steps) + 1) if self.noise is None else self.noise
        more = np.maximum(before, np.append(steps, norm(steps)))
        return self if (more == before).all() else replace(self, noise=more, measured=True)

    def _new_line(self, number: int, direction: Array, quiet: Array) -> tuple[Line, "Comparer"]:
        subject = self.subject
        place = subject.trial, self.position
        dy, watch = subject.dys[number], self.grain.add
        line = self._line(number, direction, change_along(*place, direction, dy, watch))
        if self.measured or self.straight:
            return line, self
        linear = subject.settings.method in ("auto", "adjoint") and line.affine() is not None
        if linear and not self.grain.steps().any():
            return line, self
        usual = NOISE * subject.precision.eps * subject.natural()
        change = change_along(*place, quiet, dy, watch)
        noise = measured_noise(change, subject.precision.spacing, usual)
        comparer = replace(self, noise=noise, measured=True).coarser()
        return replace(line, noise=comparer.noise), comparer

    # Along any direction

    def question(
        self, number: int, direction: Array, line: Line | None = None, *, weakest: float = 0.0
    ) -> Question:
        """Return the question about a direction, for a cotangent; see there for `weakest`."""
        subject = self.subject
        with np.errstate(all="ignore"):
            parts = np.asarray(subject.gradient(self.position, number), np.float64) * direction
            analytic, size = float(parts.sum()), norm(parts)
        if 0 < size <= ROUNDINGS * subject.precision.eps * subject.natural() and (
            size <= subject.rounding(self.position, direction)
        ):
            size = 0.0  # rounding where all cancels: a gradient of 0
        line = line or self._line(number, direction)
        return Question(number, direction, line, analytic, size, weakest)

    def compare(self, question: Question, *, patient: bool) -> Answer:
        """Compare what the gradient says with the slope; `patient`: with many evaluations."""
        tried = self._compared(question, patient)
        if tried.outcome == "wrong":
            # The backward has rounding of its own; where all cancels, it is all there is.
            rounding = self.subject.rounding(self.position, question.direction)
            if tried.difference <= tried.bound + rounding:
                return tried._replace(outcome="agrees", allowed=tried.allowed + rounding)
        return tried

    def _line(self, number: int, direction: Array, change: Change | None = None) -> Line:
        trial, dy, precision = self.subject.trial, self.subject.dys[number], self.subject.precision
        return Line(
            change or change_along(trial, self.position, direction, dy),
            np.abs(dy * trial.y),
            precision.eps,
            DIFFERENCES[self.subject.settings.method],
            self.noise,
            precision.least,
        )

    def _compared(self, question: Question, patient: bool) -> Answer:
        if self.complex is not None:
            dy = self.subject.dys[question.number]
            return self._judged(self.complex.slope(dy, question.direction), question)
        line = question.line
        if patient and self.subject.settings.method in ("auto", "adjoint"):
            affine = line.affine(again=self.straight)
            if affine is not None and self.noise is None:
                return self._quieter(self._confirmed(affine, question), question)
        tried = self._searched(question, patient)
        if self.grain.steps().any():
            for level in SMALL_STEPS:  # y moves in steps: does one lie at this point?
                line.halves(level)
            if line.breaks:
                return _broken(tried)
        return self._quieter(tried, question)

    def _confirmed(self, large: Slope, question: Question) -> Answer:
        """Call a gradient wrong by the adjoint identity only if small steps find the same slope."""
        tried = self._judged(large, question)
        if tried.outcome != "wrong":
            return tried
        small = question.line.slope(self.subject.precision.first_level)
        room = SAFETY * (small.error + large.error) + 1e-6 * abs(large.value)
        if abs(small.value - large.value) <= room:
            return tried
        return tried._replace(outcome="imprecise")

    def _searched(self, question: Question, patient: bool) -> Answer:
        precision, size = self.subject.precision, question.size
        natural = self.subject.natural(question.number) if size == 0 else 0.0

        def precise(slope: Slope) -> bool:
            goal = precision.enough * max(abs(slope.value), size)
            return slope.error <= max(goal, precision.zero * natural)

        def found(smaller: int) -> Answer:
            slope = find_slope(
                question.line, precision.first_level, precise, patient=patient, smaller=smaller
            )
            return self._judged(slope, question)

        tried = found(0)
        if tried.outcome == "wrong":  # smaller steps may find noise that explains it
            tried = found(2)
        # A wrong gradient leads to smaller steps, which may find more noise than the first did.
        noise = max(UNCONFIRMED * tried.slope.rounding - tried.slope.error, 0.0)
        tried = tried._replace(allowed=tried.allowed + SAFETY * noise)
        return _broken(tried) if tried.outcome == "imprecise" and question.line.breaks else tried

    def _quieter(self, tried: Answer, question: Question) -> Answer:
        """Measure again without the noise of outputs that do not depend on what moves here.

        An output is independent if it moved along another direction, does not move along this one
        by a bit, and sends nothing back to it.
        """
        subject = self.subject
        if tried.outcome not in ("agrees", "imprecise") or not question.weakest:
            return tried
        if MARGIN * tried.allowed <= subject.precision.limit * question.weakest:
            return tried
        moved = question.line.moved
        idle = ~moved & self.moved.live
        if not idle.any() or not moved.any():
            return tried
        back = subject.trial.pull_back(subject.dys[question.number] * idle)[self.position]
        if back is None or (back * (question.direction != 0)).any():
            return tried
        line = replace(question.line, quiet=idle)
        question = replace(question, line=line)
        affine = line.affine() if line.straight else None
        if affine is not None:
            return self._confirmed(affine, question)
        return self._searched(question, patient=True)

    def _judged(self, slope: Slope, question: Question) -> Answer:
        precision, size = self.subject.precision, question.size
        reference = max(abs(question.analytic), abs(slope.value), size)
        tolerance = precision.tolerance * reference
        allowed = tolerance + SAFETY * slope.error
        bound = tolerance + SAFETY * slope.smooth + BESIDE * slope.jump
        # A gradient of 0 has no size: there it is the error that is rounding beside y.
        invisible = precision.zero * self.subject.natural() if size == 0 else 0.0
        difference = abs(question.analytic - slope.value)
        outcome: Outcome = "agrees"
        if not np.isfinite(slope.value) or not np.isfinite(slope.error):
            outcome = "imprecise"
        elif not difference <= bound:
            outcome = "wrong" if self._proves(slope, question.number) else "imprecise"
            # Where f chooses differently on both sides, no step tells what the slope is at 0.
            if "winners" in slope.detectors and slope.jump == 0:
                outcome = "kink"
        elif slope.error > max(0.1 * precision.limit * reference, invisible):
            if slope.kink or "winners" in slope.detectors:
                outcome = "kink"
            elif difference > allowed or slope.jump:
                outcome = "imprecise"
        return Answer(outcome, slope, question.analytic, size, allowed, bound)

    def _proves(self, slope: Slope, number: int) -> bool:
        """Whether a slope is precise enough, beside itself or beside y, to prove another wrong."""
        if slope.value == 0 and self.moved.slope == 0:
            return False  # y never moves: it is constant, or too coarse
        return slope.smooth <= max(BLAME * abs(slope.value), ZERO * self.subject.natural(number))

    # What a measurement can show

    def all_live(self, line: Line) -> bool:
        """Whether every output moved along some direction; one that did not may hide a slope."""
        if self.complex is not None:
            return True
        line.halves(0)  # the largest step, too
        live, _ = line.movement(0.0)
        large = self.subject.dys[0] * self.subject.trial.y != 0
        return bool((self.moved.live | live)[large].all())

    def rounding_only(self) -> Array:
        """Return which entries of the gradient, flat, are nothing but rounding, or 0."""
        rounding = self.subject.roundings[self.position]
        size = np.abs(self.subject.gradient(self.position))
        return np.asarray(size <= (0.0 if rounding is None else 32 * rounding)).ravel()

    def least_error(self) -> float:
        """Return the smallest error that could be seen in y, along any direction of the array."""
        return MARGIN * SAFETY * 4 * self._line(0, np.zeros(())).rounding


def _broken(tried: Answer) -> Answer:
    """Return a kink: y itself jumps."""
    return tried._replace(
        outcome="kink", slope=replace(tried.slope, kink=True, detectors=("slopes",))
    )
