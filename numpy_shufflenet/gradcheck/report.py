"""What a gradient check found: of one entry, of one array, and what all verdicts share."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ._arrays import Array

Status = Literal["pass", "fail", "kink", "imprecise", "nondeterministic"]


class BaseVerdict:
    """What all verdicts share: a status, and no truth value.

    `if verdict` would be true for a failure in one reading and false in the other.
    """

    cause: BaseException | None = None

    @property
    def status(self) -> Status:
        """The outcome in a word."""
        raise NotImplementedError

    @property
    def passed(self) -> bool:
        """Whether the status is "pass"."""
        return self.status == "pass"

    def raise_if_failed(self) -> None:
        """Raise AssertionError, with the whole verdict as its text, unless the status is pass."""
        if not self.passed:
            raise AssertionError(str(self)) from self.cause

    def __bool__(self) -> bool:
        raise TypeError(
            f"a {type(self).__name__} has no truth value; use verdict.passed, verdict.status "
            "or verdict.raise_if_failed()"
        )


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

    @property
    def difference(self) -> float:
        """|analytic - numeric|."""
        return abs(self.analytic - self.numeric)

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
        What is claimed: in every entry that was seen, an error of this share of it would have
        been. For an entry of 0, this share of the size of y's slopes.
    seen : array of bool or None
        Of the array's shape: the entries counted as checked.
    visible : array or None
        Of the array's shape: the smallest error of each entry that would have been seen, relative
        to the entry (of one that is 0, to the size of y's slopes).
    reachable : float
        The precision at which at least 95 % of the entries could be seen.
    skipped : int
        Entries that were not compared one by one, for want of budget.
    note : str
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
    seen: Array | None = None
    visible: Array | None = None
    reachable: float = 0.0
    skipped: int = 0
    note: str = ""
    analytic: Array | None = None
    numeric: Array | None = None
    error: Array | None = None
    method: str = ""

    def __str__(self) -> str:
        compared = f"{self.directions} directions"
        if self.entries:
            compared += f", {self.entries} entries"
        if self.kinks:
            compared += f", {len(self.kinks)} on kinks"
        if self.method:
            compared += f" by {self.method}"
        claim = ""
        if self.seen is not None and self.seen.any() and self.status != "fail":
            share = f"{100 * self.seen.mean():.3g} % of entries"
            claim = f"; an error above {self.precision:.1e} would be seen in {share}"
        return (
            f"{self.name} {self.shape}: {self.status}, {compared}, "
            f"largest difference {self.difference:.1e}{claim}"
        )

    @property
    def unseen(self) -> list[tuple[int, ...]]:
        """Entries that are not on kinks and whose errors would not have been seen."""
        if self.seen is None:
            return []
        kinks = {kink.index for kink in self.kinks}
        found = (tuple(int(i) for i in index) for index in np.argwhere(~self.seen))
        return [index for index in found if index not in kinks]
