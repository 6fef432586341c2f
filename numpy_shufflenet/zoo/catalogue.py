"""The entries of the catalogue of mistakes, and the decorators that add them.

Each decorator takes a wrong function. What the function returns depends on the decorator:

    wrong_gradient   the gradient of one array; the other gradients are right
    wrong_backward   all gradients
    wrong_forward    y and a cache
    wrong_answer     the results of an exercise, without a cache
    variants         the same; its keyword `wrong` tells which of several mistakes to make

The docstring of the function says what it does wrong ("Average db over the batch."). "Found in:"
then names published code with such a mistake. "Hint:" is the text for a student who makes the
mistake. Without it, the hint repeats the first sentence.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numpy_shufflenet.operations import Draw, Example, Operation, find

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]
Pair = tuple[Function, Function]
STUDENTS = "answers of students to the exercises"
Drawing = Callable[[Draw], tuple[tuple[Any, ...], dict[str, Any]]]


class DoesNotApplyError(ValueError):
    """A mistake can't be made in this case."""


@dataclass(frozen=True)
class Mistake:
    """A wrong function."""

    #: Operation and function, such as "conv2d/kernel_not_flipped".
    name: str
    #: "a": a wrong backward of a right forward. A gradient check must catch it.
    #: "b": a wrong forward, and a backward that agrees with it. No gradient check can catch it.
    #: "c": a side effect.
    #: "answer": a wrong answer to an exercise, without a backward.
    #: "held out": like "a", but nobody used it to improve `explain`.
    part: str
    #: Name of an operation of the table, of a unit or of an exercise.
    operation: str
    #: "forward" or "backward": the function that is wrong; "" for an exercise that has neither.
    direction: str
    #: The wrong function.
    function: Function
    #: The family of the mistake's cause, one of `gradcheck.FAMILIES`.
    cause: str
    #: Published code that has this mistake, or a similar one.
    found_in: str
    #: What the function does wrong, in a sentence.
    summary: str
    #: The text for a student whose answer has this mistake.
    hint: str
    #: The name of the mistake in a function that can make several; see `variants`.
    switch: str = field(default="", kw_only=True)

    def __reduce__(self) -> Any:
        """Pickle the name alone: another process has the same catalogue."""
        return _named, (self.name,)

    @property
    def exercise(self) -> str:
        """Name of the exercise to which this is a wrong answer, such as "conv2d_backward"."""
        return f"{self.operation}_{self.direction}" if self.direction else self.operation

    def answer(self, *arrays: Any, **hyperparameters: Any) -> Any:
        """Return the wrong results for the arguments of the exercise."""
        return self.function(*arrays, **hyperparameters)


@dataclass(frozen=True)
class Bug(Mistake):
    """A wrong forward or backward, as a pair of functions that can be checked."""

    #: y, cache = forward(*arrays, **hyperparameters)
    forward: Function
    #: gradients = backward(dy, cache)
    backward: Function
    #: The right forward and the right backward.
    right: Pair
    #: Draws arrays and hyperparameters that show the mistake.
    draw: Drawing
    #: The same function as `draw`, if the operation's own example would hide the mistake.
    own_example: Drawing | None = None

    def answer(self, *arrays: Any, **hyperparameters: Any) -> Any:
        """Return y. For a wrong backward, dy is the first array; return the gradients."""
        if self.direction == "forward":
            return self.forward(*arrays, **hyperparameters)[0]
        dy, *others = arrays
        return self.backward(dy, self.forward(*others, **hyperparameters)[1])

    def example(self, seed: int = 0, dtype: Any = np.float64) -> Example:
        """Draw an example that shows the mistake. The same seed gives the same example."""
        return Example(*self.draw(Draw(np.random.default_rng(seed), np.dtype(dtype))))


MISTAKES: dict[str, Mistake] = {}
"""Every entry by name."""


def _named(name: str) -> Mistake:
    return MISTAKES[name]


def mistakes_in(exercise: str) -> list[Mistake]:
    """Return the mistakes with which an exercise compares a student's answer.

    Mistakes that are held out are not among them. Nor are side effects: their results are right.
    """
    return [
        mistake
        for mistake in MISTAKES.values()
        if mistake.exercise == exercise and mistake.part in ("a", "b", "answer")
    ]


