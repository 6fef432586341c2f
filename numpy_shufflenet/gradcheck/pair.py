"""Checks of operations: `y, cache = forward(arrays...)` with `gradients = backward(dy, cache)`."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.gradcheck.check import check, positional_names
from numpy_shufflenet.gradcheck.verdict import Verdict

OPTIONS = frozenset(
    name
    for name, parameter in inspect.signature(check).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)


def check_pair(
    forward: Callable[..., Any], backward: Callable[..., Any], *arrays: Any, **keywords: Any
) -> Verdict:
    """Check an operation: `y, cache = forward(*arrays, ...)`, `gradients = backward(dy, cache)`.

    Parameters
    ----------
    forward, backward : callable
        backward gives one gradient per array, in their order, and none for integer arrays; a
        single one as a plain array; None for an array that is None, or that forward wasn't given.
    *arrays : array or None
        The first arguments of forward; None for a missing bias, say. Arrays that have no gradient
        though they are floating-point (running statistics) go by keyword.
    **keywords
        Hyperparameters of forward, and options of `check` (seed, per_entry, tolerance, ...); here
        `pattern` is called with the cache, and is `choices_in` if not given. A
        name that forward has is forward's: `rng` is the checker's for most operations and the
        operation's own for dropout, where `seed` still is the checker's.
        Every evaluation gets a fresh copy of the hyperparameters, so a generator among them draws
        the same numbers each time.

    Returns
    -------
    Verdict
    """
    owned = _parameters(forward)
    options = {k: v for k, v in keywords.items() if k in OPTIONS and k not in owned}
    hyperparameters = {k: v for k, v in keywords.items() if k not in options}
    return _check(forward, backward, arrays, hyperparameters, options)


def _check(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    arrays: tuple[Any, ...],
    hyperparameters: dict[str, Any],
    options: dict[str, Any],
) -> Verdict:
    f, vjp, last_cache = functions_of(forward, backward, hyperparameters)
    options = dict(options)
    choices = options.get("pattern") or choices_in
    options["pattern"] = lambda *_: choices(last_cache())
    options.setdefault("names", positional_names(forward, len(arrays)))
    options.setdefault("keeps_dtype", True)
    return check(f, vjp, *arrays, **options)


def functions_of(
    forward: Callable[..., Any], backward: Callable[..., Any], hyperparameters: dict[str, Any]
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[[], Any]]:
    """Return an operation as f and vjp of its arrays, as `check` wants them.

    Each call gets a fresh copy of the hyperparameters, in the dtype of the arrays. The third
    function returns the cache of the last forward.
    """
    last: list[Any] = [None]

    def f(*point: Any) -> Any:
        dtype = next((a.dtype for a in point if _is_inexact(a)), None)
        own = {k: _convert(copy.deepcopy(v), dtype) for k, v in hyperparameters.items()}
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


def check_operation(name: str, *, floor: str = "ops", example: int = 0, **options: Any) -> Verdict:
    """Check an operation of the table `operations.OPERATIONS` on its own example.

    Parameters
    ----------
    name : str
    floor : str
        Which implementation: one of `operations.FLOORS`.
    example : int
        Seed of the example.
    **options
        Of `check`.

    Returns
    -------
    Verdict
    """
    from numpy_shufflenet.operations import find

    operation = find(name)
    drawn = operation.example(example)
    arrays, hyperparameters = drawn.arrays, dict(drawn.hyperparameters)
    if not operation.arrays[0].startswith("*"):
        # What has no gradient, such as running statistics, goes by keyword.
        named = dict(zip(operation.arrays, drawn.arrays, strict=False))
        kept = [n for n in named if n in operation.differentiable]
        arrays = tuple(named[n] for n in kept)
        hyperparameters |= {n: v for n, v in named.items() if n not in kept}
    forward, backward = operation.forward(floor), operation.backward(floor)
    options.setdefault("names", positional_names(operation.forward("ops"), len(arrays)))
    return _check(forward, backward, arrays, hyperparameters, options)


def choices_in(cache: Any) -> list[Array]:
    """Return the choices that a cache of our operations holds: winners, masks, signs of a ReLU."""
    if isinstance(cache, np.ndarray):
        return [cache] if cache.dtype.kind in "bi" else []
    if type(cache).__name__ == "ReluCache":
        return [cache.y > 0]
    if isinstance(cache, tuple | list):
        return [choice for part in cache for choice in choices_in(part)]
    return []


def _one_per_array(gradients: Any, arrays: tuple[Any, ...]) -> Any:
    """Insert None for integer arrays, of which a backward says nothing, and leave what is too much.

    A backward has a gradient for each argument that forward might have been given. Those that were
    not (a bias) have no gradient: None.
    """
    integer = [isinstance(a, np.ndarray) and not _is_inexact(a) for a in arrays]
    if not any(integer) and not isinstance(gradients, tuple | list):
        return gradients
    listed = list(gradients) if isinstance(gradients, tuple | list) else [gradients]
    for i, skipped in enumerate(integer):
        if skipped:
            listed.insert(i, None)
    while len(listed) > len(arrays) and listed[-1] is None:
        listed.pop()
    return listed


def _convert(value: Any, dtype: Any) -> Any:
    """Give floating-point hyperparameters (running statistics) the dtype of the arrays."""
    if dtype is not None and isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(dtype)
    return value


def _is_inexact(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fc"


def _parameters(forward: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(forward).parameters)
    except (TypeError, ValueError):
        return set()
