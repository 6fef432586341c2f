"""A sentence about what was tested: the sizes and settings of all cases (arguments of calls)."""

from collections import defaultdict
from typing import Any

import numpy as np

from numpy_shufflenet.exercises.attempt import Attempt
from numpy_shufflenet.exercises.exercise import NEUTRAL, Case
from numpy_shufflenet.locale import _

SIZED = ("x", "w", "logits", "labels", "image")  # the sentence gives the shapes of these arrays


class Coverage:
    """Collects the shapes and settings of cases."""

    def __init__(self) -> None:
        self.cases = 0
        self._values: dict[str, set[Any]] = defaultdict(set)  # values or shapes of each argument

    def add(self, case: Case) -> None:
        """Note a case."""
        self.cases += 1
        arrays, settings = case
        for name, array in arrays.items():
            if name == "b":
                self._values["bias"].add(array is not None)
            elif isinstance(array, np.ndarray) and name in SIZED:
                self._values[name].add(array.shape)
        for name, value in settings.items():
            if not callable(value) and not isinstance(value, dict):
                self._values[name].add(value)

    def sentence(self, attempt: Attempt) -> str:
        """Return what was tested, and which arguments weren't because the function lacks them."""
        parts = []
        for name, values in self._values.items():
            if name in SIZED and all(isinstance(value, tuple) for value in values):
                parts.append(_range_of(name, values))
            elif len(values) > 1 and name == "bias":
                parts.append(_("with and without bias"))
            elif len(values) > 1:
                parts.append(f"{name} {', '.join(map(str, sorted(values, key=str)[:4]))}")
        tested = _("; ").join(parts)
        said = (
            _("right in all {count} cases: {tested}") if parts else _("right in all {count} cases")
        )
        said = said.format(count=self.cases, tested=tested)
        optional = NEUTRAL.keys() - (attempt.takes if attempt.takes is not None else NEUTRAL)
        left = [name for name in attempt.exercise.arguments if name in optional]
        if not left:
            return said
        also = _("{said}. Not tried, since your function doesn't take it: {names}")
        return also.format(said=said, names=", ".join(left))


def _range_of(name: str, shapes: set[tuple[int, ...]]) -> str:
    """Return "x from 1×2 to 3×4" if all shapes have equally many axes, else the range of axes."""
    axes = sorted(map(len, shapes))
    if axes[0] < axes[-1]:
        return _("{name} of {low} to {high} axes").format(name=name, low=axes[0], high=axes[-1])
    by_axis = list(zip(*shapes, strict=True))
    low, high = ("×".join(str(bound(sizes)) for sizes in by_axis) for bound in (min, max))
    return _("{name} from {low} to {high}").format(name=name, low=low, high=high)
