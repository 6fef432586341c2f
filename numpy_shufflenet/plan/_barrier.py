"""Where threads of compiled code meet: nobody goes on before all have come.

To wait for each other through the operating system costs more than most instructions of a network
take. Here a thread that is early looks again and again, which is over in a moment if the others are
at work; if they are not, because the processor is busy with something else, it makes room for them.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

PATIENCE = 2000  # looks, before others are let go first

_COUNT = ir.IntType(64)


@intrinsic
def arrive(typing_context: Any, arrivals: Any) -> Any:
    """Count this thread in arrivals[0], and let others see what it has written before."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        builder.atomic_rmw("add", data, _COUNT(1), "seq_cst")
        return context.get_dummy_value()

    return types.void(arrivals), emit


@intrinsic
def arrived(typing_context: Any, arrivals: Any) -> Any:
    """Return arrivals[0] as it is now, and see what those counted have written before."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.load_atomic(data, "seq_cst", 8)

    return types.int64(arrivals), emit


@intrinsic
def make_room(typing_context: Any) -> Any:
    """Let another thread have this processor, if one waits for it."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), emit


@register_jitable
def meet(arrivals, count):  # type: ignore[no-untyped-def]
    """Wait until `count` arrivals are counted, this one included."""
    arrive(arrivals)
    looks = 0
    while arrived(arrivals) < count:
        looks += 1
        if looks > PATIENCE:
            make_room()
