"""The function under test, called safely: on copies, counted, outputs and cotangents as one vector.

Whatever f and vjp do to what they are given, the caller's arrays and the next call are not touched.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.gradcheck._scales import scales


class WrongGradientError(Exception):
    """The backward gives something that is no gradient of these arrays; its text says what."""


class ChangedShapeError(Exception):
    """f gives y of another shape than before, for arrays of the same shapes."""


class Trial:
    """f and vjp at one point.

    Parameters
    ----------
    f, vjp : callable
    arrays : sequence of array or None
        The point; integer arrays and None are passed through and not differentiated.
    names : sequence of str
        Of the arrays, for messages.
    dtype : dtype
        Floating-point arrays are converted to it.
    pattern : callable, optional
        Called with the arrays that f was just called with: the choices (masks, winners) that f
        made there, as a sequence of arrays.
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
        self._f = f
        self._vjp = vjp
        self._pattern = pattern
        self.names = list(names)
        self.arrays = [
            _convert(name, array, dtype) for name, array in zip(self.names, arrays, strict=True)
        ]
        self.dtype = dtype
        self._scales: dict[int, Array] = {}
        self.evaluations = 0
        self.written: set[str] = set()  # names of arguments that f or vjp wrote to
        for name, array in zip(self.names, self.arrays, strict=True):
            if is_floating(array) and not np.isfinite(array).all():
                index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
                raise ValueError(
                    f"{name} has {array[index]} at {index}; a gradient needs a finite point"
                )
        copies = self._copies(self.arrays)
        y = f(*copies)
        self.evaluations += 1
        self.pattern = self._read_pattern(copies)
        self.choices = self.pattern  # those of the last evaluation
        self._several = isinstance(y, tuple | list)
        self.outputs = [np.array(part) for part in (y if self._several else (y,))]
        for part in self.outputs:
            if not np.issubdtype(part.dtype, np.floating):
                raise ValueError(
                    f"f gives dtype {part.dtype}; only floating-point y has a gradient"
                )
            if not np.isfinite(part).all():
                raise ValueError("f gives NaN or infinity at these arrays; there is no gradient")
        self.y = self.last = _flatten(self.outputs)

    @property
    def differentiable(self) -> list[int]:
        """Positions of the floating-point arrays."""
        return [i for i, a in enumerate(self.arrays) if is_floating(a)]

    def scales(self, position: int) -> Array:
        """Return how far each entry of an array moves at t = 1; see `_scales`."""
        if position not in self._scales:
            self._scales[position] = scales(self.arrays[position])
        return self._scales[position]

    def evaluate(self, replaced: dict[int, Array]) -> Array:
        """Return y as one vector, with some arrays replaced; the others are copies."""
        arrays = [replaced.get(i, array) for i, array in enumerate(self.arrays)]
        copies = self._copies(arrays)
        self.evaluations += 1
        y = self._f(*copies)
        parts = [np.asarray(part) for part in (y if isinstance(y, tuple | list) else (y,))]
        shapes = [part.shape for part in parts]
        if shapes != [part.shape for part in self.outputs]:
            raise ChangedShapeError(
                f"f gives shapes {shapes}, but gave {[p.shape for p in self.outputs]} before"
            )
        self.choices = self._read_pattern(copies)
        self._watch(arrays, copies)
        self.last = _flatten(parts)
        return self.last

    def same_choices(self) -> bool:
        """Whether f chose in the last evaluation (masks, winners) as at the point itself."""
        if self.choices is self.pattern:
            return True
        return len(self.choices) == len(self.pattern) and all(
            np.array_equal(a, b) for a, b in zip(self.choices, self.pattern, strict=True)
        )

    def call(self, arrays: Sequence[Any]) -> list[Array]:
        """Return the parts of y at any arrays (of another dtype or layout), as f gives them."""
        self.evaluations += 1
        y = self._f(*arrays)
        return [np.asarray(part) for part in (y if isinstance(y, tuple | list) else (y,))]

    def call_vjp(self, dys: Sequence[Array], arrays: Sequence[Any]) -> list[Any]:
        """Return the gradients at any arrays, as vjp gives them."""
        gradients = self._vjp(tuple(dys) if self._several else dys[0], *arrays)
        return self._listed(gradients)

    def pull_back(self, cotangent: Array) -> list[Array | None]:
        """Return vjp's gradients for a flat cotangent, or raise WrongGradientError."""
        dys = self.unflatten(cotangent)
        arrays = self._copies(self.arrays)
        given = [dy.copy() for dy in dys]
        try:
            gradients = self._vjp(tuple(given) if self._several else given[0], *arrays)
        except Exception as error:
            raise WrongGradientError(f"vjp raises {type(error).__name__}: {error}") from error
        self._watch(self.arrays, arrays)
        if not all(np.array_equal(a, b) for a, b in zip(dys, given, strict=True)):
            self.written.add("dy")
        return self._checked(gradients)

    def _checked(self, gradients: Any) -> list[Array | None]:
        """Check count, kind, shape, dtype and finiteness of the gradients; return copies."""
        listed = self._listed(gradients)
        checked: list[Array | None] = []
        for name, array, gradient in zip(self.names, self.arrays, listed, strict=True):
            if gradient is None:
                checked.append(None)
                continue
            if not is_floating(array):
                kind = "None" if array is None else f"of dtype {np.asarray(array).dtype}"
                raise WrongGradientError(
                    f"vjp gives a gradient for {name}, which is {kind} and has none"
                )
            checked.append(_check_gradient(name, gradient, array))
        if all(gradient is None for gradient in checked):
            raise WrongGradientError("vjp gives None for every array; nothing is left to check")
        return checked

    def _listed(self, gradients: Any) -> list[Any]:
        listed = list(gradients) if isinstance(gradients, tuple | list) else [gradients]
        if len(listed) != len(self.arrays):
            raise WrongGradientError(
                f"vjp gives {len(listed)} gradients, but there are {len(self.arrays)} arrays"
            )
        return listed

    def _copies(self, arrays: Sequence[Any]) -> list[Any]:
        # order "K" keeps the memory layout: a view of channel-major memory stays one.
        return [a.copy(order="K") if isinstance(a, np.ndarray) else a for a in arrays]

    def _read_pattern(self, arrays: Sequence[Any]) -> list[Array]:
        return [] if self._pattern is None else [np.array(p) for p in self._pattern(*arrays)]

    def _watch(self, before: Sequence[Any], after: Sequence[Any]) -> None:
        for name, a, b in zip(self.names, before, after, strict=True):
            if isinstance(a, np.ndarray) and not np.array_equal(a, b):
                self.written.add(name)

    def unflatten(self, vector: Array) -> list[Array]:
        """Return a flat cotangent as parts like those of y."""
        ends = np.cumsum([part.size for part in self.outputs])[:-1]
        pieces = np.split(vector, ends)
        return [
            piece.reshape(part.shape).astype(part.dtype)
            for piece, part in zip(pieces, self.outputs, strict=True)
        ]


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
    if not np.issubdtype(array.dtype, np.floating):
        return array.copy(order="K")
    return array.astype(dtype, order="K")


