"""Safe calls of the function under test: they get copies, are counted, and return y as one vector.

Even if f or vjp writes into its arguments, the arrays of the caller and of later calls keep their
values.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from ._arrays import Array, all_equal, copies, is_floating, scales
from .report import Status


class TrialError(Exception):
    """f or vjp returns an impossible result, which ends the check with this status."""

    status: Status = "fail"


class WrongGradientError(TrialError):
    """The backward returns something that is no gradient of these arrays; the text says what."""


class ChangedShapeError(TrialError):
    """f returns y of another shape than before, for arrays of the same shapes."""

    status = "nondeterministic"


class Trial:
    """f and vjp at one point, as `check` gets them; messages call the arrays by `names`.

    Floating-point arrays are converted to `dtype`. Other arrays, and None, are not differentiated.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        vjp: Callable[..., Any],
        arrays: Sequence[Any],
        names: Sequence[str],
        dtype: np.dtype[Any],
        pattern: Callable[..., Sequence[Array]] | None = None,
    ) -> None:
        self._f, self._vjp, self._pattern = f, vjp, pattern
        self.names, self.dtype = list(names), dtype
        self.arrays = [_convert(*pair, dtype) for pair in zip(self.names, arrays, strict=True)]
        self.evaluations = 0
        self.written: set[str] = set()  # names of arguments that f or vjp wrote to
        self.scales = cache(lambda position: scales(self.arrays[position]))
        point = copies(self.arrays)
        y = f(*point)
        self.evaluations += 1
        self.pattern = self.choices = self._read_pattern(point)
        self._several = isinstance(y, tuple | list)
        self.outputs = [part.copy() for part in _parts(y)]
        for part in self.outputs:
            if not np.issubdtype(part.dtype, np.floating):
                raise ValueError(
                    f"f gives dtype {part.dtype}; only floating-point y has a gradient"
                )
            if not np.isfinite(part).all():
                raise ValueError("f gives NaN or infinity at these arrays; there is no gradient")
        self.y = _flatten(self.outputs)

    @property
    def differentiable(self) -> list[int]:
        """Positions of the floating-point arrays."""
        return [i for i, a in enumerate(self.arrays) if is_floating(a)]

    def moved(self, position: int, step: Array) -> tuple[Array, bool]:
        """Return y with one array moved by a step, and whether f chooses as at the point.

        The choices of f are its masks and winners. If f raises ValueError or ArithmeticError, it is
        not defined there, and y is NaN.
        """
        array = self.arrays[position]
        with np.errstate(all="ignore"):
            # Keep the memory layout of the array, so that f adds in the same order as at the point.
            moved = np.empty_like(array)
            np.add(array, step.astype(array.dtype), out=moved)
            try:
                y = self.evaluate({position: moved})
                return y, self.choices is self.pattern or all_equal(self.choices, self.pattern)
            except (ValueError, ArithmeticError):
                return np.full(self.y.shape, np.nan), False

    def evaluate(self, replaced: dict[int, Array]) -> Array:
        """Return y as one vector, with some arrays replaced."""
        arrays = [replaced.get(i, array) for i, array in enumerate(self.arrays)]
        given = copies(arrays)
        parts = self.call(given)
        shapes, before = [p.shape for p in parts], [p.shape for p in self.outputs]
        if shapes != before:
            raise ChangedShapeError(f"f gives shapes {shapes}, but gave {before} before")
        self.choices = self._read_pattern(given)
        self._watch(arrays, given)
        return _flatten(parts)

    def call(self, arrays: Sequence[Any]) -> list[Array]:
        """Return the parts of y at any arrays (of another dtype or layout), as f gives them."""
        self.evaluations += 1
        return _parts(self._f(*arrays))

    def call_vjp(self, dys: Sequence[Array], arrays: Sequence[Any]) -> list[Any]:
        """Return the gradients at any arrays, as vjp gives them; or raise WrongGradientError."""
        gradients = self._vjp(tuple(dys) if self._several else dys[0], *arrays)
        listed = list(gradients) if isinstance(gradients, tuple | list) else [gradients]
        if len(listed) != len(self.arrays):
            raise WrongGradientError(
                f"vjp gives {len(listed)} gradients, but there are {len(self.arrays)} arrays"
            )
        return listed

    def pull_back(self, cotangent: Array) -> list[Array | None]:
        """Return vjp's gradients for a flat cotangent, or raise WrongGradientError."""
        dys, arrays = self.unflatten(cotangent), copies(self.arrays)
        given = copies(dys)
        try:
            listed = self.call_vjp(given, arrays)
        except WrongGradientError:
            raise
        except Exception as error:
            raise WrongGradientError(f"vjp raises {type(error).__name__}: {error}") from error
        self._watch(self.arrays, arrays)
        if not all_equal(dys, given):
            self.written.add("dy")
        checked = [
            None if gradient is None else _checked(name, gradient, array)
            for name, array, gradient in zip(self.names, self.arrays, listed, strict=True)
        ]
        if all(gradient is None for gradient in checked):
            raise WrongGradientError("vjp gives None for every array; nothing is left to check")
        return checked

    def unflatten(self, vector: Array) -> list[Array]:
        """Return a flat cotangent in parts with the shapes of the parts of y."""
        pieces = np.split(vector, np.cumsum([part.size for part in self.outputs])[:-1])
        return [
            piece.reshape(part.shape).astype(part.dtype)
            for piece, part in zip(pieces, self.outputs, strict=True)
        ]

    def _read_pattern(self, arrays: Sequence[Any]) -> list[Array]:
        return [] if self._pattern is None else [np.array(p) for p in self._pattern(*arrays)]

    def _watch(self, before: Sequence[Any], after: Sequence[Any]) -> None:
        for name, a, b in zip(self.names, before, after, strict=True):
            if isinstance(a, np.ndarray) and not np.array_equal(a, b):
                self.written.add(name)


