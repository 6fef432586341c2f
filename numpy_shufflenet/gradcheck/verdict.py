"""What a gradient check found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from numpy_shufflenet._typing import Array
from numpy_shufflenet.gradcheck._trial import Trial

Status = Literal["pass", "fail", "kink", "imprecise", "nondeterministic"]


@dataclass(frozen=True)
class Entry:
    """One entry of one array: what the backward says, and what differences say.

    Attributes
    ----------
    array : str
        Name of the array.
    index : tuple of int
        Position in it.
    analytic, numeric : float
        The gradient from the backward, and from differences.
    error : float
        Estimated error of `numeric`.
    detectors : tuple of str
        Of a kink: what saw it ("slopes", "parabola", "winners"; see `differences`).
    """

    array: str
    index: tuple[int, ...]
    analytic: float
    numeric: float
    error: float
    detectors: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"{self.array}[{', '.join(map(str, self.index))}]"
        numeric = f"{self.numeric:.10g} ± {self.error:.1g}"
        return f"{place}: analytic {self.analytic:.10g}, numeric {numeric}"


@dataclass
class ArrayReport:
    """The check of one array.

    Attributes
    ----------
    name : str
    shape : tuple of int
    status : str
    directions : int
        Random directions that were judged.
    entries : int
        Entries that were judged one by one; 0 where directions settled it.
    kinks : list of Entry
        Entries left out, because y has no derivative there.
    worst : Entry or None
        The entry that disagrees most; of those that agree, the one with the largest difference.
    difference : float
        Largest |analytic - numeric|, relative to the size of what was compared.
    precision : float
        Largest estimated relative error of the numeric side.
    analytic, numeric, error : array or None
        Of the array's shape, NaN where not compared; None where directions settled it.
    method : str
        How the last slope was found: "adjoint identity" (y is linear in the array), "complex
        step", or the differences' "central", "five-point" or "richardson".
    """

    name: str
    shape: tuple[int, ...]
    status: Status = "pass"
    directions: int = 0
    entries: int = 0
    kinks: list[Entry] = field(default_factory=list)
    worst: Entry | None = None
    difference: float = 0.0
    precision: float = 0.0
    analytic: Array | None = None
    numeric: Array | None = None
    error: Array | None = None
    method: str = ""


@dataclass
class Verdict:
    """The outcome of a gradient check; `str` tells it in words.

    There is no truth value: `if verdict` would be true for a failure in one reading and false in
    the other. Ask for `verdict.passed` or `verdict.status`, or call `verdict.raise_if_failed()`.

    Attributes
    ----------
    status : str
        "pass": every gradient agrees, as precisely as differences can tell.
        "fail": a gradient is wrong, or a side check failed.
        "kink": too many entries lie on kinks, where there is no derivative to compare with.
        "imprecise": differences are too noisy to tell.
        "nondeterministic": the same arguments gave different results.
    reason : str
        Why it is not "pass"; empty otherwise.
    arrays : list of ArrayReport
    evaluations : int
        Of f; those of vjp, few, come on top.
    seconds : float
    seed : int or None
        Repeats the check; None where a generator was given.
    notes : list of str
        What a reader should know, and is no failure.
    cause : exception or None
        That vjp raised.
    trial, dys
        f and vjp at the point, and the flat cotangents: for the error curve and `explain`.
    """

    status: Status = "pass"
    reason: str = ""
    arrays: list[ArrayReport] = field(default_factory=list)
    evaluations: int = 0
    seconds: float = 0.0
    seed: int | None = None
    notes: list[str] = field(default_factory=list)
    cause: BaseException | None = None
    trial: Trial | None = field(default=None, repr=False)
    dys: Sequence[Array] = field(default=(), repr=False)

    @property
    def passed(self) -> bool:
        """Whether the status is "pass"."""
        return self.status == "pass"

    @property
    def kinks(self) -> list[Entry]:
        """Entries left out of all arrays, because y has no derivative there."""
        return [kink for report in self.arrays for kink in report.kinks]

    @property
    def entries(self) -> int:
        """How many entries were compared one by one, kinks included."""
        return sum(report.entries for report in self.arrays)

    @property
    def worst(self) -> Entry | None:
        """The entry that disagrees most, over all arrays; None where directions settled it."""
        found = [report for report in self.arrays if report.worst is not None]
        failed = [report for report in found if report.status == self.status]
        worst = max(failed or found, key=lambda report: report.difference, default=None)
        return worst.worst if worst else None

    @property
    def precision(self) -> float:
        """The relative error that differences could reach: no wrong gradient below it is seen."""
        return max((report.precision for report in self.arrays), default=0.0)

    def raise_if_failed(self) -> None:
        """Raise AssertionError, with the whole verdict as its text, unless the status is pass."""
        if not self.passed:
            raise AssertionError(str(self)) from self.cause

    def __bool__(self) -> bool:
        raise TypeError(
            "a Verdict has no truth value; use verdict.passed, verdict.status "
            "or verdict.raise_if_failed()"
        )

    def __str__(self) -> str:
        lines = [f"{self.status}: {self.reason}" if self.reason else self.status]
        lines += [f"  {_line(report)}" for report in self.arrays]
        if self.worst is not None and not self.passed:
            lines.append(f"  worst  {self.worst}")
        lines += [f"  note: {note}" for note in self.notes]
        seed = "" if self.seed is None else f", seed {self.seed}"
        lines.append(f"  {self.evaluations} evaluations in {self.seconds:.2g} s{seed}")
        return "\n".join(lines)


def _line(report: ArrayReport) -> str:
    compared = f"{report.directions} directions"
    if report.entries:
        compared += f", {report.entries} entries"
    if report.kinks:
        compared += f", {len(report.kinks)} on kinks"
    return (
        f"{report.name} {report.shape}: {report.status}, {compared}, "
        f"largest difference {report.difference:.1e}, precision {report.precision:.1e}"
    )
