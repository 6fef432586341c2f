"""Read the cause of a wrong gradient from the pattern of its error.

First the gradient is compared with the right one, entry by entry. If this does not show the cause,
two Jacobians are compared: the Jacobian of vjp (one call for each output), and the Jacobian from
differences. A Jacobian says which output depends on which entry, and with what weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from . import _patterns
from ._arrays import Array
from ._trial import Trial
from .differences import line_along
from .report import ArrayReport

LARGEST = 2_000_000  # most entries of a Jacobian that is computed
MOST_CALLS = 2500  # most calls of f and vjp for a Jacobian
LEVEL = 9  # differences for a Jacobian use h = 2^-9, 2^-10 and 2^-11

FAMILIES: dict[str, str] = {
    "not a gradient": "a gradient has a wrong shape, dtype or value, or one is missing",
    "side effect": "an argument is written to, or its memory layout is ignored",
    "not repeatable": "the result depends on earlier calls, or on random numbers",
    "not linear": "the gradient is not proportional to dy, as if dy were missing or used twice",
    "swapped": "two gradients are swapped",
    "sign": "the sign is wrong",
    "factor": "a constant factor is wrong, either for all entries or for each channel",
    "single entry": "only very few entries are wrong, perhaps by an index or a special case",
    "dropped": "one part of the gradient is 0, because a branch, a group or an image is forgotten",
    "permutation": "the right numbers are in the wrong order, "
    "perhaps because a permutation must be undone by its inverse",
    "transpose": "a matrix or filter is not transposed or flipped, but must be; or the reverse",
    "sum": "the gradients from several outputs must be added, all of them and nothing else; "
    "look for = in place of +=, and for the axes of a sum",
    "mask": "gradients pass where the forward sets 0 or chooses another entry",
    "padding": "the border is cropped in the wrong place, or counted wrongly",
    "stride": "the right weights reach the wrong pixels: a stride or a dilation is forgotten",
    "slope": "the derivative of an element-wise function is wrong",
    "weights": "the sums are right, but the forward uses other weights",
    "term": "x reaches y in several ways, and the term of one way is missing, doubled or wrong",
}


# Words in the reason of a verdict, and the family that they show.
REASONS = {
    "writes into": "side effect",
    "not contiguous": "side effect",
    "linear in dy": "not linear",
    "for dy = 0": "not linear",
    "mixes rows": "sum",
}


@dataclass(frozen=True)
class Explanation:
    """The likely cause of a failure; `str` is a hint."""

    family: str  #: One of FAMILIES, or "" if nothing is wrong.
    array: str = ""  #: Name of the array whose gradient shows it, or "".
    hint: str = ""  #: What was seen.

    def __str__(self) -> str:
        if not self.family:
            return "nothing to explain: " + self.hint
        seen = f"{self.hint}; " if self.hint else ""
        place = f" in the gradient of {self.array}" if self.array else ""
        return f"{self.family}{place}: {seen}{FAMILIES[self.family]}"


def explain_reason(status: str, reason: str) -> Explanation:
    """Explain a verdict in which no gradient disagrees with differences."""
    if status == "nondeterministic":
        return Explanation("not repeatable", hint=reason)
    if status != "fail":
        return Explanation("", hint=f"the verdict is {status!r}")
    families = (family for words, family in REASONS.items() if words in reason)
    return Explanation(next(families, "not a gradient"), hint=reason)


def explain_gradients(failed: Sequence[ArrayReport], trial: Trial, dy: Array) -> Explanation:
    """Explain why the gradients of some arrays disagree with differences.

    dy is flat. Raises WrongGradientError if vjp gives no gradient for another dy.
    """
    names = {trial.names.index(report.name): report.name for report in failed}
    gradients, twice = trial.pull_back(dy), trial.pull_back(2 * dy)
    found = {i: np.asarray(gradients[i], np.float64) for i in names}
    for i, name in names.items():
        if not _patterns.close(twice[i], 2 * found[i]):
            return Explanation("not linear", name, "twice dy does not give twice the gradient")
    numeric = {i: report.numeric for i, report in zip(names, failed, strict=True)}
    known = {i: n for i, n in numeric.items() if n is not None and np.isfinite(n).all()}
    small = [i for i in names if i in known or not _too_large(trial, i)]
    if not small:
        hint = "y and the array are too large to look at every entry; try a smaller example"
        return Explanation("term", failed[0].name, hint)
    jacobian = cache(lambda i: _numeric_jacobian(trial, i))
    for i in small:
        if i not in known:
            known[i] = (dy @ jacobian(i)[0]).reshape(trial.arrays[i].shape)
    if len(small) == 2:
        one, other = small
        if _patterns.close(found[one], known[other]) and _patterns.close(found[other], known[one]):
            return Explanation("swapped", names[one], f"this is the gradient of {names[other]}")
    for i in small:
        family, hint = _patterns.of_maps(found[i], known[i])
        if not family and not _too_large(trial, i):
            y_shape = trial.outputs[0].shape if len(trial.outputs) == 1 else (trial.y.size,)
            shapes = y_shape, trial.arrays[i].shape
            family, hint = _patterns.of_jacobians(_jacobian(trial, i), *jacobian(i), *shapes)
        if family:
            return Explanation(family, names[i], hint)
    return Explanation("term", names[small[0]])


def _too_large(trial: Trial, position: int) -> bool:
    """Whether the Jacobian of y in one array is too much to compute."""
    columns, rows = trial.arrays[position].size, trial.y.size
    return bool(columns * rows > LARGEST or columns + rows > MOST_CALLS)


def _jacobian(trial: Trial, position: int) -> Array:
    """Ask vjp for every row of the Jacobian: (y.size, x.size)."""
    rows = [trial.pull_back(unit)[position] for unit in np.eye(trial.y.size)]
    return np.array([np.ravel(row) for row in rows if row is not None], np.float64)


def _numeric_jacobian(trial: Trial, position: int) -> tuple[Array, Array]:
    """Return the Jacobian (y.size, x.size) from differences, and the error of each entry."""
    scales, ones = trial.scales(position), np.ones(trial.y.size)
    columns = np.empty((2, trial.y.size, scales.size))
    for flat, scale in enumerate(scales.ravel()):
        direction = np.zeros(scales.size)
        direction[flat] = scale
        line = line_along(trial, position, direction.reshape(scales.shape), ones)
        columns[:, :, flat] = np.array(line.vector(LEVEL)) / scale
    return columns[0], columns[1]
