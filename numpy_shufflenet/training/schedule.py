"""The learning rate as a function of the step, counted from 0.

    warm-up, step < warmup        peak (step + 1) / warmup
    after,  t = (step - warmup) / (steps - warmup)
        linear                    peak (1 - t)
        cosine                    peak (1 + cos(pi t)) / 2

The first step after the warm-up has the peak rate. The step after the last step would have rate 0.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from numpy_shufflenet.ops.checks import is_integer

SHAPES = ("linear", "cosine")


@dataclass(frozen=True)
class Schedule:
    """A learning rate for each step; see `linear_schedule` and `cosine_schedule`."""

    #: "linear" or "cosine".
    shape: str
    #: The largest learning rate.
    peak: float
    #: Number of steps of the training, warm-up included.
    steps: int
    #: Number of steps in which the learning rate rises to the peak.
    warmup: int = 0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"shape={self.shape!r} is not one of {', '.join(SHAPES)}")
        if not 0 < self.peak < math.inf:
            raise ValueError(f"peak={self.peak!r} is not a number above 0")
        if not is_integer(self.steps) or self.steps < 1:
            raise ValueError(f"steps={self.steps!r} is not a whole number of at least 1")
        if not is_integer(self.warmup) or not 0 <= self.warmup < self.steps:
            raise ValueError(
                f"warmup={self.warmup!r} is not a whole number from 0 to below steps={self.steps}"
            )

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step; from step `steps` on, the rate is 0."""
        if not is_integer(step) or step < 0:
            raise ValueError(f"step={step!r} is not a whole number of at least 0")
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        t = min(1.0, (step - self.warmup) / (self.steps - self.warmup))
        if self.shape == "linear":
            return self.peak * (1 - t)
        return self.peak * (1 + math.cos(math.pi * t)) / 2

    def describe(self) -> str:
        """Describe the learning rate in words."""
        rise = f"rises to {self.peak:g} in {self.warmup} steps, then " if self.warmup else ""
        start = "" if self.warmup else f" from {self.peak:g}"
        how = "linearly" if self.shape == "linear" else "along a cosine"
        return f"{rise}falls{start} {how} to 0 at step {self.steps}"

    def stretched(self, epochs: int, before: int) -> "Schedule":
        """Return the schedule for `epochs` epochs, if this schedule is for `before` epochs.

        The warm-up keeps its number of steps, if the new schedule has more steps than that.
        """
        steps = max(1, self.steps * epochs // before)
        return Schedule(self.shape, self.peak, steps, min(self.warmup, steps - 1))

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of the fields; `Schedule(**fields)` makes the schedule again."""
        return asdict(self)


def linear_schedule(peak: float, steps: int, warmup: int = 0) -> Schedule:
    """Decrease the learning rate in a straight line, as the authors of ShuffleNet do.

    Parameters
    ----------
    peak : float
        The largest learning rate.
    steps : int
        Number of steps of the training, warm-up included.
    warmup : int
        Number of steps in which the learning rate rises to the peak.

    Raises
    ------
    ValueError
        If peak is not above 0, or steps or warmup is out of range.

    Source: Ma et al., ShuffleNet V2, 2018, section 4 (as Zhang et al., ShuffleNet, 2017).
    """
    return Schedule("linear", peak, steps, warmup)


def cosine_schedule(peak: float, steps: int, warmup: int = 0) -> Schedule:
    """Decrease the learning rate along half a cosine. For the arguments see `linear_schedule`.

    Source: Loshchilov, Hutter, SGDR, 2017, equation 5, without restarts.
    """
    return Schedule("cosine", peak, steps, warmup)
