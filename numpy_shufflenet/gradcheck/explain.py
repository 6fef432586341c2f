"""Read the cause of a wrong gradient from the pattern of its error.

Two pictures are looked at: the gradient beside what it should be, entry by entry; and, where that
doesn't tell, the whole Jacobian as the backward has it (one vjp for each output) beside the one
that differences have: which output reaches which entry, and with what weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import _jacobian, _patterns
from ._arrays import Array
from ._trial import Trial, WrongGradientError
from .report import ArrayReport

FAMILIES: dict[str, str] = {
    "not a gradient": "count, shape, dtype or values are none that a gradient can have",
    "side effect": "an argument is written to, or read as if it lay otherwise in memory",
    "not repeatable": "something is kept from one call to the next, or drawn at random",
    "not linear": "dy is not what everything is multiplied by: is it left out, or used twice?",
    "swapped": "two gradients stand in each other's place",
    "sign": "the sign is wrong",
    "factor": "a constant factor is missing or too many: of all, or one for each channel",
    "single entry": "all is right but for an entry or two: an index, or a special case",
    "dropped": "the gradient of a whole part is 0: a branch, a group or an image is left out",
    "permutation": "the right numbers stand in the wrong places: undo a permutation by its inverse",
    "transpose": "a matrix or kernel must be transposed or turned, and is not; or the reverse",
    "sum": "what several outputs send back must be added up, all of it and nothing else; "
    "look for = in place of +=, and for the axes of a sum",
    "mask": "gradients pass where the forward cut off or chose something else",
    "padding": "the border: it is cut off at the wrong place, or counted wrongly",
    "stride": "the right weights reach the wrong pixels: a stride or a dilation is left out",
    "slope": "an element-wise function's derivative is another function",
    "weights": "the right sums are taken with other weights than in the forward",
    "term": "a term, a way from x to y, is missing, too many, or weighs too much",
}


@dataclass(frozen=True)
class Explanation:
    """The likely cause of a failure; `str` is a hint.

    Attributes
    ----------
    family : str
        One of FAMILIES, or "" where nothing is wrong.
    array : str
        Name of the array whose gradient shows it, or "".
    hint : str
        What was seen.
    """

    family: str
    array: str = ""
    hint: str = ""

    def __str__(self) -> str:
        if not self.family:
            return "nothing to explain: " + self.hint
        seen = f"{self.hint}; " if self.hint else ""
        place = f" in the gradient of {self.array}" if self.array else ""
        return f"{self.family}{place}: {seen}{FAMILIES[self.family]}"


def explain(
    status: str,
    reason: str,
    reports: Sequence[ArrayReport],
    trial: Trial | None,
    dys: Sequence[Array],
) -> Explanation:
    """Return the likely cause of a failure; see `Verdict.explain` for the families."""
    if status == "nondeterministic":
        return Explanation("not repeatable", hint=reason)
    if status != "fail":
        return Explanation("", hint=f"the verdict is {status!r}")
    failed = [report for report in reports if report.status == "fail"]
    if not failed:
        return Explanation(_by_reason(reason), hint=reason)
    assert trial is not None
    try:
        return _by_pattern(failed, trial, dys[0])
    except WrongGradientError as error:  # for another dy
        return Explanation("not a gradient", hint=str(error))


def _by_reason(reason: str) -> str:
    if "writes into" in reason or "not contiguous" in reason:
        return "side effect"
    if "linear in dy" in reason or "for dy = 0" in reason:
        return "not linear"
    return "sum" if "mixes rows" in reason else "not a gradient"


def _by_pattern(failed: Sequence[ArrayReport], trial: Trial, dy: Array) -> Explanation:
    maps = _Maps(trial, dy)
    positions = [trial.names.index(report.name) for report in failed]
    twice = trial.pull_back(2 * dy)
    for i in positions:
        if not _patterns.close(twice[i], 2 * maps.analytic(i)):
            return Explanation(
                "not linear", trial.names[i], "twice dy gives not twice the gradient"
            )
    for report, i in zip(failed, positions, strict=True):
        maps.know_numeric(i, report.numeric)
    small = [i for i in positions if maps.knows(i) or not _jacobian.too_large(trial, i)]
    if not small:
        hint = "y and the array are too large to look at every entry; try a smaller example"
        return Explanation("term", trial.names[positions[0]], hint)
    positions = small
    if len(positions) == 2 and _patterns.swapped(*(maps.pair(i) for i in positions)):
        return Explanation("swapped", trial.names[positions[0]], "it is that of the other array")
    first = Explanation("term", trial.names[positions[0]])
    for i in positions:
        family, hint = _patterns.of_maps(*maps.pair(i))
        if not family and not _jacobian.too_large(trial, i):
            found, expected, errors = maps.jacobians(i)
            shapes = tuple(part.shape for part in trial.outputs)
            y_shape = shapes[0] if len(shapes) == 1 else (trial.y.size,)
            family, hint = _patterns.of_jacobians(
                found, expected, errors, y_shape, trial.arrays[i].shape
            )
        if family:
            return Explanation(family, trial.names[i], hint)
    return first


class _Maps:
    """Gradients and Jacobians as the backward has them and as they should be, when asked for."""

    def __init__(self, trial: Trial, dy: Array) -> None:
        self._trial = trial
        self._dy = dy
        self._gradients = trial.pull_back(dy)
        self._numeric: dict[int, Array] = {}

    def analytic(self, i: int) -> Array:
        gradient = self._gradients[i]
        assert gradient is not None
        return np.asarray(gradient, np.float64)

    def know_numeric(self, i: int, numeric: Array | None) -> None:
        if numeric is not None and np.isfinite(numeric).all():
            self._numeric[i] = numeric

    def knows(self, i: int) -> bool:
        return i in self._numeric

    def pair(self, i: int) -> tuple[Array, Array]:
        if i not in self._numeric:
            rows, _ = _jacobian.numeric(self._trial, i)
            self._numeric[i] = (self._dy @ rows).reshape(self._trial.arrays[i].shape)
        return self.analytic(i), self._numeric[i]

    def jacobians(self, i: int) -> tuple[Array, Array, Array]:
        found = _jacobian.analytic(self._trial, i)
        return found, *_jacobian.numeric(self._trial, i)
