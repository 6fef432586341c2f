"""Patterns that the difference of two gradients, or of two Jacobians, can make.

A test returns the name of a family and what was seen, or None. Tests go from the special to the
general; the first that fits is taken.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from ._arrays import Array

Found = tuple[str, str] | None
ALIKE = 1e-5  # relative to the largest entry
FITS = 1e-2  # what a fit may leave of the difference that it explains
FARTHEST = 3  # pixels that a border may be off by


def close(a: Array | None, b: Array | None, tolerance: float = ALIKE) -> bool:
    """Whether two arrays are the same but for a small part of their largest entry."""
    if a is None or b is None:
        return a is b
    if a.shape != b.shape or a.size == 0:
        return a.shape == b.shape
    size = max(np.abs(a).max(), np.abs(b).max())
    return bool((np.abs(a - b) <= tolerance * size).all())


# Gradients


def of_maps(found: Array, expected: Array) -> tuple[str, str]:
    """Compare a gradient with what it should be; return family and hint, or "" and ""."""
    expected = np.where(np.isfinite(expected), expected, found)
    size = np.abs(found - expected)
    wrong = size > 1e-8 * np.abs(expected).max() + 1e-3 * size.max()
    if close(found, -expected):
        return "sign", "each entry is minus what it should be"
    return (
        _single(wrong)
        or _dropped(found, expected, wrong)
        or _factor(found, expected)
        or _rearranged(found, expected)
        or _at_border(wrong)
        or ("", "")
    )


def _single(wrong: Array) -> Found:
    if wrong.size < 8 or wrong.sum() > max(1, wrong.size // 100):
        return None
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    return "single entry", f"of {wrong.size} entries only {int(wrong.sum())} wrong, at {index}"


def _dropped(found: Array, expected: Array, wrong: Array) -> Found:
    if found.size > 1 and not found.any():
        return "dropped", "it is 0 everywhere"
    if found[wrong].any():
        return None
    for axis in range(min(found.ndim, 2)):
        others = tuple(k for k in range(found.ndim) if k != axis)
        lost = ~found.any(axis=others) & expected.any(axis=others)
        kept = np.compress(~lost, wrong, axis=axis)
        if lost.any() and not kept.any():
            return "dropped", f"0 at {np.flatnonzero(lost).tolist()} along axis {axis}"
    return None


def _factor(found: Array, expected: Array) -> Found:
    """Whether it is a multiple of the right one: all of it, or each channel."""
    difference, everywhere = found - expected, tuple(range(found.ndim))
    for axis in (None, *everywhere):
        axes = tuple(k for k in everywhere if k != axis)
        if axis is not None and np.prod([found.shape[k] for k in axes]) < 3:
            continue
        ratio = _ratio(difference, expected, axes, 0.0)
        left = np.abs(difference - ratio * expected).max()
        if left <= FITS * np.abs(difference).max() and found.size > 1:
            low, high = float(1 + ratio.min()), float(1 + ratio.max())
            seen = f"{low:.6g} times" if axis is None else f"{low:.4g} to {high:.4g} times"
            return "factor", f"{seen} what it should be{'' if axis is None else ', by channel'}"
    return None


def _ratio(a: Array, b: Array, axes: tuple[int, ...], default: float) -> Array:
    """Return the factor of b, along some axes, that comes nearest to a."""
    square = np.square(b).sum(axis=axes, keepdims=True)
    product = (a * b).sum(axis=axes, keepdims=True)
    return np.divide(product, square, out=np.full_like(product, default), where=square > 0)


def _rearranged(found: Array, expected: Array) -> Found:
    for name, candidate in _turned(expected):
        if close(found, candidate):
            return "transpose", f"the right one, {name}"
    if close(np.sort(found, axis=None), np.sort(expected, axis=None)):
        return "permutation", "the right numbers, in another order"
    for down, right in _shifts(found.shape):
        a, b = _overlap(found, expected, (down, right))
        if b.any() and close(a, b):
            return "padding", f"the right one, but {down} rows and {right} columns off"
    for axis in range(found.ndim):
        total = np.broadcast_to(expected.sum(axis=axis, keepdims=True), found.shape)
        if found.shape[axis] > 1 and close(found, total):
            return "sum", f"it is added up along axis {axis} too"
    return None


def _turned(a: Array) -> Iterator[tuple[str, Array]]:
    """Yield what a kernel's or a matrix' gradient may be mistaken for."""
    if a.ndim == 2:
        yield "transposed", a.T
    if a.ndim == 4:
        yield "turned by 180 degrees", a[:, :, ::-1, ::-1]
        yield "upside down", a[:, :, ::-1]
        yield "mirrored", a[:, :, :, ::-1]
        yield "rows and columns exchanged", a.swapaxes(2, 3)
        yield "inputs and outputs exchanged", a.swapaxes(0, 1)
        yield "inputs and outputs exchanged, turned", a.swapaxes(0, 1)[:, :, ::-1, ::-1]


def _shifts(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield by how many rows and columns an image may be off."""
    near = sorted(range(-FARTHEST, FARTHEST + 1), key=abs)
    for down, right in itertools.product(near, near) if len(shape) == 4 else ():
        if (down or right) and abs(down) < shape[2] and abs(right) < shape[3]:
            yield down, right


