"""Runs what a student wrote so that nothing it does can hurt: not the notebook, not the machine.

Where processes can fork, everything runs in a child that has a time limit and a memory limit, and
sends back what it found. Only the time counts in which the child computes, so that nobody is blamed
for a busy machine; one that sleeps or waits is ended, too, after `PATIENCE` times as long.
Elsewhere (Windows) it runs here, and another thread interrupts it when its time is over: that ends
endless loops of Python, though not of C.
"""

import contextlib
import ctypes
import faulthandler
import io
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

MOST_PRINTED = 2000  # characters of what a function prints
BEFORE = 10  # seconds more until the first note: to draw a case isn't the student's time
PATIENCE = 10  # seconds by the clock on the wall, for each that a child may compute


@dataclass
class Finished:
    """What came of a run.

    Attributes
    ----------
    end : str
        "done", "time", "wait" (it hardly computed, and yet did not end), "memory", or "crash".
    value : object
        What was returned, if done.
    note : object
        The last thing that was noted before the end.
    printed : str
        What was printed, its end if it was long.
    """

    end: str
    value: Any = None
    note: Any = None
    printed: str = ""


Note = Callable[[Any], None]
_without = False


def run(task: Callable[[Note], Any], *, seconds: float, megabytes: int) -> Finished:
    """Run a task to its end, or to the end of its time or memory.

    Parameters
    ----------
    task : callable
        Takes a function by which it can leave a note of what it is doing; notes and the value
        that it returns must be picklable.
    seconds : float
        That it may compute after its first note, or take where no processor's clock can be read.
    megabytes : int
        That it may take on top of what is in use.
    """
    if _without:
        return Finished("done", task(lambda note: None))
    if hasattr(os, "fork") and sys.platform != "emscripten":
        return _in_a_child(task, seconds, megabytes)
    return _here(task, seconds)


def limit_computing(seconds: float) -> None:
    """End this process by SIGPROF, where there is such a thing, after seconds of computing.

    0 lifts the limit.
    """
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
        signal.setitimer(signal.ITIMER_PROF, seconds)


@contextlib.contextmanager
def without() -> Iterator[None]:
    """Run tasks as they are in this block, where what a student wrote runs elsewhere anyway."""
    global _without
    before, _without = _without, True
    try:
        yield
    finally:
        _without = before


def _in_a_child(task: Callable[[Note], Any], seconds: float, megabytes: int) -> Finished:
    reader, writer = os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads in this process: the child uses none of them
        pid = os.fork()
    if pid == 0:
        os.close(reader)
        _be_the_child(task, writer, seconds, megabytes)
    os.close(writer)
    finished = Finished("crash")
    try:
        _listen(reader, finished, time.monotonic() + PATIENCE * seconds)
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    if finished.end == "crash" and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
        finished.end = "time"
    if finished.end == "broken":
        raise RuntimeError(f"the sandbox itself failed:\n{finished.value}")
    return finished


def _be_the_child(
    task: Callable[[Note], Any], writer: int, seconds: float, megabytes: int
) -> NoReturn:
    """Run the task, write what comes of it, and end without any clean-up of the parent's things."""
    try:
        faulthandler.disable()  # where Python itself ends here, the parent says so
        printed = io.StringIO()

        def send(kind: str, value: Any) -> None:
            data = pickle.dumps((kind, value))
            os.write(writer, len(data).to_bytes(8, "little"))
            view = memoryview(data)
            while view:
                view = view[os.write(writer, view) :]

        noted = False

        def note(value: Any) -> None:
            nonlocal noted
            if not noted:
                limit_computing(seconds)
            noted = True
            send("note", value)

        _limit_memory(megabytes)
        limit_computing(seconds + BEFORE)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                value = task(note)
                kind = "done"
            except MemoryError:
                kind, value = "memory", None
            except BaseException:
                kind, value = "broken", traceback.format_exc()
        limit_computing(0)
        send("printed", printed.getvalue()[-MOST_PRINTED:])
        send(kind, value)
    finally:
        os._exit(0)


def _limit_memory(megabytes: int) -> None:
    """Set the limit on top of what this process has; where that can't be set, there is none."""
    try:
        import resource

        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    except (ImportError, OSError, ValueError):
        pass


def _listen(reader: int, finished: Finished, end: float) -> None:
    """Read messages until the last one, the end of the time, or the death of the child."""
    buffer = b""
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            finished.end = "wait"
            return
        data = os.read(reader, 1 << 16)
        if not data:
            return
        buffer += data
        while len(buffer) >= 8 and len(buffer) >= 8 + int.from_bytes(buffer[:8], "little"):
            size = int.from_bytes(buffer[:8], "little")
            kind, value = pickle.loads(buffer[8 : 8 + size])
            buffer = buffer[8 + size :]
            if kind in ("note", "printed"):
                setattr(finished, kind, value)
            else:
                finished.end, finished.value = kind, value
                return


class _TimeIsOver(BaseException):
    """Raised from outside; not an Exception, so that a bare `except Exception` lets it pass."""


def _here(task: Callable[[Note], Any], seconds: float) -> Finished:
    """Run the task in this very thread, and another one that interrupts it.

    Only what is written in Python can be interrupted. It is tried again and again: an exception
    that comes while an object is being cleaned up is lost.
    """
    finished = Finished("done")
    over = threading.Event()
    me = ctypes.c_ulong(threading.get_ident())
    interrupt = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def watch() -> None:
        if over.wait(seconds):
            return
        while not over.wait(0.02):
            interrupt(me, ctypes.py_object(_TimeIsOver))

    printed = io.StringIO()
    watcher = threading.Thread(target=watch, daemon=True)
    with contextlib.suppress(RuntimeError):  # in a browser there are no threads, and no limit
        watcher.start()
    try:
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                finished.value = task(lambda note: setattr(finished, "note", note))
        except MemoryError:
            finished.end = "memory"
        finally:
            over.set()
            if watcher.ident is not None:
                watcher.join()
            interrupt(me, None)  # one that is on its way
    except _TimeIsOver:
        finished.end = "time"
    finished.printed = printed.getvalue()[-MOST_PRINTED:]
    return finished
