"""Side checks: properties that every right backward has, whatever it computes.

    writes     f and vjp do not write into their arguments (`Trial` watches them)
    repeats    the same arguments give the same results
    dtype      f and vjp give float32 for float32
    linear     vjp(0) = 0, and vjp(2 dy - 3 dy') = 2 vjp(dy) - 3 vjp(dy')
    batch      if each row of y depends only on the same row of an array, vjp doesn't mix rows
    layout     arrays with gaps in memory give the same results
    float32    float32 gives the results of float64, up to rounding

Two right results may differ by rounding. How much they differ depends on f: some functions amplify
rounding (a mean of numbers near 1e6, a maximum of near-equals). So where two results differ, the
check changes the last digit of all arguments. This shows how much rounding may change y and the
gradients.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from ._arrays import Array, copies, is_floating
from ._subject import Subject
from ._trial import Trial, WrongGradientError
from .settings import Settings

ROUNDINGS = 1e4  # allowed rounding, in eps times the size of a result or of terms that cancel in it
AMPLIFIED = 64  # allowed rounding, in multiples of the effect of changed last digits
WOBBLES = 3  # number of random changes of the last digits
FLOAT32 = np.finfo(np.float32)

Finding = tuple[bool, str]  # whether this is a problem, or only a note; and its text


def writes(trial: Trial, settings: Settings) -> str:
    """Return a sentence that names the arguments that f or vjp wrote into, or ""."""
    if "writes" in settings.skip or not trial.written:
        return ""
    return f"f or vjp writes into {', '.join(sorted(trial.written))}"


class Sides:
    """The side checks of one subject."""

    def __init__(self, subject: Subject) -> None:
        self._trial, self._dys, self._gradients = subject.trial, subject.dys, subject.gradients
        self._skip, self._keeps_dtype = subject.settings.skip, subject.settings.keeps_dtype
        self._eps = subject.precision.eps
        self._rng = np.random.default_rng(0)
        # The size that the gradient of array i has if y changes by its own size when the array
        # does. If all terms cancel, as for a shift before batch normalisation, the gradient is only
        # the rounding of numbers of this size.
        self._natural = cache(
            lambda i: subject.natural() / (float(np.median(self._trial.scales(i))) or 1.0)
        )

    def repeats(self) -> str:
        """Return a sentence that says what differs between two equal calls, or ""."""
        if "repeats" in self._skip:
            return ""
        trial = self._trial
        if not _equal(trial.evaluate({}), trial.y, self._eps):
            return "f gives different results for the same arrays"
        again = trial.pull_back(self._dys[0])
        for name, first, second in zip(trial.names, self._gradients[0], again, strict=True):
            if (first is None) != (second is None):
                return f"vjp gives a gradient of {name} at one time and None at another"
            if first is not None and second is not None and not _equal(first, second, self._eps):
                return f"vjp gives different gradients of {name} for the same arguments"
        return ""

    def findings(self) -> Iterator[Finding]:
        """Do all other checks, in the order of the list above."""
        for name in ("dtype", "linear", "batch", "layout", "float32"):
            if name not in self._skip:
                yield from getattr(self, f"_{name}")()

    def _rounding(self, i: int, gradient: Array, size: float) -> float:
        """Return the rounding in a gradient of array i whose terms have the size `size`.

        The gradient counts as computed in float32 if float32 can hold each of its numbers.
        """
        with np.errstate(all="ignore"):
            single = gradient.any() and (gradient == gradient.astype(np.float32)).all()
        return ROUNDINGS * float(FLOAT32.eps if single else self._eps) * max(size, self._natural(i))

    def _dtype(self) -> Iterator[Finding]:
        for part in self._trial.outputs:
            if self._keeps_dtype and part.dtype != self._trial.dtype:
                yield True, f"f gives {part.dtype} for {self._trial.dtype} arrays"

    def _linear(self) -> Iterator[Finding]:
        trial, dys = self._trial, self._dys
        for name, gradient in zip(trial.names, trial.pull_back(0 * dys[0]), strict=True):
            if gradient is not None and gradient.any():
                yield True, f"the gradient of {name} is not 0 for dy = 0"
        both = trial.pull_back(2 * dys[0] - 3 * dys[-1])
        for i, name in enumerate(trial.names):
            one, other, mixed = self._gradients[0][i], self._gradients[-1][i], both[i]
            if one is None or other is None or mixed is None:
                continue
            terms = float(np.abs(one).max(initial=0.0) + np.abs(other).max(initial=0.0))
            allowed = self._rounding(i, one, terms)
            if not np.allclose(mixed, 2 * one - 3 * other, rtol=0, atol=allowed):
                yield True, f"the gradient of {name} is not linear in dy"

    def _batch(self) -> Iterator[Finding]:
        """Test whether the rows of y are independent; if so, vjp must not mix rows."""
        trial = self._trial
        rows = {part.shape[0] if part.ndim else 0 for part in trial.outputs}
        n = rows.pop()
        if rows or n < 2:
            return
        k = int(self._rng.integers(n))
        others = np.arange(n) != k
        inputs = [i for i in trial.differentiable if self._only_row(i, k, others)]
        dys = trial.unflatten(self._dys[0])
        for dy in dys:
            dy[others] = 0
        dy_of_row = np.concatenate([dy.ravel() for dy in dys]).astype(np.float64)
        found = trial.pull_back(dy_of_row) if inputs else []
        for i in inputs:
            gradient, name = found[i], trial.names[i]
            if gradient is None:
                continue
            allowed = self._rounding(i, gradient, float(np.abs(gradient).max(initial=0.0)))
            if np.abs(gradient[others]).max(initial=0.0) > allowed:
                yield (
                    True,
                    f"each row of y depends only on the same row of {name}, but the gradient of "
                    f"{name} mixes rows",
                )

    def _only_row(self, i: int, k: int, others: Array) -> bool:
        """Whether row k of y changes with row k of array i, and with no other row of array i."""
        trial, array = self._trial, self._trial.arrays[i]
        if array.ndim == 0 or len(array) != len(others) or array.size == 0:
            return False
        step = 2.0**-8 * trial.scales(i) * self._rng.uniform(0.5, 1.5, array.shape)

        def changes_row(rows: Array) -> bool:
            moves = step.copy()
            moves[~rows] = 0
            y, _ = trial.moved(i, moves)
            return any(part[k].any() for part in trial.unflatten(y - trial.y))

        return not changes_row(others) and changes_row(~others)

    def _layout(self) -> Iterator[Finding]:
        """Call f and vjp with arrays that have gaps between their entries."""
        trial = self._trial
        arrays = [_with_gaps(a) if isinstance(a, np.ndarray) else a for a in trial.arrays]
        dys = trial.unflatten(self._dys[0])
        try:
            found = [*trial.call(arrays), *trial.call_vjp([_with_gaps(dy) for dy in dys], arrays)]
        except WrongGradientError:
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}; copy them, or skip 'layout'"
            yield True, f"for arrays that are not contiguous, f or vjp raises {said}"
            return
        expected = [*trial.outputs, *self._gradients[0]]
        for name in self._unlike(found, expected, trial.arrays, dys, self._eps):
            yield True, f"arrays that are not contiguous give another {name}"

    def _float32(self) -> list[Finding]:
        """Compare float32 with float64 at a point that float32 can hold."""
        trial, dtypes = self._trial, "dtype" not in self._skip
        if trial.dtype != np.float64:
            return []
        with np.errstate(all="ignore"):
            single = [a.astype(np.float32) if is_floating(a) else a for a in trial.arrays]
            dys = [dy.astype(np.float32) for dy in trial.unflatten(self._dys[0])]
            try:
                found = self._results(single, dys)
            except WrongGradientError:
                raise
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
                return [(False, f"float32 is not compared: f or vjp raises {said}")]
            y, gradients = found[: len(dys)], found[len(dys) :]
            if promoted := [part.dtype for part in y if part.dtype != np.float32]:
                said = f"f gives {promoted[0]} for float32 arrays"
                return [(bool(self._keeps_dtype), said)] if dtypes else []
            for name, array, gradient in zip(trial.names, single, gradients, strict=True):
                if gradient is not None and is_floating(array) and gradient.dtype != array.dtype:
                    said = f"has dtype {gradient.dtype} where {name} has float32"
                    if dtypes:
                        return [(True, f"the gradient of {name} {said}")]
            arrays = [a.astype(trial.dtype) if is_floating(a) else a for a in single]
            dys = [dy.astype(trial.dtype) for dy in dys]
            expected = self._results(arrays, dys)
            held = [*trial.arrays, *trial.outputs, *self._gradients[0], *expected]
            if not all(_fits_float32(a) for a in held if is_floating(a)):
                return [(False, "float32 is not compared: it cannot hold numbers of this size")]
            unlike = self._unlike(found, expected, arrays, dys, float(FLOAT32.eps))
            return [(True, f"float32 gives another {name} than float64") for name in unlike]

    def _results(self, arrays: Sequence[Any], dys: Sequence[Array]) -> list[Any]:
        """Return the parts of y for these arrays, then the gradients."""
        y = self._trial.call(copies(arrays))
        gradients = self._trial.call_vjp(copies(dys), copies(arrays))
        return [*y, *(None if g is None else np.array(g) for g in gradients)]

    def _unlike(
        self,
        found: Sequence[Any],
        expected: Sequence[Array | None],
        arrays: Sequence[Any],
        dys: Sequence[Array],
        eps: float,
    ) -> Iterator[str]:
        """Yield the names of results that differ from the expected ones by more than rounding."""
        moves = cache(lambda: self._moves(expected, arrays, dys, eps))
        names = ["y"] * len(dys) + [f"gradient of {name}" for name in self._trial.names]
        for i, (name, one, other) in enumerate(zip(names, found, expected, strict=True)):
            if other is None or not np.isfinite(other).all():
                continue
            size, position = float(np.abs(other).max(initial=0.0)), i - len(dys)
            if position >= 0 and is_floating(arrays[position]):
                size = max(size, self._natural(position))
            given = np.asarray(np.nan if one is None else one, np.float64)
            if given.shape != other.shape:
                yield name
                continue
            apart, allowed = np.abs(given - other), ROUNDINGS * eps * size
            if not np.isfinite(allowed) or (apart <= allowed).all():
                continue
            allowed += AMPLIFIED * moves()[i]
            if np.isfinite(allowed) and not (apart <= allowed).all():
                yield name

    def _moves(
        self,
        expected: Sequence[Array | None],
        arrays: Sequence[Any],
        dys: Sequence[Array],
        eps: float,
    ) -> list[float]:
        """Return how much each result changes if the last digit of all arguments changes."""
        moves = [0.0] * len(expected)
        for _ in range(WOBBLES):
            nudged = [_nudged(a, eps, self._rng) if is_floating(a) else a for a in arrays]
            others = self._results(nudged, [_nudged(dy, eps, self._rng) for dy in dys])
            for i, (before, now) in enumerate(zip(expected, others, strict=True)):
                if before is not None and now is not None:
                    moves[i] = max(moves[i], float(np.abs(now - before).max(initial=0.0)))
        return moves


def _fits_float32(array: Array) -> bool:
    """Whether float32 can hold the numbers, their squares and their quotients."""
    sizes = np.abs(array[array != 0]).astype(np.float64)
    largest = sizes.max(initial=0.0)
    if not np.isfinite(sizes).all() or largest > np.sqrt(float(FLOAT32.max)):
        return False
    return bool(largest > np.sqrt(float(FLOAT32.tiny))) or not sizes.size


def _with_gaps(array: Array) -> Array:
    """Return a copy with gaps in memory that hold NaN; a result that reads a gap becomes NaN."""
    if array.ndim == 0:
        return array.copy()
    filler = np.nan if is_floating(array) else 0
    room = np.full([2 * size for size in array.shape], filler, array.dtype)
    view: Array = room[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def _nudged(array: Array, eps: float, rng: np.random.Generator) -> Array:
    """Change every entry by about its last digit."""
    moved: Array = array * (1 + eps * rng.uniform(-1, 1, array.shape))
    return moved.astype(array.dtype)


def _equal(a: Array, b: Array, eps: float) -> bool:
    size = float(max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)))
    return bool(np.allclose(a, b, rtol=0, atol=64 * eps * size))