def _overlap(a: Array, b: Array, shift: tuple[int, int]) -> tuple[Array, Array]:
    """Return the parts of both images that meet if b is moved by so many (rows, columns)."""
    for axis, by in zip((2, 3), shift, strict=True):
        size = a.shape[axis]
        a = a.take(range(max(by, 0), size + min(by, 0)), axis)
        b = b.take(range(max(-by, 0), size - max(by, 0)), axis)
    return a, b


def _at_border(wrong: Array) -> Found:
    if wrong.ndim != 4 or min(wrong.shape[2:]) < 3 or wrong[:, :, 1:-1, 1:-1].any():
        return None
    return "padding", "wrong at the border only"


# Jacobians


def _any(table: Array) -> Array:
    """Whether there is any in each row."""
    return np.asarray(table.any(axis=1))


def of_jacobians(
    found: Array,
    expected: Array,
    errors: Array,
    y_shape: tuple[int, ...],
    x_shape: tuple[int, ...],
) -> tuple[str, str]:
    """Compare Jacobians (y.size, x.size): row k is what output k sends back."""
    good = np.isfinite(expected).all(axis=0)  # columns; others lie beyond a domain
    expected = np.where(good, expected, found)
    size = max(np.abs(expected).max(), np.abs(found).max())
    noise = np.minimum(np.where(good, 4 * errors, 0) + ALIKE * size, 0.1 * size)
    pair = _Jacobians(found, expected, noise, y_shape, x_shape)
    return (
        pair.masked()
        or pair.transposed()
        or pair.permuted()
        or pair.partly()
        or pair.elementwise()
        or pair.edges()
        or pair.scaled()
        or pair.displaced()
        or pair.reweighted()
        or ("", "")
    )


