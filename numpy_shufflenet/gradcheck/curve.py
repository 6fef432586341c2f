"""The error of each method against its step.

With a growing step, rounding falls and truncation rises; the best step lies between. On a log-log
plot, the left side of a curve is rounding, which falls with slope 1. The right side is truncation;
for a method of order p, it rises with slope p. If the gradient is wrong, no step helps: no curve
falls below the error of the gradient.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import Array, norm, signed
from ._trial import Trial
from .complex_step import ComplexStep
from .differences import METHODS, line_along

LEVELS = range(1, 44)  # h = 2^-level
# The colours of Okabe and Ito, which colour-blind readers can tell apart, with a line style each.
LOOKS = {"#999999": ":", "#0072B2": "-", "#009E73": "--", "#D55E00": "-.", "#CC79A7": "-"}


@dataclass(frozen=True)
class ErrorCurve:
    """Relative errors of a directional derivative, by method and step."""

    array: str  #: Name of the array that moves, in a random direction.
    steps: Array  #: h, relative to the size of the entries that move.
    #: By method: |numeric - analytic| for each step, relative to the size of the gradient.
    errors: dict[str, Array]

    def plot(self, axes: Any = None) -> Any:
        """Draw the curves with matplotlib; return the axes."""
        if axes is None:
            import matplotlib.pyplot as plt

            _, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
        for (name, values), (colour, dash) in zip(self.errors.items(), LOOKS.items(), strict=False):
            shown = np.maximum(values, np.finfo(float).eps / 16)  # a log axis has no 0
            axes.loglog(self.steps, shown, dash, color=colour, label=name)
        axes.set(
            xlabel="step h, as a share of the size of x",
            ylabel="relative difference from the analytic gradient",
            title=f"gradient of {self.array} along a random direction",
        )
        axes.grid(alpha=0.3)
        axes.legend()
        return axes


def error_curve(trial: Trial, dy: Array, position: int, seed: int = 0) -> ErrorCurve:
    """Measure the derivative along one random direction with every method at every step."""
    scales, rng = trial.scales(position), np.random.default_rng(seed)
    direction = scales * signed(rng, scales.shape)
    gradient = trial.pull_back(dy)[position]
    assert gradient is not None
    parts = np.asarray(gradient, np.float64) * direction
    line = line_along(trial, position, direction, dy)
    halves = [line.halves(level) for level in (*LEVELS, LEVELS.stop, LEVELS.stop + 1)]
    odd, even = (np.array([half[i].sum() for half in halves]) for i in (0, 1))
    found = {"forward": odd[:-2] + even[:-2] / 2, "central": odd[:-2]}
    for name in ("five-point", "richardson"):
        # METHODS uses h, h/2 and h/4; the curve shows the error at the largest of them, h.
        weighted = [w * odd[i : len(odd) - 2 + i] for i, w in enumerate(METHODS[name][0])]
        found[name] = np.sum(weighted, axis=0)
    step = ComplexStep(trial, position)
    if step.proves(dy, direction, line):
        slopes = [step.slope(dy, direction, 2.0**-level) for level in LEVELS]
        found["complex step"] = np.array([slope.value for slope in slopes])
    analytic, size = float(parts.sum()), norm(parts) or 1.0
    errors = {name: np.abs(values - analytic) / size for name, values in found.items()}
    return ErrorCurve(trial.names[position], 2.0 ** -np.array(LEVELS, float), errors)