def _parts(y: Any) -> list[Array]:
    return [np.asarray(part) for part in (y if isinstance(y, tuple | list) else (y,))]


def _flatten(parts: Sequence[Array]) -> Array:
    """Return all entries as one vector of float64."""
    return np.concatenate([part.ravel() for part in parts]).astype(np.float64)


def first_not_finite(array: Array) -> str:
    """Return "<value> at <index>" of the first entry that is NaN or infinite, or ""."""
    for index in np.argwhere(~np.isfinite(array)):
        place = tuple(int(i) for i in index)
        return f"{array[place]} at {place}"
    return ""


def _convert(name: str, array: Any, dtype: np.dtype[Any]) -> Any:
    if array is None:
        return None
    try:
        array = np.asarray(array)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"{name} is no array of numbers: {array!r:.60}") from error
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} has dtype {array.dtype}: {array!r:.60}; give floating-point numbers, or "
            "integers for labels and indices"
        )
    if array.dtype.kind != "f":
        return array.copy(order="K")
    array = array.astype(dtype, order="K")
    if bad := first_not_finite(array):
        raise ValueError(f"{name} has {bad}; a gradient needs a finite point")
    return array


def _checked(name: str, gradient: Any, array: Any) -> Array:
    """Return a copy of a gradient of the shape and dtype of its array, all finite."""
    if not is_floating(array):
        kind = "None" if array is None else f"of dtype {np.asarray(array).dtype}"
        raise WrongGradientError(
            f"vjp gives a gradient for {name}, but {name} is {kind} and has no gradient"
        )
    try:
        gradient = np.array(gradient)
    except ValueError as error:  # a list of lists of different lengths
        raise WrongGradientError(f"the gradient of {name} is no array: {error}") from error
    for what in ("shape", "dtype"):
        found, needed = getattr(gradient, what), getattr(array, what)
        if found != needed:
            raise WrongGradientError(
                f"the gradient of {name} has {what} {found}, but {name} has {needed}"
            )
    if bad := first_not_finite(gradient):
        count = int((~np.isfinite(gradient)).sum())
        raise WrongGradientError(
            f"the gradient of {name} has {bad}; {count} of {gradient.size} entries are not finite"
        )
    return gradient
