"""Functions whose machine code comes from LLVM instructions that we write, not from their Python.

Such a function is a plain Python function, which runs where nothing is compiled. A second function,
decorated by `emits`, writes the LLVM instructions that compiled code uses in its place.
"""

import inspect
from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

Emit = Callable[..., Any]


def emits(function: Callable[..., Any], result: Any, *arguments: Any) -> Callable[[Emit], Emit]:
    """Return a decorator for the function that writes the instructions of `function`.

    Parameters
    ----------
    function : callable
    result : a Numba type, or a function of the types of the arguments that returns one
    *arguments : Numba types, or classes of them
        One function may have several writers, each for other argument types.

    The decorated function gets the LLVM builder and a value for each argument: the address of the
    first entry of an array, a 64-bit integer, or a 32-bit floating-point number.
    """

    def typer(*given: Any) -> Any:
        return result if isinstance(result, types.Type) else result(*given)

    typer.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    type_callable(function)(lambda context: typer)

    def decorate(emit: Emit) -> Emit:
        def lower(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            given = [
                _plain(context, builder, kind, value)
                for kind, value in zip(signature.args, values, strict=True)
            ]
            written = emit(builder, *given)
            return context.get_dummy_value() if written is None else written

        lower_builtin(function, *arguments)(lower)  # type: ignore[no-untyped-call]
        return emit

    return decorate


def _plain(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        return context.make_array(kind)(context, builder, value).data
    if isinstance(kind, types.Integer):
        return context.cast(builder, value, kind, types.int64)
    if isinstance(kind, types.Float):
        return context.cast(builder, value, kind, types.float32)
    return value


def call(
    builder: Any, name: str, kind: Any, values: list[Any], fastmath: tuple[str, ...] = ()
) -> Any:
    """Write a call of a system function or of an LLVM intrinsic, with its flags."""
    function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
    return builder.call(function, values, fastmath=fastmath)
