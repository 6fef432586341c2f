"""Runs what a student wrote so that it can harm neither the notebook nor the machine.

The functions run in another process (`worker`), which gets arguments and returns results. This
process compares them with what is right. Requests are pickled; replies are JSON, which can't run
anything here.

The worker limits the time that it computes, so that no student is blamed for a busy machine. If it
sleeps or waits, this process ends it after `PATIENCE` times as long.

Where processes can't fork (Windows), the function runs in this thread, and another thread
interrupts it when its time is over. That ends endless loops of Python, but not of C.
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
from typing import Any

import numpy as np

from numpy_shufflenet.exercises import messages, worker

PATIENCE = 10  # seconds by the clock on the wall, for each that a process may compute
Run = Callable[[tuple[Any, ...], dict[str, Any], float, float], dict[str, Any]]


class EndedError(TimeoutError):
    """The process of a function has ended, or was ended when its time was over."""


class Function:
    """A student's function: call it as if it ran here. An error that it raises is raised here.

    Parameters
    ----------
    run : callable
        (positional, named, seconds of computing, seconds by the clock) -> a reply of `worker`.
    seconds : float
        That all calls together may compute.
    signature : inspect.Signature, optional

    Attributes
    ----------
    printed : str
        What the last call printed, its end if it was long.

    Raises
    ------
    EndedError
        When it is called, if its time is over or its process has ended.
    """

    def __init__(self, run: Run, seconds: float, signature: inspect.Signature | None = None):
        self._run, self._seconds, self.printed = run, seconds, ""
        self._left, self._patience = seconds, PATIENCE * seconds
        if signature is not None:
            self.__signature__ = signature

    def __call__(self, *positional: Any, **named: Any) -> Any:
        """Return the value. What the function writes into arguments appears here, too."""
        begin = time.monotonic()
        try:
            reply = self._run(positional, named, self._left, self._patience)
        except EndedError as end:
            raise EndedError(self._said(str(end))) from None
        self._left = max(self._left - max(float(reply["seconds"]), 0.0), 1e-3)
        self._patience -= time.monotonic() - begin
        self.printed = str(reply["printed"])
        for key, array in reply["changed"]:
            argument = named[key] if isinstance(key, str) else positional[key]
            np.copyto(argument, messages.decode(array), casting="unsafe")
        if "error" in reply:
            raise messages.as_exception(*map(str, reply["error"]))
        return messages.decode(reply["value"])

    def _said(self, end: str) -> str:
        seconds = self._seconds
        return {
            "time": f"your function was not done after {seconds:g} s: does a loop never end?",
            "wait": f"your function was not done after {PATIENCE * seconds:g} s, and computed for "
            f"less than {seconds:g} s of them: does it sleep, or wait for something?",
            "crash": "Python itself ended while your function ran",
        }[end]


@contextlib.contextmanager
def open_sandbox(
    function: Callable[..., Any], *, seconds: float, megabytes: int
) -> Iterator[Function]:
    """Return the function with limits, which hold until the `with` block ends.

    Parameters
    ----------
    function : callable
        Takes arguments that can be pickled.
    seconds : float
        That all calls together may compute.
    megabytes : int
        That they may take on top of what is in use; no limit where processes can't fork.
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
    """A process that answers requests.

    Parameters
    ----------
    pid : int
    requests, replies : int
        Ends of pipes, to write to and to read from.
    """

    def __init__(self, pid: int, requests: int, replies: int):
        self.pid, self._requests, self._replies = pid, requests, replies
        self.ended = False

    def call(
        self,
        name: str,
        positional: tuple[Any, ...],
        named: dict[str, Any],
        seconds: float,
        patience: float,
    ) -> dict[str, Any]:
        """Have the process call a function, and return its reply; see `worker.answer`.

        Raises
        ------
        EndedError
            "time", "wait" or "crash".
        """
        if self.ended:
            raise EndedError("crash")
        try:
            messages.transmit(self._requests, pickle.dumps((name, positional, named, seconds)))
            reply: dict[str, Any] = self.receive(patience)
        except TimeoutError:
            self.stop()
            raise EndedError("wait") from None
        except (EOFError, BrokenPipeError):
            status = self.stop()
            over = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF
            raise EndedError("time" if over else "crash") from None
        except BaseException:  # an interrupt: the reply must not be taken for that of a later call
            self.stop()
            raise
        return reply

    def receive(self, patience: float) -> Any:
        """Return one message; TimeoutError after so many seconds, EOFError if there is none."""
        return json.loads(messages.receive(self._replies, patience))

    def stop(self) -> int:
        """End the process, and return the status of `os.waitpid`; 0 if it was stopped before."""
        if self.ended:
            return 0
        self.ended = True
        os.close(self._requests)
        os.close(self._replies)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        return os.waitpid(self.pid, 0)[1]


def fork(functions: Mapping[str, Callable[..., Any]], megabytes: int) -> Process:
    """Return a copy of this process that answers calls of these functions."""
    (requests, ask), (hear, replies) = os.pipe(), os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads in this process: the child uses none of them
        pid = os.fork()
    if pid == 0:
        try:
            os.close(ask)
            os.close(hear)
            faulthandler.disable()  # where Python itself ends here, the parent says so
            worker.limit_memory(megabytes)
            worker.serve(functions, requests, replies)
        finally:
            os._exit(0)  # without any clean-up of the parent's things
    os.close(requests)
    os.close(replies)
    return Process(pid, ask, hear)


def spawn(arguments: list[str], environment: Mapping[str, str]) -> Process:
    """Start a new Python: requests are its standard input, and replies its standard output."""
    (requests, ask), (hear, replies) = os.pipe(), os.pipe()
    actions = [
        (os.POSIX_SPAWN_DUP2, requests, 0),
        (os.POSIX_SPAWN_DUP2, replies, 1),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    command = [sys.executable, *arguments]
    pid = os.posix_spawn(sys.executable, command, environment, file_actions=actions)
    os.close(requests)
    os.close(replies)
    return Process(pid, ask, hear)


def _call_here(
    function: Callable[..., Any],
    positional: tuple[Any, ...],
    named: dict[str, Any],
    seconds: float,
    patience: float,
) -> dict[str, Any]:
    """Call a function in this very thread, with another thread that interrupts it.

    Only what is written in Python can be interrupted. It is tried again and again: an exception
    that comes while an object is being cleaned up is lost.
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
    with contextlib.suppress(RuntimeError):  # in a browser there are no threads, and no limit
        watcher.start()
    try:
        try:
            reply = worker.answer(function, positional, named)
        finally:
            over.set()
            if watcher.ident is not None:
                watcher.join()
            interrupt(me, None)  # one that is on its way
    except worker.TimeIsOver:
        raise EndedError("time") from None
    return {**reply, "seconds": time.monotonic() - begin}
