"""Sums of many numbers, precise for every layout in memory.

NumPy adds pairwise only along the axis that is contiguous in memory. Along any other axis it adds
one number after the other, and in float32 the rounding error grows with the number of terms. So
this file adds many float32 numbers in float64, and rounds the sum once at the end.
"""

import math
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array

FEW = 128  # terms; also in NumPy's pairwise sums, blocks of this many are added one by one
BLOCK = 1024  # terms that one matrix product adds up in the dtype of its matrices


def sum_over(x: Array, axes: tuple[int, ...]) -> Array:
    """Add up x along some axes, pairwise, in float64; the result has the dtype of x."""
    return np.asarray(_total(x, axes)).astype(x.dtype)


def mean_over(x: Array, axes: tuple[int, ...]) -> Array:
    """Return the mean along some axes, as precise as `sum_over`."""
    count = math.prod(x.shape[axis] for axis in axes)
    return np.asarray(_total(x, axes) / count).astype(x.dtype)


def _total(x: Array, axes: tuple[int, ...]) -> Any:
    """Arrange the terms of each sum as one contiguous row, and add up each row."""
    inner = sorted(axes, key=lambda axis: -abs(x.strides[axis]))  # may avoid a copy
    moved = np.moveaxis(x, inner, range(-len(axes), 0))
    kept = moved.shape[: x.ndim - len(axes)]
    rows = np.ascontiguousarray(moved).reshape(*kept, math.prod(moved.shape[len(kept) :]))
    return rows.sum(axis=-1, dtype=wide(x.dtype))


def product(a: Array, b: Array) -> Array:
    """Return a @ b, (..., o, m) @ (..., m, d); sums of blocks of terms are added in float64."""
    terms = a.shape[-1]
    with np.errstate(invalid="ignore"):  # BLAS may multiply infinity by its padding zeros
        if terms <= BLOCK:
            return np.asarray(a @ b)
        blocks = (slice(start, start + BLOCK) for start in range(0, terms, BLOCK))
        total = sum((a[..., k] @ b[..., k, :]).astype(wide(a.dtype)) for k in blocks)
    return np.asarray(total, a.dtype)


def wide(dtype: np.dtype[Any], terms: int = FEW + 1) -> np.dtype[Any]:
    """Return `dtype` for few terms; else float64 or complex128, to add many terms precisely."""
    return dtype if terms <= FEW else np.result_type(dtype, np.float64)
