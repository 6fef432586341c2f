"""Gradient checkers as they are often written: weaker styles, and wrong ones.

Each is a few lines, and says "right" (True) or "wrong" (False). A weaker style compares, and misses
what its loss, its one index, its step or its precision can't show; its tolerance is as tight as
right gradients allow. A wrong checker hardly compares at all. For each there is a bug that slips
through, which a test shows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
        y, _ = self._forward(self.arrays if arrays is None else arrays)
        return [np.asarray(part) for part in (y if isinstance(y, tuple) else (y,))]

    def gradients(self, dys: Sequence[Array]) -> list[Array]:
        """Return what the backward gives for these cotangents."""
        y, cache = self._forward(self.arrays)
        backward = self._bug.right[1] if self._right else self._bug.backward
        found = backward(tuple(dys) if isinstance(y, tuple) else dys[0], cache)
        return list(found) if isinstance(found, tuple) else [found]

    def loss(self, dys: Sequence[Array], position: int, array: Array) -> float:
        """Return <dys, y> with one array replaced."""
        arrays = list(self.arrays)
        arrays[position] = array
        parts = self.y(arrays)
        return float(sum((dy * part).sum() for dy, part in zip(dys, parts, strict=True)))

    def as_type(self, dtype: Any) -> "Case":
        """Return the case with its arrays in another precision."""
        other = Case(self._bug, self._seed, right=self._right)
        other.arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in self.arrays]
        return other

    def _forward(self, arrays: Sequence[Array]) -> Any:
        hyperparameters = self._bug.example(self._seed, arrays[0].dtype).hyperparameters
        forward = self._bug.right[0] if self._right else self._bug.forward
        return forward(*(a.copy() for a in arrays), **hyperparameters)


class ComparedEntry(NamedTuple):
    """An entry of a gradient: measured, computed, and the largest of its array."""

    position: int  # of the array
    numeric: float
    analytic: float
    largest: float

    @property
    def error(self) -> float:
        """The absolute error."""
        return abs(self.numeric - self.analytic)


def _entry(
    case: Case, dys: Sequence[Array], gradients: list[Array], i: int, index: tuple[int, ...],
    h: float = 1e-5, *, central: bool = True,
) -> ComparedEntry:  # fmt: skip
    places, losses = [], []
    for step in (h, -h if central else 0.0):
        moved = case.arrays[i].copy()
        moved[index] += moved.dtype.type(step)
        places.append(float(moved[index]))
        losses.append(case.loss(dys, i, moved))
    numeric = (losses[0] - losses[1]) / (places[0] - places[1])
    return ComparedEntry(i, numeric, float(gradients[i][index]), float(np.abs(gradients[i]).max()))


def _entries(
    case: Case, dys: Sequence[Array], h: float = 1e-5, *, central: bool = True
) -> Iterator[ComparedEntry]:
    gradients = case.gradients(dys)
    for i in case.differentiable:
        for index in np.ndindex(case.arrays[i].shape):
            yield _entry(case, dys, gradients, i, index, h, central=central)


def _agree(entries: Iterator[ComparedEntry], tolerance: float) -> bool:
    return all(entry.error <= tolerance * (entry.largest + 1e-3) for entry in entries)


def _random(case: Case, rng: np.random.Generator) -> list[Array]:
    return [np.asarray(rng.normal(size=p.shape), p.dtype)[()] for p in case.y()]


def _ones(case: Case) -> list[Array]:
    return [np.ones(p.shape, p.dtype)[()] for p in case.y()]


def _checker(slips: str, *, weak: bool = False) -> Callable[[Run], Run]:
    def add(run: Run) -> Run:
        name = run.__name__.replace("_", " ").replace("1e 2", "1e-2")
        summary = " ".join((run.__doc__ or "").split())
        CHECKERS[name] = Checker(name, slips, weak, summary, run)
        return run

    return add


@_checker("channel_shuffle/shuffled_onwards", weak=True)
def sum_as_loss(case: Case, rng: np.random.Generator) -> bool:
    """Take a plain sum as the loss; all entries, central differences, tolerance 1e-5."""
    return _agree(_entries(case, _ones(case)), 1e-5)


@_checker("conv2d/slightly_too_large", weak=True)
def one_index_at_1e_2(case: Case, rng: np.random.Generator) -> bool:
    """Compare one entry of each array at a relative tolerance of 1e-2; the loss is a plain sum."""
    dys = _ones(case)
    gradients = case.gradients(dys)
    for i in case.differentiable:
        index = tuple(int(rng.integers(size)) for size in case.arrays[i].shape)
        entry = _entry(case, dys, gradients, i, index)
        if not entry.error <= 1e-2 * (abs(entry.numeric) + abs(entry.analytic)) + 1e-7:
            return False
    return True


@_checker("conv2d/one_weight_too_large", weak=True)
def forward_difference(case: Case, rng: np.random.Generator) -> bool:
    """Take one-sided differences at 1e-4; random cotangent, all entries, tolerance 2e-3."""
    return _agree(_entries(case, _random(case, rng), 1e-4, central=False), 2e-3)


@_checker("conv2d/one_weight_too_large", weak=True)
def in_float32(case: Case, rng: np.random.Generator) -> bool:
    """Compute in float32; random cotangent, all entries, step 1e-2, tolerance 2e-2."""
    single = case.as_type(np.float32)
    return _agree(_entries(single, _random(single, rng), 1e-2), 2e-2)


@_checker("relu/slope_one")
def never_compares(case: Case, rng: np.random.Generator) -> bool:
    """Compute both sides, and return."""
    list(_entries(case, _random(case, rng)))
    return True


@_checker("sigmoid/factor_forgotten")
def shows_and_asserts_nothing(case: Case, rng: np.random.Generator) -> bool:
    """Work out the error for the reader to look at, and let nothing depend on it."""
    largest = max(entry.error for entry in _entries(case, _random(case, rng)))
    return largest >= 0  # stands for print(largest)


@_checker("global_avg_pool/mean_not_divided")
def relative_error_below_one(case: Case, rng: np.random.Generator) -> bool:
    """Ask that |a - n| / max(|a|, |n|) is at most 1: a derivative 17 times too large passes."""
    entries = _entries(case, _random(case, rng))
    return all(e.error <= max(abs(e.numeric), abs(e.analytic)) + 1e-7 for e in entries)


@_checker("conv2d/kernel_not_flipped")
def argument_ignored(case: Case, rng: np.random.Generator) -> bool:
    """Perturb an argument that the loss, a lambda, ignores; where numeric is 0, skip the entry."""
    dys = _random(case, rng)
    gradients = case.gradients(dys)

    def loss(_: Array) -> float:
        return case.loss(dys, 0, case.arrays[0])

    for i in case.differentiable:
        for index in np.ndindex(case.arrays[i].shape):
            h = np.zeros(case.arrays[i].shape)
            h[index] = 1e-5
            numeric = (loss(case.arrays[i] + h) - loss(case.arrays[i] - h)) / 2e-5
            if numeric and abs(numeric - gradients[i][index]) > 1e-5 * abs(numeric):
                return False
    return True


@_checker("conv2d/one_weight_too_large")
def one_norm_for_all(case: Case, rng: np.random.Generator) -> bool:
    """Compare one vector of all gradients by its norm, at 1e-3: large arrays hide the small."""
    found = np.array([(e.numeric, e.analytic) for e in _entries(case, _random(case, rng))])
    difference = np.linalg.norm(found[:, 0] - found[:, 1])
    return bool(difference <= 1e-3 * np.linalg.norm(found, axis=0).sum())


@_checker("batch_norm/gamma_dropped")
def parameters_only(case: Case, rng: np.random.Generator) -> bool:
    """Check the parameters and not dx, as where no layer stands before the one tested."""
    entries = _entries(case, _random(case, rng))
    return all(e.error <= 1e-5 * e.largest + 1e-7 for e in entries if e.position > 0)
