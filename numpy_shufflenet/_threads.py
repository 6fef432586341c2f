"""One owner of the cores: a few threads of our own, among which kernels share their work.

Two pools of threads that wait for each other by spinning make a network up to 80 times slower, and
BLAS brings a pool of its own. So within our calls BLAS runs on the thread that calls it, and our
threads alone spread work over cores: `take_turns` deals pieces out to whichever is free, `share`
gives each a piece of its own, once. When there is nothing to do, threads look for some for a fifth
of a millisecond, if each has a core of its own, and then sleep.

How work is cut into pieces never depends on the number of threads in a way that could be seen in a
result: either pieces are independent (channels), or they are cut by shape alone.
"""

import contextlib
import ctypes
import itertools
import math
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

Run = Callable[..., Any]

ENVIRONMENT = "NUMPY_SHUFFLENET_NUM_THREADS"
WORTH_SHARING = 1 << 18  # steps of a loop: with less, waking another thread costs what it saves
WAKE = 1 << 16  # steps that the calling thread does before another one has started

_inside = threading.local()  # .share: this thread works on a share already


class _Helper:
    """A thread that does what it is asked to, one thing after the other."""

    def __init__(self, turns: Any) -> None:
        self.sleepy = True  # whether it sleeps at once if there is nothing to do
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.lock = threading.Lock()
        # [0]: how often; [1]: whether to take turns; a cache line of its own
        self.asked = np.zeros(8, np.int64)
        self.finished = np.full(8, -1)  # [0]: how often; the thread begins by adding 1
        self.turns = turns
        _look(self.asked, 0)  # compile here, where it may fail
        _arrive_and_look(np.zeros(8, np.int64), self.asked, 0, turns)
        self.thread = threading.Thread(target=self._work, name="numpy_shufflenet", daemon=True)
        self.thread.start()

    def ask(self, run: Run, arguments: tuple[Any, ...], done: Any, *, by_turns: bool) -> int:
        """Let it call run(*arguments), and tell `done`; return how often it was asked by now."""
        with self.lock:
            self.queue.put((run, arguments, done))
            self.asked[1] = by_turns
            self.asked[0] += 1
            return int(self.asked[0])

    def look(self, times: int) -> None:
        """Look for a while whether it has finished so often."""
        if not self.sleepy:
            _look(self.finished, times)

    def _work(self) -> None:
        _inside.share = True
        for times in itertools.count(1):
            arrive = _arrive if self.sleepy else _arrive_and_look
            arrive(self.finished, self.asked, times, self.turns)
            run, arguments, done = self.queue.get()
            try:
                run(*arguments)
                done.put(None)
            except BaseException as error:
                done.put(error)
            del run, arguments, done


class _Crew:
    """Helpers, who start when first needed."""

    def __init__(self) -> None:
        self.helpers: list[_Helper] = []
        self.lock = threading.Lock()
        self.turns = np.zeros(8, np.int64)  # of `take_turns`: the next one, and how many there are
        self.place = (-1, 0)  # the core that they leave to their caller, and how many were called

    def gather(self, count: int) -> list[_Helper]:
        """Return so many helpers, none of them on the core of this thread.

        A thread that is woken up would else often wait on the core of the one that wakes it, which
        goes on working there, while another core is free; it can take the system a tenth of a
        second to see that.
        """
        place = _this_core(), count
        with self.lock:
            if place != self.place:
                self.helpers += [_Helper(self.turns) for _ in range(count - len(self.helpers))]
                self._settle(*place)
            return self.helpers[:count]

    def _settle(self, core: int, count: int) -> None:
        """Keep helpers off a core; so many may look for work if there is another core for each."""
        self.place = core, count
        others = os.sched_getaffinity(0) - {core} if core >= 0 else set()
        for helper in self.helpers:
            helper.sleepy = len(others) < count
            assert helper.thread.native_id is not None
            with contextlib.suppress(OSError):  # the system may not allow it
                if others:
                    os.sched_setaffinity(helper.thread.native_id, others)


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


# What threads do until `look_by` gives them something better: arrive, and don't look.


def _arrive(own: Any, arrivals: Any, count: int, turns: Any) -> None:
    own[0] += 1


def _pass_by(arrivals: Any, count: int) -> None:
    pass


_look: Callable[..., Any] = _pass_by
_arrive_and_look: Callable[..., Any] = _arrive


def look_by(look: Callable[..., Any], arrive_and_look: Callable[..., Any]) -> None:
    """From now on threads look for a while before they sleep; see `kernels._barrier`."""
    global _look, _arrive_and_look
    _look, _arrive_and_look = look, arrive_and_look


_this_core = _core_finder()
_crew = _Crew()
_team = threading.Lock()  # held by whose threads wait for each other
_num_threads = _cores()


def set_num_threads(n: Any) -> None:
    """Use n threads from now on, the calling one included."""
    global _num_threads
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n={n!r} is not a whole number of at least 1")
    _num_threads = n


