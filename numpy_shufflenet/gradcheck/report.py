"""What a gradient check found in one entry and in one array, and what all verdicts share.

A kink is a point where y has no derivative. An entry is "seen" if the check would have found an
error in its gradient.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ._arrays import Array

Status = Literal["pass", "fail", "kink", "imprecise", "nondeterministic"]
KINK_LIMIT = 0.05  # the largest share of the compared entries that may lie on kinks in a pass


class BaseVerdict:
    """What all verdicts share: a status, and no truth value.

    `if verdict` raises, because it could mean "it passed" or "there is something to report".
    """

    cause: BaseException | None = None

    @property
    def status(self) -> Status:
        """The outcome in one word."""
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
    """One entry of one array: its gradient from the backward, and from differences."""

    array: str  #: Name of the array.
    index: tuple[int, ...]  #: Position in the array.
    analytic: float  #: The gradient from the backward.
    numeric: float  #: The gradient from differences.
    error: float  #: Estimated error of `numeric`.
    detectors: tuple[str, ...] = ()  #: What saw a kink: "slopes", "parabola" or "winners".

    @property
    def difference(self) -> float:
        """|analytic - numeric|."""
        return abs(self.analytic - self.numeric)

    def __str__(self) -> str:
        numeric = f"{self.numeric:.10g} ± {self.error:.1g}"
        place = place_of(self.array, self.index)
        return f"{place}: analytic {self.analytic:.10g}, numeric {numeric}"


def place_of(name: str, index: tuple[int, ...]) -> str:
    """Return an entry as it is written in Python: "x[1, 2]"."""
    return f"{name}[{', '.join(map(str, index))}]"


@dataclass
class ArrayReport:
    """What the check of one array found."""

    name: str
    shape: tuple[int, ...]
    status: Status = "pass"
    directions: int = 0  #: Number of random directions that were judged.
    entries: int = 0  #: Number of entries judged one by one; 0 where directions were enough.
    #: Entries that were not judged, because y has no derivative there.
    kinks: list[Entry] = field(default_factory=list)
    #: The entry that disagrees most; if none does, the one with the largest difference.
    worst: Entry | None = None
    #: The largest |analytic - numeric|, relative to the size of what was compared.
    difference: float = 0.0
    #: In each entry that was seen, the check would have found a relative error of this size. Where
    #: the gradient is 0, the error is relative to the slopes of y.
    precision: float = 0.0
    seen: Array | None = None  #: Which entries count as checked: bool, of the array's shape.
    visible: Array | None = None  #: The precision of each entry, seen or not.
    reachable: float = 0.0  #: At least 95 % of the entries have this precision, or a better one.
    skipped: int = 0  #: Number of entries not compared one by one, because the budget was spent.
    note: str = ""
    analytic: Array | None = None  #: Of the array's shape; None where directions were enough.
    numeric: Array | None = None  #: Like `analytic`, but NaN where an entry was not compared.
    error: Array | None = None  #: Estimated errors of `numeric`.
    #: How the last slope was measured: "adjoint identity" (y is linear in the array), "complex
    #: step", or the differences "central", "five-point" or "richardson".
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
        """Entries whose errors would not have been seen, except entries on kinks."""
        if self.seen is None:
            return []
        found = {tuple(map(int, index)) for index in np.argwhere(~self.seen)}
        return sorted(found - {kink.index for kink in self.kinks})
