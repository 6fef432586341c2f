"""What an entry of the catalogue of mistakes holds, and the decorators that add one.

Each decorator stands above a wrong function:

    wrong_gradient   the gradient of one array; the others are right
    wrong_backward   all gradients
    wrong_forward    y and a cache
    wrong_answer     the results of an exercise, without a cache

The docstring of the function says what it does wrong ("Average db over the batch."). Below, lines
that begin with "Found in:" and "Hint:" say where its like was found, and what a student reads who
makes it. Without a "Hint:" the hint is made of the first sentence.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet.operations import Draw, Example, Operation, find

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]
Pair = tuple[Function, Function]
Drawing = Callable[[Draw], tuple[tuple[Any, ...], dict[str, Any]]]


@dataclass(frozen=True)
class Mistake:
    """A wrong function.

    Attributes
    ----------
    name : str
        "conv2d/kernel_not_flipped".
    part : str
        "a": a wrong backward of a right forward: a gradient check must catch it.
        "b": a wrong forward, and the backward that agrees with it: no gradient check can see it.
        "c": a side effect.
        "answer": a wrong answer to an exercise, without a backward.
        "held out": as "a", but written after `explain` was finished, to measure it fairly.
    operation : str
        Its name in the table of operations; or the name of a unit, or of an exercise.
    direction : str
        "forward" or "backward": which function of the operation is wrong; "" in an exercise that
        is no operation.
    function : callable
        What is wrong.
    cause : str
        The family of causes, one of `gradcheck.FAMILIES`.
    found_in : str
        Where its like was found.
    summary : str
        What the function does wrong, in a sentence.
    hint : str
        What a student reads whose answer has this mistake.
    """

    name: str
    part: str
    operation: str
    direction: str
    function: Function
    cause: str
    found_in: str
    summary: str
    hint: str

    def __reduce__(self) -> Any:
        """Pickle by name: another process has the same catalogue."""
        return _named, (self.name,)

    @property
    def exercise(self) -> str:
        """The exercise to which it is a wrong answer: "conv2d_backward"."""
        return f"{self.operation}_{self.direction}" if self.direction else self.operation

    def answer(self, *arrays: Any, **hyperparameters: Any) -> Any:
        """Return the results that this mistake has in place of those of its exercise."""
        return self.function(*arrays, **hyperparameters)


@dataclass(frozen=True)
class Bug(Mistake):
    """A mistake in a forward or a backward, as a pair of functions that can be checked.

    Attributes
    ----------
    forward, backward : callable
        y, cache = forward(*arrays, **hyperparameters); gradients = backward(dy, cache).
    right : (forward, backward)
        What is right.
    draw : callable
        Draws arrays and hyperparameters on which the mistake shows.
    own_example : callable or None
        What draws its examples, if these are others than the operation's own.
    """

    forward: Function
    backward: Function
    right: Pair
    draw: Drawing
    own_example: Drawing | None = None

    def answer(self, *arrays: Any, **hyperparameters: Any) -> Any:
        """Return y, or the gradients for arrays that begin with dy."""
        if self.direction == "forward":
            return self.forward(*arrays, **hyperparameters)[0]
        dy, *others = arrays
        return self.backward(dy, self.forward(*others, **hyperparameters)[1])

    def example(self, seed: int = 0, dtype: Any = np.float64) -> Example:
        """Draw a case on which the mistake shows: the same one for the same seed."""
        return Example(*self.draw(Draw(np.random.default_rng(seed), np.dtype(dtype))))


MISTAKES: dict[str, Mistake] = {}
"""Every entry by name."""


def _named(name: str) -> Mistake:
    return MISTAKES[name]


def mistakes_in(exercise: str) -> list[Mistake]:
    """Return the wrong answers to an exercise that a student's answer may be compared with.

    Those that are held out are not among them, nor are side effects, whose results are right.
    """
    found = [mistake for mistake in MISTAKES.values() if mistake.exercise == exercise]
    return [mistake for mistake in found if mistake.part in ("a", "b", "answer")]


def wrong_gradient(operation: str, array: str, **about: Any) -> Decorator:
    """Add a mistake in the gradient of one array, where the others are right.

    The decorated function takes the right gradient, dy and the cache, and returns the wrong
    gradient. It isn't called where the right one is None. `about` is that of `wrong_backward`.
    """
    known = find(operation)
    right, index = known.backward(), known.differentiable.index(array)

    def add(function: Function) -> Function:
        @functools.wraps(function)
        def backward(dy: Any, cache: Any) -> Any:
            gradients = right(dy, cache)
            listed = list(gradients) if isinstance(gradients, tuple) else [gradients]
            if listed[index] is not None:
                wrong = function(listed[index], dy, cache)
                listed[index] = np.array(wrong, listed[index].dtype, order="C")
            return tuple(listed) if isinstance(gradients, tuple) else listed[0]

        wrong_backward(operation, **about)(backward)
        return function

    return add


def wrong_backward(operation: str, *, part: str = "a", **about: Any) -> Decorator:
    """Add a wrong backward of an operation: the decorated function takes dy and the cache.

    Parameters
    ----------
    operation : str
        Of the table.
    part, cause : str
        See `Mistake`.
    found_in, hint : str, optional
        In place of what the docstring says.
    example : callable, optional
        Draws a case on which the mistake shows, where the operation's own example would hide it.

    Raises
    ------
    ValueError
        If there is no such operation, or there is a mistake of this name already.
    """
    right = find(operation).forward()
    return _wrong(operation, "backward", lambda function: (right, function), part, **about)


def wrong_forward(
    operation: str, *, part: str = "b", backward: Function | None = None, **about: Any
) -> Decorator:
    """Add a wrong forward of an operation: the decorated function returns y and a cache.

    `backward` agrees with it; it is the operation's own if not given. The other parameters are
    those of `wrong_backward`.
    """
    agrees = backward or find(operation).backward()
    return _wrong(operation, "forward", lambda function: (function, agrees), part, **about)


def _wrong(
    operation: str,
    direction: str,
    pair: Callable[[Function], Pair],
    part: str,
    *,
    cause: str,
    example: Drawing | None = None,
    **given: str,
) -> Decorator:
    known = find(operation)

    def add(function: Function) -> Function:
        forward, backward = pair(function)
        add_to_catalogue(
            Bug(
                **described(operation, direction, function, part, cause, **given),
                forward=forward,
                backward=backward,
                right=(known.forward(), known.backward()),
                draw=differentiable_first(known, example or known.draw),
                own_example=example,
            )
        )
        return function

    return add


def wrong_answer(exercise: str, *, cause: str, **given: str) -> Decorator:
    """Add a wrong answer to an exercise: the decorated function returns its results alone.

    Parameters
    ----------
    exercise : str
        "conv2d_forward", "sgd_step"; see `exercises.names`.
    cause : str
        See `Mistake`.
    **given : str
        found_in and hint, in place of what the docstring says.
    """
    operation = exercise.removesuffix("_forward")
    direction = "" if operation == exercise else "forward"

    def add(function: Function) -> Function:
        add_to_catalogue(
            Mistake(**described(operation, direction, function, "answer", cause, **given))
        )
        return function

    return add


def described(
    operation: str, direction: str, function: Function, part: str, cause: str, **given: str
) -> dict[str, Any]:
    """Return the fields of `Mistake`; `given` may have found_in and hint."""
    summary, *others = re.split(r"\s+(?=Found in: |Hint: )", function.__doc__ or "")
    told = dict(" ".join(other.split()).rstrip(".").split(": ", 1) for other in others)
    summary = " ".join(summary.split())
    hint = f"this is what you get if you {summary[:1].lower()}{summary[1:].rstrip('.')}"
    return {
        "name": f"{operation}/{function.__name__}",
        "part": part,
        "operation": operation,
        "direction": direction,
        "function": function,
        "cause": cause,
        "found_in": given.get("found_in")
        or told.get("Found in", "answers of students to the exercises"),
        "summary": summary,
        "hint": given.get("hint") or told.get("Hint", hint),
    }


def add_to_catalogue(mistake: Mistake) -> None:
    """Add a mistake to the catalogue; ValueError if there is one of this name already."""
    if mistake.name in MISTAKES:
        raise ValueError(f"there are two mistakes {mistake.name!r}")
    MISTAKES[mistake.name] = mistake


def without_mistake(name: str, right: Pair, draw: Drawing) -> Bug:
    """Return what is right in the form of a bug, so that it can be checked like one."""
    about = name, "right", name, "backward", right[1], "", "", "what is right", ""
    return Bug(*about, *right, right, draw)


def differentiable_first(operation: Operation, draw: Drawing) -> Drawing:
    """Pass arrays that have no gradient, such as running statistics, by keyword."""
    if operation.arrays[0].startswith("*"):
        return draw

    def drawing(source: Draw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        arrays, hyperparameters = draw(source)
        named = dict(zip(operation.arrays, arrays, strict=False))
        kept = tuple(named.pop(name) for name in operation.differentiable if name in named)
        return kept, hyperparameters | named

    return drawing
