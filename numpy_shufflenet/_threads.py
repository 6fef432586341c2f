"""The thread pool: worker threads that share the work of kernels.

BLAS has a separate thread pool. If the threads of two pools spin while they wait, a network becomes
up to 80 times slower. So within our calls BLAS runs on the calling thread alone, and only our
workers use the other cores.

A job is one call of `take_turns`, `share_range`, `share_each` or `run_together`. It has its own
counters, which say what is left to do and which workers take part (see `kernels._barrier`). The
caller does all work that no worker takes, and waits only a moment for workers to arrive. When the
call ends, even by an error or Ctrl-C, it closes the job: then no worker runs the job, and no
worker can enter it.

No result depends on the number of threads: pieces of work are either independent (channels), or
divided by a rule that depends on the shapes of the arrays only. A turn is one such piece.
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

from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import Array

ThreadpoolController = need("threadpoolctl", "numpy_shufflenet").ThreadpoolController

Run = Callable[..., Any]

ENVIRONMENT = "NUMPY_SHUFFLENET_NUM_THREADS"
WORTH_SHARING = 1 << 18  # steps of a loop; with less work, waking a thread costs what it saves
PIECES = 4  # equal pieces of work for each thread, in `share_range`
SPIN = 25e-9  # seconds that one spin takes, roughly
# A worker that spins arrives within 25 us. One that sleeps takes 0.1 ms or more; a caller whose job
# takes long waits for it, but at most for this share of the job, and at most for 1 ms.
PATIENCE, WAITING_SHARE, LONGEST_WAIT = 25e-6, 0.03, 1e-3

_sync: Any = None  # `kernels._barrier`; before kernels are imported, one thread does all work


def synchronise_by(module: Any) -> None:
    """Let jobs run on several threads, which synchronise by the functions of this module."""
    global _sync
    _sync = module


class _Inside(threading.local):
    """What a thread remembers about itself."""

    job = False  # whether this thread works on a job; then its new jobs use only this thread


_inside = _Inside()


class _Job:
    """One call: the function to run, and the counters of the threads that run it."""

    def __init__(self, run: Run, *, turns: int = 0, together: bool = False, expected: float = 0.0):
        self.run = run
        self.together = together  # whether every thread calls run(state, caller) once
        self.state = counters(turns)
        self.errors: list[BaseException] = []  # of workers
        # Seconds in which a thread did not run during its part of the job: of the caller, and of
        # workers that the caller has to wait for.
        self.stopped: list[float] = []
        self.patience = max(PATIENCE, min(WAITING_SHARE * expected, LONGEST_WAIT))

    def work(self, *, caller: bool) -> float:
        """Do this thread's part of the work; return how many seconds it took."""
        start, cpu = time.perf_counter(), time.thread_time()
        if self.together:
            self.run(self.state, caller)
        else:
            self.run(self.state)
        seconds = time.perf_counter() - start
        if caller or self.together:
            self.stopped.append(seconds - (time.thread_time() - cpu))
        return seconds


def counters(turns: int = 0) -> Array:
    """Return the counters of a job with `turns` turns that one thread runs."""
    job = np.zeros(8 if _sync is None else _sync.SIZE, np.int64)
    job[1] = turns
    return job


