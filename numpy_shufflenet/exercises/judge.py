"""Compares what a function returned with the target, and says in a sentence what is wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.locale import _

NUMBERS = np.ndarray | np.generic | int | float
TOLERANCE = 1e-8  # relative to the largest number in the target


@dataclass
class Problem:
    """What is wrong with an answer."""

    sentence: str
    #: Name of the wrong result, if one result is wrong.
    name: str = ""
    #: Your result and the target, if they can be drawn side by side.
    yours: Array | None = None
    target: Array | None = None


def judge(
    results: tuple[Any, ...], targets: tuple[Any, ...], names: tuple[str, ...]
) -> Problem | None:
    """Return what is wrong with results from `as_results`, or None."""
    for name, yours, target in zip(names, results, targets, strict=True):
        found = None if target is None else _judge_one(name, yours, np.asarray(target))
        if found:
            return found
    return None


def as_results(
    returned: Any, targets: tuple[Any, ...], names: tuple[str, ...], needed: int
) -> tuple[Any, ...] | Problem:
    """Unpack what a student's function returned into as many results as there are targets.

    The last results may be missing if fewer are needed.
    """
    wanted = names[0] if needed == 1 else f"({', '.join(names[:needed])})"
    if returned is None:
        said = _("your function returned None, not {wanted}: is a `return` missing?")
        return Problem(said.format(wanted=wanted))
    if len(targets) == 1:
        if isinstance(returned, tuple) and returned and isinstance(returned[0], NUMBERS):
            return (returned[0],)  # a cache may follow the result
        return (returned,)
    if not isinstance(returned, tuple | list):
        if isinstance(returned, np.ndarray):
            said = _(
                "your function returned one array of shape {shape}; {wanted} is needed, "
                "{needed} results"
            )
            return Problem(said.format(shape=returned.shape, wanted=wanted, needed=needed))
        said = _("your function returned one {kind}; {wanted} is needed, {needed} results")
        kind = type(returned).__name__
        return Problem(said.format(kind=kind, wanted=wanted, needed=needed))
    given = len(returned)
    if given < len(targets) and given >= needed - (targets[-1] is None and needed == len(targets)):
        return (*returned, *[None] * (len(targets) - given))  # no bias, so no db
    if given != len(targets):
        said = (
            _("your function returned 1 result; {wanted} is needed, {needed} results")
            if given == 1
            else _("your function returned {given} results; {wanted} is needed, {needed} results")
        )
        return Problem(said.format(given=given, wanted=wanted, needed=needed))
    return tuple(returned)


def _judge_one(name: str, yours: Any, target: Array) -> Problem | None:
    needed = _("a number")
    if target.ndim:
        needed = _("an array of shape {shape}").format(shape=target.shape)
    if not isinstance(yours, NUMBERS):
        said = _("{name} is a {kind}; {needed} is needed")
        if yours is None:
            said = _("{name} is None; {needed} is needed")
        elif isinstance(yours, list | tuple) and [*map(type, yours)] == [np.ndarray]:
            said = _(
                "{name} is a {kind} with one result in it: return the result itself; "
                "{needed} is needed"
            )
        kind = type(yours).__name__
        return Problem(said.format(name=name, kind=kind, needed=needed), name)
    yours = np.asarray(yours)
    if yours.dtype.kind not in "fiub":
        said = _("{name} has dtype {dtype}; real numbers are needed")
        return Problem(said.format(name=name, dtype=yours.dtype), name)
    if yours.shape != target.shape:
        if yours.ndim:
            said = _("{name} has shape {shape}; {needed} is needed")
            said = said.format(name=name, shape=yours.shape, needed=needed)
        else:
            said = _("{name} is the number {number}; {needed} is needed")
            said = said.format(name=name, number=f"{yours:g}", needed=needed)
        return Problem(said, name, yours, target)
    found = _judge_entries(name, yours.astype(np.float64), target)
    rounded = yours.dtype.kind == "f" and yours.dtype.itemsize < target.dtype.itemsize
    whole = not found and yours.dtype.kind != "f"  # wrong as soon as the numbers have fractions
    if target.ndim and target.dtype.kind == "f" and (rounded or whole):
        said = _(
            "{name} has dtype {dtype}; {needed} is needed, as in the arguments: "
            "with which dtype do you make your arrays?"
        )
        return Problem(said.format(name=name, dtype=yours.dtype, needed=target.dtype), name)
    return found


def _judge_entries(name: str, yours: Array, target: Array) -> Problem | None:
    bad = ~np.isfinite(yours)
    if bad.any():
        said = _("{entry} is {number}: a division by 0, the logarithm of 0, or an overflow")
        if bad.size > 1:
            said = _(
                "{entry} is {number} ({wrong} of {all} entries are not finite): a division by 0, "
                "the logarithm of 0, or an overflow"
            )
        sentence = said.format(
            entry=_entry(name, bad), number=yours[bad][0], wrong=bad.sum(), all=bad.size
        )
        return Problem(sentence, name, yours, target)
    wrong = differs(yours, target)
    if not wrong.any():
        return None
    said = _("{entry} is {found}, not {right}")
    if wrong.size > 1:
        said = _("{entry} is {found}, not {right}; {wrong} of {all} entries are wrong")
    found, right = _digits(yours[wrong][0], target[wrong][0])
    sentence = said.format(
        entry=_entry(name, wrong), found=found, right=right, wrong=wrong.sum(), all=wrong.size
    )
    return Problem(sentence, name, yours, target)


def _digits(a: float, b: float) -> tuple[str, str]:
    """Return two numbers with as many digits as show that they differ."""
    if a == int(a) and b == int(b):
        return f"{a:.0f}", f"{b:.0f}"
    for digits in range(6, 17):
        texts = f"{a:.{digits}g}", f"{b:.{digits}g}"
        if texts[0] != texts[1]:
            break
    return texts


def _entry(name: str, wrong: Array) -> str:
    """Name the first entry that is wrong: "dx[0, 1]"."""
    return f"{name}[{', '.join(map(str, np.argwhere(wrong)[0]))}]" if wrong.ndim else name


def differs(yours: Array, target: Array) -> Array:
    """Return which entries are wrong, for arrays of the same shape."""
    scale = float(np.abs(target).max(initial=0.0)) or 1.0
    return np.asarray(~(np.abs(yours - target) <= TOLERANCE * scale))


def equal(yours: Any, other: Any) -> bool:
    """Whether two results are the same, within the tolerance of the exercises."""
    if isinstance(yours, tuple) and isinstance(other, tuple):
        return len(yours) == len(other) and all(map(equal, yours, other))
    if not isinstance(yours, NUMBERS) or not isinstance(other, NUMBERS):
        return bool(yours is None and other is None)
    a, b = np.asarray(yours), np.asarray(other)
    if a.shape != b.shape or a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return False
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(b)
    return bool(
        np.array_equal(a[~finite], b[~finite], equal_nan=True)
        and not differs(a[finite], b[finite]).any()
    )
