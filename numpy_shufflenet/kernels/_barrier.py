"""How threads wait for each other in compiled code: by looking, again and again.

To wait through the operating system costs more than most pieces of a network take. Looking is over
in a moment if the others are at work; if they are not, because the processor is busy with something
else, a thread makes room for them, or stops looking and sleeps.
"""

import platform
import sys
import time
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import register_jitable

from numpy_shufflenet import _threads
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._emit import call, emits

PATIENCE = 2000  # looks, before others are let go first
LOOKS = 1 << 13  # about 0.2 ms: a training step gives threads something to do every 0.1 ms
MOMENT = 1 << 7  # looks, about 3 us


@register_jitable
def meet(arrivals: Array, count: int) -> None:
    """Arrive, and wait until `count` arrivals are counted in arrivals[0]."""
    arrive(arrivals)
    looks = 0
    while arrived(arrivals) < count:
        looks += 1
        if looks > PATIENCE:
            make_room()


def look(arrivals: Array, count: int) -> None:
    """Wait until `count` arrivals are counted in arrivals[0], but not for long."""
    for _ in range(LOOKS):
        if arrived(arrivals) >= count:
            return
        relax()


look_jit = compiled(look)


def arrive_and_look(own: Array, arrivals: Array, count: int) -> None:
    """Arrive at one place, look at another one, and give whoever arrived there a moment.

    By then it is in compiled code too, and has let go of the interpreter's lock; to wait for that
    would be to sleep.
    """
    arrive(own)
    look_jit(arrivals, count)
    for _ in range(MOMENT):
        relax()


def arrive(arrivals: Array) -> None:
    """Count this thread, and let others see what it has written before."""
    arrivals[0] += 1


def arrived(arrivals: Array) -> Any:
    """Return the count as it is now, and see what those counted have written before."""
    return arrivals[0]


def make_room() -> None:
    """Let another thread have this processor, if one waits for it."""
    time.sleep(0)


def relax() -> None:
    """Tell the processor that this thread is only waiting."""


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


@emits(relax, types.none)
def _emit_relax(builder: Any) -> None:
    if platform.machine() in ("x86_64", "AMD64"):
        call(builder, "llvm.x86.sse2.pause", ir.FunctionType(ir.VoidType(), []), [])


arrive_and_look_jit = compiled(arrive_and_look)
_threads.look_by(look_jit, arrive_and_look_jit)