def wrong_gradient(operation: str, array: str, **about: Any) -> Decorator:
    """Add a mistake in the gradient of one array.

    The decorated function takes the right gradient, dy and the cache, and returns the wrong
    gradient. If the right gradient is None, the function isn't called. `about` is passed to
    `wrong_backward`.
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
    """Add a wrong backward of an operation. The decorated function takes dy and the cache.

    `about` has the keyword `cause`. It may also have `found_in` and `hint`, which replace the texts
    in the docstring (see `Mistake`). If the operation's own example would hide the mistake, it also
    has `example`, which draws an example that shows the mistake.

    Raises
    ------
    ValueError
        If there is no such operation, or if the name of the mistake is taken.
    """
    right = find(operation).forward()
    return _wrong(operation, "backward", lambda function: (right, function), part, **about)


def wrong_forward(
    operation: str, *, part: str = "b", backward: Function | None = None, **about: Any
) -> Decorator:
    """Add a wrong forward of an operation. The decorated function returns y and a cache.

    `backward` agrees with the wrong forward. The default is the operation's own backward. For the
    other arguments see `wrong_backward`.
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
    """Add a wrong answer to an exercise ("sgd_step"; see `exercises.names`).

    The decorated function takes the arguments of the exercise and returns its results. `given` may
    have `found_in` and `hint`, which replace the texts in the docstring.
    """
    operation = exercise.removesuffix("_forward")
    direction = "" if operation == exercise else "forward"

    def add(function: Function) -> Function:
        add_to_catalogue(
            Mistake(**described(operation, direction, function, "answer", cause, **given))
        )
        return function

    return add


def variants(exercise: str, **mistakes: tuple[str, str]) -> Decorator:
    """Add several mistakes that one function can make, alone or together.

    The decorated function takes the arguments of the exercise, and a keyword `wrong`: the set of
    the mistakes that it makes. `mistakes` has the cause and the hint of each.
    """
    operation, _, direction = exercise.rpartition("_")
    if direction not in ("forward", "backward"):
        operation, direction = exercise, ""

    def add(function: Function) -> Function:
        for name, (cause, hint) in mistakes.items():
            wrong = functools.partial(function, wrong=frozenset({name}))
            about = f"{exercise}/{name}", "answer", operation, direction, wrong, cause
            add_to_catalogue(Mistake(*about, STUDENTS, hint, hint, switch=name))
        return function

    return add


def both(a: Mistake, b: Mistake) -> Function | None:
    """Return a function that makes two mistakes, or None if they are of different functions."""
    if not (a.switch and b.switch) or a.function.func is not b.function.func:  # type: ignore[attr-defined]
        return None
    return functools.partial(a.function.func, wrong=frozenset({a.switch, b.switch}))  # type: ignore[attr-defined]


def described(
    operation: str, direction: str, function: Function, part: str, cause: str, **given: str
) -> dict[str, Any]:
    """Return the fields of `Mistake`. `given` may have `found_in` and `hint`."""
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
        "found_in": told.get("Found in", STUDENTS),
        "summary": summary,
        "hint": told.get("Hint", hint),
        **given,
    }


def add_to_catalogue(mistake: Mistake) -> None:
    """Add a mistake to the catalogue, or raise ValueError if the name is taken."""
    if mistake.name in MISTAKES:
        raise ValueError(f"there are two mistakes {mistake.name!r}")
    MISTAKES[mistake.name] = mistake


def without_mistake(name: str, right: Pair, draw: Drawing) -> Bug:
    """Return a right forward and backward as a `Bug`, so that they can be checked like a bug."""
    about = name, "right", name, "backward", right[1], "", "", "what is right", ""
    return Bug(*about, *right, right, draw)


def differentiable_first(operation: Operation, draw: Drawing) -> Drawing:
    """Return `draw` so that arrays without gradient, such as running means, become keywords."""
    if operation.arrays[0].startswith("*"):
        return draw

    def drawing(source: Draw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        arrays, hyperparameters = draw(source)
        named = dict(zip(operation.arrays, arrays, strict=False))
        kept = tuple(named.pop(name) for name in operation.differentiable if name in named)
        return kept, hyperparameters | named

    return drawing
