"""Functions whose compiled form is written in instructions of the compiler, not in Python.

Such a function is plain Python, for reading and for the debugger; beside it stands what writes its
instructions into compiled code, through a builder of LLVM.
"""

import inspect
from collections.abc import Callable
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

Emit = Callable[..., Any]


def emits(function: Callable[..., Any], result: Any, *arguments: Any) -> Callable[[Emit], Emit]:
    """Return a decorator: the decorated one writes the instructions of `function`.

    Parameters
    ----------
    function : callable
    result : a Numba type, or a function of the types of the arguments that returns one
    *arguments : Numba types, or classes of them
        Several may write for one function, each for arguments of its own.

    The decorated one is called with the builder and a value for each argument: of an array, where
    its numbers are; integers in 64 bits, floating-point numbers in 32.
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
    """Write a call of a function of the system, or of an intrinsic of LLVM, with its flags."""
    function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
    return builder.call(function, values, fastmath=fastmath)
