"""Runs a student's functions so that they can harm neither the notebook nor the machine.

The functions run in another process (`worker`), which receives arguments and returns results. This
process compares the results with the right results. Requests are pickles. Replies are JSON, because
loading a pickle from the student's process could run code in this process.

The worker limits its computing time, not the wall-clock time. So a busy machine doesn't cost a
student points. A worker that sleeps or waits for as long as it may compute is ended, too. Where
that can't be seen (there is no /proc), this process ends the worker after `PATIENCE` times the
limit.

On Windows a process can't fork. There the function runs in this thread, and another thread
interrupts the function when its time is over. This ends an endless loop in Python, but not in C.
"""

import contextlib
import ctypes
import faulthandler
import functools
import inspect
import json
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet.exercises import messages, worker
from numpy_shufflenet.locale import _

PATIENCE = 10  # wall-clock seconds for each second of computing time
SHORTEST_SLEEP = 2.0  # seconds of sleep that are never too many
Run = Callable[[tuple[Any, ...], dict[str, Any], float, float], dict[str, Any]]


class EndedError(TimeoutError):
    """The process of a function has ended by itself, or because its time was over."""


class Function:
    """A student's function. A call looks like a call in this process, and raises the same errors.

    `printed` holds the output of the last call, or the end of a long output. A call raises
    EndedError if the time is over or the process has ended.

    Parameters
    ----------
    run : callable
        Maps (positional, named, computing seconds, wall-clock seconds) to a reply of `worker`.
    seconds : float
        Limit on the computing of all calls together.
    signature : inspect.Signature, optional
    """

    def __init__(self, run: Run, seconds: float, signature: inspect.Signature | None = None):
        self._run, self._seconds, self.printed = run, seconds, ""
        self._left, self._patience = seconds, PATIENCE * seconds
        if signature is not None:
            self.__signature__ = signature

    def __call__(self, *positional: Any, **named: Any) -> Any:
        """Return the value; arguments that the function changes in its process change here, too."""
        begin = time.monotonic()
        try:
            reply = self._run(positional, named, self._left, self._patience)
        except EndedError as end:
            raise EndedError(self._said(str(end))) from None
        self._patience -= time.monotonic() - begin
        try:
            self._left = max(self._left - max(0.0, float(reply["seconds"])), 1e-3)
            self.printed = str(reply["printed"])
            error = messages.as_exception(*map(str, reply["error"])) if "error" in reply else None
            value = None if error else messages.decode(reply["value"])
            changed = [
                (named[key] if isinstance(key, str) else positional[key], messages.decode(array))
                for key, array in reply["changed"]
            ]
        except Exception:  # not written by `worker`
            raise EndedError(self._said("garbage")) from None
        for old, new in changed:
            if np.shape(new) != np.shape(old):
                said = _(
                    "it changes the shape of an array that it was given, from {old} to {new}; "
                    "make a new array instead"
                )
                raise ValueError(said.format(old=np.shape(old), new=np.shape(new)))
            np.copyto(old, new, casting="unsafe")
        if error:
            raise error
        return value

    def _said(self, end: str) -> str:
        said = {
            "time": _("your function was not done after {seconds} s: does a loop never end?"),
            "wait": _(
                "your function was not done, though it computed for less than {seconds} s: does it "
                "sleep, or wait for something?"
            ),
            "crash": _("Python itself ended while your function ran"),
            "garbage": _("your function wrote into the pipe through which its result returns"),
        }[end]
        return said.format(seconds=f"{self._seconds:g}")


@contextlib.contextmanager
def open_sandbox(
    function: Callable[..., Any], *, seconds: float, megabytes: int
) -> Iterator[Function]:
    """Return the function with limits on its calls, for use in a `with` block.

    Parameters
    ----------
    function : callable
        Takes arguments that can be pickled.
    seconds : float
        Limit on the computing of all calls together.
    megabytes : int
        Limit on additional memory. There is no limit if processes can't fork.
    """
    if not hasattr(os, "fork") or sys.platform == "emscripten":
        yield Function(functools.partial(_call_here, function), seconds)
        return
    process = fork({"": function}, megabytes)
    try:
        yield Function(functools.partial(process.call, ""), seconds)
    finally:
        process.stop()


