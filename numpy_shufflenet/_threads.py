"""One owner of the cores: a few worker threads of our own, among which kernels share their work.

Two pools of threads that spin while they wait make a network up to 80 times slower, and BLAS brings
a pool of its own. So within our calls BLAS runs on the thread that calls it, and our workers alone
spread work over cores.

A job is one call of `take_turns`, `share`, `for_each` or `together`. It owns its turns, its
arguments and its end: counters of its own say what is left to do and who takes part (see
`kernels._barrier`). Its caller does all that nobody else does, so a worker that arrives late is
simply left out, and whatever ends the call (an error, Ctrl-C at any moment) first closes the job:
when the call is over, no worker is in it, and none can enter any more.

How work is cut into pieces never depends on the number of threads in a way that could be seen in a
result: either pieces are independent (channels), or they are cut by shape alone.
"""

import contextlib
import ctypes
import operator
import os
import threading
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from numpy_shufflenet._typing import Array

Run = Callable[..., Any]

ENVIRONMENT = "NUMPY_SHUFFLENET_NUM_THREADS"
WORTH_SHARING = 1 << 18  # steps of a loop: with less, waking another thread costs what it saves
PIECES = 4  # for each thread, of what is cut into equal parts

_sync: Any = None  # `kernels._barrier`, where there are kernels; without it there is one thread


def synchronise_by(module: Any) -> None:
    """From now on jobs have several threads, which use the counters of this module."""
    global _sync
    _sync = module


class _Inside(threading.local):
    """What a thread knows of itself."""

    job = False  # it works on a job already, so whatever it calls runs on it alone


_inside = _Inside()


class _Job:
    """One call: what to run, and the counters of those who do."""

    def __init__(self, run: Run, *, turns: int = 0, together: bool = False):
        self.run = run
        self.together = together  # each thread runs once and is told whether it is the caller's
        self.state = counters(turns)
        self.errors: list[BaseException] = []  # of workers

    def work(self, *, caller: bool) -> None:
        """Do what this thread can."""
        if self.together:
            self.run(self.state, caller)
        else:
            self.run(self.state)


def counters(turns: int = 0) -> Array:
    """Return the counters of a job for one thread, which says how many turns there are."""
    job = np.zeros(8 if _sync is None else _sync.SIZE, np.int64)
    job[1] = turns
    return job


