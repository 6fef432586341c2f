"""Gradient checkers as people often write them: weak ones and wrong ones.

Each is a few lines, and calls gradients "right" (True) or "wrong" (False). A weak checker compares
gradients, but misses errors because of its loss, its step, its precision, or because it looks at
one entry only. Its tolerance is as tight as right gradients allow. A wrong checker hardly compares
anything. Each checker names a bug; a test shows that the checker misses this bug.
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
    """One way to check gradients."""

    name: str
    #: Name of a bug that the checker misses.
    slips: str
    #: True for a weak checker, False for a wrong one.
    weak: bool
    summary: str
    #: Takes a case and a random generator. Returns whether the checker calls the gradients right.
    run: Run


CHECKERS: dict[str, Checker] = {}
"""The checkers by name."""


class Case:
    """A bug, or the right functions in its place, on one example."""

    def __init__(self, bug: Bug, seed: int, *, right: bool = False) -> None:
        self._bug, self._seed, self._right = bug, seed, right
        arrays = bug.example(seed).arrays
        self.arrays: list[Array] = [a for a in arrays if a is not None]
        #: The indices of the floating-point arrays.
        self.differentiable = [i for i, a in enumerate(self.arrays) if a.dtype.kind == "f"]

    def y(self, arrays: Sequence[Array] | None = None) -> list[Array]:
        """Return y as a list: operations may return several arrays."""
        y, _ = self._forward(self.arrays if arrays is None else arrays)
        return [np.asarray(part) for part in (y if isinstance(y, tuple) else (y,))]

    def gradients(self, dys: Sequence[Array]) -> list[Array]:
        """Return the gradients for these cotangents, one for each array of y."""
        y, cache = self._forward(self.arrays)
        backward = self._bug.right[1] if self._right else self._bug.backward
        found = backward(tuple(dys) if isinstance(y, tuple) else dys[0], cache)
        return list(found) if isinstance(found, tuple) else [found]

    def loss(self, dys: Sequence[Array], position: int, array: Array) -> float:
        """Return <dys, y> with one of the arrays replaced."""
        arrays = list(self.arrays)
        arrays[position] = array
        parts = self.y(arrays)
        return float(sum((dy * part).sum() for dy, part in zip(dys, parts, strict=True)))

    def as_type(self, dtype: Any) -> "Case":
        """Return the case with floating-point arrays of another dtype."""
        other = Case(self._bug, self._seed, right=self._right)
        other.arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in self.arrays]
        return other

    def _forward(self, arrays: Sequence[Array]) -> Any:
        hyperparameters = self._bug.example(self._seed, arrays[0].dtype).hyperparameters
        forward = self._bug.right[0] if self._right else self._bug.forward
        return forward(*(a.copy() for a in arrays), **hyperparameters)


class ComparedEntry(NamedTuple):
    """The numeric and the analytic value of an entry, and the largest gradient of its array."""

    position: int  # index of the array among the arguments
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
    points, losses = [], []
    for step in (h, -h if central else 0.0):
        moved = case.arrays[i].copy()
        moved[index] += moved.dtype.type(step)
        points.append(float(moved[index]))
        losses.append(case.loss(dys, i, moved))
    numeric = (losses[0] - losses[1]) / (points[0] - points[1])
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
    """Use a plain sum as the loss. Compare all entries by central differences, to 1e-5."""
    return _agree(_entries(case, _ones(case)), 1e-5)


@_checker("conv2d/slightly_too_large", weak=True)
def one_index_at_1e_2(case: Case, rng: np.random.Generator) -> bool:
    """Compare one entry of each array to a relative error of 1e-2; the loss is a plain sum."""
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
    """Compare all entries, with a random cotangent, by one-sided differences, to 2e-3."""
    return _agree(_entries(case, _random(case, rng), 1e-4, central=False), 2e-3)


@_checker("conv2d/one_weight_too_large", weak=True)
def in_float32(case: Case, rng: np.random.Generator) -> bool:
    """Compare all entries in float32, with a random cotangent and step 1e-2, to 2e-2."""
    single = case.as_type(np.float32)
    return _agree(_entries(single, _random(single, rng), 1e-2), 2e-2)


@_checker("relu/slope_one")
def never_compares(case: Case, rng: np.random.Generator) -> bool:
    """Compute both gradients, but don't compare them."""
    list(_entries(case, _random(case, rng)))
    return True


@_checker("sigmoid/factor_forgotten")
def shows_and_asserts_nothing(case: Case, rng: np.random.Generator) -> bool:
    """Print the error, and accept any error."""
    largest = max(entry.error for entry in _entries(case, _random(case, rng)))
    return largest >= 0  # in place of print(largest)


@_checker("global_avg_pool/mean_not_divided")
def relative_error_below_one(case: Case, rng: np.random.Generator) -> bool:
    """Accept |a - n| / max(|a|, |n|) up to 1: a derivative 17 times too large passes."""
    entries = _entries(case, _random(case, rng))
    return all(e.error <= max(abs(e.numeric), abs(e.analytic)) + 1e-7 for e in entries)


@_checker("conv2d/kernel_not_flipped")
def argument_ignored(case: Case, rng: np.random.Generator) -> bool:
    """Move an argument that the loss ignores, and skip entries whose numeric gradient is 0."""
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
    """Compare the norm of all gradients as one vector, to 1e-3: large arrays hide small ones."""
    found = np.array([(e.numeric, e.analytic) for e in _entries(case, _random(case, rng))])
    difference = np.linalg.norm(found[:, 0] - found[:, 1])
    return bool(difference <= 1e-3 * np.linalg.norm(found, axis=0).sum())


@_checker("batch_norm/gamma_dropped")
def parameters_only(case: Case, rng: np.random.Generator) -> bool:
    """Check the gradients of the parameters, but not dx."""
    entries = _entries(case, _random(case, rng))
    return all(e.error <= 1e-5 * e.largest + 1e-7 for e in entries if e.position > 0)