class _Jacobians:
    """Two Jacobians, and where they agree."""

    def __init__(
        self,
        found: Array,
        expected: Array,
        noise: Array,
        y_shape: tuple[int, ...],
        x_shape: tuple[int, ...],
    ) -> None:
        self.found, self.expected = found, expected
        self.y_shape, self.x_shape = y_shape, x_shape
        self.equal: Array = np.abs(found - expected) <= noise
        self.sends: Array = np.abs(expected) > noise  # where it should not be 0
        self.sent: Array = np.abs(found) > noise
        self.wrong_rows: Array = _any(~self.equal)
        self.row_noise, self.most = noise.sum(axis=1), float(noise.max())

    def masked(self) -> Found:
        """All that should pass does, and something else too; or the complement passes."""
        if self.equal[self.sends].all() and not self.equal.all():
            return "mask", "what should pass does, and more with it"
        rows, should = _any(self.sent), _any(self.sends)
        if should.all():
            return None
        # Of a unit: outputs that were cut off at its end send something back.
        if self.equal[should].all() and rows[~should].any():
            return "mask", "outputs that were cut off send something back"
        square = self.found.shape[0] == self.found.shape[1]
        if square and should.any() and (rows == ~should).all():
            return "mask", "what should pass does not, and the rest does"
        return None

    def transposed(self) -> Found:
        """Some axes of y and of x have changed places."""
        if self.y_shape != self.x_shape:
            return None
        ndim = len(self.x_shape)
        table = self.expected.reshape(self.y_shape + self.x_shape)
        axes = [k for k in range(ndim) if self.x_shape[k] > 1]
        for count in range(1, len(axes) + 1):
            for subset in itertools.combinations(axes, count):
                order = list(range(2 * ndim))
                for k in subset:
                    order[k], order[k + ndim] = order[k + ndim], order[k]
                turned = table.transpose(order).reshape(self.expected.shape)
                if (np.abs(self.found - turned) <= self.most).all():
                    return "transpose", f"output and input have changed places along axes {subset}"
        return None

    def permuted(self) -> Found:
        """Whole rows, or whole columns, stand in another place."""
        pairs = (self.found, self.expected), (self.found.T, self.expected.T)
        for (a, b), what in zip(pairs, ("outputs", "entries"), strict=True):
            direction = np.random.default_rng(0).normal(size=a.shape[1])
            a, b = a[np.argsort(a @ direction)], b[np.argsort(b @ direction)]
            if (np.abs(a - b) <= self.most).all():
                return "permutation", f"the right {what}, in another order"
        return None

    def partly(self) -> Found:
        """Each output's share either arrives unchanged, or not at all."""
        if not (self.equal | ~self.sent).all():
            return None
        lost = self.sends & ~self.sent
        rows = _any(lost)
        if (lost == self.sends)[rows].all() and self._at_edge(rows):
            return "padding", "what the outputs at one edge send back is missing"
        return "sum", f"{int(lost.sum())} of {int(self.sends.sum())} shares are missing"

    def _at_edge(self, rows: Array) -> bool:
        """Whether these outputs are the first or last rows or columns of the image."""
        for axis in (2, 3) if len(self.y_shape) == 4 else ():
            size = self.y_shape[axis]
            lines = np.moveaxis(rows.reshape(self.y_shape), axis, 0).reshape(size, -1)
            some = _any(lines)
            if size > 2 and (lines.all(axis=1) == some).all() and some.sum() == 1:
                return bool(some[0] or some[-1])
        return False

    def elementwise(self) -> Found:
        """Both are diagonal."""
        rows, columns = self.found.shape
        off = np.eye(rows, columns) == 0
        if rows != columns or self.sent[off].any() or self.sends[off].any():
            return None
        ratio = np.diag(self.found) / np.where(self.sends.diagonal(), np.diag(self.expected), 1)
        low, high = float(ratio.min()), float(ratio.max())
        return "slope", f"between {low:.3g} and {high:.3g} times what it should be"

    def edges(self) -> Found:
        """Only outputs at the border of the image send back something wrong."""
        if len(self.y_shape) != 4 or not self.wrong_rows.any():
            return None
        if not _at_border(self.wrong_rows.reshape(self.y_shape)):
            return None
        return "padding", "only outputs at the border send back something wrong"

    def scaled(self) -> Found:
        """Each output sends back a multiple of what it should."""
        if self.sends.sum() < 2 * len(self.sends):  # one number is a multiple of any other
            return None
        ratio = _ratio(self.found, self.expected, (1,), 1.0)
        if (np.abs(self.found - ratio * self.expected) > self.most).any():
            return None
        low, high = float(ratio.min()), float(ratio.max())
        return "factor", f"each output sends back {low:.4g} to {high:.4g} times what it should"

    def displaced(self) -> Found:
        """Each output sends back the weights of the forward, to other pixels."""
        if len(self.x_shape) != 4 or len(self.y_shape) != 4:
            return None
        rows = self.wrong_rows & (self.sent.sum(axis=1) == self.sends.sum(axis=1))
        a = np.sort(np.where(self.sent, self.found, 0)[rows], axis=1)
        b = np.sort(np.where(self.sends, self.expected, 0)[rows], axis=1)
        alike = (np.abs(a - b) <= self.most).all(axis=1)
        if alike.sum() > rows.sum() / 2:
            return "stride", "the weights of the forward reach other pixels"
        return None

    def reweighted(self) -> Found:
        """Each output still sends back as much in all, as an interpolation does."""
        totals, expected = self.found.sum(axis=1), self.expected.sum(axis=1)
        some = (np.abs(expected) > self.row_noise).mean() > 0.5
        if some and (np.abs(totals - expected) <= self.row_noise).all():
            return "weights", "each output sends back as much as it should, to others"
        return None
