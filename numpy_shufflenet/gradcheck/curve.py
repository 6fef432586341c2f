"""The error of each method against its step: rounding falls, truncation rises, between is the best.

On a double-logarithmic plot the right flank of a method of order p rises with slope p, the left
one falls with slope 1. Of a wrong gradient no step helps: every curve ends on the same plateau.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import Array, scales, signed
from ._trial import Trial
from .complex_step import ComplexStep
from .differences import METHODS, Line

LEVELS = range(1, 44)  # h = 2^-level
COMPLEX = "complex step"


@dataclass(frozen=True)
class ErrorCurve:
    """Relative errors of a directional derivative.

    Attributes
    ----------
    array : str
        Name of the array that is moved, in a random direction.
    steps : array
        h, as a share of the size of what is moved.
    errors : dict of str to array
        By method: |numeric - analytic|, relative to the size of the gradient.
    """

    array: str
    steps: Array
    errors: dict[str, Array]

    def plot(self, axes: Any = None) -> Any:
        """Draw the curves with matplotlib; return the axes."""
        if axes is None:
            import matplotlib.pyplot as plt

            _, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
        # Colours of Okabe and Ito, which colour-blind readers can tell apart, and other dashes.
        looks = zip(
            ("#999999", "#0072B2", "#009E73", "#D55E00", "#CC79A7"),
            (":", "-", "--", "-.", "-"),
            strict=True,
        )
        for (name, values), (colour, dash) in zip(self.errors.items(), looks, strict=False):
            shown = np.maximum(values, np.finfo(float).eps / 16)  # 0 has no place on the axis
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
    array = trial.arrays[position]
    rng = np.random.default_rng(seed)
    direction = scales(array) * signed(rng, array.shape)
    gradient = trial.pull_back(dy)[position]
    assert gradient is not None
    parts = np.asarray(gradient, np.float64) * direction
    analytic, size = float(parts.sum()), float(np.sqrt(np.square(parts).sum())) or 1.0

    def change(t: float) -> tuple[Array, bool]:
        y, _ = trial.moved(position, t * direction)
        with np.errstate(all="ignore"):
            return dy * (y - trial.y), True

    line = Line(change, np.abs(dy * trial.y), float(np.finfo(trial.dtype).eps))
    halves = [line.halves(level) for level in (*LEVELS, LEVELS.stop, LEVELS.stop + 1)]
    odd = np.array([half[0].sum() for half in halves])
    even = np.array([half[1].sum() for half in halves])
    found = {"forward": odd[:-2] + even[:-2] / 2, "central": odd[:-2]}
    for name in ("five-point", "richardson"):
        # METHODS counts from the largest of three steps; the curve is drawn over that one.
        weights = METHODS[name][0]
        found[name] = sum(w * odd[i : len(odd) - 2 + i] for i, w in enumerate(weights))  # type: ignore[assignment]
    step = ComplexStep(trial, position)
    if step.proves(dy, direction, line):
        found[COMPLEX] = np.array(
            [step.slope(dy, direction, 2.0**-level).value for level in LEVELS]
        )
    errors = {name: np.abs(values - analytic) / size for name, values in found.items()}
    return ErrorCurve(trial.names[position], 2.0 ** -np.array(LEVELS, float), errors)
