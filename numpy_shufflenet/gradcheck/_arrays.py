"""Helpers for arrays that the other files use: types, copies, and the scale of each entry."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
FAR = 16  # an entry this many times smaller than its usual scale has its own size as scale


def is_floating(array: Any) -> bool:
    """Whether this is an array of real floating-point numbers."""
    return isinstance(array, np.ndarray) and bool(np.issubdtype(array.dtype, np.floating))


def copies(arrays: Sequence[Any]) -> list[Any]:
    """Copy arrays in their memory layout; keep whatever is no array."""
    return [a.copy(order="K") if isinstance(a, np.ndarray) else a for a in arrays]


def all_equal(some: Sequence[Array], others: Sequence[Array]) -> bool:
    """Whether two sequences have the same length, and equal arrays at the same positions."""
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def norm(values: Array) -> float:
    """Return the root of the sum of squares, without overflow or underflow in the squares."""
    largest = float(np.abs(values).max(initial=0.0))
    if not 0 < largest < np.inf:
        return largest
    with np.errstate(under="ignore"):
        return largest * float(np.sqrt(np.square(values / largest).sum()))


def signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return numbers of random sign and of a random size from 0.5 to 1.5, so none is near 0."""
    return rng.uniform(0.5, 1.5, shape) * rng.choice((-1.0, 1.0), shape)


def scales(array: Array) -> Array:
    """Return the usual scale of each entry; a step h changes the entry by h times its scale.

    The scale is the size of the entry, or the median size in the array if that is larger. In an
    array with a large offset, such as 1e5 + noise, a step of this scale would change y too much.
    There the scale is the distance of the entry from the median, but large enough that rounding of
    the array does not matter.
    """
    sizes = np.abs(array).astype(np.float64)
    distances = np.abs(array - np.median(array)).astype(np.float64)
    if not distances.any():
        return _at_least_usual(sizes)
    visible = np.cbrt(np.finfo(array.dtype).eps) * sizes
    around_median = np.maximum(_at_least_usual(distances), visible)
    return np.minimum(_at_least_usual(sizes), around_median)


def own_scales(array: Array, usual: Array) -> Array:
    """Return the usual scales, but for small entries among large ones their own size."""
    sizes = np.abs(array).astype(np.float64)
    return np.where((sizes > 0) & (sizes < usual / FAR), sizes, usual)


def _at_least_usual(sizes: Array) -> Array:
    usual = float(np.median(sizes[sizes > 0])) if sizes.any() else 1.0
    return np.maximum(sizes, usual)


def index_of(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a flat position as an index of Python integers."""
    return tuple(int(i) for i in np.unravel_index(flat, shape))
