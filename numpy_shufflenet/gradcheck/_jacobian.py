"""The whole Jacobian, twice: as the backward has it, and as differences have it."""

import numpy as np

from ._arrays import Array, scales
from ._trial import Trial
from .differences import Line

LARGEST = 2_000_000  # entries of a Jacobian
MOST_CALLS = 2500
LEVEL = 9  # h = 2^-9, 2^-10 and 2^-11


def too_large(trial: Trial, position: int) -> bool:
    """Whether the Jacobian of y in one array is too much to compute."""
    columns, rows = trial.arrays[position].size, trial.y.size
    return bool(columns * rows > LARGEST or columns + rows > MOST_CALLS)


def analytic(trial: Trial, position: int) -> Array:
    """Ask vjp for every row: (y.size, x.size)."""
    rows = np.empty((trial.y.size, trial.arrays[position].size))
    unit = np.zeros(trial.y.size)
    for k in range(len(rows)):
        unit[k] = 1
        gradient = trial.pull_back(unit)[position]
        assert gradient is not None
        rows[k] = gradient.ravel()
        unit[k] = 0
    return rows


def numeric(trial: Trial, position: int) -> tuple[Array, Array]:
    """Measure every column by differences: (y.size, x.size); and what each entry may be off by."""
    array = trial.arrays[position]
    columns = np.empty((trial.y.size, array.size))
    errors = np.empty_like(columns)
    all_scales = scales(array).ravel()
    for flat, scale in enumerate(all_scales):
        direction = np.zeros(array.size)
        direction[flat] = scale
        step = direction.reshape(array.shape)

        def change(t: float, step: Array = step) -> tuple[Array, bool]:
            return trial.moved(position, t * step)[0] - trial.y, True

        line = Line(change, np.abs(trial.y), float(np.finfo(trial.dtype).eps))
        value, error = line.vector(LEVEL)
        columns[:, flat], errors[:, flat] = value / scale, error / scale
    return columns, errors
