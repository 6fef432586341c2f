"""Measure the slope of y along a direction, and compare it with the slope from the gradient.

A direction d has a step for each entry of an array. "The slope of y" means the slope of <dy, y>,
with a random cotangent dy. The measured slope has an error, so the slope from the gradient agrees
if it differs by at most `allowed`. The check would see an error of an entry above MARGIN * allowed
/ |step of the entry|.
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

MARGIN = 2.5  # an error of an entry above MARGIN * allowed cannot be missed
SAFETY = 5  # analytic and numeric may differ by SAFETY times the estimated error
UNCONFIRMED = 3  # the error counts as at least this many times the rounding of one step
BLAME = 0.1  # a slope can prove a gradient wrong if its relative error is below this,
ZERO = 1e-6  # or if its error relative to y is below this
BESIDE = 0.625  # share of a jump: each one-sided slope is 0.5 away from the mean; 0.125 is margin
SMALL_STEPS = (10, 14, 18, 22)  # steps 2^-level that show whether y itself jumps at the point

Outcome = Literal["agrees", "wrong", "kink", "imprecise"]


@dataclass(frozen=True)
class Question:
    """The question whether the gradient agrees with the slope along a direction."""

    number: int  # index of the cotangent
    direction: Array
    line: Line
    analytic: float  # the slope that the gradient says
    size: float  # norm of the products that `analytic` adds up; 0 if they are only rounding
    weakest: float  # the smallest product whose error must be seen; 0 if none must


class Answer(NamedTuple):
    """The answer to a question. It has no line and no direction, because they need much memory."""

    outcome: Outcome
    slope: Slope
    analytic: float
    size: float  # as in the question
    allowed: float
    bound: float  # like `allowed`, but at a kink every number between both slopes agrees

    @property
    def difference(self) -> float:
        """|analytic - numeric|."""
        return abs(self.analytic - self.slope.value)

    @property
    def clearly_wrong(self) -> bool:
        """Whether analytic and numeric disagree, and no kink was detected."""
        return self.outcome == "wrong" and not self.slope.detectors


class Movement(NamedTuple):
    """How y moved along directions that change all entries."""

    live: Array  # which outputs moved by more than rounding
    slope: float = 0.0  # the largest slope; each is a norm over all outputs

    def join(self, other: "Movement") -> "Movement":
        """Return how y moved along the directions of this movement and the other."""
        return Movement(self.live | other.live, max(self.slope, other.slope))


@dataclass(frozen=True)
class Comparer:
    """Compares slopes of y in one array, and knows what earlier measurements showed of y.

    `along` measures a direction that changes all entries, and returns a new comparer that knows
    more. The last comparer compares single entries.
    """

    subject: Subject
    position: int
    moved: Movement  # how y moved along all directions so far, of any array
    grain: Grain  # the steps in which y moves, if y is coarser than its dtype
    noise: Array | None = None  # noise of y when the array changes; None if unknown
    measured: bool = False  # whether measuring the noise was tried
    straight: bool = False  # whether y was linear along a direction
    complex: ComplexStep | None = None  # set once f proved holomorphic

    # Along directions of all entries

    def along(
        self, number: int, direction: Array, quiet: Array
    ) -> tuple[Answer, Question, "Comparer"]:
        """Measure the slope along `direction`, and the noise of y along `quiet`.

        If y turns out to move in steps (see `Grain`), the measurement is repeated with these steps
        as noise. The returned question keeps the first line, because with more noise the proof that
        f is holomorphic would fail.
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
        """Return a comparer that uses the complex step if f proves holomorphic in the array."""
        step = ComplexStep(self.subject.trial, self.position)
        proved = step.proves(self.subject.dys[number], direction, line)
        return replace(self, complex=step if proved else None)

    def coarser(self) -> "Comparer":
        """Return this comparer, or one whose noise is raised to the steps in which y moves."""
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
        """Return the question about a direction and a cotangent; see `Question` for `weakest`."""
        subject = self.subject
        with np.errstate(all="ignore"):
            parts = np.asarray(subject.gradient(self.position, number), np.float64) * direction
            analytic, size = float(parts.sum()), norm(parts)
        if 0 < size <= ROUNDINGS * subject.precision.eps * subject.natural() and (
            size <= subject.rounding(self.position, direction)
        ):
            size = 0.0  # all terms cancel, and only rounding is left: a gradient of 0
        line = line or self._line(number, direction)
        return Question(number, direction, line, analytic, size, weakest)

    def compare(self, question: Question, *, patient: bool) -> Answer:
        """Compare the gradient with the slope; with many evaluations if `patient` is true."""
        tried = self._compared(question, patient)
        if tried.outcome == "wrong":
            # The backward rounds, too; where all terms cancel, its result is only rounding.
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
            for level in SMALL_STEPS:  # y moves in steps: does y jump at this point?
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
        if tried.outcome == "wrong":  # smaller steps may find noise that explains the difference
            tried = found(2)
        # A wrong gradient leads to smaller steps, which may find more noise than the first steps.
        noise = max(UNCONFIRMED * tried.slope.rounding - tried.slope.error, 0.0)
        tried = tried._replace(allowed=tried.allowed + SAFETY * noise)
        return _broken(tried) if tried.outcome == "imprecise" and question.line.breaks else tried

    def _quieter(self, tried: Answer, question: Question) -> Answer:
        """Measure again without the noise of outputs that do not depend on the changed entries.

        An output does not depend on these entries if it moved along another direction, keeps every
        bit along this direction, and sends no gradient back to these entries.
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
        # A gradient of 0 has no size; its error may be as large as rounding of y.
        invisible = precision.zero * self.subject.natural() if size == 0 else 0.0
        difference = abs(question.analytic - slope.value)
        outcome: Outcome = "agrees"
        if not np.isfinite(slope.value) or not np.isfinite(slope.error):
            outcome = "imprecise"
        elif not difference <= bound:
            outcome = "wrong" if self._proves(slope, question.number) else "imprecise"
            # If f makes different choices on the two sides, no step shows the slope at 0.
            if "winners" in slope.detectors and slope.jump == 0:
                outcome = "kink"
        elif slope.error > max(0.1 * precision.limit * reference, invisible):
            if slope.kink or "winners" in slope.detectors:
                outcome = "kink"
            elif difference > allowed or slope.jump:
                outcome = "imprecise"
        return Answer(outcome, slope, question.analytic, size, allowed, bound)

    def _proves(self, slope: Slope, number: int) -> bool:
        """Whether a slope is precise enough, relative to itself or y, to prove a gradient wrong."""
        if slope.value == 0 and self.moved.slope == 0:
            return False  # y never moved: y is constant, or too coarse
        return slope.smooth <= max(BLAME * abs(slope.value), ZERO * self.subject.natural(number))

    # What a measurement can show

    def all_live(self, line: Line) -> bool:
        """Whether every output moved along some direction; other outputs may hide a slope."""
        if self.complex is not None:
            return True
        line.halves(0)  # measures the largest step, too
        live, _ = line.movement(0.0)
        large = self.subject.dys[0] * self.subject.trial.y != 0
        return bool((self.moved.live | live)[large].all())

    def rounding_only(self) -> Array:
        """Return which flat entries of the gradient are 0 or only rounding."""
        rounding = self.subject.roundings[self.position]
        size = np.abs(self.subject.gradient(self.position))
        return np.asarray(size <= (0.0 if rounding is None else 32 * rounding)).ravel()

    def least_error(self) -> float:
        """Return the smallest error that could be seen in y, along any direction of the array."""
        return MARGIN * SAFETY * 4 * self._line(0, np.zeros(())).rounding


def _broken(tried: Answer) -> Answer:
    """Return the answer as a kink, because y itself jumps."""
    return tried._replace(
        outcome="kink", slope=replace(tried.slope, kink=True, detectors=("slopes",))
    )