class _Worker:
    """A thread that takes part in jobs, one after the other, when callers ask it to."""

    def __init__(self, wake: Array) -> None:
        self.sleepy = True  # whether the thread sleeps without spinning first if there is no job
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.wake = wake
        self.thread = threading.Thread(target=self._work, name="numpy_shufflenet", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        _inside.job = True
        while True:
            seen = int(self.wake[0])
            if not self.sleepy and self.jobs.empty():
                # The caller adds to the counter once it is in compiled code and has released the
                # GIL, so a short spin is enough. Waiting for the GIL would mean sleep.
                _sync.watch_counter(self.wake, seen)
            job = self.jobs.get()
            if _sync.enter_job(job.state):
                try:
                    job.work(caller=False)
                except BaseException as error:
                    job.errors.append(error)
                    _sync.stop_job(job.state)
                finally:
                    _sync.leave_job(job.state)
            del job


class _Pool:
    """The worker threads, which start when they are first needed."""

    def __init__(self) -> None:
        self.workers: list[_Worker] = []
        self.lock = threading.Lock()
        self.wake = np.zeros(8, np.int64)  # wake[0] counts jobs; it fills a whole cache line
        self.place = (-1, 0)  # the core that workers leave to the caller, and the number of workers
        self.pace = _Pace()

    def gather(self, count: int) -> list[_Worker]:
        """Return `count` workers, none of them on the core of this thread.

        Otherwise the system often queues a worker on the core of the caller that wakes it. The
        caller goes on working there, and it can take the system 0.1 ms to move the worker to a free
        core.
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
        """Keep workers off a core; let them spin for work if each can have another core."""
        others = os.sched_getaffinity(0) - {core} if core >= 0 else set()
        for worker in self.workers:
            worker.sleepy = len(others) < count
            assert worker.thread.native_id is not None
            with contextlib.suppress(OSError):  # the system may not allow it
                if others:
                    os.sched_setaffinity(worker.thread.native_id, others)

    def spread(self, job: _Job, count: int) -> float:
        """Run a job on this thread, and on `count` workers if they arrive in time.

        Return the seconds that this thread worked.
        """
        workers = self.gather(count)
        job.state[_sync.WANTED], job.state[_sync.WAKE] = count, self.wake.ctypes.data
        job.state[_sync.PATIENCE] = job.patience / SPIN
        seconds, end = 0.0, time.perf_counter()
        _inside.job = True
        try:
            for worker in workers:
                worker.jobs.put(job)
            seconds = job.work(caller=True)
            end = time.perf_counter()
        finally:
            # `close_job` is one call of compiled code. Python can raise KeyboardInterrupt before
            # `finally`, but not between here and the end of this call.
            _inside.job = False
            _sync.close_job(job.state)
        del job.run  # a late worker may hold this closed job; free the arrays that `run` refers to
        self.pace.note(
            seconds,
            stopped=max(job.stopped),
            waited=time.perf_counter() - end,
            missing=job.state[_sync.MISSING],
        )
        for error in job.errors:
            raise error
        return seconds


class _Pace:
    """Lets the caller work alone for a while when workers slow it down.

    If another process keeps a core busy, the system stops a worker there for milliseconds at a
    time, perhaps within a turn or while it holds the GIL, and the caller has to wait. Then one
    thread alone is faster.
    """

    LATE = 3e-4  # seconds that a thread is stopped, or that the caller waits for workers
    STOPPED = 0.25  # of the job; in a long job, every thread is stopped now and then
    MISSED = 3  # jobs in a row that a worker missed; it may have slept during the first one
    # Seconds that the caller works alone: at least 2 ms or as long as the slow job took; each time
    # twice as long, if workers slow the caller again within 50 ms or in the next job.
    SHORTEST, LONGEST, SOON = 2e-3, 0.3, 0.05

    def __init__(self) -> None:
        self.until = 0.0  # when the pause ends
        self.pause = self.SHORTEST
        self.missed = 0

    def alone(self) -> bool:
        """Whether the caller should work alone now."""
        return time.perf_counter() < self.until

    def note(self, worked: float, *, stopped: float, waited: float, missing: int) -> None:
        """Note how a job went for its caller.

        Parameters
        ----------
        worked : float
            Seconds that the caller worked.
        stopped : float
            Seconds that a thread did not run in its part of the job, because it needed the GIL or
            its core was busy; the largest number of any thread.
        waited : float
            Seconds that the caller waited for workers after its own work.
        missing : int
            Number of workers that did not arrive in time.
        """
        self.missed = self.missed + 1 if missing else 0
        late = stopped > max(self.LATE, self.STOPPED * worked) or waited > max(self.LATE, worked)
        if late or self.missed == self.MISSED:
            self.missed = 0
            now = time.perf_counter()
            again = now - self.until < max(self.SOON, 2 * worked)
            longest = max(self.LONGEST, 8 * worked)
            shortest = max(self.SHORTEST, worked)
            self.pause = min(2 * self.pause, longest) if again else shortest
            self.until = now + self.pause


def _compile() -> None:
    """Compile now what `spread` and workers call; later, an interrupt could stop the compiler."""
    for name in ("enter_job", "stop_job", "leave_job", "close_job", "next_turn"):
        getattr(_sync, name)(counters())
    _sync.watch_counter(counters(), 1)


def _cores() -> int:
    """Return how many cores this process may use, or the number in the environment."""
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
    """Use n threads from now on, the calling one included; the default is one for each core.

    No result depends on it. The environment variable NUMPY_SHUFFLENET_NUM_THREADS does the same.

    Raises
    ------
    ValueError
        If n is not a whole number of at least 1.
    """
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
    """Call run(job) on several threads; each takes the next of range(count) until none is left.

    Parameters
    ----------
    count : int
        Number of turns, such as channels. Each should take a microsecond or more.
    run : callable
        It passes job, an array of counters, to `next_turn` of `kernels._barrier`.
    work : int
        About how many steps of a vectorised loop all turns take together; one step of a matrix
        product does 8 multiply-adds. If `work` is small, the caller does all of it.
    """
    threads = _threads_for(count, work)
    if threads == 1:
        run(counters(count))
    else:
        _pool.spread(_Job(run, turns=count), threads - 1)


def share_range(count: int, run: Run, work: int) -> None:
    """Call run(first, last) on several threads, for pieces that together cover range(count).

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


def share_each(count: int, run: Callable[[int], Any]) -> None:
    """Call run(0), ..., run(count - 1); the next thread that is free takes the next call."""
    threads = _threads_for(count, WORTH_SHARING)
    if threads == 1:
        for i in range(count):
            run(i)
        return

    def run_turns(job: Array) -> None:
        for turn in _sync.each_turn(job):
            run(turn)

    _pool.spread(_Job(run_turns, turns=count), threads - 1)


def run_together(
    run: Run, *, turns: int = 0, work: int = WORTH_SHARING, expected: float = 0.0
) -> float:
    """Call run(job, caller) on every thread at the same time; caller is True on this thread.

    The compiled code of `run` begins with `start_together` of `kernels._barrier`, which returns how
    many threads run. After that the threads may `meet` at barriers and take turns. If this thread
    is interrupted before `start_together`, no thread starts.

    Return how many seconds it took. `expected` is this number of an earlier call: if it is large,
    the caller waits longer for workers that sleep.
    """
    threads = _threads_for(_num_threads, work)
    job = _Job(run, turns=turns, together=True, expected=expected)
    return job.work(caller=True) if threads == 1 else _pool.spread(job, threads - 1)


def _threads_for(count: int, work: int) -> int:
    if work < WORTH_SHARING or _inside.job or _sync is None or _pool.pace.alone():
        return 1
    return max(1, min(_num_threads, count))


class _Blas:
    """Holds BLAS at one thread while there are users, and then restores its number of threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # Weak, because an interrupt may end a block before its `__exit__`.
        self.users: weakref.WeakSet[single_threaded_blas] = weakref.WeakSet()
        self.libraries: Any = None
        self.before: list[int] | None = None  # each library's threads before the hold

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
    """Set the number of threads of a BLAS library, from any thread.

    Newer versions of threadpoolctl allow only the first thread that set the number to change it, so
    that two threads don't conflict. Here the lock of `_Blas` prevents such conflicts.
    """
    getattr(library, "_real_set_num_threads", library.set_num_threads)(n)


class single_threaded_blas:  # noqa: N801 - it reads as a verb
    """`with single_threaded_blas():` around matrix products; blocks may be nested."""

    def __enter__(self) -> None:
        _blas.hold(self)

    def __exit__(self, *exception: object) -> None:
        _blas.release(self)


_blas = _Blas()


def _forget() -> None:
    """Reset the state in a forked process: it has no workers, and inherited locks may be held."""
    global _pool
    _pool = _Pool()
    _inside.job = False
    _blas.lock = threading.Lock()
    _blas.users.clear()
    _blas.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
