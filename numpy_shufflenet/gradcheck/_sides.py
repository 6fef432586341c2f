"""Checks beside the differences: the same again is the same, and the backward is linear in dy."""

from collections.abc import Sequence

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.gradcheck._judge import Precision
from numpy_shufflenet.gradcheck._trial import Trial

ROUNDINGS = 1e4  # sums in another order differ by a few eps times the terms that cancel in them


def check_repeats(
    trial: Trial, dy: Array, gradients: Sequence[Array | None], precision: Precision
) -> str:
    """Return what is wrong if f or vjp give something else for the same arguments, else ""."""
    if not _equal(trial.evaluate({}), trial.y, precision):
        return "f gives different results for the same arrays"
    for name, first, second in zip(trial.names, gradients, trial.pull_back(dy), strict=True):
        if (first is None) != (second is None):
            return f"vjp gives a gradient of {name} at one time and None at another"
        if first is not None and second is not None and not _equal(first, second, precision):
            return f"vjp gives different gradients of {name} for the same arguments"
    return ""


def check_linear(
    trial: Trial,
    dys: Sequence[Array],
    gradients: Sequence[Sequence[Array | None]],
    precision: Precision,
) -> str:
    """Return what is wrong unless vjp(0) = 0 and vjp(2 dy - 3 dy') = 2 vjp(dy) - 3 vjp(dy')."""
    for name, gradient in zip(trial.names, trial.pull_back(0 * dys[0]), strict=True):
        if gradient is not None and gradient.any():
            return f"the gradient of {name} is not 0 for dy = 0"
    first, second = gradients[0], gradients[-1]
    both = trial.pull_back(2 * dys[0] - 3 * dys[-1])
    for name, one, other, mixed in zip(trial.names, first, second, both, strict=True):
        if one is None or other is None or mixed is None:
            continue
        terms = np.abs(one).max(initial=0.0) + np.abs(other).max(initial=0.0)
        # Where everything cancels, as in a shift before a batch normalisation, rounding of dy's
        # size is left; and dy is near 1 in size.
        allowed = ROUNDINGS * precision.eps * max(float(terms), 1.0)
        if not np.allclose(mixed, 2 * one - 3 * other, rtol=0, atol=allowed):
            return f"the gradient of {name} is not linear in dy"
    return ""


def _equal(a: Array, b: Array, precision: Precision) -> bool:
    size = float(max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)))
    return bool(np.allclose(a, b, rtol=0, atol=64 * precision.eps * size))
