"""What the generators in `steps` yield, and how functions with the signatures of `ops` run them.

A generator first yields the name and the shape of every output (`Output`), in the order of the
results. Then it computes one entry at a time and yields a `Step`: the entries that it reads, the
terms that it adds up, and their sum. So a program can draw the steps of an operation, count its
arithmetic, and compare its results with those of `ops`.

On entries, generators use only + - * / and >, and functions such as np.exp. For an object, np.exp
calls the object's method `exp`. So a generator also runs on object arrays of numbers that count
operations.
"""

import copy
import functools
import importlib
import inspect
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_gradient, check_number, check_part_count, check_plain

Index: TypeAlias = tuple[int, ...]
Reads: TypeAlias = list[tuple[str, Index]]


class Output(NamedTuple):
    """An array that will be computed. Its shape is None if the array is left out, as db without b.

    If a function returns a tuple of arrays, each array is a separate output: y[0], y[1], ...
    """

    name: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of an output."""

    output: str
    index: Index
    reads: Reads  # name and index of each entry that is read, in order
    terms: list[Any]  # in a backward, one dy * slope for each path to an output
    value: Any  # the sum of terms


Steps: TypeAlias = Iterator[Output | Step]


def gradients_of(**arrays: Array | None) -> Iterator[Output]:
    """Announce the gradient of each array; an array that is None, such as a bias, has none."""
    for name, array in arrays.items():
        yield Output(f"d{name}", None if array is None else array.shape)


def add_up(output: str, index: Index, reads: Reads, terms: list[Any]) -> Step:
    """Return the step whose value is the sum of terms, from left to right; 0 if there are none."""
    return Step(output, index, reads, terms, total(terms))


def total(terms: list[Any]) -> Any:
    """Return the sum from left to right, without an addition to 0; 0 if there is nothing."""
    return functools.reduce(operator.add, terms) if terms else 0.0


class StepsCache(NamedTuple):
    """What a backward of `steps` needs: the arguments of the forward, and its outputs."""

    arguments: inspect.BoundArguments  # a random generator has the state from before the forward
    outputs: tuple[Output, ...]
    dtype: np.dtype[Any]


def functions(
    forward_steps: Callable[..., Steps], backward_steps: Callable[..., Steps]
) -> tuple[Callable[..., tuple[Any, StepsCache]], Callable[[Any, StepsCache], Any]]:
    """Return the pair (forward, backward) of the `ops` signature that runs these generators.

    The results have the dtype of the arrays. Both functions raise ValueError where `ops` does, and
    for complex numbers.
    """
    signature = inspect.signature(forward_steps)
    name = forward_steps.__name__.removesuffix("_forward_steps")

    def forward(*args: Any, **kwargs: Any) -> tuple[Any, StepsCache]:
        arguments = signature.bind(*args, **kwargs)
        _check(name, arguments)
        flat = [*arguments.args, *arguments.kwargs.values()]  # the dtype isn't that of labels
        dtype = next(a.dtype for a in flat if isinstance(a, np.ndarray) and a.dtype.kind in "fO")
        kept = _with_own_rng(arguments)
        outputs, arrays = run_steps(forward_steps(*arguments.args, **arguments.kwargs), dtype)
        return _pack(outputs, arrays), StepsCache(kept, outputs, dtype)

    def backward(dy: Any, cache: StepsCache) -> Any:
        dy = _checked_gradient(dy, cache)
        arguments = _with_own_rng(cache.arguments)
        steps = backward_steps(dy, *arguments.args, **arguments.kwargs)
        return _pack(*run_steps(steps, cache.dtype))

    for function, direction in ((forward, "forward"), (backward, "backward")):
        function.__name__ = function.__qualname__ = f"{name}_{direction}"
        function.__module__ = forward_steps.__module__
        function.__doc__ = f"`ops.{name}_{direction}`, one entry at a time."
    return forward, backward


def run_steps(
    steps: Iterable[Output | Step], dtype: np.dtype[Any]
) -> tuple[tuple[Output, ...], list[Array | None]]:
    """Write the value of each step into its output; every entry must be written exactly once."""
    outputs: dict[str, Output] = {}
    arrays: dict[str, Array] = {}
    written: dict[str, Array] = {}
    for item in steps:
        if isinstance(item, Output):
            outputs[item.name] = item
            if item.shape is not None:
                arrays[item.name] = np.empty(item.shape, dtype)
                written[item.name] = np.zeros(item.shape, bool)
        else:
            if written[item.output][item.index]:
                raise RuntimeError(f"{item.output}{list(item.index)} is written twice")
            arrays[item.output][item.index] = item.value
            written[item.output][item.index] = True
    for name, done in written.items():
        if not done.all():
            raise RuntimeError(f"{name}{np.argwhere(~done)[0].tolist()} is never written")
    return tuple(outputs.values()), [arrays.get(name) for name in outputs]


def _pack(outputs: tuple[Output, ...], arrays: list[Array | None]) -> Any:
    """Return one array alone, several as a tuple, and an array without axes as a scalar."""
    scalars = [a[()] if a is not None and a.ndim == 0 else a for a in arrays]
    if len(scalars) == 1 and not outputs[0].name.endswith("]"):
        return scalars[0]
    return tuple(scalars)


def _check(name: str, arguments: inspect.BoundArguments) -> None:
    """Raise ValueError for bad arguments, by running the forward of `ops`, which checks them."""
    flat = [*arguments.args, *arguments.kwargs.values()]
    kinds = {value.dtype.kind for value in flat if isinstance(value, np.ndarray)}
    if "c" in kinds:
        raise ValueError(
            f"{name} has complex numbers; steps take float32 or float64 only; use `ops`"
        )
    if "O" not in kinds:  # not an array of objects that count operations
        fast = getattr(importlib.import_module("numpy_shufflenet.ops"), f"{name}_forward")
        with np.errstate(all="ignore"):
            fast(*arguments.args, **_with_own_rng(arguments).kwargs)


def _with_own_rng(arguments: inspect.BoundArguments) -> inspect.BoundArguments:
    """Copy the arguments such that a random generator among them stays in its present state."""
    kept = copy.copy(arguments)
    kept.arguments = {
        name: copy.deepcopy(value) if isinstance(value, np.random.Generator) else value
        for name, value in arguments.arguments.items()
    }
    return kept


def _checked_gradient(dy: Any, cache: StepsCache) -> Any:
    """Return dy, or raise ValueError unless it has the shape and dtype of the output."""
    if not cache.outputs[0].name.endswith("]"):
        return _checked_part(dy, cache.outputs[0], cache.dtype)
    check_part_count(dy, len(cache.outputs))
    parts = zip(dy, cache.outputs, strict=True)
    return tuple(_checked_part(part, output, cache.dtype) for part, output in parts)


def _checked_part(dy: Any, output: Output, dtype: np.dtype[Any]) -> Any:
    if output.shape:
        check_gradient(dy, output.shape, dtype)
        return dy
    check_plain("dy", dy)
    if np.ndim(dy):
        raise ValueError(f"dy has shape {np.shape(dy)}, but the output has ()")
    if dtype.kind != "O":
        check_number("dy", dy)
    return np.asarray(dy, dtype)[()]  # any number fits a scalar output