class _Worker:
    """A thread that takes part in the jobs that it is asked to, one after the other."""

    def __init__(self, wake: Array) -> None:
        self.sleepy = True  # whether it sleeps at once if there is nothing to do
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.wake = wake
        self.thread = threading.Thread(target=self._work, name="numpy_shufflenet", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        _inside.job = True
        while True:
            seen = int(self.wake[0])
            if not self.sleepy and self.jobs.empty():
                # A caller counts when it has entered compiled code and so released the GIL.
                _sync.watch(self.wake, seen)
            job = self.jobs.get()
            if _sync.enter(job.state):
                try:
                    job.work(caller=False)
                except BaseException as error:
                    job.errors.append(error)
                    _sync.stop(job.state)
                finally:
                    _sync.leave(job.state)
            del job


class _Pool:
    """Workers, who start when first needed."""

    def __init__(self) -> None:
        self.workers: list[_Worker] = []
        self.lock = threading.Lock()
        self.wake = np.zeros(8, np.int64)  # [0] counts jobs; in a cache line of its own
        self.place = (-1, 0)  # the core that workers leave to their caller, and how many were asked
        self.pace = _Pace()

    def gather(self, count: int) -> list[_Worker]:
        """Return so many workers, none of them on the core of this thread.

        A thread that is woken up would else often wait on the core of the one that wakes it, which
        goes on working there, while another core is free; it can take the system a tenth of a
        millisecond to see that.
        """
        place = _this_core(), count
        with self.lock:
            if place != self.place:
                if not self.workers:
                    _compile()
                while len(self.workers) < count:
                    self.workers.append(_Worker(self.wake))
                self._settle(*place)
                self.place = place
            return self.workers[:count]

    def _settle(self, core: int, count: int) -> None:
        """Keep workers off a core; so many may spin for work if there is another core for each."""
        others = os.sched_getaffinity(0) - {core} if core >= 0 else set()
        for worker in self.workers:
            worker.sleepy = len(others) < count
            assert worker.thread.native_id is not None
            with contextlib.suppress(OSError):  # the system may not allow it
                if others:
                    os.sched_setaffinity(worker.thread.native_id, others)

    def spread(self, job: _Job, count: int) -> None:
        """Run a job on this thread and, as far as they arrive in time, on so many workers."""
        workers = self.gather(count)
        job.state[_sync.WANTED], job.state[_sync.WAKE] = count, self.wake.ctypes.data
        start, cpu = time.perf_counter(), time.thread_time()
        end = start
        _inside.job = True
        try:
            for worker in workers:
                worker.jobs.put(job)
            job.work(caller=True)
            end, cpu = time.perf_counter(), time.thread_time() - cpu
        finally:
            # Between the end of the work and that of `close`, one call of compiled code, there
            # is nothing at which Python would raise KeyboardInterrupt.
            _inside.job = False
            _sync.close(job.state)
        del job.run  # and what it holds: a worker may look at this job again, to find it closed
        self.pace.note(
            end - start,
            stopped=end - start - cpu,
            waited=time.perf_counter() - end,
            missing=job.state[_sync.MISSING],
        )
        for error in job.errors:
            raise error


class _Pace:
    """Lets one thread work alone for a while if workers are in its way.

    Where something else keeps a core busy, a worker there is stopped for milliseconds at a time,
    maybe within a turn or while it holds the GIL, and its caller has to wait for it. Then one
    thread alone is faster.
    """

    LATE = 3e-4  # seconds for which a caller is stopped, or waits with nothing else to do
    MISSED = 3  # times in a row that a worker didn't come to run together; the first wakes it up
    SHORTEST, LONGEST = 2e-3, 0.3  # seconds alone
    SOON = 0.05  # seconds: who is disturbed again after less will be alone for longer

    def __init__(self) -> None:
        self.until = 0.0  # when threads may work together again
        self.pause = self.SHORTEST
        self.missed = 0

    def alone(self) -> bool:
        """Whether the caller should work alone now."""
        return time.perf_counter() < self.until

    def note(self, worked: float, *, stopped: float, waited: float, missing: int) -> None:
        """Note how a job went for its caller.

        Of the seconds that it worked, it was stopped for some: it needed the GIL, or another thread
        had its core. After that it waited for workers. Some may not have come to run together.
        """
        self.missed = self.missed + 1 if missing else 0
        late = stopped > self.LATE or waited > max(self.LATE, worked)
        if late or self.missed == self.MISSED:
            self.missed = 0
            now = time.perf_counter()
            again = now - self.until < self.SOON
            self.pause = min(2 * self.pause, self.LONGEST) if again else self.SHORTEST
            self.until = now + self.pause


def _compile() -> None:
    """Compile what `spread` and workers call: within it, an interrupt could come between."""
    for name in ("enter", "stop", "leave", "close", "next_turn"):
        getattr(_sync, name)(counters())
    _sync.watch(counters(), 1)


def _cores() -> int:
    """How many cores this process may use, or what the environment says."""
    said = os.environ.get(ENVIRONMENT)
    if said is None:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    if not said.isdigit() or int(said) < 1:
        raise ValueError(f"{ENVIRONMENT}={said!r} is not a whole number of at least 1")
    return int(said)


def _core_finder() -> Callable[[], int]:
    """Return a function that returns the number of the core that runs it, or -1."""
    if not hasattr(os, "sched_setaffinity"):
        return lambda: -1
    try:
        find = ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError):
        return lambda: -1
    find.argtypes, find.restype = (), ctypes.c_int
    result: Callable[[], int] = find
    return result


_this_core = _core_finder()
_pool = _Pool()
_num_threads = _cores()


def set_num_threads(n: Any) -> None:
    """Use n threads from now on, the calling one included."""
    global _num_threads
    try:
        number = 0 if isinstance(n, bool) else operator.index(n)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"n={n!r} is not a whole number of at least 1")
    _num_threads = number


def num_threads() -> int:
    """Return how many threads share the work."""
    return _num_threads


