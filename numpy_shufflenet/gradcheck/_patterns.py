"""Patterns that the difference of two gradients, or of two Jacobians, can make.

A pattern is a family of `explain.FAMILIES` and a text that says what was seen. The tests go from
special patterns to general ones, and stop at the first pattern that fits.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from ._arrays import Array

Found = tuple[str, str]
NOTHING: Found = ("", "")
ALIKE = 1e-5  # arrays are alike up to this error, relative to the largest entry
FITS = 1e-2  # a pattern fits if it leaves at most this share of the difference unexplained
FARTHEST = 3  # the largest shift of an image that is tried, in pixels


def close(a: Array | None, b: Array | None, tolerance: float = ALIKE) -> bool:
    """Whether two arrays differ by at most a small share of their largest entry."""
    if a is None or b is None:
        return a is b
    if a.shape != b.shape or a.size == 0:
        return a.shape == b.shape
    size = max(np.abs(a).max(), np.abs(b).max())
    return bool((np.abs(a - b) <= tolerance * size).all())


def of_maps(found: Array, expected: Array) -> Found:
    """Return the pattern of a wrong gradient, given the right gradient."""
    return next(_of_maps(found, np.where(np.isfinite(expected), expected, found)), NOTHING)


def of_jacobians(
    found: Array,
    expected: Array,
    errors: Array,
    y_shape: tuple[int, ...],
    x_shape: tuple[int, ...],
) -> Found:
    """Return the pattern of a wrong Jacobian (y.size, x.size); row k is output k's gradient."""
    good = np.isfinite(expected).all(axis=0)  # columns; in other columns y is not defined
    expected = np.where(good, expected, found)
    size = max(np.abs(expected).max(), np.abs(found).max())
    noise = np.minimum(np.where(good, 4 * errors, 0) + ALIKE * size, 0.1 * size)
    return next(_of_jacobians(found, expected, noise, y_shape, x_shape), NOTHING)


# Gradients


