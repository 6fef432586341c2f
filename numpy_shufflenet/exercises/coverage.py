"""What was tried: the sizes and settings that cases have covered, in a sentence."""

from collections import defaultdict
from typing import Any

import numpy as np

from numpy_shufflenet.exercises.attempt import Attempt
from numpy_shufflenet.exercises.cases import NEUTRAL, Case

SIZED = ("x", "w", "logits", "labels", "image")  # arrays whose shapes are told


class Coverage:
    """Collects cases."""

    def __init__(self) -> None:
        self.cases = 0
        self._spans: dict[str, set[Any]] = defaultdict(set)

    def add(self, case: Case) -> None:
        """Note a case."""
        self.cases += 1
        arrays, settings = case
        for name, array in arrays.items():
            if name == "b":
                self._spans["bias"].add(array is not None)
            elif isinstance(array, np.ndarray) and name in SIZED:
                self._spans[name].add(array.shape)
        for name, value in settings.items():
            if not callable(value):
                self._spans[name].add(value)

    def sentence(self, attempt: Attempt) -> str:
        """Say what was tried, and what wasn't because the function doesn't take it."""
        parts = []
        for name, values in self._spans.items():
            if name in SIZED:
                parts.append(f"{name} {_range_of(values)}")
            elif len(values) > 1 and name == "bias":
                parts.append("with and without bias")
            elif len(values) > 1:
                parts.append(f"{name} {', '.join(map(str, sorted(values, key=str)[:4]))}")
        said = f"right in all {self.cases} cases{': ' if parts else ''}{'; '.join(parts)}"
        if attempt.takes is None:
            return said
        left = [n for n in NEUTRAL if n in attempt.exercise.arguments and n not in attempt.takes]
        if not left:
            return said
        return f"{said}. Not tried, since your function doesn't take it: {', '.join(left)}"


def _range_of(shapes: set[tuple[int, ...]]) -> str:
    """Return "from 1×2 to 3×4" for shapes with as many axes, else the numbers of axes."""
    axes = sorted(len(shape) for shape in shapes)
    if axes[0] < axes[-1]:
        return f"of {axes[0]} to {axes[-1]} axes"
    low, high = (
        tuple(map(bound, *shapes)) if len(shapes) > 1 else min(shapes) for bound in (min, max)
    )
    return f"from {_times(low)} to {_times(high)}"


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
