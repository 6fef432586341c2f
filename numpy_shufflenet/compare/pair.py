"""The output of one layer in both networks, and the difference between the two."""

from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.compare.record import ConvBlock
from numpy_shufflenet.compare.result import LayerDifference

FACTOR = 16  # their rounding may be this many times ours
EPS = float(np.finfo(np.float32).eps)
SAMPLES = 256  # values of a channel that are compared to find the nearest channel


class Pair(NamedTuple):
    """The output of a layer: ours in float64 and float32, and theirs in our order."""

    layer: str
    theirs: str
    kind: str
    exact: Array
    single: Array
    other: Array
    blocks: tuple[ConvBlock, ConvBlock] | None = None

    def difference(self, any_order: bool) -> LayerDifference:
        """Measure the difference."""
        scale = largest_absolute(self.exact)
        rounding = largest_absolute(self.single - self.exact)
        other, reordered = self.other, False
        if any_order and self.kind != "logits":
            other = in_our_order(self.exact, other)
            reordered = other is not self.other
        same = other.shape == self.exact.shape
        return LayerDifference(
            self.layer,
            self.theirs,
            self.kind,
            self.exact.shape,
            largest_absolute(other - self.exact) if same else np.inf,
            scale,
            FACTOR * max(rounding, EPS * scale) if np.isfinite(scale + rounding) else 0.0,
            largest_absolute(self.exact - self.exact[:1]),
            reordered,
        )


def largest_absolute(array: Array) -> float:
    """Return the largest absolute value; infinity if one isn't finite."""
    value = float(np.abs(array).max(initial=0.0))
    return value if np.isfinite(value) else np.inf


def in_our_order(ours: Array, theirs: Array) -> Array:
    """Return theirs with its channels in the order in which they are nearest to ours."""
    if ours.shape != theirs.shape:
        return theirs
    rows, columns = (a.swapaxes(0, 1).reshape(a.shape[1], -1) for a in (ours, theirs))
    step = max(1, rows.shape[1] // SAMPLES)
    a, b = rows[:, ::step].astype(np.float64), columns[:, ::step].astype(np.float64)
    distances = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    order = np.empty(len(a), int)
    for channel in range(len(a)):  # each of theirs is used once, even if several are equal
        order[channel] = distances[channel].argmin()
        distances[:, order[channel]] = np.inf
    return theirs if (order == np.arange(len(a))).all() else theirs[:, order]
