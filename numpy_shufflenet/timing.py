"""Times to compare: functions run in turn, and each round gives one ratio of two times.

The load of a machine changes from minute to minute, often by more than the difference that we
measure. It changes absolute times, but hardly the ratio of two times that were measured one after
the other. So all functions run once in each round, in an order that changes. We report the median
of the ratios, with an interval that assumes nothing about the distribution of the times.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array

CONFIDENCE = 0.95
FEWEST_ROUNDS = 6  # of fewer values, even the full range has less than 95 % confidence


class Interval(NamedTuple):
    """A median, and bounds that contain the true median with 95 % confidence."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def median_interval(values: Sequence[float] | Array) -> Interval:
    """Return the median of independent values, and its confidence interval by order statistics.

    Each value is above the true median with probability 1/2, so the number of values above it has a
    binomial distribution. The bounds are the k-th smallest and the k-th largest value, with the
    largest k that gives 95 % confidence.

    Raises
    ------
    ValueError
        If there are fewer than 6 values.
    """
    ordered = np.sort(np.asarray(values, float))
    n = len(ordered)
    if n < FEWEST_ROUNDS:
        raise ValueError(f"{n} values give no 95 % interval; at least {FEWEST_ROUNDS} are needed")
    tail, left_out = 0.0, 0
    while True:
        tail += math.comb(n, left_out) / 2**n  # P(at most left_out of n below the median)
        if 2 * tail > 1 - CONFIDENCE:
            break
        left_out += 1
    return Interval(
        float(np.median(ordered)), float(ordered[left_out - 1]), float(ordered[n - left_out])
    )


def interleave(
    runs: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    min_seconds: float = 0.01,
    warm_seconds: float = 0.0,
    seed: int = 0,
    on_run: Callable[[str], object] = lambda name: None,
) -> dict[str, Array]:
    """Time several functions in turn.

    Parameters
    ----------
    runs : mapping of str to function
    rounds : int
        In each round every function has one turn, in a new order.
    min_seconds : float
        A turn repeats its function until about this much time has passed.
    warm_seconds : float
        Before each turn, the function runs for this long without being timed. If functions use
        different thread pools, threads of the previous function may still spin.
    seed : int
        Seed of the orders.
    on_run : callable, optional
        Called with a name after each turn, and after the first, untimed calls.

    Returns
    -------
    dict of str to array, shape (rounds,)
        Seconds of one call, for each round.
    """
    calls = {}
    for name, run in runs.items():
        run()  # the first call may compile, or write to new memory, so it isn't timed
        start = time.perf_counter()
        run()
        calls[name] = max(1, round(min_seconds / max(time.perf_counter() - start, 1e-9)))
        on_run(name)
    rng = np.random.default_rng(seed)
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for position in rng.permutation(len(names)):
            name = names[position]
            _warm_up(runs[name], warm_seconds)
            start = time.perf_counter()
            for _ in range(calls[name]):
                runs[name]()
            seconds[name].append((time.perf_counter() - start) / calls[name])
            on_run(name)
    return {name: np.array(values) for name, values in seconds.items()}


def _warm_up(run: Callable[[], object], seconds: float) -> None:
    if seconds > 0:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            run()
