"""Gradient checkers as they are often written: weaker styles, and wrong ones (part d of the zoo).

Each is a few lines, and says "right" (True) or "wrong" (False). A weaker style compares, and misses
what its loss, its one index, its step or its precision can't show; its tolerance is as tight as
right gradients allow. A wrong checker hardly compares at all. For each there is a bug that slips
through, which a test shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo.catalogue import Bug

Run = Callable[["Case", np.random.Generator], bool]


@dataclass(frozen=True)
class Checker:
    """One way to check gradients.

    Attributes
    ----------
    name : str
    slips : str
        Name of a bug that it lets pass.
    weak : bool
        True for a weaker style, False for one that is wrong.
    summary : str
    run : callable
        (case, rng) -> whether it calls the gradients right.
    """

    name: str
    slips: str
    weak: bool
    summary: str
    run: Run


CHECKERS: dict[str, Checker] = {}
"""Every weak or wrong checker by name."""


class Case:
    """A bug, or what is right, on one example: y and gradients of its floating-point arrays."""

    def __init__(self, bug: Bug, seed: int, *, right: bool = False) -> None:
        self._bug, self._seed, self._right = bug, seed, right
        arrays = bug.example(seed).arrays
        self.arrays: list[Array] = [a for a in arrays if a is not None]
        self.differentiable = [i for i, a in enumerate(self.arrays) if a.dtype.kind == "f"]

    def y(self, arrays: Sequence[Array] | None = None) -> list[Array]:
        """Return the parts of y."""
        y, _ = self._call(self.arrays if arrays is None else arrays)
        return [np.asarray(part) for part in (y if isinstance(y, tuple) else (y,))]

    def gradients(self, dys: Sequence[Array]) -> list[Array]:
        """Return what the backward gives for these cotangents."""
        y, cache = self._call(self.arrays)
        dy = tuple(dys) if isinstance(y, tuple) else dys[0]
        backward = self._bug.right[1] if self._right else self._bug.backward
        found = backward(dy, cache)
        return list(found) if isinstance(found, tuple) else [found]

    def loss(self, dys: Sequence[Array], position: int, array: Array) -> float:
        """Return <dys, y> with one array replaced."""
        arrays = list(self.arrays)
        arrays[position] = array
        parts = self.y(arrays)
        return float(sum((dy * part).sum() for dy, part in zip(dys, parts, strict=True)))

    def as_type(self, dtype: Any) -> "Case":
        """Return the case with its arrays in another precision."""
        other = Case.__new__(Case)
        other.__dict__ |= vars(self)
        other.arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in self.arrays]
        return other

    def _call(self, arrays: Sequence[Array]) -> Any:
        hyperparameters = self._bug.example(self._seed, arrays[0].dtype).hyperparameters
        forward = self._bug.right[0] if self._right else self._bug.forward
        return forward(*(a.copy() for a in arrays), **hyperparameters)


def _checker(slips: str, *, weak: bool = False) -> Callable[[Run], Run]:
    def add(run: Run) -> Run:
        name = run.__name__.replace("_", " ").replace("1e 2", "1e-2")
        summary = " ".join((run.__doc__ or "").split())
        CHECKERS[name] = Checker(name, slips, weak, summary, run)
        return run

    return add


def _entries(case: Case) -> list[tuple[int, tuple[int, ...]]]:
    return [(i, index) for i in case.differentiable for index in np.ndindex(case.arrays[i].shape)]


def _difference(
    case: Case, dys: Sequence[Array], i: int, index: tuple[int, ...], h: float, *, central: bool
) -> float:
    places, losses = [], []
    for step in (h, -h if central else 0.0):
        moved = case.arrays[i].copy()
        moved[index] += moved.dtype.type(step)
        places.append(float(moved[index]))
        losses.append(case.loss(dys, i, moved))
    return (losses[0] - losses[1]) / (places[0] - places[1])


def _random(case: Case, rng: np.random.Generator) -> list[Array]:
    return [np.asarray(rng.normal(size=p.shape), p.dtype)[()] for p in case.y()]


def _ones(case: Case) -> list[Array]:
    return [np.ones(p.shape, p.dtype)[()] for p in case.y()]


def _compare_all(
    case: Case, dys: Sequence[Array], h: float, tolerance: float, *, central: bool = True
) -> bool:
    gradients = case.gradients(dys)
    for i, index in _entries(case):
        numeric = _difference(case, dys, i, index, h, central=central)
        size = float(np.abs(gradients[i]).max()) + 1e-3
        if not abs(numeric - gradients[i][index]) <= tolerance * size:
            return False
    return True


@_checker("channel_shuffle/shuffled_onwards", weak=True)
def sum_as_loss(case: Case, rng: np.random.Generator) -> bool:
    """Take a plain sum as the loss; all entries, central differences, tolerance 1e-5."""
    return _compare_all(case, _ones(case), 1e-5, 1e-5)


@_checker("conv2d/slightly_too_large", weak=True)
def one_index_at_1e_2(case: Case, rng: np.random.Generator) -> bool:
    """Compare one entry of each array at a relative tolerance of 1e-2; the loss is a plain sum."""
    dys = _ones(case)
    gradients = case.gradients(dys)
    for i in case.differentiable:
        index = tuple(int(rng.integers(size)) for size in case.arrays[i].shape)
        numeric, analytic = (
            _difference(case, dys, i, index, 1e-5, central=True),
            float(gradients[i][index]),
        )
        if not abs(numeric - analytic) <= 1e-2 * (abs(numeric) + abs(analytic)) + 1e-7:
            return False
    return True


@_checker("conv2d/one_weight_too_large", weak=True)
def forward_difference(case: Case, rng: np.random.Generator) -> bool:
    """Take one-sided differences at 1e-4; random cotangent, all entries, tolerance 2e-3."""
    return _compare_all(case, _random(case, rng), 1e-4, 2e-3, central=False)


@_checker("conv2d/one_weight_too_large", weak=True)
def in_float32(case: Case, rng: np.random.Generator) -> bool:
    """Compute in float32; random cotangent, all entries, step 1e-2, tolerance 2e-2."""
    single = case.as_type(np.float32)
    return _compare_all(single, _random(single, rng), 1e-2, 2e-2)


@_checker("relu/slope_one")
def never_compares(case: Case, rng: np.random.Generator) -> bool:
    """Compute both sides, and return."""
    dys = _random(case, rng)
    case.gradients(dys)
    for i, index in _entries(case):
        _difference(case, dys, i, index, 1e-5, central=True)
    return True


@_checker("sigmoid/factor_forgotten")
def shows_and_asserts_nothing(case: Case, rng: np.random.Generator) -> bool:
    """Work out the error for the reader to look at, and let nothing depend on it."""
    dys = _random(case, rng)
    gradients = case.gradients(dys)
    errors = [
        abs(_difference(case, dys, i, index, 1e-5, central=True) - gradients[i][index])
        for i, index in _entries(case)
    ]
    return bool(max(errors) >= 0)  # stands for print(max(errors))


@_checker("global_avg_pool/mean_not_divided")
def relative_error_below_one(case: Case, rng: np.random.Generator) -> bool:
    """Ask that |a - n| / max(|a|, |n|) is at most 1: a derivative 17 times too large passes."""
    dys = _random(case, rng)
    gradients = case.gradients(dys)
    for i, index in _entries(case):
        numeric = _difference(case, dys, i, index, 1e-5, central=True)
        analytic = float(gradients[i][index])
        if abs(numeric - analytic) > max(abs(numeric), abs(analytic)) + 1e-7:
            return False
    return True


@_checker("conv2d/kernel_not_flipped")
def argument_ignored(case: Case, rng: np.random.Generator) -> bool:
    """Perturb an argument that the loss, a lambda, ignores; where numeric is 0, skip the entry."""
    dys = _random(case, rng)
    gradients = case.gradients(dys)

    def loss(_: Array) -> float:
        return case.loss(dys, 0, case.arrays[0])

    for i, index in _entries(case):
        h = np.zeros(case.arrays[i].shape)
        h[index] = 1e-5
        numeric = (loss(case.arrays[i] + h) - loss(case.arrays[i] - h)) / 2e-5
        if numeric and abs(numeric - gradients[i][index]) > 1e-5 * abs(numeric):
            return False
    return True


@_checker("conv2d/one_weight_too_large")
def one_norm_for_all(case: Case, rng: np.random.Generator) -> bool:
    """Compare one vector of all gradients by its norm, at 1e-3: large arrays hide the small."""
    dys = _random(case, rng)
    gradients = case.gradients(dys)
    analytic = np.array([float(gradients[i][index]) for i, index in _entries(case)])
    numeric = np.array(
        [_difference(case, dys, i, k, 1e-5, central=True) for i, k in _entries(case)]
    )
    difference = float(np.linalg.norm(analytic - numeric))
    return difference <= 1e-3 * float(np.linalg.norm(analytic) + np.linalg.norm(numeric))


@_checker("batch_norm/gamma_dropped")
def parameters_only(case: Case, rng: np.random.Generator) -> bool:
    """Check the parameters and not dx, as where no layer stands before the one tested."""
    dys = _random(case, rng)
    gradients = case.gradients(dys)
    for i, index in _entries(case):
        if i == 0:
            continue
        numeric = _difference(case, dys, i, index, 1e-5, central=True)
        if not abs(numeric - gradients[i][index]) <= 1e-5 * np.abs(gradients[i]).max() + 1e-7:
            return False
    return True
