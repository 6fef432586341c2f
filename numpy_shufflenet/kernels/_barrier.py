"""How threads wait for each other in compiled code: by looking, again and again.

To wait through the operating system costs more than most pieces of a network take. Looking is over
in a moment if the others are at work; if they are not, because the processor is busy with something
else, a thread makes room for them, or stops looking and sleeps.
"""

import platform
import sys
import time
from collections.abc import Iterator
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
MOMENT = 1 << 9  # looks, about 10 us


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


def arrive_and_look(own: Array, arrivals: Array, count: int, turns: Array) -> None:
    """Arrive at one place, look at another one, and give whoever arrived there a moment.

    By then it is in compiled code too, and so has let go of the interpreter's lock; to wait for
    that would be to sleep. If arrivals[1] says so, it has got there when it has taken a turn.
    """
    arrive(own)
    look_jit(arrivals, count)
    for _ in range(MOMENT):
        if arrivals[1] > 0 and arrived(turns) > 0:
            return
        relax()


def next_turn(turns: Array) -> Any:
    """Take the next of range(turns[1]), which no other thread gets; return -1 if none is left."""
    turns[0] += 1
    return turns[0] - 1 if turns[0] <= turns[1] else -1


@register_jitable
def each_turn(turns: Array) -> Iterator[int]:
    """Yield the turns that this thread gets."""
    turn = next_turn(turns)
    while turn >= 0:
        yield turn
        turn = next_turn(turns)


def take(turns: Array) -> Any:
    """Call `next_turn`, compiled."""
    return next_turn(turns)


take_jit = compiled(take)


def each_turn_outside(turns: Array) -> Iterator[int]:
    """Yield the turns that this thread gets, for loops outside of compiled code."""
    while (turn := take_jit(turns)) >= 0:
        yield turn


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


@emits(next_turn, types.int64, types.Array)
def _emit_next_turn(builder: Any, turns: Any) -> Any:
    turn = builder.atomic_rmw("add", turns, ir.IntType(64)(1), "seq_cst")
    count = builder.load(builder.gep(turns, [ir.IntType(64)(1)]))
    return builder.select(builder.icmp_signed("<", turn, count), turn, turn.type(-1))


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
