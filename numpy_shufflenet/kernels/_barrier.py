"""How the threads of a job synchronise in compiled code: atomic counters, spin-waits, a barrier.

Each job (see `_threads`) has its own array of int64 counters. They hold everything that its threads
share: the next turn, how many workers entered, how many left. The counters end with the job, so a
worker that arrives late can't take part in another job by mistake.

Waiting through the operating system takes longer than most instructions of a network, so threads
spin. If the other thread isn't running, because its core is busy with something else, the waiting
thread first yields its own core, and later sleeps.
"""

import ctypes
import platform
import sys
import threading
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

# Index of each counter. Those that several threads write have a cache line each.
TURN = 0  # the next turn
TURNS = 1  # the number of turns
WANTED = 2  # the number of workers that were asked to join
WAKE = 3  # the address of a counter that idle workers watch, or 0
MISSING = 4  # the number of workers that did not reach `start_together` in time
PATIENCE = 5  # how many spins the caller of `start_together` waits for workers
ENTERED = 8  # the number of workers that entered; plus CLOSED when no other may enter
LEFT = 16  # the number of workers that left again
READY = 24  # the number of workers waiting to run together; plus CLOSED when no other may join
GO = 32  # the number of threads that run together; 0 while it isn't known, -1 if the job ended
ARRIVED = 40  # the number of arrivals at barriers
SIZE = 48

CLOSED = 1 << 40
SPINS = 2000
YIELDING = 5000  # so many times a waiting thread yields its core before it sleeps
NAP = 50  # us
IDLE = 1 << 13  # spins of an idle worker, about 0.2 ms: a training step has a job every 0.1 ms


# Turns


@compiled
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


# The life of a job


@compiled
def enter_job(job: Array) -> Any:
    """Enter as a worker, and return True; return False if the job is closed."""
    return fetch_add(job, ENTERED, 1) < CLOSED


@compiled
def leave_job(job: Array) -> None:
    """Tell the caller that this worker is done."""
    fetch_add(job, LEFT, 1)


@compiled
def stop_job(job: Array) -> None:
    """Hand out no more turns."""
    fetch_add(job, TURN, CLOSED)


@compiled
def close_job(job: Array) -> None:
    """End a job: hand out no more turns, let nobody enter, and wait until all workers have left."""
    stop_job(job)
    entered = fetch_add(job, ENTERED, CLOSED)
    if atomic_load(job, GO) == 0:
        fetch_add(job, GO, -1)
    waited = 0
    while atomic_load(job, LEFT) < entered:
        waited += 1
        pause(waited)


@compiled
def watch_counter(counter: Array, seen: int) -> None:
    """Spin until the counter differs from `seen`, but not for long."""
    for _ in range(IDLE):
        if atomic_load(counter, 0) != seen:
            return
        relax()


# Threads that run at the same time


@register_jitable
def start_together(job: Array, caller: bool) -> Any:
    """Return the number of this thread and how many run together; 0, 0 if it came too late.

    The caller is number 0. It waits job[PATIENCE] spins for the workers that were asked to join,
    and starts with those that came. Then all must stay in compiled code until the last barrier.
    """
    waited = 0
    if caller:
        wake(job[WAKE])
        while atomic_load(job, READY) < job[WANTED] and waited < job[PATIENCE]:
            waited += 1
            relax()
        threads = fetch_add(job, READY, CLOSED) + 1
        job[MISSING] = job[WANTED] + 1 - threads
        fetch_add(job, GO, threads)
        return 0, threads
    number = fetch_add(job, READY, 1) + 1
    if number > CLOSED:
        return 0, 0
    while atomic_load(job, GO) == 0:
        waited += 1
        pause(waited)
    threads = atomic_load(job, GO)
    return (number, threads) if threads > 0 else (0, 0)


@register_jitable
def meet(job: Array, arrivals: int) -> None:
    """Arrive at a barrier, and wait until the number of arrivals is `arrivals`."""
    fetch_add(job, ARRIVED, 1)
    waited = 0
    while atomic_load(job, ARRIVED) < arrivals:
        waited += 1
        pause(waited)


@register_jitable
def pause(waited: int) -> None:
    """Wait for a moment: spin at first; later yield the core, then sleep. `waited` counts calls."""
    if waited < SPINS:
        relax()
    elif waited < SPINS + YIELDING:
        yield_core()
    else:
        nap(NAP)


# Processor instructions and system calls: in Python, and as LLVM instructions

_atomic = threading.Lock()  # makes updates of counters atomic where nothing is compiled


def fetch_add(counters: Array, index: int, amount: int) -> Any:
    """Add to a counter atomically, and return its old value.

    A thread that reads the new value also sees everything that this thread wrote before.
    """
    with _atomic:
        before = counters[index]
        counters[index] = before + amount
    return before


def atomic_load(counters: Array, index: int) -> Any:
    """Return the value of a counter, and see everything that its writers wrote before it."""
    return counters[index]


def wake(address: int) -> None:
    """Add 1 to the counter at this address, which idle workers watch; do nothing if it is 0."""
    if address:
        with _atomic:
            ctypes.c_int64.from_address(int(address)).value += 1


def yield_core() -> None:
    """Let another thread that is ready run on this core."""
    time.sleep(0)


def nap(microseconds: int) -> None:
    """Sleep."""
    time.sleep(microseconds / 1e6)


def relax() -> None:
    """Tell the processor that this thread spins; in Python, let another thread have the GIL."""
    time.sleep(0)


@emits(fetch_add, types.int64, types.Array, types.Integer, types.Integer)
def _emit_fetch_add(builder: Any, counters: Any, index: Any, amount: Any) -> Any:
    return builder.atomic_rmw("add", builder.gep(counters, [index]), amount, "seq_cst")


@emits(atomic_load, types.int64, types.Array, types.Integer)
def _emit_atomic_load(builder: Any, counters: Any, index: Any) -> Any:
    return builder.load_atomic(builder.gep(counters, [index]), "seq_cst", 8)


@emits(wake, types.none, types.Integer)
def _emit_wake(builder: Any, address: Any) -> None:
    with builder.if_then(builder.icmp_signed("!=", address, address.type(0))):
        counter = builder.inttoptr(address, address.type.as_pointer())
        builder.atomic_rmw("add", counter, address.type(1), "seq_cst")


@emits(yield_core, types.none)
def _emit_yield_core(builder: Any) -> None:
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
