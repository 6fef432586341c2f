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
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._arrays import Array
from ._network import Loss, Network, cross_entropy, problem_of
from .model_verdict import ModelVerdict, TensorRow
from .settings import DEFAULTS, Settings

STEPS = tuple(1e-4 * 4.0**-k for k in range(8))
TOLERANCE = 1e-6
SMALLEST_SCALE = 1e-2
SPARE = 3  # entries drawn anew, per tensor, where the first ones lie on kinks


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
        For the usual loss, softmax and cross-entropy.
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
        Of the random entries.
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
        If neither or both of labels and loss are given, entries is less than 1, or settings have
        other fields.
    """
    if (labels is None) == (loss is None):
        raise ValueError("give either labels, for softmax and cross-entropy, or a loss")
    if entries < 1:
        raise ValueError(f"entries={entries!r} is not a whole number of at least 1")
    settings.must_be_default_except("tolerance")
    tolerance = TOLERANCE if settings.tolerance is None else settings.tolerance
    start = time.perf_counter()
    network = Network(model, x, loss or cross_entropy(np.asarray(labels)), training)
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


def _check_tensor(
    network: Network,
    name: str,
    tensor: tuple[Array, Any],
    entries: int,
    tolerance: float,
    rng: np.random.Generator,
) -> TensorRow:
    value, gradient = tensor
    row = TensorRow(name, value.shape)
    problem = problem_of(value, gradient)
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
    network: Network, value: Array, index: tuple[int, ...], first: int
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
