"""A cheap check of second order: the Hessian, the Jacobian of a gradient, is symmetric.

H v is the change of the gradient along v, by central differences of gradients,

    H v = (g(x + h v) - g(x - h v)) / 2h

If g is the gradient of any function, u^T H v = v^T H u for all u and v. So this check needs only
gradients, no loss; a wrong gradient is hardly ever the gradient of another function.

The steps h are 2^-6, 2^-9, ... 2^-33; entries move by h times their size. A step that crosses a
kink is skipped: on one side of the kink, f makes other choices (masks, winners) than at the point.
The difference of two steps in a row shows the precision.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ._arrays import Array, all_equal, norm, scales, signed
from .model import Loss, Network, loss_of
from .report import BaseVerdict, Status
from .settings import DEFAULTS, Settings

STEPS = tuple(2.0**-level for level in range(6, 36, 3))
TOLERANCE = 1e-6
SAFETY = 10
LIMIT = 1e-3  # with a relative error above this, the verdict is "imprecise"

Gradient = Callable[..., Sequence[Array]]


@dataclass(frozen=True)
class SymmetryVerdict(BaseVerdict):
    """Whether the Hessian is symmetric, along pairs of random directions."""

    status: Status = "pass"  #: "pass", "fail", "kink" (every step crosses a kink) or "imprecise".
    left: float = 0.0  #: u^T H v of the pair that differs most.
    right: float = 0.0  #: v^T H u of that pair.
    difference: float = 0.0  #: |left - right|, relative to the size of the terms in their sums.
    precision: float = 0.0  #: Estimated error of `left` and `right`, relative to the same size.
    step: float = 0.0
    evaluations: int = 0  #: Number of gradients computed.
    seconds: float = 0.0

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
    """Check that a gradient is the gradient of some function: its Hessian must be symmetric.

    Parameters
    ----------
    gradient : callable
        gradient(*arrays) -> the gradient with respect to each array, in their order.
    *arrays : array
        The point, float64.
    pattern : callable, optional
        pattern() -> the choices (masks, winners) in the last call of `gradient`, as arrays.
    seed : int
        Seed of the random directions.
    settings : Settings
        Only two fields are used: `directions`, the number of pairs of random directions, and
        `tolerance`, whose default is 1e-6.

    Raises
    ------
    ValueError
        If another field of the settings is set.
    """
    tolerance = settings.only("directions", "tolerance").tolerance or TOLERANCE
    start = time.perf_counter()
    field, rng = _Field(gradient, arrays, pattern or tuple), np.random.default_rng(seed)
    verdict = SymmetryVerdict()
    for _ in range(settings.directions):
        found = _check_pair(field, field.direction(rng), field.direction(rng), tolerance)
        if found.status != "pass" or found.difference >= verdict.difference:
            verdict = found
        if found.status != "pass":
            break
    seconds = time.perf_counter() - start
    return replace(verdict, evaluations=field.evaluations, seconds=seconds)


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
        `seed` and `settings` of `check_hessian`.
    """
    network = Network(model, x, loss_of(labels, loss), training)
    values = [value.copy() for value in network.parameters.values()]

    def gradient(*point: Array) -> list[Array]:
        network.assign(point)
        return list(network.gradients_here().values())

    return check_hessian(gradient, *values, pattern=lambda: network.choices, **options)


class _Field:
    """A gradient as a function of all entries of its arrays, as one vector."""

    def __init__(
        self, gradient: Gradient, arrays: Sequence[Array], pattern: Callable[[], Sequence[Array]]
    ) -> None:
        self._gradient, self._pattern = gradient, pattern
        self._arrays = [np.asarray(a, np.float64) for a in arrays]
        self.evaluations = 0
        self._choices = self._moved(np.zeros(sum(a.size for a in self._arrays)))[1]

    def direction(self, rng: np.random.Generator) -> Array:
        """Draw a random direction: how far each entry moves."""
        return _flat(scales(a) * signed(rng, a.shape) for a in self._arrays)

    def along(self, direction: Array, h: float) -> Array | None:
        """Return H times a direction, or None if it crosses a kink."""
        sides = []
        for step in (h, -h):
            gradient, choices = self._moved(step * direction)
            if not all_equal(choices, self._choices):
                return None
            sides.append(gradient)
        return np.asarray((sides[0] - sides[1]) / (2 * h))

    def _moved(self, step: Array) -> tuple[Array, list[Array]]:
        """Return the gradient at the point + step, and the choices made there."""
        self.evaluations += 1
        pieces = np.split(step, np.cumsum([a.size for a in self._arrays])[:-1])
        moved = (a + d.reshape(a.shape) for a, d in zip(self._arrays, pieces, strict=True))
        gradient = _flat(self._gradient(*moved))
        return gradient, [np.array(p) for p in self._pattern()]


def _flat(arrays: Iterable[Array]) -> Array:
    return np.concatenate([np.ravel(a) for a in arrays])


def _check_pair(field: _Field, u: Array, v: Array, tolerance: float) -> SymmetryVerdict:
    """Compare u^T H v with v^T H u, at the step that differs least from the step before it."""
    best: SymmetryVerdict | None = None
    before: tuple[float, float] | None = None
    for h in STEPS:
        along_u = field.along(u, h)
        along_v = None if along_u is None else field.along(v, h)
        if along_u is None or along_v is None:
            continue
        terms = u * along_v, v * along_u
        left, right = (float(part.sum()) for part in terms)
        size = norm(np.concatenate(terms)) or 1.0
        if before is not None:
            error = max(abs(left - before[0]), abs(right - before[1])) / size
            difference = abs(left - right) / size
            status: Status = "imprecise" if error > LIMIT else "pass"
            if difference > tolerance + SAFETY * error:
                status = "fail"
            if best is None or error < best.precision:
                best = SymmetryVerdict(status, left, right, difference, error, h)
            if best.precision <= tolerance:
                break
        before = left, right
    return SymmetryVerdict("kink") if best is None else best
