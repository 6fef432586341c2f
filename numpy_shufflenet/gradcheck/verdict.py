"""The outcome of a gradient check: one report for each array, and the status of the whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ._arrays import Array
from ._html import verdict_html
from ._trial import Trial, WrongGradientError
from .curve import ErrorCurve, error_curve
from .explain import Explanation, explain_gradients, explain_reason
from .report import ArrayReport, BaseVerdict, Entry, Status


@dataclass
class Verdict(BaseVerdict):
    """The outcome of a gradient check; `str` gives it as text."""

    #: "pass": every gradient agrees, as precisely as differences can show.
    #: "fail": a gradient is wrong, or a side check failed.
    #: "kink": too many entries lie on kinks, where there is no derivative to compare with.
    #: "imprecise": differences are too noisy for a decision.
    #: "nondeterministic": the same arguments gave different results.
    status: Status = "pass"
    reason: str = ""  #: Why the status is not "pass".
    arrays: list[ArrayReport] = field(default_factory=list)
    evaluations: int = 0  #: Number of calls of f, without calls of f by vjp.
    seconds: float = 0.0
    seed: int | None = None  #: The seed that repeats the check; None if a generator was given.
    notes: list[str] = field(default_factory=list)  #: What a reader should know besides failures.
    cause: BaseException | None = None  #: The exception that vjp raised.
    #: f and vjp at the point, and the flat cotangents: for `error_curve` and `explain`.
    trial: Trial | None = field(default=None, repr=False)
    dys: Sequence[Array] = field(default=(), repr=False)

    @property
    def kinks(self) -> list[Entry]:
        """Entries of all arrays that were not judged, because y has no derivative there."""
        return [kink for report in self.arrays for kink in report.kinks]

    @property
    def entries(self) -> int:
        """How many entries were compared one by one, kinks included."""
        return sum(report.entries for report in self.arrays)

    @property
    def worst(self) -> Entry | None:
        """The entry of any array that disagrees most; None where directions were enough."""
        found = [report for report in self.arrays if report.worst is not None]
        failed = [report for report in found if report.status == self.status]
        worst = max(failed or found, key=lambda report: report.difference, default=None)
        return worst.worst if worst else None

    @property
    def difference(self) -> float:
        """The largest relative difference between analytic and numeric."""
        return max((report.difference for report in self.arrays), default=0.0)

    @property
    def precision(self) -> float:
        """The check would have found a relative error of this size in each entry that was seen."""
        return max((report.precision for report in self.arrays), default=0.0)

    @property
    def share(self) -> float:
        """The share of all entries that were seen; entries on kinks count as not seen."""
        seen = [report.seen for report in self.arrays if report.seen is not None]
        size = sum(array.size for array in seen)
        return sum(int(array.sum()) for array in seen) / size if size else 0.0

    def error_curve(self, array: str | None = None) -> ErrorCurve:
        """Measure one directional derivative with every method at every step.

        `array` is the name of the array to move. The default is the array of the worst entry, or
        the first array.
        """
        if self.trial is None or not self.arrays:
            raise ValueError("there is no gradient to draw a curve of")
        names = [report.name for report in self.arrays]
        failed = [report.name for report in self.arrays if report.status == "fail"]
        name = array or (self.worst.array if self.worst else (failed or names)[0])
        if name not in names:
            raise ValueError(f"array={name!r} is not one of {', '.join(names)}")
        position = self.trial.names.index(name)
        return error_curve(self.trial, self.dys[0], position, self.seed or 0)

    def plot_error_curve(self, axes: Any = None, array: str | None = None) -> Any:
        """Draw the error of each method against the step, with matplotlib; return the axes."""
        return self.error_curve(array).plot(axes)

    def explain(self) -> Explanation:
        """Return the likely cause of a failure, read from the pattern of the error.

        Its `str` is a hint. Its `family` is one of these, which `gradcheck.FAMILIES` explains:
        not a gradient, side effect, not repeatable, not linear, swapped, sign, factor,
        single entry, dropped, permutation, transpose, sum, mask, padding, stride, slope, weights,
        term.

        This calls f and vjp again; how often depends on the sizes of y and the array.
        """
        failed = [report for report in self.arrays if report.status == "fail"]
        if self.trial is None or self.status != "fail" or not failed:
            return explain_reason(self.status, self.reason)
        try:
            return explain_gradients(failed, self.trial, self.dys[0])
        except WrongGradientError as error:  # vjp fails for another dy
            return Explanation("not a gradient", hint=str(error))

    def __str__(self) -> str:
        lines = [f"{self.status}: {self.reason}" if self.reason else self.status]
        lines += [f"  {report}" for report in self.arrays]
        if self.worst is not None and not self.passed:
            lines.append(f"  worst  {self.worst}")
        lines += [f"  note: {note}" for note in self.notes]
        seed = "" if self.seed is None else f", seed {self.seed}"
        lines.append(f"  {self.evaluations} evaluations in {self.seconds:.2g} s{seed}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the view that notebooks show, with a heat map of the error."""
        return verdict_html(self.status, str(self), self.arrays)
