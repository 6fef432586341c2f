"""Sums of many numbers, precise for every layout in memory.

NumPy adds pairwise only along the axis that lies contiguous in memory; along any other it adds one
number after the other, and in float32 the rounding errors grow with their count. So a sum of many
numbers of float32 is made in float64 here, and rounded once at its end.
"""

import math
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array

FEW = 128  # terms that are as precise one after the other: NumPy's pairwise sums start from as many
BLOCK = 1024  # terms that a matrix product adds up in the dtype of its matrices


def sum_over(x: Array, axes: tuple[int, ...]) -> Array:
    """Add up x along some axes, pairwise, in float64; the result has the dtype of x."""
    return np.asarray(_total(x, axes)).astype(x.dtype)


def mean_over(x: Array, axes: tuple[int, ...]) -> Array:
    """Return the mean along some axes, as precise as `sum_over`."""
    count = math.prod(x.shape[axis] for axis in axes)
    return np.asarray(_total(x, axes) / count).astype(x.dtype)


def _total(x: Array, axes: tuple[int, ...]) -> Any:
    """Write what is added up as contiguous rows, and add up these."""
    inner = sorted(axes, key=lambda axis: -abs(x.strides[axis]))  # as they lie, if they can
    moved = np.moveaxis(x, inner, range(-len(axes), 0))
    kept = moved.shape[: x.ndim - len(axes)]
    rows = np.ascontiguousarray(moved).reshape(*kept, math.prod(moved.shape[len(kept) :]))
    return rows.sum(axis=-1, dtype=wide(x.dtype))


def product(a: Array, b: Array) -> Array:
    """Return a @ b, (..., o, m) @ (..., m, d); sums of blocks of terms are added in float64."""
    terms = a.shape[-1]
    with np.errstate(invalid="ignore"):  # BLAS multiplies infinity by what it fills up with, too
        if terms <= BLOCK:
            return np.asarray(a @ b)
        blocks = (slice(start, start + BLOCK) for start in range(0, terms, BLOCK))
        total = sum((a[..., k] @ b[..., k, :]).astype(wide(a.dtype)) for k in blocks)
    return np.asarray(total, a.dtype)


def wide(dtype: np.dtype[Any], terms: int = FEW + 1) -> np.dtype[Any]:
    """Return the dtype in which so many terms are added one by one: float64, or complex128."""
    return dtype if terms <= FEW else np.result_type(dtype, np.float64)
