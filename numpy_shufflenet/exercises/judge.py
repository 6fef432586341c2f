"""Compares what a function returned with the target, and says in a sentence what is wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array

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
        return Problem(f"your function returned None, not {wanted}: is a `return` missing?")
    if len(targets) == 1:
        if isinstance(returned, tuple) and returned and isinstance(returned[0], NUMBERS):
            return (returned[0],)  # a cache may follow the result
        return (returned,)
    if not isinstance(returned, tuple | list):
        kind = type(returned).__name__
        kind = f"array of shape {returned.shape}" if kind == "ndarray" else kind
        return Problem(f"your function returned one {kind}; {wanted} is needed, {needed} results")
    given = len(returned)
    if given < len(targets) and given >= needed - (targets[-1] is None and needed == len(targets)):
        return (*returned, *[None] * (len(targets) - given))  # no bias, so no db
    if given != len(targets):
        results = f"{given} result{'s' if given != 1 else ''}"
        return Problem(f"your function returned {results}; {wanted} is needed, {needed} results")
    return tuple(returned)


def _judge_one(name: str, yours: Any, target: Array) -> Problem | None:
    needed = f"an array of shape {target.shape}" if target.ndim else "a number"
    if not isinstance(yours, NUMBERS):
        said = "None" if yours is None else f"a {type(yours).__name__}"
        if isinstance(yours, list | tuple) and len(yours) == 1 and isinstance(yours[0], np.ndarray):
            said += " with one result in it: return the result itself"
        return Problem(f"{name} is {said}; {needed} is needed", name)
    yours = np.asarray(yours)
    if yours.dtype.kind not in "fiub":
        return Problem(f"{name} has dtype {yours.dtype}; real numbers are needed", name)
    if yours.shape != target.shape:
        said = f"has shape {yours.shape}" if yours.ndim else f"is the number {yours:g}"
        return Problem(f"{name} {said}; {needed} is needed", name, yours, target)
    found = _judge_entries(name, yours.astype(np.float64), target)
    rounded = yours.dtype.kind == "f" and yours.dtype.itemsize < target.dtype.itemsize
    whole = not found and yours.dtype.kind != "f"  # wrong as soon as the numbers have fractions
    if target.ndim and target.dtype.kind == "f" and (rounded or whole):
        return Problem(
            f"{name} has dtype {yours.dtype}; {target.dtype} is needed, as in the arguments: "
            "with which dtype do you make your arrays?",
            name,
        )
    return found


def _judge_entries(name: str, yours: Array, target: Array) -> Problem | None:
    bad = ~np.isfinite(yours)
    if bad.any():
        count = f" ({bad.sum()} of {bad.size} entries are not finite)" if bad.size > 1 else ""
        sentence = (
            f"{_entry(name, bad)} is {yours[bad][0]}{count}: a division by 0, the logarithm of 0, "
            "or an overflow"
        )
        return Problem(sentence, name, yours, target)
    wrong = differs(yours, target)
    if not wrong.any():
        return None
    count = f"; {wrong.sum()} of {wrong.size} entries are wrong" if wrong.size > 1 else ""
    found, right = _digits(yours[wrong][0], target[wrong][0])
    return Problem(f"{_entry(name, wrong)} is {found}, not {right}{count}", name, yours, target)


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
