"""A network's loss as a function of its parameters, on one smooth piece after the other."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ._arrays import Array
from ._random import generators_of, keep_random

ROUNDINGS = 8
Loss = Callable[[Array], tuple[float, Array]]


class Network:
    """The copy under test: its loss as a function of whatever is in its parameters and in x."""

    def __init__(self, model: Any, x: Array, loss: Loss, training: bool) -> None:
        self.model = model.astype(np.float64)
        self.x = np.array(x, np.float64)
        self.loss = loss
        self.training = training
        self.evaluations = 0
        self._restore_random = keep_random(generators_of(self.model))
        self.last_step = 0  # number of the step that was clean for the entry before
        self.model.zero_gradients()
        self.value, dlogits = self._forward()
        self.pattern = self.model.activation_pattern()
        dx = self.model.backward(dlogits)
        self.gradients = {name: np.array(g) for name, g in self.model.gradients().items()}
        self.input_gradient = np.array(dx)
        self.rounding = self._rounding(dlogits)

    def _rounding(self, dlogits: Array) -> float:
        """Return what rounding may change in the loss: of itself, of the logits, of the weights."""
        weights = self.model.parameters()
        parts = [dlogits * self.logits]
        parts += [
            g * weights[name]
            for name, g in self.gradients.items()
            if not problem_of(weights[name], g)
        ]
        moved = sum(float(np.square(part).sum()) for part in parts)
        return float(ROUNDINGS * np.finfo(float).eps * (abs(self.value) + np.sqrt(moved)))

    def tensors(self, include_input: bool) -> Iterator[tuple[str, tuple[Array, Any]]]:
        """Yield name, (live array, gradient)."""
        for name, value in self.model.parameters().items():
            yield name, (value, self.gradients.get(name))
        if include_input:
            yield "x", (self.x, self.input_gradient)

    def repeats(self) -> bool:
        """Whether the same forward gives the same loss again."""
        again, _ = self._forward()
        return bool(abs(again - self.value) <= self.rounding)

    def clean_loss(self) -> float | None:
        """Return the loss, or None if it lies on another smooth piece."""
        value, _ = self._forward()
        pattern = self.model.activation_pattern()
        same = all(np.array_equal(a, b) for a, b in zip(pattern, self.pattern, strict=True))
        return value if same else None

    def gradient_here(self) -> list[Array]:
        """Return the gradient of every parameter at what is in the parameters now."""
        self.model.zero_gradients()
        _, dlogits = self._forward()
        self.pattern_here = [np.array(p) for p in self.model.activation_pattern()]
        self.model.backward(dlogits)
        return [np.array(gradient) for gradient in self.model.gradients().values()]

    def _forward(self) -> tuple[float, Array]:
        self._restore_random()  # dropout draws the same mask each time
        self.model.release()
        self.evaluations += 1
        self.logits = self.model.forward(self.x, training=self.training)
        value, dlogits = self.loss(self.logits)
        return float(value), dlogits


def problem_of(value: Array, gradient: Any) -> str:
    """Return what keeps a gradient from being one of this array, or ""."""
    if gradient is None:
        return "there is no gradient"
    if gradient.shape != value.shape:
        return f"the gradient has shape {gradient.shape}"
    if gradient.dtype != value.dtype:
        return f"the gradient has dtype {gradient.dtype}"
    if not np.isfinite(gradient).all():
        return "the gradient is not finite"
    return ""


def cross_entropy(labels: Array) -> Loss:
    """Return the usual loss of logits, softmax and cross-entropy, and its gradient."""
    # Imported here, so that checks of other functions need nothing but this room.
    from numpy_shufflenet.ops import softmax_cross_entropy_backward, softmax_cross_entropy_forward

    def loss(logits: Array) -> tuple[float, Array]:
        value, cache = softmax_cross_entropy_forward(logits, labels)
        return float(value), softmax_cross_entropy_backward(1.0, cache)

    return loss
