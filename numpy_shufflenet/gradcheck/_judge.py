"""Compare analytic and numeric slopes, along directions and entry by entry."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.gradcheck._scales import signed
from numpy_shufflenet.gradcheck._trial import Trial
from numpy_shufflenet.gradcheck.complex_step import ComplexStep
from numpy_shufflenet.gradcheck.differences import Line, Slope, find_slope
from numpy_shufflenet.gradcheck.report import ArrayReport, Entry, Status

SAFETY = 5  # times the estimated error may analytic and numeric be apart
CLEARLY = 1000  # times the estimated error: no luck makes an estimate that small
FAR = 16  # times smaller than what is usual in its array: an entry with a scale of its own
MANY = 2000  # entries compared in one check; more only where a kink asks for it

# method of `check` -> how differences are taken
DIFFERENCES = {
    "auto": "five-point",
    "adjoint": "five-point",
    "complex": "five-point",
    "central": "central",
    "five-point": "five-point",
    "richardson": "richardson",
}
Outcome = Literal["agrees", "wrong", "kink", "imprecise"]


@dataclass(frozen=True)
class Precision:
    """What can be expected of a dtype.

    Attributes
    ----------
    eps : float
    first_level : int
        The first steps are 2^-first_level and its next two halves: about where the errors of
        truncation and rounding meet.
    tolerance : float
        Relative difference that rounding in the backward may make.
    enough : float
        Relative error of a difference that is good enough to stop at.
    limit : float
        Above this relative error, differences tell nothing: imprecise.
    """

    eps: float
    first_level: int
    tolerance: float
    enough: float
    limit: float

    @property
    def zero(self) -> float:
        """An error below this, relative to y, shows that the slope is 0 or not to be seen."""
        return 64 * self.eps * 2.0 ** (self.first_level + 2)


def precision_of(dtype: np.dtype[Any], tolerance: float | None = None) -> Precision:
    """Return what float64 or float32 can do."""
    eps = float(np.finfo(dtype).eps)
    if eps < 1e-10:
        return Precision(eps, 8, tolerance or 1e-9, enough=1e-8, limit=1e-4)
    return Precision(eps, 3, tolerance or 1e-4, enough=1e-3, limit=3e-2)


class _Tried(NamedTuple):
    outcome: Outcome
    slope: Slope
    analytic: float  # in the measure of the slope
    slack: float
    entry: Entry


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
    """

    def __init__(
        self,
        trial: Trial,
        dys: Sequence[Array],
        gradients: Sequence[Sequence[Array | None]],
        precision: Precision,
        rng: np.random.Generator,
        method: str = "auto",
    ) -> None:
        self.trial = trial
        self.dys = dys
        self.gradients = gradients
        self.precision = precision
        self.rng = rng
        self.method = method
        self.compared = 0  # entries, one by one
        self._last: tuple[Array, Line] | None = None  # the last direction, of dys[_number]
        self._number = 0
        self._affine: set[int] = set()  # arrays in which y proved linear along a direction
        self._complex: ComplexStep | None = None  # of the array at work, once f proved holomorphic

    def array(self, position: int, per_entry: bool) -> ArrayReport:
        """Judge one array by directions, and by entries if asked for or a direction objects."""
        array = self.trial.arrays[position]
        report = ArrayReport(self.trial.names[position], array.shape)
        self._complex = self._last = None
        found = [self._direction(position, n, report) for n in range(len(self.dys))]
        outcomes = {outcome for outcome, _ in found}
        if not per_entry and self._too_many(array.size, found):
            report.status = "fail"
            return report
        if per_entry or outcomes != {"agrees"}:
            smooth = not any(slope.detectors for _, slope in found)
            if self.method == "auto" and smooth and self._complex is None:
                self._complex = self._probe(position)
            self._entries(position, report)
            # Each entry may be within its own error, and their sum not.
            if report.status == "pass" and "wrong" in outcomes and not report.kinks:
                report.status = "fail"
        return report

    def _too_many(self, size: int, found: list[tuple[Outcome, Slope]]) -> bool:
        """Whether to leave it at the directions: one is wrong for sure, and others are located."""
        clear = any(outcome == "wrong" and not slope.detectors for outcome, slope in found)
        return clear and self.compared > 0 and self.compared + size > MANY

    def _direction(self, position: int, number: int, report: ArrayReport) -> tuple[Outcome, Slope]:
        direction, line = self._new_line(position, number)
        gradient = self.gradients[number][position]
        assert gradient is not None
        parts = np.asarray(gradient, np.float64) * direction
        analytic = float(parts.sum())
        size = float(np.sqrt(np.square(parts).sum()))
        if self.method == "complex" and self._complex is None:
            self._complex = self._probe(position)
        slope = self._slope(position, number, direction, analytic, size, line)
        report.directions += 1
        report.method = slope.method
        self._note(report, analytic, slope, size)
        return self._outcome(analytic, slope, size, number), slope

    def _probe(self, position: int) -> ComplexStep | None:
        """Return the complex step for an array, if f proves holomorphic in it here."""
        direction, line = self._last or self._new_line(position, 0)
        step = ComplexStep(self.trial, position)
        return step if step.proves(self.dys[self._number], direction, line) else None

    def _new_line(self, position: int, number: int) -> tuple[Array, Line]:
        direction = self.trial.scales(position) * signed(
            self.rng, self.trial.arrays[position].shape
        )
        self._number = number
        self._last = direction, self._line(position, number, direction, DIFFERENCES[self.method])
        return self._last

    def _entries(self, position: int, report: ArrayReport) -> None:
        """Judge every entry on its own."""
        array, gradient = self.trial.arrays[position], self.gradients[0][position]
        assert gradient is not None
        report.analytic = np.asarray(gradient, np.float64)
        report.numeric = np.full(array.shape, np.nan)
        report.error = np.full(array.shape, np.nan)
        report.difference = report.precision = 0.0
        all_scales = self.trial.scales(position)
        slack = self.precision.eps * 64 * float(np.abs(report.analytic * all_scales).max())
        statuses: set[Status] = set()
        worst = -1.0
        for index in np.ndindex(array.shape):
            scale, own = float(all_scales[index]), abs(float(array[index]))
            tried = self._entry(position, index, scale, slack)
            if tried.outcome != "agrees" and 0 < own < scale / FAR:
                # Small among large ones: steps of its own size stay on its side of a kink or pole.
                second = self._entry(position, index, own, slack * own / scale)
                tried = tried if second.outcome == "imprecise" else second
            found, outcome, slope = tried.entry, tried.outcome, tried.slope
            report.method = slope.method
            report.entries += 1
            self.compared += 1
            report.numeric[index], report.error[index] = found.numeric, found.error
            if outcome == "kink":
                report.kinks.append(found)
                continue
            self._note(report, tried.analytic, slope, tried.slack)
            if outcome != "agrees":
                statuses.add("fail" if outcome == "wrong" else "imprecise")
            # A wrong entry outranks one that is only further away within its own large error.
            rank = abs(found.analytic - found.numeric)
            rank = rank if outcome == "agrees" else np.inf if np.isnan(rank) else 1e300 + rank
            if report.worst is None or rank > worst:
                report.worst, worst = found, rank
        report.status = "fail" if "fail" in statuses else next(iter(statuses), "pass")

    def _entry(self, position: int, index: tuple[int, ...], scale: float, slack: float) -> "_Tried":
        """Judge one entry, with steps of a share of `scale`."""
        array, gradient = self.trial.arrays[position], self.gradients[0][position]
        assert gradient is not None
        direction = np.zeros(array.shape)
        direction[index] = scale
        analytic = float(gradient[index]) * scale
        slope = self._slope(position, 0, direction, analytic, slack, None)
        outcome = self._outcome(analytic, slope, slack, 0)
        entry = Entry(
            self.trial.names[position],
            index,
            analytic / scale,
            slope.value / scale,
            slope.error / scale,
            slope.detectors if outcome == "kink" else (),
        )
        return _Tried(outcome, slope, analytic, slack, entry)

    def _slope(
        self,
        position: int,
        number: int,
        direction: Array,
        analytic: float,
        size: float,
        line: Line | None,
    ) -> Slope:
        """Measure a slope: patiently along a given line, else along that of one entry."""
        patient = line is not None
        if self._complex is not None:
            return self._complex.slope(self.dys[number], direction)
        if line is None:
            line = self._line(position, number, direction, DIFFERENCES[self.method])
        elif self.method in ("auto", "adjoint"):
            affine = line.affine(again=position in self._affine)
            if affine is not None:
                self._affine.add(position)
                return affine
        natural = self._natural(number)

        def precise(slope: Slope) -> bool:
            reference = max(abs(analytic), abs(slope.value), size)
            goal = max(self.precision.enough * reference, self.precision.zero * natural)
            return slope.error <= goal

        def accept(slope: Slope) -> bool:
            if not precise(slope):
                return False
            # A direction that is wrong is looked at with care; its entries need not be, again.
            wrong = not patient and abs(analytic - slope.value) > CLEARLY * slope.error
            return wrong or self._close(analytic, slope, size)

        return find_slope(line, self.precision.first_level, accept, precise, patient=patient)

    def _line(self, position: int, number: int, direction: Array, method: str) -> Line:
        trial, dy = self.trial, self.dys[number]
        array = trial.arrays[position]

        def change(t: float) -> tuple[Array, bool]:
            moved = array + (t * direction).astype(array.dtype)
            with np.errstate(all="ignore"):
                try:
                    y = trial.evaluate({position: moved})
                except (ValueError, ArithmeticError):  # f isn't defined there
                    return np.full(dy.shape, np.nan), False
                return dy * (y - trial.y), trial.same_choices()

        return Line(change, np.abs(dy * trial.y), self.precision.eps, method)

    def _outcome(self, analytic: float, slope: Slope, size: float, number: int) -> Outcome:
        if not np.isfinite(slope.value):
            return "imprecise"
        if not self._close(analytic, slope, size):
            # Where f chooses differently on both sides, no step tells what the slope is at 0.
            return "kink" if "winners" in slope.detectors else "wrong"
        reference = max(abs(analytic), abs(slope.value), size)
        invisible = self.precision.zero * self._natural(number)
        if slope.error <= max(self.precision.limit * reference, invisible):
            return "agrees"
        return "kink" if slope.kink or "winners" in slope.detectors else "imprecise"

    def _close(self, analytic: float, slope: Slope, size: float) -> bool:
        reference = max(abs(analytic), abs(slope.value), size)
        allowed = self.precision.tolerance * reference + SAFETY * slope.error
        return bool(abs(analytic - slope.value) <= allowed)

    def _natural(self, number: int) -> float:
        """Size of dy y: the slope that a change of x by its own size would have, by and large."""
        return float(np.sqrt(np.square(self.dys[number] * self.trial.y).sum()))

    def _note(self, report: ArrayReport, analytic: float, slope: Slope, size: float) -> None:
        reference = max(abs(analytic), abs(slope.value), size, self._natural(0) * 1e-6) or 1.0
        report.difference = max(report.difference, abs(analytic - slope.value) / reference)
        report.precision = max(report.precision, slope.error / reference)