def take_turns(count: int, run: Run, work: int) -> None:
    """Call run(job) on several threads: each takes the next of range(count) until none is left.

    Parameters
    ----------
    count : int
        Of what can be done one by one, and takes a microsecond or more: channels, say.
    run : callable
        Hands job, an array of counters, on to `next_turn` of `kernels._barrier`.
    work : int
        About how many steps of a vectorised loop it takes, a product of matrices doing 8
        multiply-adds in one. Little work is not shared.
    """
    threads = _threads_for(count, work)
    if threads == 1:
        run(counters(count))
    else:
        _pool.spread(_Job(run, turns=count), threads - 1)


def share(count: int, run: Run, work: int) -> None:
    """Call run(first, last) for pieces of range(count) that cover it, on several threads.

    `count` and `work` are as in `take_turns`.
    """
    threads = _threads_for(count, work)
    if threads == 1:
        run(0, count)
        return
    pieces = min(count, PIECES * threads)

    def run_pieces(job: Array) -> None:
        for piece in _sync.each_turn(job):
            run(count * piece // pieces, count * (piece + 1) // pieces)

    _pool.spread(_Job(run_pieces, turns=pieces), threads - 1)


def for_each(count: int, run: Callable[[int], Any]) -> None:
    """Call run(0), ..., run(count - 1), whichever thread is free taking the next."""
    threads = _threads_for(count, WORTH_SHARING)
    if threads == 1:
        for i in range(count):
            run(i)
        return

    def run_turns(job: Array) -> None:
        for turn in _sync.each_turn(job):
            run(turn)

    _pool.spread(_Job(run_turns, turns=count), threads - 1)


def together(run: Run, *, turns: int = 0, work: int = WORTH_SHARING) -> None:
    """Call run(job, caller) on every thread at the same time; caller is True on this one.

    Its compiled code begins with `start_together` of `kernels._barrier`, which says how many
    threads there are; these may `meet`, and take turns. No thread begins if this one is interrupted
    before that.
    """
    threads = _threads_for(_num_threads, work)
    if threads == 1:
        run(counters(turns), True)
    else:
        _pool.spread(_Job(run, turns=turns, together=True), threads - 1)


def _threads_for(count: int, work: int) -> int:
    if work < WORTH_SHARING or _inside.job or _sync is None or _pool.pace.alone():
        return 1
    return max(1, min(_num_threads, count))


class _Blas:
    """Holds BLAS at one thread while anybody needs it, and then gives it back its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # Weak: a block that an interrupt has ended before its `__exit__` is forgotten, too.
        self.users: weakref.WeakSet[single_threaded_blas] = weakref.WeakSet()
        self.libraries: Any = None
        self.before: list[int] | None = None  # threads of each library, while it has one

    def hold(self, user: "single_threaded_blas") -> None:
        with self.lock:
            self.users.add(user)
            if self.before is None:
                if self.libraries is None:
                    controller = ThreadpoolController().select(user_api="blas")
                    self.libraries = controller.lib_controllers
                self.before = [library.num_threads for library in self.libraries]
                for library in self.libraries:
                    _set_num_threads(library, 1)

    def release(self, user: "single_threaded_blas | None" = None) -> None:
        with self.lock:
            if user is not None:
                self.users.discard(user)
            if self.before is not None and not self.users:
                for library, n in zip(self.libraries, self.before, strict=True):
                    _set_num_threads(library, n)
                self.before = None


def _set_num_threads(library: Any, n: int) -> None:
    """Set the number of threads of OpenBLAS, say, from whichever thread we are called in.

    Newer versions of threadpoolctl let only the thread do so that did it first; `_Blas` sees to it
    that no two are at odds.
    """
    getattr(library, "_real_set_num_threads", library.set_num_threads)(n)


class single_threaded_blas:  # noqa: N801 - it reads as a verb
    """`with single_threaded_blas():` around products of matrices; blocks may be nested."""

    def __enter__(self) -> None:
        _blas.hold(self)

    def __exit__(self, *exception: object) -> None:
        _blas.release(self)


_blas = _Blas()


def _forget() -> None:
    """A forked process has none of the threads, and may have copied a lock that was held."""
    global _pool
    _pool = _Pool()
    _inside.job = False
    _blas.lock = threading.Lock()
    _blas.users.clear()
    _blas.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
