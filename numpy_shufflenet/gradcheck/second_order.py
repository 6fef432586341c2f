"""Second order, where it is cheap: a gradient field has a symmetric Jacobian, the Hessian.

H v is the change of the gradient along v, by central differences of gradients,

    H v = (g(x + h v) - g(x - h v)) / 2h

and u^T H v = v^T H u, whatever u and v, if g is the gradient of any function at all. So this needs
no loss, only gradients; a wrong one is hardly ever the gradient of another function.

Steps: 2^-6, 2^-9, ... 2^-33 (times the size of what moves), as far as the choices of a piecewise
function (masks, winners) are the same on all sides. Two steps in a row tell how precise they are.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import Array, scales, signed
from ._network import Loss, Network, cross_entropy
from .report import Status
from .settings import DEFAULTS, Settings

STEPS = tuple(2.0**-level for level in range(6, 36, 3))
TOLERANCE = 1e-6
SAFETY = 10
LIMIT = 1e-3  # a relative error above it tells nothing

Gradient = Callable[..., Sequence[Array]]


@dataclass
class SymmetryVerdict:
    """Whether the Hessian is symmetric, along pairs of random directions.

    Attributes
    ----------
    status : str
        "pass", "fail", "kink" (no step stays on one smooth piece) or "imprecise".
    left, right : float
        u^T H v and v^T H u of the pair that differs most.
    difference : float
        |left - right|, relative to the size of the terms that they are sums of.
    precision : float
        What differences of gradients can tell, in the same measure.
    step : float
    evaluations : int
        Of the gradient.
    seconds : float
    """

    status: Status = "pass"
    left: float = 0.0
    right: float = 0.0
    difference: float = 0.0
    precision: float = 0.0
    step: float = 0.0
    evaluations: int = 0
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the status is "pass"."""
        return self.status == "pass"

    def raise_if_failed(self) -> None:
        """Raise AssertionError with the verdict as its text, unless the status is pass."""
        if not self.passed:
            raise AssertionError(str(self))

    def __bool__(self) -> bool:
        raise TypeError("a SymmetryVerdict has no truth value; use verdict.passed")

    def __str__(self) -> str:
        return (
            f"{self.status}: u^T H v = {self.left:.10g}, v^T H u = {self.right:.10g}, relative "
            f"difference {self.difference:.1e}, precision {self.precision:.1e} at h = "
            f"{self.step:.1e}; {self.evaluations} gradients in {self.seconds:.1f} s"
        )


def check_hessian(
    gradient: Gradient,
    *arrays: Array,
    pattern: Callable[[], Sequence[Array]] | None = None,
    seed: int = 0,
    settings: Settings = DEFAULTS,
) -> SymmetryVerdict:
    """Check that a gradient is that of some function: its Hessian is symmetric.

    Parameters
    ----------
    gradient : callable
        gradient(*arrays) gives the gradient with respect to each array, in their order.
    *arrays : array
        The point, float64.
    pattern : callable, optional
        Called after gradient: the choices (masks, winners) that were made, as arrays.
    seed : int
        Of the directions.
    settings : Settings
        Only two fields are used: `directions`, the number of pairs of random directions, and
        `tolerance`, 1e-6 if not given.

    Returns
    -------
    SymmetryVerdict
    """
    settings.must_be_default_except("directions", "tolerance")
    tolerance = TOLERANCE if settings.tolerance is None else settings.tolerance
    start = time.perf_counter()
    field = _Field(gradient, arrays, pattern)
    rng = np.random.default_rng(seed)
    verdict = SymmetryVerdict()
    for _ in range(settings.directions):
        u, v = ([scales(a) * signed(rng, a.shape) for a in field.arrays] for _ in range(2))
        found = _pair(field, u, v, tolerance)
        if found.status != "pass" or found.difference >= verdict.difference:
            verdict = found
        if found.status != "pass":
            break
    verdict.evaluations, verdict.seconds = field.evaluations, time.perf_counter() - start
    return verdict


