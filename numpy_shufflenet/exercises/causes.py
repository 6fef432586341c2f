"""Reads the likely cause of a wrong answer from how it is wrong.

First it compares the answer with the results of the mistakes in the catalogue (`zoo`). Then, for a
backward, it asks the gradient checker, whose verdict reads the pattern of the error. At last it
looks at the pattern of the difference itself.
"""

import contextlib
import copy
import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from numpy_shufflenet import gradcheck, operations, zoo
from numpy_shufflenet._typing import Array
from numpy_shufflenet.exercises.cases import NEUTRAL, Case
from numpy_shufflenet.exercises.exercise import Exercise
from numpy_shufflenet.exercises.judge import Problem, differs
from numpy_shufflenet.exercises.table import find

TELLING = 4  # entries: in fewer, any pattern can be found
Failure = tuple[Case, Problem]
Answer = Callable[[dict[str, Any], dict[str, Any]], Any]


def find_cause(exercise: Exercise, failures: Sequence[Failure]) -> str:
    """Return a sentence on a mistake that explains all failures, or nothing.

    Parameters
    ----------
    exercise : Exercise
    failures : sequence of (case, problem)
        The larger they are, the more they tell: of a single number everything is a multiple.
    """
    return _vote(
        _hints(exercise, case, problem)
        for case, problem in failures
        if problem.yours is not None and problem.target is not None
    )


def name_factor(failures: Sequence[Failure]) -> str:
    """Return which number the result must be divided by, or must not, if that is all."""
    return _vote(_named_factors(y, t, case) for y, t, case in _comparable(failures))


def read_pattern(failures: Sequence[Failure]) -> str:
    """Return what the difference itself looks like, in most of the failures, or nothing."""
    shapes = [
        [_of_shapes(problem.yours, problem.target)]
        for _, problem in failures
        if problem.yours is not None
        and problem.target is not None
        and problem.yours.shape != problem.target.shape
    ]
    return _vote([*shapes, *(_of_numbers(y, t, case) for y, t, case in _comparable(failures))])


def _comparable(failures: Sequence[Failure]) -> Iterator[tuple[Array, Array, Case]]:
    """Yield yours and the target where both have one shape, and numbers enough to see a pattern."""
    for case, problem in failures:
        yours, target = problem.yours, problem.target
        if yours is None or target is None or yours.shape != target.shape:
            continue
        if np.isfinite(yours).all() and target.size >= TELLING:
            yield yours, target, case


def _vote(said: Iterable[list[str]]) -> str:
    """Return the sentence that more than half of the failures agree on, or nothing."""
    sentences = list(said)
    counts = Counter(sentence for several in sentences for sentence in dict.fromkeys(several))
    best = max(counts, key=counts.__getitem__, default="")
    return best if 2 * counts[best] > len(sentences) else ""


def _hints(exercise: Exercise, case: Case, problem: Problem) -> list[str]:
    """Return the hint of each mistake that gives the very numbers of this wrong answer."""
    index = _position(exercise, problem.name)
    found = []
    for hint, answer in _mistakes(exercise, case):
        # A mistake from the catalogue may not be possible in every case.
        with np.errstate(all="ignore"), contextlib.suppress(Exception):
            results = answer(*copy.deepcopy(case))
            listed = results if isinstance(results, tuple) else (results,)
            if _equal(problem.yours, listed[index]):
                found.append(hint)
    return found


def _mistakes(exercise: Exercise, case: Case) -> Iterator[tuple[str, Answer]]:
    """Yield mistakes that can be made in an exercise: a hint, and the results that it has.

    Where the exercise asks for one gradient alone, the results are all of them nevertheless.
    """
    name = exercise.name.partition(",")[0]
    for mistake in zoo.mistakes_in(name):
        yield mistake.hint, functools.partial(_answer, mistake)
    for key, value in case[1].items():
        if key in ("count_include_pad", "align_corners"):
            other, hint = not value, f"this is the result for {key}={not value}"
        elif key in NEUTRAL and value != NEUTRAL[key]:
            other = NEUTRAL[key]
            hint = f"this is what {key}={other} would give: does your code use {key}?"
        else:
            continue
        yield hint, functools.partial(_with_setting, find(name), key, other)


def _answer(mistake: zoo.Mistake, arrays: dict[str, Any], settings: dict[str, Any]) -> Any:
    return mistake.answer(*arrays.values(), **settings)


