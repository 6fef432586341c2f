"""Counts arithmetic: runs the loop implementation (`steps`) on `Number` objects, which count.

Padding is first made part of the array, so that products with padding count like all other
products. Reads of padding are not counted, because the padding of a real run is not in memory.
"""

import copy
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from numpy_shufflenet import operations, steps
from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import as_padding
from numpy_shufflenet.registry.formula import Counts
from numpy_shufflenet.steps import Output, thrifty


def _binary(field: str, compute: Callable[[float, float], Any]) -> Callable[..., Any]:
    """Return a method for a binary operator that adds 1 to a field of the tally."""

    def method(self: "Number", other: Any) -> Any:
        Number.tally[field] += 1
        result = compute(self.value, float(other))
        return result if isinstance(result, bool) else Number(result)

    return method


def _function(compute: Callable[[float], Any]) -> Callable[..., Any]:
    """Return a method for a function of one number; np.exp(x) calls the method x.exp()."""

    def method(self: "Number") -> "Number":
        Number.tally["functions"] += 1
        return Number(compute(self.value))

    return method


class Number:
    """A number that counts each operation on it in `Number.tally`.

    A product with a number that is marked as a weight is also a multiply-add. Negation is not
    counted. != is not counted either, because `steps` uses != only to look for NaN.
    """

    __slots__ = ("value", "weight")
    tally: ClassVar[Counter[str]] = Counter()

    def __init__(self, value: Any, *, weight: bool = False):
        self.value = float(value)
        self.weight = weight

    __add__ = __radd__ = _binary("additions", operator.add)
    __sub__ = _binary("additions", operator.sub)
    __rsub__ = _binary("additions", lambda a, b: b - a)
    __truediv__ = _binary("multiplications", operator.truediv)
    __rtruediv__ = _binary("multiplications", lambda a, b: b / a)
    __gt__ = _binary("comparisons", operator.gt)
    __lt__ = _binary("comparisons", operator.lt)
    exp, log, sqrt = _function(np.exp), _function(np.log), _function(np.sqrt)

    def __mul__(self, other: Any) -> "Number":
        Number.tally["multiplications"] += 1
        Number.tally["multiply_adds"] += self.weight or getattr(other, "weight", False)
        return Number(self.value * float(other))

    __rmul__ = __mul__

    def __neg__(self) -> "Number":
        return Number(-self.value)

    def __ne__(self, other: object) -> bool:
        return self.value != float(other)  # type: ignore[arg-type]

    __hash__ = object.__hash__

    def __float__(self) -> float:
        return self.value


def count_operation(
    name: str, *arrays: Array | None, **hyperparameters: Any
) -> tuple[Counts, Counts]:
    """Run an operation step by step, and return the counts of its forward and its backward.

    Parameters
    ----------
    name : str
        The name of an operation, as in `operations`.
    *arrays, **hyperparameters
        The arguments of `ops.NAME_forward`. Keep the arrays small: every number is a Python object.

    Raises
    ------
    ValueError
        If there is no such operation.
    """
    operation = operations.find(name)
    arrays, hyperparameters, inside = _pad_explicitly(name, arrays, hyperparameters)
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
    """Run the steps and return their counts; `inside` tells pixels from padding."""
    read = set()
    written = 0
    before, Number.tally = Number.tally, Counter()
    try:
        for step in start():
            if isinstance(step, Output):
                continue
            read |= {(key, index) for key, index in step.reads if key != "x" or inside(index)}
            written += step.output != "dx" or inside(step.index)
            if gradients and step.output.startswith("dw"):
                Number.tally["multiply_adds"] += len(step.terms)
        return Counts(**Number.tally, read=len(read), written=written)
    finally:
        Number.tally = before


def _pad_explicitly(
    name: str, arrays: tuple[Any, ...], hyperparameters: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Callable[[tuple[int, ...]], bool]]:
    """Return the arguments with padding inside x, and a function that tells pixels from padding."""
    if "padding" not in hyperparameters:
        return arrays, hyperparameters, lambda index: True
    x, *rest = arrays
    (top, bottom), (left, right) = as_padding(hyperparameters["padding"])
    border = x.dtype.type(-np.inf if name == "max_pool2d" else 0.0)
    widths = ((0, 0), (0, 0), (top, bottom), (left, right))
    padded = np.pad(x, widths, constant_values=border)

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
    """Return an upstream gradient of ones in the shape of y."""
    return _numbers(np.ones(np.shape(y))) if np.shape(y) else Number(1.0)
