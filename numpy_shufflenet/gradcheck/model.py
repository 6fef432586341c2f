"""A whole network: sampled entries of every parameter tensor, each tensor judged on its own.

If all gradients were compared as one vector, large tensors would hide small ones: nobody would see
an error in the shift of a batch normalisation beside the weights of the first convolution.

A network of ReLUs is smooth between its kinks (points without a derivative), and in training mode
every weight changes every activation. A difference must not cross a kink. So of the steps 1e-4,
1e-4 / 4, ... 6e-9, the check takes the largest for which the activation pattern is the same at -h,
0 and +h. If there is no such step, the entry lies on a kink; the check counts the entry, but does
not compare it. Steps are relative to the rms of the tensor. The rms counts as at least 0.01,
because a shift near 0 still acts on numbers near 1.

An entry agrees if

    |analytic - numeric| <= tolerance * (largest |gradient| of its tensor) + floor
    floor = ROUNDINGS eps (|loss| + |dlogits logits| + |gradients parameters|) / h

If it does not agree, truncation may be the reason. The next step is 4 times smaller and has 16
times less truncation; it is tried as long as its floor stays below the tolerance. If the entry
still does not agree, truncation is removed by extrapolation from two steps (Richardson).

The floor is the rounding error of numeric = (loss(+h) - loss(-h)) / 2h. Rounding of the loss, the
logits and the parameters changes the loss by eps times the terms in the brackets (|.| of a product
is the root of the sum of its squares); ROUNDINGS covers the layers between. For a gradient of
exactly 0, such as the gradient of a shift before batch normalisation, only the floor is allowed.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ._arrays import Array, all_equal, index_of
from .layer import Replica
from .report import KINK_LIMIT, BaseVerdict, Entry, Status
from .settings import DEFAULTS, Settings

STEPS = tuple(1e-4 * 4.0**-k for k in range(8))
TOLERANCE = 1e-6
SMALLEST_SCALE = 1e-2
SPARE = 3  # additional entries drawn in each tensor, to replace entries on kinks
ROUNDINGS = 8
USEFUL = 1e-2  # a floor above this share of the largest gradient hides too much

Loss = Callable[[Array], tuple[float, Array]]


@dataclass(frozen=True)
class TensorRow:
    """What the check of one parameter tensor found."""

    name: str
    shape: tuple[int, ...]
    status: Status = "pass"  #: "pass", "fail", "kink" (no entry could be compared) or "imprecise".
    entries: int = 0  #: Number of entries tried.
    kinks: int = 0  #: Number of entries that were tried, but not compared: they lie on kinks.
    worst: Entry | None = None  #: The entry with the largest ratio of difference to `allowed`.
    allowed: float = 0.0  #: Largest difference allowed: tolerance * largest_gradient + floor.
    largest_gradient: float = 0.0  #: Largest |gradient| of all entries of the tensor.
    reason: str = ""  #: Why the status is not "pass".

    @property
    def difference(self) -> float:
        """|analytic - numeric| of the worst entry."""
        return self.worst.difference if self.worst else 0.0

    @property
    def floor(self) -> float:
        """The part of `allowed` that is rounding."""
        return self.worst.error if self.worst else 0.0


@dataclass
class ModelVerdict(BaseVerdict):
    """The outcome of `check_model`; `str` is a table."""

    loss: float  #: The loss at the point of the check.
    tolerance: float
    training: bool
    rows: list[TensorRow]
    evaluations: int  #: Number of forward passes.
    seconds: float
    deterministic: bool = True  #: Whether two forward passes gave the same loss.

    @property
    def status(self) -> Status:
        """One of "pass", "fail", "kink", "imprecise" and "nondeterministic".

        "fail" or "imprecise" if any row has this status; "kink" if all entries of a row lie on
        kinks, or more than 5 % of all entries.
        """
        if not self.deterministic:
            return "nondeterministic"
        found = {row.status for row in self.rows}
        if "fail" in found:
            return "fail"
        if "kink" in found or self.kinks > KINK_LIMIT * self.entries:
            return "kink"
        return "imprecise" if "imprecise" in found else "pass"

    @property
    def entries(self) -> int:
        """Number of entries tried in all tensors."""
        return sum(row.entries for row in self.rows)

    @property
    def kinks(self) -> int:
        """Number of entries that were not compared, because they lie on kinks."""
        return sum(row.kinks for row in self.rows)

    @property
    def difference(self) -> float:
        """The largest |analytic - numeric|, relative to the tensor's largest gradient.

        Tensors whose gradients are only rounding, such as a shift before a batch normalisation, do
        not count.
        """
        seen = [row for row in self.rows if row.largest_gradient > row.floor]
        return max((row.difference / row.largest_gradient for row in seen), default=0.0)

    @property
    def worst(self) -> TensorRow | None:
        """The row with the largest ratio of its difference to the allowed difference."""
        compared = [row for row in self.rows if row.worst is not None]
        failed = [row for row in self.rows if row.status == "fail"]
        return max(
            failed or compared, key=lambda row: _ratio(row.difference, row.allowed), default=None
        )

    def __str__(self) -> str:
        width = max([len(row.name) for row in self.rows], default=0)
        wide = max([len(str(row.shape)) for row in self.rows], default=0)
        lines = [
            f"{'tensor':{width}}  {'shape':{wide}}  entries  kinks  difference   allowed"
            "  largest gradient"
        ]
        lines += [
            f"{row.name:{width}}  {row.shape!s:{wide}}  {row.entries:7}  {row.kinks:5}"
            f"  {row.difference:10.1e}  {row.allowed:8.1e}  {row.largest_gradient:16.1e}"
            f"  {row.status}{': ' if row.reason else ''}{row.reason}"
            for row in self.rows
        ]
        lines.append(
            f"{self.status}: {len(self.rows)} tensors, {self.entries} entries, "
            f"{self.kinks} on kinks; loss {self.loss:.6g}, "
            f"{self.evaluations} forwards in {self.seconds:.1f} s"
        )
        return "\n".join(lines)


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
        For the usual loss: softmax and cross-entropy of the package numpy_shufflenet.
    loss : callable, optional
        Another loss, instead of labels: logits -> (value, dlogits).
    training : bool
        Whether batch normalisation uses the statistics of the batch.
    entries : int
        Number of entries compared in each tensor: the entry with the largest gradient, and random
        entries.
    include_input : bool
        Whether x is checked too, in a row of its own.
    on_tensor : callable, optional
        Called with each row as soon as it is known, for a progress bar.
    seed : int
        Seed of the random entries.
    settings : Settings
        Only `tolerance` is used. It is relative to the largest |gradient| of the tensor; the
        default is 1e-6.

    Raises
    ------
    ValueError
        If neither or both of `labels` and `loss` are given, if `entries` is less than 1, or if
        another field of the settings is set.
    """
    if entries < 1:
        raise ValueError(f"entries={entries!r} is not a whole number of at least 1")
    tolerance = settings.only("tolerance").tolerance or TOLERANCE
    start = time.perf_counter()
    network = Network(model, x, loss_of(labels, loss), training)
    rng, rows = np.random.default_rng(seed), []
    deterministic = bool(abs(network.loss() - network.value) <= network.rounding)
    tensors = {
        name: (value, network.gradients.get(name)) for name, value in network.parameters.items()
    }
    if include_input:
        tensors["x"] = network.x, network.input_gradient
    for name, tensor in tensors.items():
        rows.append(_check_tensor(network, name, *tensor, entries, tolerance, rng))
        if on_tensor is not None:
            on_tensor(rows[-1])
    seconds, evaluations = time.perf_counter() - start, network.evaluations
    return ModelVerdict(
        network.value, tolerance, training, rows, evaluations, seconds, deterministic
    )


