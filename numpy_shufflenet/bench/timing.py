"""Compares two implementations: checks that their results agree, then times them in turn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet.timing import interleave

SAMPLE_SECONDS = 4e-3


@dataclass(frozen=True)
class TimedRow:
    """The result of one comparison; a ratio is their time / our time, so above 1 we are faster."""

    group: str  #: the table that the row belongs to
    work: str
    batch: int  #: number of images
    peer: str  #: name of the other implementation, such as "PyTorch"
    ours: float  #: median seconds
    theirs: float  #: median seconds
    ratio: float  #: median ratio of all pairs
    low: float  #: lower quartile of the ratio
    high: float  #: upper quartile of the ratio
    pairs: int
    difference: float  #: largest difference of the results, relative to the largest number in them
    goal: float | None = None  #: the ratio that we aim for


@dataclass(frozen=True)
class Comparison:
    """Two functions without arguments that do the same work."""

    group: str
    work: str
    batch: int
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    results: Callable[[], tuple[list[Any], list[Any]]]  #: returns (our arrays, their arrays)
    goal: float | None = None
    tolerance: float = 1e-3  #: largest relative difference that rounding can explain
    warm_seconds: float = 10e-3  #: untimed run before each turn; see `interleave`


def time_against(comparison: Comparison, pairs: int) -> TimedRow:
    """Time both implementations in turn; first raise ValueError if their results differ."""
    difference = _difference(*comparison.results())
    if not difference <= comparison.tolerance:
        raise ValueError(
            f"{comparison.work}, batch {comparison.batch}: our result and that of "
            f"{comparison.peer} differ by {difference:.1e}, relative to the largest number; "
            f"rounding explains at most {comparison.tolerance:.0e}"
        )
    ours, theirs = interleave(
        {"ours": comparison.ours, "theirs": comparison.theirs},
        rounds=pairs,
        min_seconds=SAMPLE_SECONDS,
        warm_seconds=comparison.warm_seconds,
    ).values()
    ratios = theirs / ours
    return TimedRow(
        comparison.group,
        comparison.work,
        comparison.batch,
        comparison.peer,
        float(np.median(ours)),
        float(np.median(theirs)),
        float(np.median(ratios)),
        float(np.quantile(ratios, 0.25)),
        float(np.quantile(ratios, 0.75)),
        pairs,
        difference,
        comparison.goal,
    )


def _difference(ours: list[Any], theirs: list[Any]) -> float:
    """Return the largest difference, relative to the largest number of each array."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        size = max(float(np.abs(b).max(initial=0.0)), 1e-30)
        worst = max(worst, float(np.abs(np.asarray(a) - np.asarray(b)).max(initial=0.0)) / size)
    return worst
