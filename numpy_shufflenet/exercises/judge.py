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


def judge(returned: Any, targets: tuple[Any, ...], names: tuple[str, ...]) -> Problem | None:
    """Return what is wrong with a returned value, or None.

    Parameters
    ----------
    returned : object
        Whatever a student's function returned.
    targets : tuple of arrays, numbers and None
    names : tuple of str
        Names of the targets.
    """
    results = _as_results(returned, targets, names)
    if isinstance(results, Problem):
        return results
    for name, yours, target in zip(names, results, targets, strict=True):
        found = None if target is None else _judge_one(name, yours, np.asarray(target))
        if found:
            return found
    return None


def _as_results(
    returned: Any, targets: tuple[Any, ...], names: tuple[str, ...]
) -> tuple[Any, ...] | Problem:
    """Unpack what was returned into as many results as there are targets."""
    wanted = names[0] if len(names) == 1 else f"({', '.join(names)})"
    if returned is None:
        return Problem(f"your function returned None, not {wanted}: is a `return` missing?")
    if len(targets) == 1:
        if isinstance(returned, tuple) and returned and isinstance(returned[0], NUMBERS):
            return (returned[0],)  # a cache may follow the result
        return (returned,)
    if not isinstance(returned, tuple | list):
        kind = type(returned).__name__
        return Problem(
            f"your function returned one {kind}; {wanted} is needed, {len(names)} results"
        )
    if targets[-1] is None and len(returned) == len(targets) - 1:
        return (*returned, None)  # no bias, so no db
    if len(returned) != len(targets):
        return Problem(
            f"your function returned {len(returned)} results; {wanted} is needed, "
            f"{len(names)} results"
        )
    return tuple(returned)


def _judge_one(name: str, yours: Any, target: Array) -> Problem | None:
    if not isinstance(yours, NUMBERS):
        said = "None" if yours is None else f"a {type(yours).__name__}"
        return Problem(f"{name} is {said}; an array of shape {target.shape} is needed", name)
    yours = np.asarray(yours)
    if yours.dtype.kind not in "fiub":
        return Problem(f"{name} has dtype {yours.dtype}; real numbers are needed", name)
    if yours.shape != target.shape:
        sentence = f"{name} has shape {yours.shape}; {target.shape} is needed"
        return Problem(sentence, name, yours, target)
    yours = yours.astype(np.float64)
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
    sentence = f"{_entry(name, wrong)} is {yours[wrong][0]:g}, not {target[wrong][0]:g}{count}"
    return Problem(sentence, name, yours, target)


def _entry(name: str, wrong: Array) -> str:
    """Name the first entry that is wrong: "dx[0, 1]"."""
    return f"{name}[{', '.join(map(str, np.argwhere(wrong)[0]))}]" if wrong.ndim else name


def differs(yours: Array, target: Array) -> Array:
    """Return which entries are wrong, for arrays of the same shape."""
    scale = float(np.abs(target).max(initial=0.0)) or 1.0
    return np.asarray(~(np.abs(yours - target) <= TOLERANCE * scale))
