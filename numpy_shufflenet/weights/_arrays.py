"""What all readers share: a bound on memory, and bfloat16, which NumPy lacks."""

import math
from collections.abc import Sequence

import numpy as np

from numpy_shufflenet._typing import Array

# The arrays of a file take at most RATIO times the bytes of the file, plus SPARE bytes.
RATIO = 16
SPARE = 2**20
MOST_AXES = 32
MOST_ARRAYS = 20_000  # in a file


class Allowance:
    """The memory that the arrays of a file may take, whatever its header claims.

    The arrays may be larger than the file, because members are compressed, half precision is
    widened, and tensors share a storage.
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
    """Raise if a file has so many arrays that reading it would take long."""
    if count > MOST_ARRAYS:
        raise ValueError(f"it has {count:,} arrays; at most {MOST_ARRAYS:,} are read")


def from_bfloat16(upper: Array) -> Array:
    """Return bfloat16 numbers as float32; they are the upper halves, given as uint16."""
    widened = np.array(upper, np.uint32, order="C")
    widened <<= 16
    return widened.view(np.float32)
