"""The few type names that every package shares."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""A NumPy array; shapes and dtypes stand in the docstrings."""

IntOrPair: TypeAlias = int | Sequence[int]
"""One number for both axes, or a (height, width) pair."""

Padding: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]]
"""One number, a (height, width) pair, or ((top, bottom), (left, right))."""
