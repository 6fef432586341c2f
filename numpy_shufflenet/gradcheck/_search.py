"""The search for the step at which differences are most precise.

Rounding grows as the step shrinks; truncation grows as the step grows. No step suits every
function. So the search starts at the step h = 2^-`first_level`, and tries other steps until one is
precise enough.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from .differences import Line, Slope

MUCH = 100  # an error above MUCH times the rounding of y is noise
AT_ONCE = 1e4  # truncation does not fall by more than this factor between two steps
DEEPEST = 32  # the smallest step is 2^-32 of the scale


def find_slope(
    line: Line,
    first_level: int,
    precise: Callable[[Slope], bool],
    *,
    patient: bool = True,
    smaller: int = 0,
) -> Slope:
    """Try steps until one is precise enough; return the slope with the smallest error estimate.

    The slope depends on y alone, not on the gradient: a wrong gradient is compared with the same
    number as a right one.

    After the first step, smaller steps are tried as long as they can help, because they avoid
    kinks. Then larger steps are tried, because they reduce noise. The search ends when a slope is
    `precise` and at least `smaller` steps below its step were tried; these measure the noise of y.
    If `patient` is false, the search also ends when three steps in a row find the same kink.
    """
    seen: list[Slope] = []

    def enough() -> bool:
        best = _best(seen)
        return precise(best) and sum(slope.step < best.step for slope in seen) >= smaller

    for level in range(first_level, DEEPEST - 1, 2):
        seen.append(line.slope(level))
        if enough():
            return _best(seen)
        if not patient and len(seen) >= 3 and all(_alike(seen[-1], s) for s in seen[-3:-1]):
            return _best(seen)
        last = seen[-1]
        if last.jump == 0 and 2 * last.rounding > last.error and len(seen) > smaller:
            break  # the whole error is rounding
    for level in range(first_level - 2, -1, -2):
        seen.append(line.slope(level))
        if enough():
            break
    return _best(seen)


def _best(seen: list[Slope]) -> Slope:
    """Correct each error estimate by the estimates of other steps; return the best slope.

    Noise is error * step, and smaller steps measure it. So if an estimate is small by chance, it is
    raised to the noise that smaller steps found. If two steps find the same jump of the slope, the
    jump is a kink.

    If y is computed less precisely than its dtype (in float32, say), its values lie on a coarse
    grid. A tiny h does not reach the next grid value: y does not change, which looks like an exact
    slope. So if a larger h saw noise, a smaller h has at least as much; see `_floors`.
    """
    floors = _floors(seen)
    known = []
    for slope in seen:
        smaller = [s for s in seen if s.step < slope.step and np.isfinite(s.error)]
        noise = max((s.error * s.step for s in smaller), default=0.0)
        raised = max(noise, floors.get(slope.step, 0.0)) / slope.step
        kink = any(_alike(slope, other) for other in seen if other is not slope)
        error, smooth = max(slope.error, raised), max(slope.smooth, raised - slope.jump)
        known.append(replace(slope, error=error, smooth=smooth, kink=kink))
    return min(known, key=lambda slope: slope.error)


def _floors(seen: list[Slope]) -> dict[float, float]:
    """Return, for each step, the smallest noise (error * step) that larger steps allow.

    An error that grows as the step shrinks is noise. If the error then falls again, by a factor
    below AT_ONCE between two steps, it was truncation.
    """
    steps = sorted((s for s in seen if np.isfinite(s.error)), key=lambda slope: -slope.step)
    floor, floors = 0.0, {}
    for larger, smaller in pairwise(steps):
        if smaller.error > max(1.5 * larger.error, MUCH * smaller.rounding):
            floor = max(floor, smaller.error * smaller.step)
        elif larger.error / AT_ONCE < smaller.error < larger.error:
            floor = min(floor, smaller.error * smaller.step)
        floors[smaller.step] = floor
    return floors


def _alike(slope: Slope, other: Slope) -> bool:
    """Whether both slopes have about the same jump, and little other error."""
    low, high = sorted((slope.jump, other.jump))
    return 0 < high <= 1.5 * low and slope.error <= 2 * slope.jump