def num_threads() -> int:
    """Return how many threads share the work."""
    return _num_threads


def share(count: int, run: Run, work: int) -> None:
    """Call run(first, last) for pieces of range(count) that cover it, on several threads.

    Parameters
    ----------
    count : int
        Of what can be done one by one: channels, say.
    run : callable
        May be called from several threads at once, each with a piece of its own.
    work : int
        About how many steps of a vectorised loop it takes, a product of matrices doing 8
        multiply-adds in one. Little work is not shared.
    """
    pieces = _threads_for(count, work)
    if pieces == 1:
        run(0, count)
        return
    # All are done at the same time if those that have to wake up first do less.
    theirs = (1 - min(WAKE / work, 1)) / pieces
    ends = [0, *(count - math.ceil(count * theirs * i) for i in reversed(range(pieces)))]
    _spread(run, list(itertools.pairwise(ends)))


def take_turns(count: int, run: Run, work: int) -> None:
    """Call run(turns) on several threads: each takes the next of range(count) until none is left.

    So nobody waits long for the others, whoever starts late. There is one thread only, if the
    others are at work with somebody else.

    Parameters
    ----------
    count, work : int
        As in `share`; what can be done one by one should take a microsecond or more.
    run : callable
        Hands turns, an array, on to `next_turn` of `kernels._barrier`.
    """
    threads = _threads_for(count, work)
    if threads == 1 or not _team.acquire(blocking=False):
        run(np.array([0, count], np.int64))
        return
    try:
        _crew.turns[:2] = 0, count
        _spread(run, [(_crew.turns,)] * threads, by_turns=True)
    finally:
        _team.release()


def _threads_for(count: int, work: int) -> int:
    if work < WORTH_SHARING or getattr(_inside, "share", False):
        return 1
    return max(1, min(_num_threads, count))


def together(run: Run) -> None:
    """Call run(number, threads) on every thread at the same time; they may wait for each other.

    There is one thread only, if the others are at work with somebody else.
    """
    threads = 1 if getattr(_inside, "share", False) else _num_threads
    if threads == 1 or not _team.acquire(blocking=False):
        run(0, 1)
        return
    try:
        _spread(run, [(number, threads) for number in range(threads)])
    finally:
        _team.release()


def _spread(run: Run, arguments: list[tuple[Any, ...]], *, by_turns: bool = False) -> None:
    """Call run with each of the arguments, on a thread of its own; the first one on this thread."""
    done: SimpleQueue[BaseException | None] = SimpleQueue()
    helpers = _crew.gather(len(arguments) - 1)
    tickets = [
        helper.ask(run, task, done, by_turns=by_turns)
        for helper, task in zip(helpers, arguments[1:], strict=True)
    ]
    _inside.share = True
    try:
        run(*arguments[0])
    finally:
        _inside.share = False
        for helper, ticket in zip(helpers, tickets, strict=True):
            helper.look(ticket)
        errors = [done.get() for _ in tickets]
    for error in errors:
        if error is not None:
            raise error


def for_each(count: int, run: Callable[[int], Any]) -> None:
    """Call run(0), ..., run(count - 1), whichever thread is free taking the next."""
    numbers = iter(range(count))  # one step of it is atomic

    def take(first: int, last: int) -> None:
        for i in numbers:
            run(i)

    share(min(count, _num_threads), take, work=WORTH_SHARING)


class _Blas:
    """Holds BLAS at one thread while anybody needs it, and then gives it back its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.libraries: Any = None
        self.before: list[int] = []

    def __enter__(self) -> None:
        with self.lock:
            self.users += 1
            if self.users > 1:
                return
            if self.libraries is None:
                controller = ThreadpoolController().select(user_api="blas")
                self.libraries = controller.lib_controllers
            self.before = [library.num_threads for library in self.libraries]
            for library in self.libraries:
                _set_num_threads(library, 1)

    def __exit__(self, *exception: object) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                for library, n in zip(self.libraries, self.before, strict=True):
                    _set_num_threads(library, n)


def _set_num_threads(library: Any, n: int) -> None:
    """Set the number of threads of OpenBLAS, say, from whichever thread we are called in.

    Newer versions of threadpoolctl let only the thread do so that did it first; `_Blas` sees to it
    that no two are at odds.
    """
    getattr(library, "_real_set_num_threads", library.set_num_threads)(n)


single_threaded_blas = _Blas()
"""`with single_threaded_blas:` around products of matrices; it may be entered again and again."""


def _forget() -> None:
    """A forked process has none of the threads, and may have copied a lock that was held."""
    global _crew, _team, single_threaded_blas
    _crew = _Crew()
    _team = threading.Lock()
    _inside.share = False
    single_threaded_blas.lock = threading.Lock()
    if single_threaded_blas.users:
        single_threaded_blas.users = 1
        single_threaded_blas.__exit__()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
