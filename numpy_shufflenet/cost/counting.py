"""Counting by doing: the `steps` implementation runs on numbers that count what is done to them.

A border is written out as numbers first, so that taps on padding are multiplied like any other;
reading the border is not counted, as it is nowhere in memory.
"""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numpy_shufflenet import operations, steps
from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import as_padding
from numpy_shufflenet.registry.formula import Counts
from numpy_shufflenet.steps import Output, thrifty


class WorkDone:
    """What has been done so far."""

    def __init__(self) -> None:
        self.multiply_adds = 0
        self.multiplications = 0
        self.additions = 0
        self.comparisons = 0
        self.functions = 0


class Number:
    """A number that counts each operation on it in the tally of its class.

    Products with a number that is marked as a weight are multiply-adds, too. Negation is free, and
    != is not counted: the twins ask by it for NaN only.
    """

    __slots__ = ("value", "weight")
    tally = WorkDone()

    def __init__(self, value: Any, *, weight: bool = False):
        self.value = float(value)
        self.weight = weight

    def __add__(self, other: Any) -> "Number":
        Number.tally.additions += 1
        return Number(self.value + float(other))

    def __sub__(self, other: Any) -> "Number":
        Number.tally.additions += 1
        return Number(self.value - float(other))

    def __rsub__(self, other: Any) -> "Number":
        Number.tally.additions += 1
        return Number(float(other) - self.value)

    def __mul__(self, other: Any) -> "Number":
        Number.tally.multiplications += 1
        Number.tally.multiply_adds += self.weight or getattr(other, "weight", False)
        return Number(self.value * float(other))

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> "Number":
        Number.tally.multiplications += 1
        return Number(self.value / float(other))

    def __rtruediv__(self, other: Any) -> "Number":
        Number.tally.multiplications += 1
        return Number(float(other) / self.value)

    def __neg__(self) -> "Number":
        return Number(-self.value)

    def __gt__(self, other: Any) -> bool:
        Number.tally.comparisons += 1
        return self.value > float(other)

    def __lt__(self, other: Any) -> bool:
        Number.tally.comparisons += 1
        return self.value < float(other)

    def __ne__(self, other: object) -> bool:
        return self.value != float(other)  # type: ignore[arg-type]

    __hash__ = object.__hash__

    def __float__(self) -> float:
        return self.value

    def _function(self, function: Callable[[float], Any]) -> "Number":
        Number.tally.functions += 1
        return Number(function(self.value))

    def exp(self) -> "Number":
        """e to the power of this number: np.exp finds it here."""
        return self._function(np.exp)

    def log(self) -> "Number":
        """The natural logarithm."""
        return self._function(np.log)

    def sqrt(self) -> "Number":
        """The square root."""
        return self._function(np.sqrt)


def count_operation(
    name: str, *arrays: Array | None, **hyperparameters: Any
) -> tuple[Counts, Counts]:
    """Run an operation's forward and backward step by step, and count.

    Parameters
    ----------
    name : str
        Of an operation in the table.
    *arrays, **hyperparameters
        As `ops.NAME_forward` takes them. Keep them small: every number is a Python object.

    Returns
    -------
    forward, backward : Counts

    Raises
    ------
    ValueError
        If there is no such operation.
    """
    operation = operations.find(name)
    arrays, hyperparameters, inside = _written_out(name, arrays, hyperparameters)
    numbers = [
        _numbers(array, weight=key.startswith("w")) if array is not None else None
        for key, array in operation.named(arrays).items()
    ]
    y, _ = operation.forward("steps")(*numbers, **copy.deepcopy(hyperparameters))
    forward = getattr(steps, f"{name}_forward_steps")
    counted_forward = _counted(
        lambda: forward(*numbers, **copy.deepcopy(hyperparameters)), inside, gradients=False
    )
    dy = tuple(map(_ones, y)) if isinstance(y, tuple) else _ones(y)
    backward = getattr(steps, f"{name}_backward_steps")
    given: tuple[Any, ...] = (dy, *numbers)
    if name in thrifty.BACKWARDS:
        keep, backward = thrifty.BACKWARDS[name]
        given = (keep(*numbers, **hyperparameters), *given)
    counted_backward = _counted(
        lambda: backward(*given, **copy.deepcopy(hyperparameters)), inside, gradients=True
    )
    return counted_forward, counted_backward


def _counted(
    start: Callable[[], Iterator[Any]],
    inside: Callable[[tuple[int, ...]], bool],
    *,
    gradients: bool,
) -> Counts:
    """Run steps, and collect what they do and read and write."""
    read = set()
    written = 0
    with _fresh_tally() as tally:
        for step in start():
            if isinstance(step, Output):
                continue
            read |= {(key, index) for key, index in step.reads if key != "x" or inside(index)}
            written += step.output != "dx" or inside(step.index)
            if gradients and step.output.startswith("dw"):
                tally.multiply_adds += len(step.terms)
    return Counts(**vars(tally), read=len(read), written=written)


@contextlib.contextmanager
def _fresh_tally() -> Iterator[WorkDone]:
    before, Number.tally = Number.tally, WorkDone()
    try:
        yield Number.tally
    finally:
        Number.tally = before


def _written_out(
    name: str, arrays: tuple[Any, ...], hyperparameters: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Callable[[tuple[int, ...]], bool]]:
    """Return the same case with a border of numbers, and what tells a pixel from the border."""
    if "padding" not in hyperparameters:
        return arrays, hyperparameters, lambda index: True
    x, *rest = arrays
    (top, bottom), (left, right) = as_padding(hyperparameters["padding"])
    border = -np.inf if name == "max_pool2d" else 0.0
    padded = np.pad(
        x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=x.dtype.type(border)
    )

    def inside(index: tuple[int, ...]) -> bool:
        _, _, r, s = index
        return top <= r < top + x.shape[2] and left <= s < left + x.shape[3]

    return (padded, *rest), {**hyperparameters, "padding": 0}, inside


def _numbers(array: Any, *, weight: bool = False) -> Any:
    """Return an object array of Numbers; labels stay integers."""
    if array.dtype.kind == "i":
        return array
    numbers = np.empty(array.shape, object)
    for index in np.ndindex(array.shape):
        numbers[index] = Number(array[index], weight=weight)
    return numbers


def _ones(y: Any) -> Any:
    """Return a dy of the shape of y."""
    return _numbers(np.ones(np.shape(y))) if np.shape(y) else Number(1.0)
