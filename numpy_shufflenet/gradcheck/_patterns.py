"""Patterns that the difference of two gradients, or of two Jacobians, can make.

A test returns the name of a family and what was seen, or "" and "". Tests go from the special to
the general; the first that fits is taken.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from ._arrays import Array

Found = tuple[str, str]
NOTHING: Found = ("", "")
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


def swapped(one: tuple[Array, Array], other: tuple[Array, Array]) -> bool:
    """Whether two arrays have each other's gradients."""
    return close(one[0], other[1]) and close(other[0], one[1])


def of_maps(found: Array, expected: Array) -> Found:
    """Compare a gradient with what it should be."""
    known = np.isfinite(expected)
    expected = np.where(known, expected, found)
    difference = found - expected
    if close(found, -expected):
        return "sign", "each entry is minus what it should be"
    wrong = np.abs(difference) > 1e-8 * np.abs(expected).max() + 1e-3 * np.abs(difference).max()
    for test in (_single, _dropped, _factor, _rearranged, _moved, _summed, _at_border):
        result = test(found, expected, wrong)
        if result != NOTHING:
            return result
    return NOTHING


def _single(found: Array, expected: Array, wrong: Array) -> Found:
    if found.size >= 8 and wrong.sum() <= max(1, found.size // 100):
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        return "single entry", f"of {found.size} entries only {int(wrong.sum())} wrong, at {index}"
    return NOTHING


def _dropped(found: Array, expected: Array, wrong: Array) -> Found:
    if found.size > 1 and not found.any():
        return "dropped", "it is 0 everywhere"
    if found[wrong].any():
        return NOTHING
    for axis in range(found.ndim):
        others = tuple(k for k in range(found.ndim) if k != axis)
        lost = ~found.any(axis=others) & expected.any(axis=others)
        slab = np.zeros(found.shape, bool)
        np.moveaxis(slab, axis, 0)[lost] = True
        if axis < 2 and lost.any() and not wrong[~slab].any():
            return "dropped", f"0 at {np.flatnonzero(lost).tolist()} along axis {axis}"
    return NOTHING


def _factor(found: Array, expected: Array, wrong: Array) -> Found:
    difference = found - expected
    everywhere = tuple(range(found.ndim))
    groups = [everywhere] + [tuple(k for k in everywhere if k != axis) for axis in everywhere]
    for axes in groups:
        if np.prod([found.shape[k] for k in axes]) < 3 and axes != everywhere:
            continue
        square = np.square(expected).sum(axis=axes, keepdims=True)
        product = (difference * expected).sum(axis=axes, keepdims=True)
        ratio = np.divide(product, square, out=np.zeros_like(product), where=square > 0)
        left = np.abs(difference - ratio * expected).max()
        if left > FITS * np.abs(difference).max() or found.size == 1:
            continue
        low, high = float(1 + ratio.min()), float(1 + ratio.max())
        seen = f"{low:.6g} times" if axes == everywhere else f"{low:.4g} to {high:.4g} times"
        return "factor", f"{seen} what it should be" + (
            "" if axes == everywhere else ", by channel"
        )
    return NOTHING


def _rearranged(found: Array, expected: Array, wrong: Array) -> Found:
    for name, candidate in _turned(expected):
        if close(found, candidate):
            return "transpose", f"the right one, {name}"
    if close(np.sort(found, axis=None), np.sort(expected, axis=None)):
        return "permutation", "the right numbers, in another order"
    return NOTHING


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


def _moved(found: Array, expected: Array, wrong: Array) -> Found:
    """Whether an image is the right one, some pixels off."""
    if found.ndim != 4:
        return NOTHING
    for down, right in _shifts(found.shape[2:]):
        a, b = _overlap(found, expected, (down, right))
        if b.any() and close(a, b):
            return "padding", f"the right one, but {down} rows and {right} columns off"
    return NOTHING


def _shifts(size: Sequence[int]) -> Iterator[tuple[int, int]]:
    near = sorted(range(-FARTHEST, FARTHEST + 1), key=abs)
    for down, right in itertools.product(near, near):
        if (down or right) and abs(down) < size[0] and abs(right) < size[1]:
            yield down, right


def _overlap(a: Array, b: Array, shift: tuple[int, int]) -> tuple[Array, Array]:
    """Return the parts of both images that meet if b is moved by so many (rows, columns)."""
    for axis, by in zip((-2, -1), shift, strict=True):
        a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
        size = a.shape[-1]
        a, b = a[..., max(by, 0) : size + min(by, 0)], b[..., max(-by, 0) : size - max(by, 0)]
        a, b = np.moveaxis(a, -1, axis), np.moveaxis(b, -1, axis)
    return a, b


def _summed(found: Array, expected: Array, wrong: Array) -> Found:
    for axis in range(found.ndim):
        total = np.broadcast_to(expected.sum(axis=axis, keepdims=True), found.shape)
        if found.shape[axis] > 1 and close(found, total):
            return "sum", f"it is added up along axis {axis} too"
    return NOTHING


def _at_border(found: Array, expected: Array, wrong: Array) -> Found:
    if found.ndim != 4 or min(found.shape[2:]) < 3:
        return NOTHING
    inner = wrong[:, :, 1:-1, 1:-1]
    if not inner.any() and inner.size:
        return "padding", "wrong at the border only"
    return NOTHING


def of_jacobians(
    found: Array,
    expected: Array,
    errors: Array,
    y_shape: tuple[int, ...],
    x_shape: tuple[int, ...],
) -> Found:
    """Compare Jacobians (y.size, x.size): row k is what output k sends back."""
    good = np.isfinite(expected).all(axis=0)  # columns; others lie beyond a domain
    expected = np.where(good, expected, found)
    size = max(np.abs(expected).max(), np.abs(found).max())
    noise = np.where(good, 4 * errors, 0) + ALIKE * size
    jacobians = _Jacobians(found, expected, np.minimum(noise, 0.1 * size), y_shape, x_shape)
    for test in (
        jacobians.masked,
        jacobians.transposed,
        jacobians.permuted,
        jacobians.partly,
        jacobians.elementwise,
        jacobians.edges,
        jacobians.scaled,
        jacobians.displaced,
        jacobians.reweighted,
    ):
        result = test()
        if result != NOTHING:
            return result
    return NOTHING


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
        self.found, self.expected, self.noise = found, expected, noise
        self.y_shape, self.x_shape = y_shape, x_shape
        self.equal: Array = np.abs(found - expected) <= noise
        self.sends: Array = np.abs(expected) > noise  # where it should not be 0
        self.sent: Array = np.abs(found) > noise

    def masked(self) -> Found:
        """All that should pass does, and something else too; or the complement passes."""
        if self.equal[self.sends].all() and not self.equal.all():
            return "mask", "what should pass does, and more with it"
        rows, should = _any(self.sent), _any(self.sends)
        # Of a unit: outputs that were cut off at its end send something back.
        if not should.all() and self.equal[should].all() and rows[~should].any():
            return "mask", "outputs that were cut off send something back"
        square = self.found.shape[0] == self.found.shape[1]
        if square and should.any() and not should.all() and (rows == ~should).all():
            return "mask", "what should pass does not, and the rest does"
        return NOTHING

    def transposed(self) -> Found:
        """Some axes of y and of x have changed places."""
        if self.y_shape != self.x_shape:
            return NOTHING
        ndim = len(self.x_shape)
        table = self.expected.reshape(self.y_shape + self.x_shape)
        axes = [k for k in range(ndim) if self.x_shape[k] > 1]
        subsets = [c for n in range(1, len(axes) + 1) for c in itertools.combinations(axes, n)]
        for subset in subsets:
            order = list(range(2 * ndim))
            for k in subset:
                order[k], order[k + ndim] = order[k + ndim], order[k]
            turned = table.transpose(order).reshape(self.expected.shape)
            if (np.abs(self.found - turned) <= self.noise.max()).all():
                return "transpose", f"output and input have changed places along axes {subset}"
        return NOTHING

    def permuted(self) -> Found:
        """Whole rows, or whole columns, stand in another place."""
        for found, expected, what in (
            (self.found, self.expected, "outputs"),
            (self.found.T, self.expected.T, "entries"),
        ):
            if _same_rows(found, expected, float(self.noise.max())):
                return "permutation", f"the right {what}, in another order"
        return NOTHING

    def partly(self) -> Found:
        """Each output's share either arrives unchanged, or not at all."""
        if not (self.equal | ~self.sent).all():
            return NOTHING
        lost = self.sends & ~self.sent
        rows = _any(lost)
        whole = (lost == self.sends)[rows].all()
        if whole and self._at_edge(rows):
            return "padding", "what the outputs at one edge send back is missing"
        return "sum", f"{int(lost.sum())} of {int(self.sends.sum())} shares are missing"

    def _at_edge(self, rows: Array) -> bool:
        """Whether these outputs are the first or last rows or columns of the image."""
        if len(self.y_shape) != 4:
            return False
        missing = rows.reshape(self.y_shape)
        for axis in (2, 3):
            size = self.y_shape[axis]
            lines = np.moveaxis(missing, axis, 0).reshape(size, -1)
            some = _any(lines)
            if size > 2 and (lines.all(axis=1) == some).all() and some.sum() == 1:
                return bool(some[0] or some[-1])
        return False

    def edges(self) -> Found:
        """Only outputs at the border of the image send back something wrong."""
        if len(self.y_shape) != 4 or min(self.y_shape[2:]) < 3:
            return NOTHING
        wrong = _any(~self.equal).reshape(self.y_shape)
        if wrong[:, :, 1:-1, 1:-1].any() or not wrong.any():
            return NOTHING
        return "padding", "only outputs at the border send back something wrong"

    def scaled(self) -> Found:
        """Each output sends back a multiple of what it should."""
        if self.sends.sum() < 2 * len(self.sends):  # one number is a multiple of any other
            return NOTHING
        square = np.square(self.expected).sum(axis=1, keepdims=True)
        product = (self.found * self.expected).sum(axis=1, keepdims=True)
        ratio = np.divide(product, square, out=np.ones_like(product), where=square > 0)
        if (np.abs(self.found - ratio * self.expected) <= self.noise.max()).all():
            low, high = float(ratio.min()), float(ratio.max())
            return "factor", f"each output sends back {low:.4g} to {high:.4g} times what it should"
        return NOTHING

    def displaced(self) -> Found:
        """Each output sends back the weights of the forward, to other pixels."""
        if len(self.x_shape) != 4 or len(self.y_shape) != 4:
            return NOTHING
        comparable = _any(~self.equal)
        comparable = comparable & (self.sent.sum(axis=1) == self.sends.sum(axis=1))
        a = np.sort(np.where(self.sent, self.found, 0)[comparable], axis=1)
        b = np.sort(np.where(self.sends, self.expected, 0)[comparable], axis=1)
        alike = (np.abs(a - b) <= self.noise.max()).all(axis=1)
        if alike.sum() > comparable.sum() / 2 and comparable.any():
            return "stride", "the weights of the forward reach other pixels"
        return NOTHING

    def elementwise(self) -> Found:
        """Both are diagonal."""
        rows, columns = self.found.shape
        off = ~np.eye(rows, columns, dtype=bool)
        if rows == columns and not self.sent[off].any() and not self.sends[off].any():
            ratio = np.diag(self.found) / np.where(self.sends.diagonal(), np.diag(self.expected), 1)
            low, high = float(ratio.min()), float(ratio.max())
            return "slope", f"between {low:.3g} and {high:.3g} times what it should be"
        return NOTHING

    def reweighted(self) -> Found:
        """Each output still sends back as much in all, as an interpolation does."""
        totals, expected = self.found.sum(axis=1), self.expected.sum(axis=1)
        some = (np.abs(expected) > self.noise.sum(axis=1)).mean() > 0.5
        if some and (np.abs(totals - expected) <= self.noise.sum(axis=1)).all():
            return "weights", "each output sends back as much as it should, to others"
        return NOTHING


def _any(table: Array) -> Array:
    """Whether there is any in each row."""
    return np.asarray(table.any(axis=1))


def _same_rows(found: Array, expected: Array, tolerance: float) -> bool:
    """Whether the rows are the same ones in another order."""
    direction = np.random.default_rng(0).normal(size=found.shape[1])
    a, b = found @ direction, expected @ direction
    order_a, order_b = np.argsort(a), np.argsort(b)
    return bool((np.abs(found[order_a] - expected[order_b]) <= tolerance).all())
