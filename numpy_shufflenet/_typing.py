"""The type names that all packages share."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""A NumPy array; docstrings give the shape and dtype."""

IntOrPair: TypeAlias = int | Sequence[int]
"""One number for both axes, or a (height, width) pair."""

Padding: TypeAlias = int | Sequence[int] | Sequence[Sequence[int]]
"""One number, a (height, width) pair, or ((top, bottom), (left, right))."""
