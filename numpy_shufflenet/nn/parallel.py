"""Layers side by side, whose outputs are added: parallel branches, and shortcuts."""

import math
from typing import Any

from numpy_shufflenet import backend
from numpy_shufflenet.nn.layer import Layer


class Sum(Layer):
    """y = branch_1(x) + branch_2(x) + ...; an empty `Sequential()` is a shortcut.

    Parameters
    ----------
    *branches : Layer
        At least one; all return arrays of one shape. Each is named by its number.

    Source: He et al., Deep residual learning for image recognition, 2016, section 3.2.
    """

    def __init__(self, *branches: Layer):
        super().__init__()
        if not branches:
            raise ValueError("a Sum of no branches; at least one is needed")
        self._branches = branches

    def _forward(self, x: Any, training: bool) -> Any:
        first, *rest = self._branches
        y = first.forward(x, training=training)
        for branch in rest:
            part = branch.forward(x, training=training)
            if part.shape != y.shape:
                raise ValueError(f"a branch returned shape {part.shape}, but the first {y.shape}")
            y, _ = backend.forward("add", y, part)
        return y

    def _backward(self, dy: Any) -> Any:
        first, *rest = self._branches
        dx = first.backward(dy)
        for branch in rest:
            dx, _ = backend.forward("add", dx, branch.backward(dy))
        return dx

    def own_additions(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, int]:
        """One array less than there are branches; backward as well."""
        times = len(self._branches) - 1
        return times * math.prod(y), times * math.prod(x)

    def children(self) -> dict[str, Layer]:
        """Return the branches by number: "0", "1", ..."""
        return {str(number): branch for number, branch in enumerate(self._branches)}