def is_floating(array: Any) -> bool:
    """True for arrays of real floating-point numbers."""
    return isinstance(array, np.ndarray) and bool(np.issubdtype(array.dtype, np.floating))


def _flatten(parts: Sequence[Array]) -> Array:
    """Return all entries as one vector of float64."""
    return np.concatenate([part.ravel() for part in parts]).astype(np.float64)


def _check_gradient(name: str, gradient: Any, array: Array) -> Array:
    try:
        gradient = np.array(gradient)
    except ValueError as error:  # a list of lists of different lengths
        raise WrongGradientError(f"the gradient of {name} is no array: {error}") from error
    if gradient.shape != array.shape:
        raise WrongGradientError(
            f"the gradient of {name} has shape {gradient.shape}, but {name} has {array.shape}"
        )
    if gradient.dtype != array.dtype:
        raise WrongGradientError(
            f"the gradient of {name} has dtype {gradient.dtype}, but {name} has {array.dtype}"
        )
    bad = ~np.isfinite(gradient)
    if bad.any():
        index = tuple(int(i) for i in np.argwhere(bad)[0])
        raise WrongGradientError(
            f"the gradient of {name} has {gradient[index]} at {index}; "
            f"{int(bad.sum())} of {bad.size} entries are not finite"
        )
    return gradient