def _of_maps(found: Array, expected: Array) -> Iterator[Found]:
    difference, shape = found - expected, found.shape
    axes = range(found.ndim)
    wrong = np.abs(difference) > 1e-8 * np.abs(expected).max() + 1e-3 * np.abs(difference).max()
    if not wrong.any():
        return
    if close(found, -expected):
        yield "sign", "each entry is minus what it should be"
    if found.size >= 8 and wrong.sum() <= max(1, found.size // 100):
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        seen = f"only {int(wrong.sum())} of {found.size} entries wrong, the first at {index}"
        yield "single entry", seen
    if found.size > 1 and not found.any():
        yield "dropped", "it is 0 everywhere"
    for axis in axes[:2] if not found[wrong].any() else ():
        others = tuple(k for k in axes if k != axis)
        lost = ~found.any(axis=others) & expected.any(axis=others)
        if lost.any() and not np.compress(~lost, wrong, axis=axis).any():
            yield "dropped", f"0 at {np.flatnonzero(lost).tolist()} along axis {axis}"
    for axis in (None, *axes) if found.size > 1 else ():  # a factor of all, or of each channel
        others = tuple(k for k in axes if k != axis)
        if axis is not None and np.prod([shape[k] for k in others]) < 3:
            continue
        ratio = _ratio(difference, expected, others, 0.0)
        if np.abs(difference - ratio * expected).max() <= FITS * np.abs(difference).max():
            low, high = float(1 + ratio.min()), float(1 + ratio.max())
            seen = f"{low:.6g} times" if axis is None else f"{low:.4g} to {high:.4g} times"
            yield "factor", f"{seen} what it should be{'' if axis is None else ', by channel'}"
    for name, candidate in _turned(expected):
        if close(found, candidate):
            yield "transpose", f"the right gradient, {name}"
    if close(np.sort(found, axis=None), np.sort(expected, axis=None)):
        yield "permutation", "the right numbers, in another order"
    for down, right in _shifts(shape):
        a, b = _overlap(found, expected, (down, right))
        if b.any() and close(a, b):
            yield "padding", f"the right gradient, shifted by {down} rows and {right} columns"
    for axis in axes:
        total = np.broadcast_to(expected.sum(axis=axis, keepdims=True), shape)
        if shape[axis] > 1 and close(found, total):
            yield "sum", f"the right gradient, but also added up along axis {axis}"
    if _at_border(wrong):
        yield "padding", "wrong at the border only"


def _ratio(a: Array, b: Array, axes: tuple[int, ...], default: float) -> Array:
    """Return the factors that bring b nearest to a; entries along `axes` share a factor."""
    square = np.square(b).sum(axis=axes, keepdims=True)
    product = (a * b).sum(axis=axes, keepdims=True)
    return np.divide(product, square, out=np.full_like(product, default), where=square > 0)


def _turned(a: Array) -> Iterator[tuple[str, Array]]:
    """Yield the gradient of a weight or a matrix with its axes flipped or swapped wrongly."""
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
    """Yield possible shifts (rows, columns) of an image, small shifts first."""
    near = sorted(range(-FARTHEST, FARTHEST + 1), key=abs)
    for down, right in itertools.product(near, near) if len(shape) == 4 else ():
        if (down or right) and abs(down) < shape[2] and abs(right) < shape[3]:
            yield down, right


def _overlap(a: Array, b: Array, shift: tuple[int, int]) -> tuple[Array, Array]:
    """Return the parts of both images that overlap if b is shifted by (rows, columns)."""
    for axis, by in zip((2, 3), shift, strict=True):
        size = a.shape[axis]
        a = a.take(range(max(by, 0), size + min(by, 0)), axis)
        b = b.take(range(max(-by, 0), size - max(by, 0)), axis)
    return a, b


def _at_border(wrong: Array) -> bool:
    """Whether wrong pixels are only at the border of the images."""
    image = wrong.ndim == 4 and min(wrong.shape[2:]) >= 3
    return image and not wrong[:, :, 1:-1, 1:-1].any()


# Jacobians


def _of_jacobians(
    found: Array,
    expected: Array,
    noise: Array,
    y_shape: tuple[int, ...],
    x_shape: tuple[int, ...],
) -> Iterator[Found]:
    most, row_noise = float(noise.max()), noise.sum(axis=1)
    equal: Array = np.abs(found - expected) <= noise
    sends: Array = np.abs(expected) > noise  # where the Jacobian should not be 0
    sent: Array = np.abs(found) > noise
    wrong = _any(~equal)
    images = len(x_shape) == len(y_shape) == 4
    square = found.shape[0] == found.shape[1]
    # All gradients that should pass do, but others pass, too; or only the others pass.
    if equal[sends].all() and not equal.all():
        yield "mask", "all gradients that should pass do, but others pass, too"
    rows, should = _any(sent), _any(sends)
    if not should.all() and equal[should].all() and rows[~should].any():
        yield "mask", "outputs that should send back 0 send back something else"
    if square and should.any() and not should.all() and (rows == ~should).all():
        yield "mask", "gradients that should pass do not, but all others do"
    for subset, turned in _transposed(expected, x_shape) if y_shape == x_shape else ():
        if (np.abs(found - turned) <= most).all():
            yield "transpose", f"output and input are swapped along axes {subset}"
    for what, a, b in ("outputs", found, expected), ("entries", found.T, expected.T):
        direction = np.random.default_rng(0).normal(size=a.shape[1])
        if (np.abs(a[np.argsort(a @ direction)] - b[np.argsort(b @ direction)]) <= most).all():
            yield "permutation", f"the right {what}, in another order"
    # A share is what one output sends back to one entry. Each share is right, or missing.
    if (equal | ~sent).all():
        lost = sends & ~sent
        rows = _any(lost)
        if (lost == sends)[rows].all() and _at_edge(rows, y_shape):
            yield "padding", "what the outputs at one edge send back is missing"
        yield "sum", f"{int(lost.sum())} of {int(sends.sum())} shares are missing"
    off = np.eye(*found.shape) == 0
    if square and not sent[off].any() and not sends[off].any():
        ratio = np.diag(found) / np.where(sends.diagonal(), np.diag(expected), 1)
        yield "slope", f"between {ratio.min():.3g} and {ratio.max():.3g} times what it should be"
    if wrong.any() and _at_border(wrong.reshape(y_shape)):
        yield "padding", "only outputs at the border send back something wrong"
    ratio = _ratio(found, expected, (1,), 1.0)
    several = sends.sum() >= 2 * len(sends)  # a single number is always a multiple of another
    if several and (np.abs(found - ratio * expected) <= most).all():
        times = f"{ratio.min():.4g} to {ratio.max():.4g} times"
        yield "factor", f"each output sends back {times} what it should"
    rows = wrong & (sent.sum(axis=1) == sends.sum(axis=1))
    a = np.sort(np.where(sent, found, 0)[rows], axis=1)
    b = np.sort(np.where(sends, expected, 0)[rows], axis=1)
    if images and (np.abs(a - b) <= most).all(axis=1).sum() > rows.sum() / 2:
        yield "stride", "the weights of the forward reach other pixels"
    # The total that each output sends back is right, as in a wrong interpolation.
    totals, right = found.sum(axis=1), expected.sum(axis=1)
    some = (np.abs(right) > row_noise).mean() > 0.5
    if some and (np.abs(totals - right) <= row_noise).all():
        yield "weights", "each output sends back the right total, but to wrong entries"


def _any(table: Array) -> Array:
    """Return for each row whether any entry is true."""
    return np.asarray(table.any(axis=1))


def _transposed(expected: Array, shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Yield sets of axes, and the Jacobian in which y and x are swapped along these axes."""
    ndim, table = len(shape), expected.reshape(shape + shape)
    axes = [k for k in range(ndim) if shape[k] > 1]
    for count in range(1, len(axes) + 1):
        for subset in itertools.combinations(axes, count):
            order = list(range(2 * ndim))
            for k in subset:
                order[k], order[k + ndim] = order[k + ndim], order[k]
            yield subset, table.transpose(order).reshape(expected.shape)


def _at_edge(rows: Array, shape: tuple[int, ...]) -> bool:
    """Whether these outputs are exactly the first or the last row or column of the image."""
    for axis in (2, 3) if len(shape) == 4 else ():
        lines = np.moveaxis(rows.reshape(shape), axis, 0).reshape(shape[axis], -1)
        some = _any(lines)
        if len(some) > 2 and (lines.all(axis=1) == some).all() and some.sum() == 1:
            return bool(some[0] or some[-1])
    return False
