"""Compares what a function returned with the target, and says in a sentence what is wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array

NUMBERS = np.ndarray | np.generic | int | float
TOLERANCE = 1e-8  # of the largest number in the target


@dataclass
class Problem:
    """What is wrong with an answer.

    Attributes
    ----------
    sentence : str
    name : str
        Of the result that is wrong, if it is one of them.
    yours, target : array or None
        Both, where they can be drawn side by side.
    """

    sentence: str
    name: str = ""
    yours: Array | None = None
    target: Array | None = None


def judge(returned: Any, targets: tuple[Any, ...], names: tuple[str, ...]) -> Problem | None:
    """Return what is wrong, or None.

    Parameters
    ----------
    returned : object
        Whatever a student's function returned.
    targets : tuple of arrays, numbers and None
    names : tuple of str
        Of the targets.
    """
    results, problem = _as_results(returned, targets, names)
    if problem:
        return problem
    for name, yours, target in zip(names, results, targets, strict=True):
        found = None if target is None else _judge_one(name, yours, np.asarray(target))
        if found:
            return found
    return None


def _as_results(
    returned: Any, targets: tuple[Any, ...], names: tuple[str, ...]
) -> tuple[tuple[Any, ...], Problem | None]:
    """Unpack what was returned into as many results as there are targets."""
    wanted = names[0] if len(names) == 1 else f"({', '.join(names)})"
    if returned is None:
        return (), Problem(f"your function returned None, not {wanted}: is a `return` missing?")
    if len(targets) == 1:
        if isinstance(returned, tuple) and returned and isinstance(returned[0], NUMBERS):
            return (returned[0],), None  # with a cache behind it, or alone
        return (returned,), None
    if not isinstance(returned, tuple | list):
        kind = type(returned).__name__
        return (), Problem(
            f"your function returned one {kind}; {wanted} is needed, {len(names)} of them"
        )
    if targets[-1] is None and len(returned) == len(targets) - 1:
        return (*returned, None), None  # no bias, and so no db
    if len(returned) != len(targets):
        return (), Problem(
            f"your function returned {len(returned)} results; {wanted} is needed, {len(names)}"
        )
    return tuple(returned), None


def _judge_one(name: str, yours: Any, target: Array) -> Problem | None:
    if not isinstance(yours, NUMBERS):
        said = "None" if yours is None else f"a {type(yours).__name__}"
        return Problem(f"{name} is {said}; an array of shape {target.shape} is needed", name)
    yours = np.asarray(yours)
    if yours.dtype.kind not in "fiub":
        return Problem(f"{name} has dtype {yours.dtype}; real numbers are needed", name)
    if yours.shape != target.shape:
        return Problem(
            f"{name} has shape {yours.shape}; {target.shape} is needed", name, yours, target
        )
    yours = yours.astype(np.float64)
    bad = ~np.isfinite(yours)
    if bad.any():
        place = f"[{', '.join(map(str, np.argwhere(bad)[0]))}]" if yours.ndim else ""
        count = f" ({bad.sum()} of {bad.size} entries are not finite)" if bad.size > 1 else ""
        return Problem(
            f"{name}{place} is {yours[bad][0]}{count}: a division by 0, the logarithm of 0, or an "
            "overflow",
            name,
            yours,
            target,
        )
    wrong = differs(yours, target)
    if not wrong.any():
        return None
    if wrong.ndim:
        worst = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = f"{name}[{', '.join(map(str, worst))}] is {yours[worst]:g}, not {target[worst]:g}"
        count = f"; {wrong.sum()} of {wrong.size} entries are wrong" if wrong.size > 1 else ""
    else:
        where, count = f"{name} is {float(yours):g}, not {float(target):g}", ""
    return Problem(where + count, name, yours, target)


def differs(yours: Array, target: Array) -> Array:
    """Tell entry by entry what is wrong, in arrays of one shape."""
    scale = float(np.abs(target).max(initial=0.0)) or 1.0
    return ~(np.abs(yours - target) <= TOLERANCE * scale)
