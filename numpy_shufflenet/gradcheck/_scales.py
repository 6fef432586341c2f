"""How far each entry of an array moves, and in which random direction."""

import numpy as np

from numpy_shufflenet._typing import Array

FAR = 16  # times smaller than what is usual in its array: an entry with a scale of its own


def scales(array: Array) -> Array:
    """Return how far each entry moves at t = 1: its size, but not less than what is usual here.

    With a large offset, such as 1e5 + noise, a step of that size would leave the noise far behind,
    and with it all that y has to tell. Then it is the distance from the centre of the array, but
    not so little that the rounding of x itself would show.
    """
    sizes = np.abs(array).astype(np.float64)
    distances = np.abs(array - np.median(array)).astype(np.float64)
    visible = np.cbrt(np.finfo(array.dtype).eps) * sizes
    around_centre = np.maximum(_at_least_usual(distances), visible)
    return np.minimum(_at_least_usual(sizes), around_centre if distances.any() else np.inf)


def own_scales(array: Array, usual: Array) -> Array:
    """Return scales in which entries that are small among large ones move by their own size."""
    sizes = np.abs(array).astype(np.float64)
    return np.where((sizes > 0) & (sizes < usual / FAR), sizes, usual)


def _at_least_usual(sizes: Array) -> Array:
    usual = float(np.median(sizes[sizes > 0])) if sizes.any() else 1.0
    return np.maximum(sizes, usual)


def signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return random numbers between 0.5 and 1.5 in size, of either sign: none of them near 0."""
    return rng.uniform(0.5, 1.5, shape) * rng.choice((-1.0, 1.0), shape)
