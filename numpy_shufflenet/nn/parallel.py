"""Layers side by side on one input: parallel branches, and shortcuts."""

import math
from typing import Any

from numpy_shufflenet import backend
from numpy_shufflenet.nn.fusion import Chain
from numpy_shufflenet.nn.layer import Layer


class Branches:
    """Runs each branch on the same x; backward adds up the gradients that the branches return."""

    def __init__(self, *branches: Layer | Chain):
        if not branches:
            raise ValueError("there are no branches; at least one is needed")
        self.branches = branches

    def forward(self, x: Any, *, training: bool) -> tuple[Any, ...]:
        """Return the output of each branch."""
        return tuple(branch.forward(x, training=training) for branch in self.branches)

    def backward(self, dy: tuple[Any, ...]) -> Any:
        """Return the gradient of x for the gradient of each output."""
        first, *rest = zip(self.branches, dy, strict=True)
        dx = first[0].backward(first[1])
        for branch, gradient in rest:
            dx, _ = backend.forward("add", dx, branch.backward(gradient))
        return dx


class Parallel(Layer):
    """x -> a tuple of what each branch returns; backward takes such a tuple.

        y = x + branch(x):    Sequential(Parallel(Sequential(), branch), Add())

    Parameters
    ----------
    *branches : Layer
        At least one. Each is named by its number. An empty `Sequential()` is a shortcut.

    Raises
    ------
    ValueError
        If there is no branch.

    Source: He et al., Deep residual learning for image recognition, 2016, section 3.2.
    """

    def __init__(self, *branches: Layer):
        super().__init__()
        self._layers = branches
        self._branches = Branches(*branches)

    def _forward(self, x: Any, training: bool) -> Any:
        return self._branches.forward(x, training=training)

    def _backward(self, dy: Any) -> Any:
        return self._branches.backward(dy)

    def own_additions(self, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, int]:
        """Backward adds one gradient of x for each branch after the first."""
        return 0, (len(self._layers) - 1) * math.prod(x)

    def children(self) -> dict[str, Layer]:
        """Return the branches by number: "0", "1", ..."""
        return {str(number): layer for number, layer in enumerate(self._layers)}
