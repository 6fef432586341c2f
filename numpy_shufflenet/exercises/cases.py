"""What an exercise is tried on: cases by name, and the values that do nothing."""

from collections.abc import Collection
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from numpy_shufflenet.operations import find
from numpy_shufflenet.strategies import DrawForStudents

Case = tuple[dict[str, Any], dict[str, Any]]
"""Arrays and hyperparameters, by name."""

NEUTRAL: dict[str, Any] = {
    "b": None,
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "groups": 1,
    "eps": 1e-5,
    "count_include_pad": True,
    "align_corners": False,
    "label_smoothing": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "warmup": 0,
    "fill": 0.0,
}
"""The value of an argument that a function doesn't take."""


def case_of(operation: str, draw: DrawForStudents) -> Case:
    """Draw one case of an operation."""
    known = find(operation)
    arrays, hyperparameters = known.draw(draw)
    return known.named(arrays), hyperparameters


def named_cases(operation: str, takes: Collection[str] | None = None) -> SearchStrategy[Case]:
    """Return cases of an operation for a function that takes these arguments."""

    @st.composite
    def case(draw: DrawFn) -> Case:
        return case_of(operation, DrawForStudents(draw, takes))

    return case()