def check_model_hessian(
    model: Any,
    x: Array,
    labels: Array | None = None,
    *,
    loss: Loss | None = None,
    training: bool = True,
    **options: Any,
) -> SymmetryVerdict:
    """Do `check_hessian` for the parameters of a whole network, all at once.

    Parameters
    ----------
    model, x, labels, loss, training
        As in `check_model`.
    **options
        seed and settings of `check_hessian`.
    """
    if (labels is None) == (loss is None):
        raise ValueError("give either labels, for softmax and cross-entropy, or a loss")
    network = Network(model, x, loss or cross_entropy(np.asarray(labels)), training)
    live = network.model.parameters()
    values = [value.copy() for value in live.values()]

    def gradient(*point: Array) -> list[Array]:
        for array, value in zip(live.values(), point, strict=True):
            array[...] = value
        return network.gradient_here()

    return check_hessian(gradient, *values, pattern=lambda: network.pattern_here, **options)


class _Field:
    """A gradient, and the choices that were made on the way to it."""

    def __init__(
        self,
        gradient: Gradient,
        arrays: Sequence[Array],
        pattern: Callable[[], Sequence[Array]] | None,
    ) -> None:
        self._gradient, self._pattern = gradient, pattern
        self.arrays = [np.asarray(a, np.float64) for a in arrays]
        self.evaluations = 0
        self.here = [np.array(g) for g in self._call(self.arrays)]
        self._choices = self._read()

    def along(self, direction: Sequence[Array], h: float) -> list[Array] | None:
        """Return H times a direction, or None if it crosses a kink."""
        sides = []
        for sign in (1, -1):
            moved = [a + sign * h * d for a, d in zip(self.arrays, direction, strict=True)]
            sides.append([np.array(g) for g in self._call(moved)])
            same = zip(self._read(), self._choices, strict=True)
            if not all(np.array_equal(a, b) for a, b in same):
                return None
        return [(a - b) / (2 * h) for a, b in zip(*sides, strict=True)]

    def _call(self, arrays: Sequence[Array]) -> Sequence[Array]:
        self.evaluations += 1
        return self._gradient(*(a.copy() for a in arrays))

    def _read(self) -> list[Array]:
        return [] if self._pattern is None else [np.array(p) for p in self._pattern()]


def _pair(
    field: _Field, u: Sequence[Array], v: Sequence[Array], tolerance: float
) -> SymmetryVerdict:
    found: list[tuple[float, float, float, float]] = []  # step, left, right, size
    best: SymmetryVerdict | None = None
    for h in STEPS:
        along_u, along_v = field.along(u, h), None
        if along_u is not None:
            along_v = field.along(v, h)
        if along_u is None or along_v is None:
            continue
        left = sum(float((a * b).sum()) for a, b in zip(u, along_v, strict=True))
        right = sum(float((a * b).sum()) for a, b in zip(v, along_u, strict=True))
        squares = [
            np.square(a * b).sum() + np.square(c * d).sum()
            for a, b, c, d in zip(u, along_v, v, along_u, strict=True)
        ]
        found.append((h, left, right, float(np.sqrt(sum(squares)))))
        if len(found) >= 2:
            verdict = _judge(found[-2], found[-1], tolerance)
            if best is None or verdict.precision < best.precision:
                best = verdict
            if best.precision <= tolerance:
                break
    return SymmetryVerdict("kink") if best is None else best


def _judge(
    larger: tuple[float, float, float, float],
    smaller: tuple[float, float, float, float],
    tolerance: float,
) -> SymmetryVerdict:
    step, left, right, size = smaller
    size = size or 1.0
    error = max(abs(left - larger[1]), abs(right - larger[2])) / size
    difference = abs(left - right) / size
    status: Status = "pass"
    if difference > tolerance + SAFETY * error:
        status = "fail"
    elif error > LIMIT:
        status = "imprecise"
    return SymmetryVerdict(status, left, right, difference, error, step)
