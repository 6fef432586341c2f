"""Arrays that belong to a layer: parameters, which training changes, and buffers."""

from collections.abc import Callable

import numpy as np

from numpy_shufflenet._typing import Array


class Parameter:
    """A learned array, and its accumulated gradient.

    Attributes
    ----------
    frozen : bool
        Whether gradients are ignored; see `Layer.frozen`, which sets it.
    """

    frozen = False

    def __init__(self, value: Array):
        self.value = value
        self._gradient: Array | None = None
        #: If set, called after each `accumulate`.
        self.listener: Callable[[Parameter], None] | None = None

    @property
    def gradient(self) -> Array:
        """The sum of all gradients since the last `zero_gradient`; zeros if there were none."""
        if self._gradient is None:
            self._gradient = np.zeros_like(self.value)
        return self._gradient

    def accumulate(self, gradient: Array) -> None:
        """Add a gradient; an array that `gradient` has returned before doesn't change."""
        if not self.frozen:
            self._gradient = gradient if self._gradient is None else self._gradient + gradient
        if self.listener is not None:
            self.listener(self)

    def zero_gradient(self) -> None:
        """Forget the gradient."""
        self._gradient = None


class Buffer:
    """An array that is saved with the parameters, but not learned."""

    def __init__(self, value: Array):
        self.value = value
