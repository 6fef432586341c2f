"""Reads the likely cause of a wrong answer from how it is wrong.

First the well-known mistakes (`variants`); then, for a backward, the gradient checker, whose
verdict reads the pattern of the error; at last the pattern of the difference itself.
"""

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_shufflenet import gradcheck, operations
from numpy_shufflenet._typing import Array
from numpy_shufflenet.exercises.cases import Case
from numpy_shufflenet.exercises.judge import Problem, differs
from numpy_shufflenet.exercises.table import Exercise
from numpy_shufflenet.exercises.variants import variants_of


def find_cause(exercise: Exercise, case: Case, problem: Problem) -> str:
    """Return a sentence on the likely cause of a problem, or nothing."""
    yours, target = problem.yours, problem.target
    if yours is None or target is None:
        return ""
    index = _position(exercise, problem.name)
    for sentence, results in variants_of(exercise, case):
        if index < len(results) and _equal(yours, results[index]):
            return sentence
    if yours.shape != target.shape:
        return _of_shapes(yours, target, case)
    if not np.isfinite(yours).all():
        return ""
    return _of_numbers(yours, target, case)


def explain_gradient(
    exercise: Exercise, case: Case, gradients: Callable[[Case], tuple[Any, ...]]
) -> str:
    """Let the gradient checker look at a wrong backward, and return what it makes of it.

    Parameters
    ----------
    exercise : Exercise
        Of a backward.
    case : Case
    gradients : callable
        The student's gradients of a case, as a tuple in the order of `exercise.returns`.
    """
    if not exercise.operation:
        return ""
    operation = operations.find(exercise.operation)
    arrays, settings = case
    inputs = {name: array for name, array in arrays.items() if name != "dy"}
    varied = [n for n in inputs if n in operation.differentiable or n.startswith("arrays[")]

    def with_inputs(point: tuple[Any, ...]) -> dict[str, Any]:
        return {**inputs, **dict(zip(varied, point, strict=True))}

    def f(*point: Any) -> Any:
        y, _ = operation.forward()(*with_inputs(point).values(), **copy.deepcopy(settings))
        return y

    def vjp(dy: Any, *point: Any) -> Any:
        return gradients(({"dy": dy, **with_inputs(point)}, settings))

    verdict = gradcheck.check(f, vjp, *(inputs[n] for n in varied), names=varied, per_entry=True)
    explain = getattr(verdict, "explain", None)  # what the checker reads from the pattern
    return str(explain()) if explain is not None and not verdict.passed else ""


def _position(exercise: Exercise, name: str) -> int:
    """Return the place of a result among all that the target has."""
    if exercise.operation:
        every = operations.find(exercise.operation).differentiable
        return every.index(name[1:]) if name[1:] in every else 0
    return 0


def _equal(yours: Array, other: Any) -> bool:
    other = np.asarray(other, float)
    return yours.shape == other.shape and not differs(yours, other).any()


def _of_shapes(yours: Array, target: Array, case: Case) -> str:
    if sorted(yours.shape) == sorted(target.shape):
        return "the axes are in another order"
    if yours.size == target.size:
        return "there are as many numbers as there should be: a reshape is missing or wrong"
    if yours.ndim == target.ndim == 4 and yours.shape[2:] != target.shape[2:]:
        return "height and width: (size + 2 padding - dilation (kernel - 1) - 1) // stride + 1"
    return ""


def _of_numbers(yours: Array, target: Array, case: Case) -> str:
    wrong: Any = differs(yours, target)
    if not yours.any():
        return "every entry is 0: is the result ever written to?"
    if cause := _scaled(yours, target, case):
        return cause
    if yours.size > 1 and _equal(yours - yours.ravel()[0], target - target.ravel()[0]):
        return f"every entry is {(yours - target).ravel()[0]:g} too large: a bias or a mean?"
    if cause := _moved(yours, target):
        return cause
    if yours.ndim == 4:
        images = list(wrong.any(axis=(1, 2, 3)))
        if len(images) > 1 and not images[0] and all(images[1:]):
            return "right for the first image and wrong for all others: is the batch left out?"
        channels = list(wrong.any(axis=(0, 2, 3)))
        if len(channels) > 1 and not channels[0] and all(channels[1:]):
            return "right for the first channel and wrong for all others"
        inside = wrong[:, :, 1:-1, 1:-1]
        if inside.size and not inside.any():
            return "only entries at the border are wrong: look at the padding"
    if not yours[wrong].any():
        return "the wrong entries are all 0: something never reaches them"
    if not target[wrong].any():
        return "the wrong entries should all be 0"
    return ""


def _scaled(yours: Array, target: Array, case: Case) -> str:
    """A constant factor, and where it may come from."""
    if not np.any(target):
        return ""
    factor = float((yours * target).sum() / (target * target).sum())
    if not math.isfinite(factor) or differs(yours, factor * target).any() or factor == 0:
        return ""
    if math.isclose(factor, -1):
        return "every entry has the wrong sign"
    for number, name in _numbers(case):
        if number > 1 and math.isclose(factor, number):
            return f"every entry is {number} times too large: divide by {name}"
        if number > 1 and math.isclose(factor, 1 / number):
            return f"every entry is {number} times too small: don't divide by {name}"
    return f"every entry is {factor:.4g} times what it should be"


def _numbers(case: Case) -> list[tuple[int, str]]:
    arrays, settings = case
    found = []
    x = arrays.get("x")
    if x is not None and x.ndim == 4:
        n, c, h, w = x.shape
        found += [(n * h * w, "the n h w values of a channel"), (h * w, "the h w pixels")]
        found += [(n, "the batch size"), (c, "the number of channels")]
    kernel = settings.get("kernel_size")
    if isinstance(kernel, int):
        found.insert(0, (kernel * kernel, "the pixels of the window"))
    logits = arrays.get("logits")
    if logits is not None:
        found.append((len(logits), "the batch size"))
    return found


def _moved(yours: Array, target: Array) -> str:
    """The right numbers at wrong places."""
    for axes in itertools.chain.from_iterable(
        itertools.combinations(range(target.ndim), count) for count in (1, 2)
    ):
        if _equal(yours, np.flip(target, axes)):
            names = " and ".join(f"axis {axis}" for axis in axes)
            return f"the right numbers, but in reverse order along {names}"
    for a, b in itertools.combinations(range(target.ndim), 2):
        if target.shape[a] == target.shape[b] > 1 and _equal(yours, target.swapaxes(a, b)):
            return f"axes {a} and {b} are swapped"
    if _equal(np.sort(yours, axis=None), np.sort(target, axis=None)):
        return "the right numbers at wrong places: a permutation, or its inverse, is missing"
    return ""
