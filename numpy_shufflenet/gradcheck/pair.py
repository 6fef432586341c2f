"""Checks of operations: `y, cache = forward(arrays...)` with `gradients = backward(dy, cache)`."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from ._arrays import Array
from .check import check, parameters_of, positional_names
from .settings import DEFAULTS
from .verdict import Verdict

OPTIONS = ("names", "pattern", "per_entry", "seed", "settings")


def check_pair(
    forward: Callable[..., Any], backward: Callable[..., Any], *arrays: Any, **keywords: Any
) -> Verdict:
    """Check an operation: `y, cache = forward(*arrays, ...)`, `gradients = backward(dy, cache)`.

    Parameters
    ----------
    forward, backward : callable
        backward returns one gradient for each array, in their order; a plain array if there is one
        gradient only. It returns nothing for integer arrays, and None for an array that is None or
        that forward was not given.
    *arrays : array or None
        The first arguments of forward; None for a missing bias, say. Floating-point arrays that
        have no gradient (running statistics) must be given by keyword.
    **keywords
        Hyperparameters of forward, and the keywords of `check`: names, pattern, per_entry, seed and
        settings. If forward has a parameter with one of these names, the keyword goes to forward.
        `pattern` is called with the cache; the default is `choices_in`. Every evaluation gets a
        fresh copy of the hyperparameters, so a generator among them draws the same numbers each
        time.
    """
    owned = {parameter.name for parameter in parameters_of(forward)}
    options = {k: keywords.pop(k) for k in OPTIONS if k in keywords and k not in owned}
    f, vjp, last_cache = functions_of(forward, backward, keywords)
    choices = options.pop("pattern", None) or choices_in
    options.setdefault("names", positional_names(forward, len(arrays)))
    options["settings"] = options.get("settings", DEFAULTS).for_operations()
    return check(f, vjp, *arrays, pattern=lambda *_: choices(last_cache()), **options)


def functions_of(
    forward: Callable[..., Any], backward: Callable[..., Any], hyperparameters: dict[str, Any]
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[[], Any]]:
    """Return an operation as f and vjp of its arrays, as `check` wants them.

    Each call gets a fresh copy of the hyperparameters, in the dtype of the arrays. The third
    function returns the cache of the last forward.
    """
    last: list[Any] = [None]

    def f(*point: Any) -> Any:
        dtype = next((a.dtype for a in point if _has_kind(a, "fc")), None)
        own = copy.deepcopy(hyperparameters)
        for name, value in own.items():  # running statistics, say
            if dtype is not None and _has_kind(value, "f"):
                own[name] = value.astype(dtype)
        y, last[0] = forward(*point, **own)
        return y

    def vjp(dy: Any, *point: Any) -> Any:
        f(*point)
        return _one_per_array(backward(dy, last[0]), point)

    return f, vjp, lambda: last[0]


def assert_gradients(
    forward: Callable[..., Any], backward: Callable[..., Any], *arrays: Any, **keywords: Any
) -> None:
    """Do `check_pair`, and raise AssertionError with the verdict as its text unless it passes."""
    check_pair(forward, backward, *arrays, **keywords).raise_if_failed()


def check_operation(
    name: str, *, implementation: str = "ops", example: int = 0, **options: Any
) -> Verdict:
    """Check an operation of the table `operations.OPERATIONS` on its own example.

    It needs the package numpy_shufflenet, which holds the table.

    Parameters
    ----------
    implementation : str
        One of `operations.IMPLEMENTATIONS`.
    example : int
        Seed of the example.
    **options
        The keywords of `check`; `pattern` is called with the cache.
    """
    from numpy_shufflenet.operations import find

    operation = find(name)
    drawn = operation.example(example)
    arrays, hyperparameters = drawn.arrays, dict(drawn.hyperparameters)
    if not operation.arrays[0].startswith("*"):
        # Arrays without a gradient, such as running statistics, are given by keyword.
        named = operation.named(drawn.arrays)
        arrays = tuple(named.pop(name) for name in operation.differentiable if name in named)
        hyperparameters |= named
    options.setdefault("names", positional_names(operation.forward("ops"), len(arrays)))
    return check_pair(
        operation.forward(implementation),
        operation.backward(implementation),
        *arrays,
        **(hyperparameters | options),
    )


def choices_in(cache: Any) -> list[Array]:
    """Return the choices in a cache of our operations: winners, masks, where a ReLU passes."""
    if isinstance(cache, np.ndarray):
        return [cache] if cache.dtype.kind in "bi" else []
    if type(cache).__name__ == "ReluCache":
        return [cache.y > 0]
    if isinstance(cache, tuple | list):
        return [choice for part in cache for choice in choices_in(part)]
    return []


def _one_per_array(gradients: Any, arrays: tuple[Any, ...]) -> Any:
    """Insert None for integer arrays, and leave out None for arrays that were not given.

    A backward returns nothing for integer arrays, and None for optional arguments (a bias) that
    forward was not given.
    """
    integer = [isinstance(a, np.ndarray) and not _has_kind(a, "fc") for a in arrays]
    if not any(integer) and not isinstance(gradients, tuple | list):
        return gradients
    listed = list(gradients) if isinstance(gradients, tuple | list) else [gradients]
    for i, skipped in enumerate(integer):
        if skipped:
            listed.insert(i, None)
    while len(listed) > len(arrays) and listed[-1] is None:
        listed.pop()
    return listed


def _has_kind(value: Any, kinds: str) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in kinds