def loss_of(labels: Array | None, loss: Loss | None) -> Loss:
    """Return the given loss of logits, or softmax and cross-entropy of the labels."""
    if (labels is None) == (loss is None):
        raise ValueError("give either labels, for softmax and cross-entropy, or a loss")
    if loss is not None:
        return loss
    # Imported here, so that all other checks need only this package and NumPy.
    from numpy_shufflenet.ops import softmax_cross_entropy_backward, softmax_cross_entropy_forward

    def cross_entropy(logits: Array) -> tuple[float, Array]:
        value, cache = softmax_cross_entropy_forward(logits, np.asarray(labels))
        return float(value), softmax_cross_entropy_backward(1.0, cache)

    return cross_entropy


class Difference(NamedTuple):
    """A central difference."""

    value: float
    floor: float  # its rounding error
    step: float


class Network(Replica):
    """A float64 copy of a network: its loss as a function of its live parameters and x."""

    def __init__(self, model: Any, x: Array, loss: Loss, training: bool) -> None:
        super().__init__(model, np.float64, training)
        self.x, self._loss = np.array(x, np.float64), loss
        self.evaluations = 0
        self._last_step = 0  # index in STEPS of the last step that crossed no kink
        self.value = self.loss()
        self._choices = self.choices  # the choices at the point of the check
        dx, gradients = self.backward(self._dlogits)
        self.input_gradient = np.array(dx)
        self.gradients = {name: np.array(gradient) for name, gradient in gradients.items()}
        self.rounding = self._rounding()

    def loss(self) -> float:
        """Return the loss at the present values of the parameters; keep the choices made there."""
        self.evaluations += 1
        self._logits = self.forward(self.x)
        self.choices = self.pattern()
        value, self._dlogits = self._loss(self._logits)
        return float(value)

    def gradients_here(self) -> dict[str, Array]:
        """Return the gradients, by name, at the present values of the parameters."""
        self.loss()
        return self.backward(self._dlogits)[1]

    def _rounding(self) -> float:
        """Return how much rounding of the loss, logits and parameters may change the loss."""
        parts = [self._dlogits * self._logits]
        parts += [
            gradient * self.parameters[name]
            for name, gradient in self.gradients.items()
            if not _problem_of(self.parameters[name], gradient)
        ]
        moved = sum(float(np.square(part).sum()) for part in parts)
        return float(ROUNDINGS * np.finfo(float).eps * (abs(self.value) + np.sqrt(moved)))

    def slopes(self, value: Array, index: tuple[int, ...]) -> Iterator[Difference]:
        """Yield the slope in one entry for each step that crosses no kink.

        The first step is the next larger one after the last step that crossed no kink, perhaps in
        another entry. This saves most of the forward passes.
        """
        scale = max(float(np.sqrt(np.mean(np.square(value)))), SMALLEST_SCALE)
        for number in range(max(self._last_step - 1, 0), len(STEPS)):
            slope = self._slope(value, index, STEPS[number] * scale)
            if slope is not None:
                self._last_step = number
                yield slope

    def extrapolated(self, value: Array, index: tuple[int, ...], slope: Difference) -> Difference:
        """Remove the truncation of order h^2 from a slope.

        That at 4 h helps. If 4 h crosses a kink, that at h / 4 does, with more rounding.
        """
        larger: Difference | None = self._slope(value, index, 4 * slope.step)
        smaller: Difference | None = slope
        if larger is None:
            larger, smaller = slope, self._slope(value, index, slope.step / 4)
        if smaller is None:
            return slope
        factor = (larger.step / smaller.step) ** 2
        return Difference(
            (factor * smaller.value - larger.value) / (factor - 1),
            (factor * smaller.floor + larger.floor) / (factor - 1),
            smaller.step,
        )

    def _slope(self, value: Array, index: tuple[int, ...], step: float) -> Difference | None:
        """Return the central difference in one entry, or None if it crosses a kink."""
        before, sides = value[index], []
        for moved in (before + step, before - step):
            value[index] = moved
            sides.append((float(value[index]), self.loss()))  # rounding changes the step
            value[index] = before
            if not all_equal(self.choices, self._choices):
                return None
        (right, above), (left, below) = sides
        half = (right - left) / 2
        return Difference((above - below) / (2 * half), self.rounding / half, half)


