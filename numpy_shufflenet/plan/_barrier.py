"""Where threads of compiled code meet: nobody goes on before all have come.

To wait for each other through the operating system costs more than most instructions of a network
take. Here a thread that is early looks again and again, which is over in a moment if the others are
at work; if they are not, because the processor is busy with something else, it makes room for them.
"""

import sys
import time
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import register_jitable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._emit import call, emits

PATIENCE = 2000  # looks, before others are let go first


@register_jitable
def meet(arrivals: Array, count: int) -> None:
    """Arrive, and wait until `count` arrivals are counted in arrivals[0]."""
    arrive(arrivals)
    looks = 0
    while arrived(arrivals) < count:
        looks += 1
        if looks > PATIENCE:
            make_room()


def arrive(arrivals: Array) -> None:
    """Count this thread, and let others see what it has written before."""
    arrivals[0] += 1


def arrived(arrivals: Array) -> Any:
    """Return the count as it is now, and see what those counted have written before."""
    return arrivals[0]


def make_room() -> None:
    """Let another thread have this processor, if one waits for it."""
    time.sleep(0)


# What they become in compiled code


@emits(arrive, types.none, types.Array)
def _emit_arrive(builder: Any, arrivals: Any) -> None:
    builder.atomic_rmw("add", arrivals, ir.IntType(64)(1), "seq_cst")


@emits(arrived, types.int64, types.Array)
def _emit_arrived(builder: Any, arrivals: Any) -> Any:
    return builder.load_atomic(arrivals, "seq_cst", 8)


@emits(make_room, types.none)
def _emit_make_room(builder: Any) -> None:
    name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
    call(builder, name, ir.FunctionType(ir.IntType(32), []), [])
