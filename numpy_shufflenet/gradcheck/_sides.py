"""Checks beside the differences: what a right backward also does, whatever it computes.

    writes     f and vjp leave their arguments as they were (watched by `Trial`)
    repeats    the same arguments give the same results
    linear     vjp(0) = 0, and vjp(2 dy - 3 dy') = 2 vjp(dy) - 3 vjp(dy')
    dtype      f and vjp give float32 for float32
    batch      where a row of y depends on its own row of an array only, so does the gradient
    layout     arrays that lie with gaps in memory give the same
    float32    float32 gives what float64 gives, as precisely as it can

How far apart two right results may be depends on f: some make much of the last digit (a mean of
numbers near 1e6, a maximum of near-equals). So where they are apart it is measured: all arguments
are changed in their last digit, and what y and the gradients then do is what rounding may do.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.gradcheck._judge import Precision
from numpy_shufflenet.gradcheck._trial import Trial, WrongGradientError, is_floating
from numpy_shufflenet.gradcheck.differences import norm

SIDE_CHECKS = ("writes", "repeats", "linear", "dtype", "batch", "layout", "float32")
ROUNDINGS = 1e4  # sums in another order differ by a few eps times the terms that cancel in them
AMPLIFIED = 64  # times what a change of the last digit does
WOBBLES = 3

Gradients = list[Array | None]


class Sides:
    """The side checks of one trial; `gradients` are what vjp gives for each cotangent.

    Each method returns what is wrong in a sentence, or "".
    """

    def __init__(
        self,
        trial: Trial,
        dys: Sequence[Array],
        precision: Precision,
        skip: Collection[str] = (),
        *,
        keeps_dtype: bool = False,
    ) -> None:
        self.trial = trial
        self.dys = dys
        self.precision = precision
        self.skip = skip
        self.keeps_dtype = keeps_dtype
        self.gradients: list[Gradients] = []
        self.notes: list[str] = []
        self._floors: dict[int, float] = {}
        self._rng = np.random.default_rng(0)

    def pull_back(self) -> None:
        """Ask vjp for the gradients of each cotangent."""
        self.gradients += [self.trial.pull_back(dy) for dy in self.dys]

    def writes(self) -> str:
        """f and vjp leave their arguments as they were."""
        if "writes" in self.skip or not self.trial.written:
            return ""
        return f"f or vjp writes into {', '.join(sorted(self.trial.written))}"

    def repeats(self) -> str:
        """f and vjp give the same for the same arguments."""
        if "repeats" in self.skip:
            return ""
        trial, eps = self.trial, self.precision.eps
        if not _equal(trial.evaluate({}), trial.y, eps):
            return "f gives different results for the same arrays"
        again = trial.pull_back(self.dys[0])
        for name, first, second in zip(trial.names, self.gradients[0], again, strict=True):
            if (first is None) != (second is None):
                return f"vjp gives a gradient of {name} at one time and None at another"
            if first is not None and second is not None and not _equal(first, second, eps):
                return f"vjp gives different gradients of {name} for the same arguments"
        return ""

    def problem(self) -> str:
        """All others, in the order of the list above."""
        checks: dict[str, Callable[[], str]] = {
            "dtype": self._dtype,
            "linear": self._linear,
            "batch": self._batch,
            "layout": self._layout,
            "float32": self._float32,
        }
        for name, check in checks.items():
            if name not in self.skip and (problem := check()):
                return problem
        return ""

    def _floor(self, i: int) -> float:
        """Size of the gradient of array i if y changed by its own size as the array does.

        Where everything cancels, as in a shift before a batch normalisation, rounding of this size
        is left.
        """
        if i not in self._floors:
            natural = norm(self.dys[0] * self.trial.y)
            self._floors[i] = natural / (float(np.median(self.trial.scales(i))) or 1.0)
        return self._floors[i]

    def _eps_of(self, gradient: Array) -> float:
        """Return eps of the dtype that a gradient was computed in: float32, if all fit into it."""
        with np.errstate(all="ignore"):
            single = gradient.any() and (gradient == gradient.astype(np.float32)).all()
        return float(np.finfo(np.float32).eps) if single else self.precision.eps

    def _dtype(self) -> str:
        for part in self.trial.outputs:
            if self.keeps_dtype and part.dtype != self.trial.dtype:
                return f"f gives {part.dtype} for {self.trial.dtype} arrays"
        return ""

    def _linear(self) -> str:
        trial, dys = self.trial, self.dys
        for name, gradient in zip(trial.names, trial.pull_back(0 * dys[0]), strict=True):
            if gradient is not None and gradient.any():
                return f"the gradient of {name} is not 0 for dy = 0"
        both = trial.pull_back(2 * dys[0] - 3 * dys[-1])
        for i, name in enumerate(trial.names):
            one, other, mixed = self.gradients[0][i], self.gradients[-1][i], both[i]
            if one is None or other is None or mixed is None:
                continue
            terms = float(np.abs(one).max(initial=0.0) + np.abs(other).max(initial=0.0))
            eps = self._eps_of(one)
            allowed = ROUNDINGS * eps * max(terms, self._floor(i))
            if not np.allclose(mixed, 2 * one - 3 * other, rtol=0, atol=allowed):
                return f"the gradient of {name} is not linear in dy"
        return ""

    def _batch(self) -> str:
        """Probe whether rows are independent; only if f shows that they are, demand it of vjp."""
        trial = self.trial
        rows = {part.shape[0] if part.ndim else 0 for part in trial.outputs}
        n = rows.pop()
        if rows or n < 2:
            return ""
        k = int(self._rng.integers(n))
        others = np.arange(n) != k
        inputs = [i for i in trial.differentiable if self._only_row(i, k, others)]
        inputs = [i for i in inputs if self.gradients[0][i] is not None]
        if not inputs:
            return ""
        dys = trial.unflatten(self.dys[0])
        for dy in dys:
            dy[others] = 0
        found = trial.pull_back(np.concatenate([dy.ravel() for dy in dys]).astype(np.float64))
        for i in inputs:
            gradient = found[i]
            assert gradient is not None
            size = max(float(np.abs(gradient).max(initial=0.0)), self._floor(i))
            eps = self._eps_of(gradient)
            if np.abs(gradient[others]).max(initial=0.0) > ROUNDINGS * eps * size:
                name = trial.names[i]
                return (
                    f"rows of y depend on their own row of {name} only, but the gradient of "
                    f"{name} mixes rows"
                )
        return ""

    def _only_row(self, i: int, k: int, others: Array) -> bool:
        """Whether row k of y changes with row k of array i, and with no other row of it."""
        trial, array = self.trial, self.trial.arrays[i]
        if array.ndim == 0 or len(array) != len(others) or array.size == 0:
            return False
        step = 2.0**-8 * trial.scales(i) * self._rng.uniform(0.5, 1.5, array.shape)
        changes = []
        for rows in (others, ~others):
            moved = array.copy()
            moved[rows] += step[rows]
            try:
                with np.errstate(all="ignore"):
                    changes.append(trial.unflatten(trial.evaluate({i: moved}) - trial.y))
            except (ValueError, ArithmeticError):
                return False
        by_others, by_own = changes
        alone = not any(part[~others].any() for part in by_others)
        return alone and any(part[~others].any() for part in by_own)

    def _layout(self) -> str:
        """Call f and vjp with arrays between whose entries there are gaps."""
        trial, eps = self.trial, self.precision.eps
        arrays = [with_gaps(a) if isinstance(a, np.ndarray) else a for a in trial.arrays]
        dys = [with_gaps(dy) for dy in trial.unflatten(self.dys[0])]
        try:
            y, gradients = trial.call(arrays), trial.call_vjp(dys, arrays)
        except WrongGradientError:
            raise
        except Exception as error:
            return (
                "arrays that are not contiguous raise "
                f"{type(error).__name__}: {error}; copy them, or skip 'layout'"
            )
        here = _Point(trial, trial.arrays, trial.unflatten(self.dys[0]))
        here.y, here.gradients = trial.outputs, self.gradients[0]
        return self._compare(
            y, gradients, here, eps, "arrays that are not contiguous give another {}"
        )

    def _float32(self) -> str:
        """Compare float32 with float64 at a point that float32 can hold."""
        trial = self.trial
        if trial.dtype != np.float64:
            return ""
        eps = float(np.finfo(np.float32).eps)
        with np.errstate(all="ignore"):
            single = [a.astype(np.float32) if is_floating(a) else a for a in trial.arrays]
        dys = [dy.astype(np.float32) for dy in trial.unflatten(self.dys[0])]
        try:
            with np.errstate(all="ignore"):
                y = trial.call(_copies(single))
                gradients = trial.call_vjp(_copies(dys), _copies(single))
        except WrongGradientError:
            raise
        except Exception as error:
            self.notes.append(f"float32 is not compared: it raises {type(error).__name__}: {error}")
            return ""
        if "dtype" not in self.skip and (problem := self._dtypes(y, gradients)):
            return problem
        if any(part.dtype != np.float32 for part in y):
            return ""
        arrays = [a.astype(trial.dtype) if is_floating(a) else a for a in single]
        here = _Point(trial, arrays, [dy.astype(trial.dtype) for dy in dys])
        with np.errstate(all="ignore"):
            here.evaluate()
            held = [*trial.arrays, *trial.outputs, *self.gradients[0], *here.results()]
            if not all(_fits_float32(a) for a in held if is_floating(a)):
                self.notes.append("float32 is not compared: it cannot hold numbers of this size")
                return ""
            return self._compare(y, gradients, here, eps, "float32 gives another {} than float64")

    def _dtypes(self, y: list[Array], gradients: list[Any]) -> str:
        promoted = [part.dtype for part in y if part.dtype != np.float32]
        if promoted and self.keeps_dtype:
            return f"f gives {promoted[0]} for float32 arrays"
        if promoted:
            self.notes.append(f"f gives {promoted[0]} for float32 arrays")
            return ""
        for name, array, gradient in zip(
            self.trial.names, self.trial.arrays, gradients, strict=False
        ):
            if gradient is not None and is_floating(array):
                dtype = np.asarray(gradient).dtype
                if dtype != np.float32:
                    return f"the gradient of {name} has dtype {dtype} where {name} has float32"
        return ""

    def _compare(
        self, y: list[Array], gradients: list[Any], here: "_Point", eps: float, message: str
    ) -> str:
        """Return a message unless y and gradients are those of a point, up to rounding by eps."""
        if not self._unlike(y, gradients, here, eps, None):
            return ""
        found = self._unlike(y, gradients, here, eps, here.moves(eps, self._rng))
        return message.format(found) if found else ""

    def _unlike(
        self,
        y: list[Array],
        gradients: list[Any],
        here: "_Point",
        eps: float,
        moves: list[float] | None,
    ) -> str:
        """Return the name of what differs by more than rounding, and 64 times its moves, allow."""
        names = ["y"] * len(y) + [f"gradient of {name}" for name in self.trial.names]
        floors = [0.0] * len(y) + [
            self._floor(i) if is_floating(a) else 0.0 for i, a in enumerate(self.trial.arrays)
        ]
        found = [*y, *gradients]
        for i, (name, expected) in enumerate(zip(names, here.results(), strict=True)):
            if expected is None or not np.isfinite(expected).all():
                continue
            size = max(float(np.abs(expected).max(initial=0.0)), floors[i])
            allowed = ROUNDINGS * eps * size + (AMPLIFIED * moves[i] if moves else 0.0)
            given = np.asarray(found[i], np.float64) if found[i] is not None else np.nan
            if np.shape(given) != expected.shape:
                return name
            if np.isfinite(allowed) and not (np.abs(given - expected) <= allowed).all():
                return name
        return ""


class _Point:
    """A point with its y and gradients, and how much they move when all last digits change."""

    def __init__(self, trial: Trial, arrays: list[Any], dys: list[Array]) -> None:
        self._trial, self._arrays, self._dys = trial, arrays, dys
        self.y: list[Array] = []
        self.gradients: Gradients = []

    def evaluate(self) -> None:
        """Compute y and gradients."""
        self.y = self._trial.call(_copies(self._arrays))
        found = self._trial.call_vjp(_copies(self._dys), _copies(self._arrays))
        self.gradients = [None if g is None else np.array(g) for g in found]

    def results(self) -> list[Array | None]:
        """Return the parts of y, then the gradients."""
        return [*self.y, *self.gradients]

    def moves(self, eps: float, rng: np.random.Generator) -> list[float]:
        """Return the largest change of each result over some random changes by eps."""
        largest = [0.0] * len(self.results())
        for _ in range(WOBBLES):
            arrays = [_nudged(a, eps, rng) if is_floating(a) else a for a in self._arrays]
            other = _Point(self._trial, arrays, [_nudged(dy, eps, rng) for dy in self._dys])
            other.evaluate()
            pairs = zip(self.results(), other.results(), strict=True)
            for i, (before, now) in enumerate(pairs):
                if before is not None and now is not None:
                    largest[i] = max(largest[i], float(np.abs(now - before).max(initial=0.0)))
        return largest


def _fits_float32(array: Array) -> bool:
    """Whether float32 holds the numbers, their squares and quotients: none too large or small."""
    sizes = np.abs(array[array != 0]).astype(np.float64)
    limits = np.finfo(np.float32)
    if not np.isfinite(sizes).all() or sizes.max(initial=0.0) > np.sqrt(float(limits.max)):
        return False
    return bool(sizes.max(initial=0.0) > np.sqrt(float(limits.tiny))) or not sizes.size


def with_gaps(array: Array) -> Array:
    """Return a copy that lies in memory with gaps, which hold NaN: it spreads if ever read."""
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


def _copies(arrays: Sequence[Any]) -> list[Any]:
    return [a.copy(order="K") if isinstance(a, np.ndarray) else a for a in arrays]


def _equal(a: Array, b: Array, eps: float) -> bool:
    size = float(max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)))
    return bool(np.allclose(a, b, rtol=0, atol=64 * eps * size))
