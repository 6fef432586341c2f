"""Random cases for tests, and small helpers to run operations on them."""

import copy
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from numpy_shufflenet.operations import Example, Operation
from numpy_shufflenet.strategies import LAYOUTS, DrawWithHypothesis, arrange, cases, seeds

__all__ = [
    "LAYOUTS",
    "argument_names",
    "arrange",
    "as_pair",
    "as_sides",
    "as_tuple",
    "cases",
    "cotangent_like",
    "hyperparameters",
    "images",
    "run",
    "seeds",
]


def as_pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def as_sides(padding: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)) of any form of padding."""
    vertical, horizontal = (padding, padding) if isinstance(padding, int) else padding
    return as_pair(vertical), as_pair(horizontal)


@st.composite
def images(
    draw: DrawFn,
    dtype: Any = None,
    max_size: int = 5,
    min_channels: int = 1,
    max_channels: int = 6,
    divisible_by: int = 1,
) -> np.ndarray:
    """Images (n, c, h, w) of normal numbers in any layout; divisible_by divides c."""
    make = DrawWithHypothesis(draw, dtype, max_size)
    low, high = -(-min_channels // divisible_by), max_channels // divisible_by
    return make(*make.image(divisible_by * make.integer(low, max(low, high))))


def hyperparameters(case: Example) -> dict[str, Any]:
    """A copy of a case's hyperparameters, so that its rng starts from the same state each time."""
    return copy.deepcopy(case.hyperparameters)


def run(operation: Operation, case: Example, implementation: str = "ops") -> tuple[Any, Any]:
    """y and cache of an operation's forward on one implementation."""
    return operation.forward(implementation)(*case.arrays, **hyperparameters(case))


def cotangent_like(y: Any, rng: np.random.Generator) -> Any:
    """A random dy for an output y: an array, a tuple of arrays, or a scalar."""
    if isinstance(y, tuple):
        return tuple(cotangent_like(part, rng) for part in y)
    return np.asarray(rng.normal(size=np.shape(y)), dtype=y.dtype)[()]


def as_tuple(gradients: Any) -> tuple[Any, ...]:
    """The gradients of any backward as a tuple."""
    return gradients if isinstance(gradients, tuple) else (gradients,)


def argument_names(operation: Operation, case: Example) -> tuple[str, ...]:
    """The name of each array of a case; repeated ones are numbered: arrays[0], arrays[1], ..."""
    return tuple(operation.named(case.arrays))
