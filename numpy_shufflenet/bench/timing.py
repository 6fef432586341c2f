"""Comparisons in pairs: two contenders that must compute the same, and then take turns."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from numpy_shufflenet.timing import interleave

SAMPLE_SECONDS = 4e-3


@dataclass(frozen=True)
class TimedRow:
    """One contender beside ours on one piece of work.

    Attributes
    ----------
    group, work : str
        What is measured; `group` is the part of the table.
    batch : int
        Images.
    peer : str
        The other contender.
    ours, theirs : float
        Median seconds.
    ratio : float
        Median of theirs / ours, pair by pair: above 1, we are faster.
    low, high : float
        Quartiles of the ratio.
    pairs : int
    difference : float
        Largest difference between both results, relative to the largest number in them.
    goal : float or None
        Of the ratio.
    """

    group: str
    work: str
    batch: int
    peer: str
    ours: float
    theirs: float
    ratio: float
    low: float
    high: float
    pairs: int
    difference: float
    goal: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Two contenders that do the same.

    Attributes
    ----------
    ours, theirs : callable
        Without arguments. `results` tells what they compute.
    results : callable
        Returns (our arrays, their arrays), to be compared before timing.
    tolerance : float
        Largest relative difference of the results that counts as the same.
    warm_seconds : float
        How long each runs before it is timed: until threads of the other one have stopped to spin.
    """

    group: str
    work: str
    batch: int
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    results: Callable[[], tuple[list[Any], list[Any]]]
    goal: float | None = None
    tolerance: float = 1e-3
    warm_seconds: float = 10e-3


def time_against(comparison: Comparison, pairs: int) -> TimedRow:
    """Verify that both compute the same, then time them in turns.

    Raises
    ------
    ValueError
        If they don't compute the same.
    """
    difference = _difference(*comparison.results())
    if not difference <= comparison.tolerance:
        raise ValueError(
            f"{comparison.work}, batch {comparison.batch}: our result and that of "
            f"{comparison.peer} differ by {difference:.1e}, relative to the largest number; "
            f"at most {comparison.tolerance:.0e} is rounding"
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
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        size = max(float(np.abs(b).max(initial=0.0)), 1e-30)
        worst = max(worst, float(np.abs(np.asarray(a) - np.asarray(b)).max(initial=0.0)) / size)
    return worst
