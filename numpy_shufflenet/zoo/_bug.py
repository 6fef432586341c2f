"""What a bug is, and how one is put into the zoo: a decorator above a wrong backward."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet.operations import Draw, Example, Operation, find

Function = Callable[..., Any]
Drawing = Callable[[Draw], tuple[tuple[Any, ...], dict[str, Any]]]


@dataclass(frozen=True)
class Bug:
    """A mistake in an operation or a unit, beside what is right.

    Attributes
    ----------
    name : str
        "conv2d/kernel_not_flipped".
    part : str
        "a": a wrong backward of a right forward: a gradient check must catch it.
        "b": a wrong forward, and the backward that agrees with it: no gradient check can see it.
        "c": a side effect.
        "held out": as "a", but written after `explain` was finished, to measure it fairly.
    operation : str
        Its name in the table of operations, or of a unit.
    forward, backward : callable
        y, cache = forward(*arrays, **hyperparameters); gradients = backward(dy, cache).
    right : (forward, backward)
        What is right.
    cause : str
        The family of causes, one of `gradcheck.FAMILIES`.
    found_in : str
        Where its like was found in published code.
    summary : str
        What is wrong, in a sentence.
    own_example : callable or None
        What draws its examples, if these are others than the operation's own.
    """

    name: str
    part: str
    operation: str
    forward: Function
    backward: Function
    right: tuple[Function, Function]
    draw: Drawing
    cause: str
    found_in: str
    summary: str
    own_example: Drawing | None = None

    def __reduce__(self) -> Any:
        """Go by name to another process, which has the same zoo."""
        return _named, (self.name,)

    def example(self, seed: int = 0, dtype: Any = np.float64) -> Example:
        """Draw a case on which the bug shows: the same one for the same seed."""
        return Example(*self.draw(Draw(np.random.default_rng(seed), np.dtype(dtype))))


def _named(name: str) -> Bug:
    return BUGS[name]


BUGS: dict[str, Bug] = {}
"""Every bug by name."""


def wrong_backward(
    operation: str,
    *,
    cause: str,
    found_in: str,
    example: Drawing | None = None,
    part: str = "a",
) -> Callable[[Function], Function]:
    """Put the decorated backward of an operation of the table into the zoo.

    Its docstring says what is wrong. `example` draws a case on which it shows, where the
    operation's own example would hide it.
    """
    known = find(operation)

    def add(function: Function) -> Function:
        enter(
            Bug(
                name=f"{operation}/{function.__name__}",
                part=part,
                operation=operation,
                forward=known.forward(),
                backward=function,
                right=(known.forward(), known.backward()),
                draw=differentiable_first(known, example or known.draw),
                cause=cause,
                found_in=found_in,
                summary=summary_of(function),
                own_example=example,
            )
        )
        return function

    return add


def enter(bug: Bug) -> None:
    """Put a bug into the zoo; no two have the same name."""
    if bug.name in BUGS:
        raise ValueError(f"there are two bugs {bug.name!r}")
    BUGS[bug.name] = bug


def differentiable_first(operation: Operation, draw: Drawing) -> Drawing:
    """Let arrays that have no gradient, such as running statistics, go by keyword."""
    if operation.arrays[0].startswith("*"):
        return draw

    def drawing(source: Draw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        arrays, hyperparameters = draw(source)
        named = dict(zip(operation.arrays, arrays, strict=False))
        kept = tuple(named.pop(name) for name in operation.differentiable if name in named)
        return kept, hyperparameters | named

    return drawing


def summary_of(function: Function) -> str:
    """Return the docstring as one line."""
    return " ".join((function.__doc__ or "").split())
