"""A whole network: sampled entries of every parameter tensor, each tensor judged on its own.

One vector of all gradients would let the large tensors hide the small ones: an error in a BN shift
is nothing beside the weights of the first convolution.

A network of ReLUs is made of smooth pieces, and training mode lets every weight move every
activation. So each difference is taken inside of one piece: of the steps 1e-4, 1e-4 / 4, ... 6e-9
(times the tensor's rms, but at least 0.01: a shift that starts near 0 still acts on numbers near 1)
the largest for which the activation pattern is the same at -h, 0 and +h. An entry for which none is
clean lies on a kink; it is counted and left out.

An entry agrees if

    |analytic - numeric| <= tolerance * (largest |gradient| of its tensor) + floor
    floor = ROUNDINGS eps (|loss| + |dlogits logits| + |gradients parameters|) / h

If it doesn't, the reason may be truncation: the next step, 4 times smaller, has 16 times less, and
is tried as long as its floor stays below the tolerance.

The floor is what rounding leaves in numeric = (loss(+h) - loss(-h)) / 2h. Were only the loss, the
logits and the parameters rounded, the loss would move by eps times the terms in the brackets (with
|.| of products the root of the sum of squares); ROUNDINGS covers all the layers between. For a
gradient that is exactly 0, such as that of a shift before another batch normalisation, the floor
is all there is.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.gradcheck._random import generators_of, keep_random
from numpy_shufflenet.gradcheck.model_verdict import ModelVerdict, TensorRow

STEPS = tuple(1e-4 * 4.0**-k for k in range(8))
SMALLEST_SCALE = 1e-2
ROUNDINGS = 8
SPARE = 3  # entries drawn anew, per tensor, where the first ones lie on kinks

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
    tolerance: float = 1e-6,
    seed: int = 0,
    on_tensor: Callable[[TensorRow], None] | None = None,
) -> ModelVerdict:
    """Compare a network's gradients with differences, in float64, tensor by tensor.

    Parameters
    ----------
    model : Layer
        Anything with forward, backward, parameters, gradients, zero_gradients, release, astype and
        activation_pattern. A float64 copy is checked; the model itself is not touched.
    x : array, shape (n, c, h, w)
    labels : integer array, shape (n,), optional
        For the usual loss, softmax and cross-entropy.
    loss : callable, optional
        logits -> (value, dlogits), instead of labels.
    training : bool
        Whether batch normalisation uses the statistics of the batch.
    entries : int
        Compared in each tensor: the one with the largest gradient, and others at random.
    include_input : bool
        Whether x is checked too, as one more row.
    tolerance : float
        Relative to the largest |gradient| of the tensor.
    seed : int
        Of the random entries.
    on_tensor : callable, optional
        Called with each row as soon as it is there: a progress bar.

    Returns
    -------
    ModelVerdict
        One row per tensor; see there for the status.

    Raises
    ------
    ValueError
        If neither or both of labels and loss are given, or entries is less than 1.
    """
    if (labels is None) == (loss is None):
        raise ValueError("give either labels, for softmax and cross-entropy, or a loss")
    if entries < 1:
        raise ValueError(f"entries={entries!r} is not a whole number of at least 1")
    start = time.perf_counter()
    network = _Network(model, x, loss or _cross_entropy(np.asarray(labels)), training)
    rng = np.random.default_rng(seed)
    verdict = ModelVerdict(loss=network.value, tolerance=tolerance, training=training)
    if not network.repeats():
        verdict.deterministic = False
    for name, tensor in network.tensors(include_input):
        row = _check_tensor(network, name, tensor, entries, tolerance, rng)
        verdict.rows.append(row)
        verdict.evaluations = network.evaluations
        verdict.seconds = time.perf_counter() - start
        if on_tensor is not None:
            on_tensor(row)
    return verdict


class _Network:
    """The copy under test: its loss as a function of whatever is in its parameters and in x."""

    def __init__(self, model: Any, x: Array, loss: Loss, training: bool) -> None:
        self.model = model.astype(np.float64)
        self.x = np.array(x, np.float64)
        self.loss = loss
        self.training = training
        self.evaluations = 0
        self._restore_random = keep_random(generators_of(self.model))
        self.last_step = 0  # index into STEPS that was clean for the entry before
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
            if not _problem(weights[name], g)
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

    def _forward(self) -> tuple[float, Array]:
        self._restore_random()  # dropout draws the same mask each time
        self.model.release()
        self.evaluations += 1
        self.logits = self.model.forward(self.x, training=self.training)
        value, dlogits = self.loss(self.logits)
        return float(value), dlogits


def _check_tensor(
    network: _Network,
    name: str,
    tensor: tuple[Array, Any],
    entries: int,
    tolerance: float,
    rng: np.random.Generator,
) -> TensorRow:
    value, gradient = tensor
    row = TensorRow(name, value.shape)
    problem = _problem(value, gradient)
    if problem:
        row.status, row.reason = "fail", problem
        return row
    row.largest_gradient = float(np.abs(gradient).max(initial=0.0))
    for flat in _chosen(gradient, entries + SPARE, rng):
        if row.entries - row.kinks >= entries or row.entries == entries + SPARE:
            break
        index = tuple(int(i) for i in np.unravel_index(flat, value.shape))
        row.entries += 1
        # Starting one step above what was clean for the entry before saves most of the forwards.
        found = _difference(network, value, index, max(network.last_step - 1, 0))
        if found is None:
            row.kinks += 1
            continue
        analytic, slack = float(gradient[index]), tolerance * row.largest_gradient
        while abs(analytic - found.numeric) > slack + found.floor:
            smaller = _difference(network, value, index, found.number + 1)
            if smaller is None or smaller.floor > slack:
                break
            found = smaller
        row.add(index, analytic, found.numeric, found.floor, tolerance)
    row.conclude()
    return row


class _Difference(NamedTuple):
    numeric: float
    floor: float
    number: int  # of its step in STEPS


def _difference(
    network: _Network, value: Array, index: tuple[int, ...], first: int
) -> _Difference | None:
    """Return the central difference of the largest clean step from STEPS[first] on."""
    scale = max(float(np.sqrt(np.mean(np.square(value)))), SMALLEST_SCALE)
    before = value[index]
    try:
        for number in range(first, len(STEPS)):
            losses, places = [], []
            for sign in (1, -1):
                value[index] = before + sign * STEPS[number] * scale
                places.append(float(value[index]))  # rounding moves it a little
                losses.append(network.clean_loss())
                if losses[-1] is None:
                    break
            if None not in losses:
                network.last_step = number
                width = places[0] - places[1]
                floor = network.rounding / (width / 2)
                numeric = (losses[0] - losses[1]) / width  # type: ignore[operator]
                return _Difference(numeric, floor, number)
    finally:
        value[index] = before
    return None


def _chosen(gradient: Array, count: int, rng: np.random.Generator) -> list[int]:
    """Return flat positions, none twice: the largest gradient, then random ones."""
    largest = int(np.abs(gradient).argmax())
    others = rng.permutation(gradient.size)[:count].tolist()
    return [largest, *(i for i in others if i != largest)]


def _problem(value: Array, gradient: Any) -> str:
    if gradient is None:
        return "there is no gradient"
    if gradient.shape != value.shape:
        return f"the gradient has shape {gradient.shape}"
    if gradient.dtype != value.dtype:
        return f"the gradient has dtype {gradient.dtype}"
    if not np.isfinite(gradient).all():
        return "the gradient is not finite"
    return ""


def _cross_entropy(labels: Array) -> Loss:
    # Imported here, so that checks of other functions need nothing but this room.
    from numpy_shufflenet.ops import softmax_cross_entropy_backward, softmax_cross_entropy_forward

    def loss(logits: Array) -> tuple[float, Array]:
        value, cache = softmax_cross_entropy_forward(logits, labels)
        return float(value), softmax_cross_entropy_backward(1.0, cache)

    return loss
