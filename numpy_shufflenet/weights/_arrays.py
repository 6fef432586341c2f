"""What all readers share: a bound on memory, and numbers that NumPy lacks."""

import math
from collections.abc import Sequence

import numpy as np

from numpy_shufflenet._typing import Array

RATIO = 16  # bytes that are allocated for each byte of a file, at the most
SPARE = 2**20  # bytes that any file may take
MOST_AXES = 32
MOST_ARRAYS = 20_000  # in a file


class Allowance:
    """How much memory the arrays of a file may take, so that no header makes us allocate more.

    A file may hold less than its arrays: members are compressed, half precision is widened, and
    tensors share a storage.
    """

    def __init__(self, file_size: int):
        self.left = RATIO * file_size + SPARE

    def spend(self, name: str, shape: Sequence[int], itemsize: int) -> None:
        """Raise unless an array of this shape still fits; call this before it is allocated."""
        size = math.prod(shape) * itemsize
        if size > self.left or len(shape) > MOST_AXES:
            shown = f"shape {tuple(shape)}" if len(shape) <= MOST_AXES else f"{len(shape)} axes"
            raise ValueError(
                f"{name} claims {shown:.60}, {size:.3g} bytes; the file is too small for that"
            )
        self.left -= size


def check_count(count: int) -> None:
    """Raise if a file has so many arrays that reading them takes long."""
    if count > MOST_ARRAYS:
        raise ValueError(f"it has {count:,} arrays; {MOST_ARRAYS:,} are read at the most")


def from_bfloat16(upper: Array) -> Array:
    """Return float32 for bfloat16 that is given as uint16: the upper half of a float32."""
    widened = np.array(upper, np.uint32, order="C")
    widened <<= 16
    return widened.view(np.float32)
