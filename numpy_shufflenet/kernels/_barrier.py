"""How the threads of a job synchronise in compiled code: atomic counters, spin-waits, a barrier.

A job (see `_threads`) has an array of counters of its own, int64, and all that its threads have to
agree on stands there: the next turn, who entered, who left. Nothing outlives the job, so a thread
that comes too late to one job can never take part in another.

To wait through the operating system costs more than most pieces of a network take. A spin-wait is
over in a moment if the other thread is running. If it isn't, because its core is busy with
something else, the waiting thread yields its own core, and after a while it sleeps.
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

# Where in a job's array a counter is. Those that several threads write have a cache line each.
TURN = 0  # the next turn
TURNS = 1  # how many turns there are
WANTED = 2  # how many workers were asked
WAKE = 3  # the address of a counter that idle workers watch, or 0
MISSING = 4  # how many workers didn't come to `start_together` in time
ENTERED = 8  # how many workers entered; CLOSED is added when no other may
LEFT = 16  # how many of them left
READY = 24  # how many workers wait to run together; CLOSED is added when no other may
GO = 32  # how many threads run together; 0 before that is known, -1 if they never will
ARRIVED = 40  # arrivals at barriers
SIZE = 48

CLOSED = 1 << 40
IN_TIME = 1000  # spins, about 25 us
SPINS = 2000
YIELDING = 5000  # times; then a waiting thread sleeps
NAP = 50  # us
IDLE = 1 << 13  # spins of an idle worker, about 0.2 ms: a training step has a job every 0.1 ms


# Turns


@register_jitable
def next_turn(job: Array) -> Any:
    """Take the next of range(job[TURNS]), which no other thread gets; return -1 if none is left."""
    turn = fetch_add(job, TURN, 1)
    if turn == 0:
        wake(job[WAKE])
    return turn if turn < job[TURNS] else -1


@register_jitable
def each_turn(job: Array) -> Iterator[int]:
    """Yield the turns that this thread gets."""
    turn = next_turn(job)
    while turn >= 0:
        yield turn
        turn = next_turn(job)


def take(job: Array) -> Any:
    """Call `next_turn`, compiled."""
    return next_turn(job)


take_jit = compiled(take)


def each_turn_outside(job: Array) -> Iterator[int]:
    """Yield the turns that this thread gets, for loops outside of compiled code."""
    while (turn := take_jit(job)) >= 0:
        yield turn


# The life of a job


def enter(job: Array) -> Any:
    """Let this worker take part, and return True; False if the job is closed already."""
    return fetch_add(job, ENTERED, 1) < CLOSED


def leave(job: Array) -> None:
    """Tell the caller that this worker is done."""
    fetch_add(job, LEFT, 1)


@register_jitable
def stop(job: Array) -> None:
    """Leave no turns."""
    fetch_add(job, TURN, CLOSED)


def close(job: Array) -> None:
    """End a job: no turn is left, nobody enters, and all who entered have left."""
    stop(job)
    entered = fetch_add(job, ENTERED, CLOSED)
    if load(job, GO) == 0:
        fetch_add(job, GO, -1)
    waited = 0
    while load(job, LEFT) < entered:
        waited += 1
        pause(waited)


def watch(counter: Array, seen: int) -> None:
    """Wait until the counter isn't what it was, but not for long."""
    for _ in range(IDLE):
        if load(counter, 0) != seen:
            return
        relax()


# Threads that run at the same time


@register_jitable
def start_together(job: Array, caller: bool) -> Any:
    """Return the number of this thread and how many run together; 0, 0 if it isn't needed.

    The caller is number 0. It waits a moment for the workers that were asked, and starts with those
    that are there. From here on all must stay in compiled code until the last barrier.
    """
    waited = 0
    if caller:
        wake(job[WAKE])
        while load(job, READY) < job[WANTED] and waited < IN_TIME:
            waited += 1
            relax()
        threads = fetch_add(job, READY, CLOSED) + 1
        job[MISSING] = job[WANTED] + 1 - threads
        fetch_add(job, GO, threads)
        return 0, threads
    number = fetch_add(job, READY, 1) + 1
    if number > CLOSED:
        return 0, 0
    while load(job, GO) == 0:
        waited += 1
        pause(waited)
    threads = load(job, GO)
    return (number, threads) if threads > 0 else (0, 0)


@register_jitable
def meet(job: Array, arrivals: int) -> None:
    """Arrive, and wait until there are so many arrivals."""
    fetch_add(job, ARRIVED, 1)
    waited = 0
    while load(job, ARRIVED) < arrivals:
        waited += 1
        pause(waited)


@register_jitable
def pause(waited: int) -> None:
    """Wait for the waited-th time in a row: spin, then yield this core, then sleep."""
    if waited < SPINS:
        relax()
    elif waited < SPINS + YIELDING:
        make_room()
    else:
        nap(NAP)


enter_jit = compiled(enter)
stop_jit = compiled(stop)
leave_jit = compiled(leave)
close_jit = compiled(close)
watch_jit = compiled(watch)


# What is written in instructions of the compiler; beside it what it does, in Python


def fetch_add(counters: Array, place: int, amount: int) -> Any:
    """Add to a counter atomically; return what it was. Memory written before is visible after."""
    before = counters[place]
    counters[place] = before + amount
    return before


def load(counters: Array, place: int) -> Any:
    """Return a counter as it is now, and see what its writers have written before."""
    return counters[place]


def wake(address: int) -> None:
    """Add 1 to the counter that idle workers watch, if there is one."""


def make_room() -> None:
    """Let another thread have this core, if one waits for it."""
    time.sleep(0)


def nap(microseconds: int) -> None:
    """Sleep."""
    time.sleep(microseconds / 1e6)


def relax() -> None:
    """Tell the processor that this thread is in a spin-wait."""


@emits(fetch_add, types.int64, types.Array, types.Integer, types.Integer)
def _emit_fetch_add(builder: Any, counters: Any, place: Any, amount: Any) -> Any:
    return builder.atomic_rmw("add", builder.gep(counters, [place]), amount, "seq_cst")


@emits(load, types.int64, types.Array, types.Integer)
def _emit_load(builder: Any, counters: Any, place: Any) -> Any:
    return builder.load_atomic(builder.gep(counters, [place]), "seq_cst", 8)


@emits(wake, types.none, types.Integer)
def _emit_wake(builder: Any, address: Any) -> None:
    with builder.if_then(builder.icmp_signed("!=", address, address.type(0))):
        counter = builder.inttoptr(address, address.type.as_pointer())
        builder.atomic_rmw("add", counter, address.type(1), "seq_cst")


@emits(make_room, types.none)
def _emit_make_room(builder: Any) -> None:
    name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
    call(builder, name, ir.FunctionType(ir.IntType(32), []), [])


@emits(nap, types.none, types.Integer)
def _emit_nap(builder: Any, microseconds: Any) -> None:
    time_type = ir.IntType(32)
    kind = ir.FunctionType(time_type, [time_type])
    if sys.platform == "win32":
        call(builder, "Sleep", kind, [time_type(1)])  # milliseconds
    else:
        call(builder, "usleep", kind, [builder.trunc(microseconds, time_type)])


@emits(relax, types.none)
def _emit_relax(builder: Any) -> None:
    if platform.machine() in ("x86_64", "AMD64"):
        call(builder, "llvm.x86.sse2.pause", ir.FunctionType(ir.VoidType(), []), [])


_threads.synchronise_by(sys.modules[__name__])
