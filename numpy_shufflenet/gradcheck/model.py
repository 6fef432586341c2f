"""A whole network: sampled entries of every parameter tensor, each tensor judged on its own.

One vector of all gradients would let the large tensors hide the small ones: an error in a BN shift
is nothing beside the weights of the first convolution.

A network of ReLUs consists of smooth pieces, and in training mode every weight moves every
activation. So each difference stays inside one piece: of the steps 1e-4, 1e-4 / 4, ... 6e-9 (times
the rms of the tensor, but at least 0.01: a shift that starts near 0 still acts on numbers near 1)
it takes the largest for which the activation pattern is the same at -h, 0 and +h. If there is none,
the entry lies on a kink; it is counted and left out.

An entry agrees if

    |analytic - numeric| <= tolerance * (largest |gradient| of its tensor) + floor
    floor = ROUNDINGS eps (|loss| + |dlogits logits| + |gradients parameters|) / h

If it does not, truncation may be the reason: the next step, 4 times smaller, has 16 times less of
it, and is tried as long as its floor stays below the tolerance.

The floor is what rounding leaves in numeric = (loss(+h) - loss(-h)) / 2h. Rounding of the loss, the
logits and the parameters moves the loss by eps times the terms in the brackets (|.| of a product is
the root of the sum of its squares); ROUNDINGS covers the layers between. A gradient of exactly 0,
such as that of a shift before batch normalisation, has no other allowance.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._arrays import Array, all_equal, index_of
from .layer import Replica
from .model_verdict import ModelVerdict, TensorRow, ratio
from .report import Entry, Status
from .settings import DEFAULTS, Settings

STEPS = tuple(1e-4 * 4.0**-k for k in range(8))
TOLERANCE = 1e-6
SMALLEST_SCALE = 1e-2
SPARE = 3  # entries drawn anew, per tensor, where the first ones lie on kinks
ROUNDINGS = 8
USEFUL = 1e-2  # a floor above this share of the largest gradient hides too much

Loss = Callable[[Array], tuple[float, Array]]


def check_model(
    model: Any,
    x: Array,
    labels: Array | None = None,
    *,
    loss: Loss | None = None,
    training: bool = True,
    entries: int = 3,
    include_input: bool = False,
    on_tensor: Callable[[TensorRow], None] | None = None,
    seed: int = 0,
    settings: Settings = DEFAULTS,
) -> ModelVerdict:
    """Compare a network's gradients with differences, in float64, tensor by tensor.

    Parameters
    ----------
    model : Layer
        Anything with forward, backward, parameters, gradients, zero_gradients, release, astype and
        activation_pattern. A float64 copy is checked; the model itself is not touched.
    x : array, shape (n, c, h, w)
    labels : integer array, shape (n,), optional
        For the usual loss, softmax and cross-entropy of the package numpy_shufflenet.
    loss : callable, optional
        logits -> (value, dlogits), instead of labels.
    training : bool
        Whether batch normalisation uses the statistics of the batch.
    entries : int
        Compared in each tensor: the one with the largest gradient, and others at random.
    include_input : bool
        Whether x is checked too, as one more row.
    on_tensor : callable, optional
        Called with each row as soon as it is there: a progress bar.
    seed : int
        For the random entries.
    settings : Settings
        Only `tolerance` is used: relative to the largest |gradient| of the tensor, 1e-6 if not
        given.

    Returns
    -------
    ModelVerdict
        One row per tensor; see there for the status.

    Raises
    ------
    ValueError
        If neither or both of labels and loss are given, entries is less than 1, or another field of
        the settings is set.
    """
    if entries < 1:
        raise ValueError(f"entries={entries!r} is not a whole number of at least 1")
    tolerance = settings.only("tolerance").tolerance or TOLERANCE
    start = time.perf_counter()
    network = Network(model, x, loss_of(labels, loss), training)
    rng = np.random.default_rng(seed)
    verdict = ModelVerdict(network.value, tolerance, training, deterministic=network.repeats())
    tensors = {
        name: (value, network.gradients.get(name)) for name, value in network.parameters.items()
    }
    if include_input:
        tensors["x"] = network.x, network.input_gradient
    for name, tensor in tensors.items():
        row = _check_tensor(network, name, tensor, entries, tolerance, rng)
        verdict.rows.append(row)
        verdict.evaluations = network.evaluations
        verdict.seconds = time.perf_counter() - start
        if on_tensor is not None:
            on_tensor(row)
    return verdict


def loss_of(labels: Array | None, loss: Loss | None) -> Loss:
    """Return a loss of logits: the given one, or the usual one of labels."""
    if (labels is None) == (loss is None):
        raise ValueError("give either labels, for softmax and cross-entropy, or a loss")
    if loss is not None:
        return loss
    # Imported here, so that all other checks need nothing but this folder.
    from numpy_shufflenet.ops import softmax_cross_entropy_backward, softmax_cross_entropy_forward

    def cross_entropy(logits: Array) -> tuple[float, Array]:
        value, cache = softmax_cross_entropy_forward(logits, np.asarray(labels))
        return float(value), softmax_cross_entropy_backward(1.0, cache)

    return cross_entropy


class Network(Replica):
    """A float64 copy of a network: its loss as a function of its live parameters and x."""

    def __init__(self, model: Any, x: Array, loss: Loss, training: bool) -> None:
        super().__init__(model, np.float64, training)
        self.x = np.array(x, np.float64)
        self._loss = loss
        self.evaluations = 0
        self.last_step = 0  # number of the step that was clean for the entry before
        self.value = self.loss()
        self._choices = self.choices  # at the point
        dx, gradients = self.backward(self._dlogits)
        self.input_gradient = np.array(dx)
        self.gradients = {name: np.array(gradient) for name, gradient in gradients.items()}
        self.rounding = self._rounding()

    def loss(self) -> float:
        """Return the loss at what is in the parameters now; keep the choices made there."""
        self.evaluations += 1
        self._logits = self.forward(self.x)
        self.choices = self.pattern()
        value, self._dlogits = self._loss(self._logits)
        return float(value)

    def gradients_here(self) -> dict[str, Array]:
        """Return the gradients at what is in the parameters now, by name."""
        self.loss()
        return self.backward(self._dlogits)[1]

    def _rounding(self) -> float:
        """Return what rounding may change in the loss: of itself, of the logits, of the weights."""
        parts = [self._dlogits * self._logits]
        parts += [
            gradient * self.parameters[name]
            for name, gradient in self.gradients.items()
            if not _problem_of(self.parameters[name], gradient)
        ]
        moved = sum(float(np.square(part).sum()) for part in parts)
        return float(ROUNDINGS * np.finfo(float).eps * (abs(self.value) + np.sqrt(moved)))

    def repeats(self) -> bool:
        """Whether the same forward gives the same loss again."""
        return bool(abs(self.loss() - self.value) <= self.rounding)

    def clean_loss(self) -> float | None:
        """Return the loss, or None if it lies on another smooth piece."""
        value = self.loss()
        return value if all_equal(self.choices, self._choices) else None


def _problem_of(value: Array, gradient: Any) -> str:
    """Return what keeps a gradient from being one of this array, or ""."""
    if gradient is None:
        return "there is no gradient"
    for what in ("shape", "dtype"):
        if getattr(gradient, what) != getattr(value, what):
            return f"the gradient has {what} {getattr(gradient, what)}"
    return "" if np.isfinite(gradient).all() else "the gradient is not finite"


class _Difference(NamedTuple):
    """A central difference of the loss."""

    numeric: float
    floor: float
    number: int  # of its step in STEPS


def _check_tensor(
    network: Network,
    name: str,
    tensor: tuple[Array, Any],
    entries: int,
    tolerance: float,
    rng: np.random.Generator,
) -> TensorRow:
    value, gradient = tensor
    if problem := _problem_of(value, gradient):
        return TensorRow(name, value.shape, "fail", reason=problem)
    largest = float(np.abs(gradient).max(initial=0.0))
    found: list[tuple[Entry, float]] = []  # with what it is allowed
    tried = kinks = 0
    for flat in _chosen(gradient, entries + SPARE, rng):
        if tried - kinks >= entries or tried == entries + SPARE:
            break
        index = index_of(flat, value.shape)
        tried += 1
        # Starting one step above what was clean for the entry before saves most of the forwards.
        slope = _difference(network, value, index, max(network.last_step - 1, 0))
        if slope is None:
            kinks += 1
            continue
        analytic, slack = float(gradient[index]), tolerance * largest
        while abs(analytic - slope.numeric) > slack + slope.floor:
            smaller = _difference(network, value, index, slope.number + 1)
            if smaller is None or smaller.floor > slack:
                break
            slope = smaller
        entry = Entry(name, index, analytic, slope.numeric, slope.floor)
        found.append((entry, slack + slope.floor))
    status: Status = "pass"
    reason, worst, allowed = "", None, 0.0
    if not found:
        status, reason = "kink", "every entry tried lies on a kink"
    else:
        worst, allowed = max(found, key=lambda pair: ratio(pair[0].difference, pair[1]))
        if any(not entry.difference <= most for entry, most in found):  # NaN is wrong
            status, reason = "fail", str(worst)
        # A gradient of 0 has no size to compare the floor with, and the floor is all of it.
        elif worst.error > USEFUL * largest > worst.error * USEFUL:
            status, reason = "imprecise", "rounding is too large beside the gradient"
    return TensorRow(name, value.shape, status, tried, kinks, worst, allowed, largest, reason)


def _difference(
    network: Network, value: Array, index: tuple[int, ...], first: int
) -> _Difference | None:
    """Return the central difference of the largest clean step from STEPS[first] on."""
    scale = max(float(np.sqrt(np.mean(np.square(value)))), SMALLEST_SCALE)
    before = value[index]

    def clean(step: float) -> tuple[float, float] | None:
        value[index] = before + step
        place = float(value[index])  # rounding moves it a little
        loss = network.clean_loss()
        return None if loss is None else (place, loss)

    try:
        for number in range(first, len(STEPS)):
            step = STEPS[number] * scale
            if (right := clean(step)) and (left := clean(-step)):
                network.last_step = number
                width = right[0] - left[0]
                return _Difference(
                    (right[1] - left[1]) / width, network.rounding / (width / 2), number
                )
    finally:
        value[index] = before
    return None


def _chosen(gradient: Array, count: int, rng: np.random.Generator) -> list[int]:
    """Return flat positions, none twice: the largest gradient, then random ones."""
    largest = int(np.abs(gradient).argmax())
    others = rng.permutation(gradient.size)[:count].tolist()
    return [largest, *(i for i in others if i != largest)]