class Process:
    """A process that reads requests from one pipe, and writes replies to another pipe."""

    def __init__(self, pid: int, requests: int, replies: int, *, group: bool = False):
        self.pid, self._requests, self._replies = pid, requests, replies
        self.ended = False
        self._kill = os.killpg if group else os.kill  # its children, too

    def call(
        self,
        name: str,
        positional: tuple[Any, ...],
        named: dict[str, Any],
        seconds: float,
        patience: float,
    ) -> dict[str, Any]:
        """Let the process call a function, and return the reply; see `worker.answer`.

        Raises EndedError with the text "time", "wait", "crash" or "garbage".
        """
        if self.ended:
            raise EndedError("crash")
        try:
            request = pickle.dumps((name, positional, named, seconds))
            messages.transmit(self._requests, request, patience)
            reply: dict[str, Any] = self.receive(patience, max(seconds, SHORTEST_SLEEP))
        except TimeoutError:
            self.stop()
            raise EndedError("wait") from None
        except (ValueError, RecursionError):
            self.stop()
            raise EndedError("garbage") from None
        except (EOFError, BrokenPipeError):
            status = self.stop()
            over = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF
            raise EndedError("time" if over else "crash") from None
        except BaseException:  # an interrupt; a later call must not receive this reply
            self.stop()
            raise
        return reply

    def receive(self, patience: float, asleep: float) -> Any:
        """Return one message; see `messages.receive` for the errors.

        Raises TimeoutError, too, if the process sleeps for `asleep` seconds without computing, and
        ValueError or RecursionError if the message isn't JSON.
        """
        before, since = "", time.monotonic()

        def sleeps() -> bool:
            nonlocal before, since
            now = _sleep_of(self.pid)
            if now != before or not now:
                before, since = now, time.monotonic()
            return time.monotonic() - since > asleep

        return json.loads(messages.receive(self._replies, patience, sleeps))

    def stop(self) -> int:
        """End the process, and return the status of `os.waitpid`; 0 if stopped before."""
        if self.ended:
            return 0
        self.ended = True
        os.close(self._requests)
        os.close(self._replies)
        with contextlib.suppress(ProcessLookupError):
            self._kill(self.pid, signal.SIGKILL)
        return os.waitpid(self.pid, 0)[1]


def _sleep_of(pid: int) -> str:
    """Return the computing time of a process that sleeps; "" if it doesn't, or if unknown.

    A process that is ready, but has no processor, doesn't sleep; nor does one that was stopped.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return " ".join(stat[11:13]) if stat[0] == "S" else ""


def fork(functions: Mapping[str, Callable[..., Any]], megabytes: int) -> Process:
    """Fork this process; the copy answers calls of these functions."""
    (requests, ask), (hear, replies) = os.pipe(), os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of threads; the child uses none of them
        pid = os.fork()
    if pid == 0:
        try:
            os.close(ask)
            os.close(hear)
            faulthandler.disable()  # if Python crashes here, the parent reports it
            worker.limit_memory(megabytes)
            worker.serve(functions, requests, replies)
        finally:
            os._exit(0)  # skips the exit handlers of the parent
    os.close(requests)
    os.close(replies)
    return Process(pid, ask, hear)


def spawn(arguments: list[str], environment: Mapping[str, str]) -> Process:
    """Start a new Python that reads requests from its standard input and replies on its output.

    It has a process group of its own, which ends with it.
    """
    (requests, ask), (hear, replies) = os.pipe(), os.pipe()
    actions = [
        (os.POSIX_SPAWN_DUP2, requests, 0),
        (os.POSIX_SPAWN_DUP2, replies, 1),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    command = [sys.executable, *arguments]
    pid = os.posix_spawn(sys.executable, command, environment, file_actions=actions, setpgroup=0)
    os.close(requests)
    os.close(replies)
    return Process(pid, ask, hear, group=True)


def _call_here(
    function: Callable[..., Any],
    positional: tuple[Any, ...],
    named: dict[str, Any],
    seconds: float,
    patience: float,
) -> dict[str, Any]:
    """Call a function in this thread; another thread interrupts it when the time is over.

    Only Python code can be interrupted. The other thread repeats the interrupt, because Python
    drops an exception that arrives while an object is destroyed.
    """
    over = threading.Event()
    me = ctypes.c_ulong(threading.get_ident())
    interrupt = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def watch() -> None:
        if over.wait(seconds):
            return
        while not over.wait(0.02):
            interrupt(me, ctypes.py_object(worker.TimeIsOver))

    begin = time.monotonic()
    watcher = threading.Thread(target=watch, daemon=True)
    with contextlib.suppress(RuntimeError):  # a browser has no threads, so there is no limit
        watcher.start()
    try:
        try:
            reply = worker.answer(function, positional, named)
        finally:
            over.set()
            if watcher.ident is not None:
                watcher.join()
            interrupt(me, None)  # cancels an interrupt that has not arrived yet
    except worker.TimeIsOver:
        raise EndedError("time") from None
    return {**reply, "seconds": time.monotonic() - begin}