def _problem_of(value: Array, gradient: Any) -> str:
    """Return why a gradient cannot be one of this array, or ""."""
    if gradient is None:
        return "there is no gradient"
    for what in ("shape", "dtype"):
        if getattr(gradient, what) != getattr(value, what):
            return f"the gradient has {what} {getattr(gradient, what)}"
    return "" if np.isfinite(gradient).all() else "the gradient is not finite"


def _check_tensor(
    network: Network,
    name: str,
    value: Array,
    gradient: Any,
    entries: int,
    tolerance: float,
    rng: np.random.Generator,
) -> TensorRow:
    if problem := _problem_of(value, gradient):
        return TensorRow(name, value.shape, "fail", reason=problem)
    largest = float(np.abs(gradient).max(initial=0.0))
    slack = tolerance * largest
    found: list[tuple[Entry, float]] = []  # each entry with the difference that is allowed
    tried = 0
    first, count = int(np.abs(gradient).argmax()), entries + SPARE
    others = rng.permutation(gradient.size)[:count].tolist()
    for flat in [first, *(i for i in others if i != first)][:count]:
        if len(found) == entries:
            break
        index = index_of(flat, value.shape)
        analytic, slopes = float(gradient[index]), network.slopes(value, index)
        tried += 1
        slope = next(slopes, None)
        if slope is None:
            continue
        while abs(analytic - slope.value) > slack + slope.floor:
            smaller = next(slopes, None)
            if smaller is None or smaller.floor > slack:
                slope = network.extrapolated(value, index, slope)
                break
            slope = smaller
        entry = Entry(name, index, analytic, slope.value, slope.floor)
        found.append((entry, slack + slope.floor))
    kinks = tried - len(found)
    if not found:
        reason = "every entry tried lies on a kink"
        return TensorRow(name, value.shape, "kink", tried, kinks, None, 0.0, largest, reason)
    status: Status = "pass"
    reason = ""
    worst, allowed = max(found, key=lambda pair: _ratio(pair[0].difference, pair[1]))
    if any(not entry.difference <= most for entry, most in found):  # NaN counts as wrong
        status, reason = "fail", str(worst)
    # The floor isn't compared with a gradient of 0, or of only rounding, which has no size.
    elif worst.error > USEFUL * largest > worst.error * USEFUL:
        status, reason = "imprecise", "rounding is too large beside the gradient"
    return TensorRow(name, value.shape, status, tried, kinks, worst, allowed, largest, reason)


def _ratio(difference: float, allowed: float) -> float:
    """Return the difference as a multiple of what is allowed; infinity if it is NaN."""
    return np.inf if np.isnan(difference) else difference / (allowed or 1.0)