def _with_setting(
    exercise: Exercise, key: str, value: Any, arrays: dict[str, Any], settings: dict[str, Any]
) -> Any:
    return exercise.target((arrays, {**settings, key: value}))


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
    if explain is None or verdict.passed:
        return ""
    explanation = explain()
    # A wrong shape, or an exception: that has been said already.
    return "" if getattr(explanation, "family", "") == "not a gradient" else str(explanation)


def _position(exercise: Exercise, name: str) -> int:
    """Return the place of a result among all that the target has."""
    if exercise.operation:
        every = operations.find(exercise.operation).differentiable
        return every.index(name[1:]) if name[1:] in every else 0
    return 0


def _equal(yours: Array | None, other: Any) -> bool:
    if yours is None or not np.isfinite(yours).all():
        return False
    other = np.asarray(other, float)
    return yours.shape == other.shape and not differs(yours, other).any()


def _of_shapes(yours: Array, target: Array) -> str:
    if sorted(yours.shape) == sorted(target.shape):
        return "the axes are in another order"
    if yours.size == target.size:
        return "there are as many numbers as there should be: a reshape is missing or wrong"
    if yours.ndim == target.ndim == 4 and yours.shape[2:] != target.shape[2:]:
        return "height and width: (size + 2 padding - dilation (kernel - 1) - 1) // stride + 1"
    return ""


def _of_numbers(yours: Array, target: Array, case: Case) -> list[str]:
    """Return all that can be said of a wrong result, the most telling first."""
    wrong: Any = differs(yours, target)
    if not yours.any():
        return ["every entry is 0: is the result ever written to?"]
    if found := [*_scaled(yours, target, case), *_moved(yours, target)]:
        return found
    if _equal(yours - yours.ravel()[0], target - target.ravel()[0]):
        return ["every entry is too large by one and the same number: a bias or a mean?"]
    found = []
    if yours.ndim == 4:
        images, channels = list(wrong.any(axis=(1, 2, 3))), list(wrong.any(axis=(0, 2, 3)))
        if len(images) > 1 and not images[0] and all(images[1:]):
            found.append("right for the first image, wrong for all others: is the batch left out?")
        if len(channels) > 1 and not channels[0] and all(channels[1:]):
            found.append("right for the first channel, wrong for all others")
        inside = wrong[:, :, 1:-1, 1:-1]
        if inside.size and not inside.any():
            found.append("only entries at the border are wrong: look at the padding")
    if not yours[wrong].any():
        found.append("the wrong entries are all 0: something never reaches them")
    if not target[wrong].any():
        found.append("the wrong entries should all be 0")
    return found


def _scaled(yours: Array, target: Array, case: Case) -> list[str]:
    """A constant factor, and where it may come from."""
    factor = _factor(yours, target)
    if factor is None:
        return []
    if math.isclose(factor, -1):
        return ["every entry has the wrong sign"]
    named = _named_factors(yours, target, case)
    return [*named, f"every entry is {factor:.4g} times what it should be"]


def _named_factors(yours: Array, target: Array, case: Case) -> list[str]:
    factor = _factor(yours, target)
    found = []
    for size, name in _numbers(case) if factor is not None else []:
        if size > 1 and math.isclose(factor or 0, size):
            found.append(f"every entry is too large by a factor: divide by {name}")
        if size > 1 and math.isclose(factor or 0, 1 / size):
            found.append(f"every entry is too small by a factor: don't divide by {name}")
    return found


def _factor(yours: Array, target: Array) -> float | None:
    """Return the constant that yours is of the target, if there is one."""
    if not np.any(target):
        return None
    factor = float((yours * target).sum() / (target * target).sum())
    if not math.isfinite(factor) or factor == 0 or differs(yours, factor * target).any():
        return None
    return factor


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


def _moved(yours: Array, target: Array) -> list[str]:
    """The right numbers at wrong places."""
    found = []
    for axes in itertools.chain.from_iterable(
        itertools.combinations(range(target.ndim), count) for count in (1, 2)
    ):
        if _equal(yours, np.flip(target, axes)):
            names = " and ".join(f"axis {axis}" for axis in axes)
            found.append(f"the right numbers, but in reverse order along {names}")
    for a, b in itertools.combinations(range(target.ndim), 2):
        if target.shape[a] == target.shape[b] > 1 and _equal(yours, target.swapaxes(a, b)):
            found.append(f"axes {a} and {b} are swapped")
    if _equal(np.sort(yours, axis=None), np.sort(target, axis=None)):
        found.append("the right numbers at wrong places: a permutation, or its inverse, is missing")
    return found
