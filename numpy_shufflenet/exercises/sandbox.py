"""Runs what a student wrote so that nothing it does can hurt: not the notebook, not the machine.

The functions run in a process of their own, which only computes: it gets arguments and returns
results. What is right is decided on this side of the pipe. A message is its length in 8 bytes, and
that many bytes. Requests are pickled; replies are JSON, which can't run anything here.

The process limits by itself how long it computes, so that nobody is blamed for a busy machine. One
that sleeps or waits is ended from here, after `PATIENCE` times as long.

Where processes can't fork (Windows) a function runs in this very thread, and another thread
interrupts it when its time is over: that ends endless loops of Python, though not of C.
"""

import base64
import builtins
import contextlib
import copy
import ctypes
import faulthandler
import functools
import inspect
import io
import json
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet import operations

MOST_PRINTED = 2000  # characters of what a function prints
PATIENCE = 10  # seconds by the clock on the wall, for each that a process may compute
LIBRARY = str(Path(operations.__file__).parent)
Run = Callable[[tuple[Any, ...], dict[str, Any], float, float], dict[str, Any]]


class EndedError(TimeoutError):
    """The process of a function has ended, or was ended when its time was over."""


class Function:
    """What a student wrote, called as if it were here; an error that it raises is raised here.

    Parameters
    ----------
    run : callable
        (positional, named, seconds of computing, seconds by the clock) -> reply; see `answer`.
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
        """Return its value; what it writes into arguments is written here, too."""
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
            np.copyto(argument, decode(array), casting="unsafe")
        if "error" in reply:
            raise _error(*map(str, reply["error"]))
        return decode(reply["value"])

    def _said(self, end: str) -> str:
        seconds = self._seconds
        return {
            "time": f"your function was not done after {seconds:g} s: does a loop never end?",
            "wait": f"your function was not done after {PATIENCE * seconds:g} s, and computed for "
            f"less than {seconds:g} s of them: does it sleep, or wait for something?",
            "crash": "Python itself ended while your function ran",
        }[end]


@contextlib.contextmanager
def enter(function: Callable[..., Any], *, seconds: float, megabytes: int) -> Iterator[Function]:
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
        """Have a function called, and return the reply; see `answer`.

        Raises
        ------
        EndedError
            "time", "wait" or "crash".
        """
        if self.ended:
            raise EndedError("crash")
        try:
            _write(self._requests, pickle.dumps((name, positional, named, seconds)))
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
        end = time.monotonic() + patience
        return json.loads(self._read(int.from_bytes(self._read(8, end), "little"), end))

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

    def _read(self, size: int, end: float) -> bytes:
        data = b""
        while len(data) < size:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._replies], [], [], left)[0]:
                raise TimeoutError
            part = os.read(self._replies, min(size - len(data), 1 << 20))
            if not part:
                raise EOFError
            data += part
        return data


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
            limit_memory(megabytes)
            serve(functions, requests, replies)
        finally:
            os._exit(0)  # without any clean-up of the parent's things
    os.close(requests)
    os.close(replies)
    return Process(pid, ask, hear)


def spawn(arguments: list[str], environment: Mapping[str, str]) -> Process:
    """Return a new Python, which has requests as its standard input and replies as its output."""
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


# In the process of a student


def serve(functions: Mapping[str, Callable[..., Any]], requests: int, replies: int) -> None:
    """Answer calls until there are no more."""
    with open(requests, "rb") as messages:
        while size := messages.read(8):
            request = pickle.loads(messages.read(int.from_bytes(size, "little")))
            name, positional, named, seconds = request
            limit_computing(seconds)
            reply = answer(functions[name], positional, named)
            limit_computing(0)
            send(replies, reply)


def answer(
    function: Callable[..., Any], positional: tuple[Any, ...], named: dict[str, Any]
) -> dict[str, Any]:
    """Call a function, and return a reply.

    Returns
    -------
    dict
        "value", or "error" (its type, its text, the line that raised it), "seconds" of computing,
        "printed", and "changed": the arrays into which it wrote, each with its position or name.
    """
    before = copy.deepcopy((positional, named))
    printed, begin = io.StringIO(), time.process_time()
    with (
        np.errstate(all="ignore"),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        try:
            reply: dict[str, Any] = {"value": encode(function(*positional, **named))}
        except _TimeIsOver:
            raise
        except BaseException as error:
            reply = {"error": [type(error).__name__, str(error), _line_of(error)]}
    reply["seconds"] = time.process_time() - begin
    reply["printed"] = printed.getvalue()[-MOST_PRINTED:]
    arguments = [*enumerate(positional), *named.items()]
    old_values = [*before[0], *before[1].values()]
    reply["changed"] = [
        [key, encode(new)]
        for (key, new), old in zip(arguments, old_values, strict=True)
        if isinstance(new, np.ndarray) and not np.array_equal(old, new, equal_nan=True)
    ]
    return reply


def send(replies: int, message: Any) -> None:
    """Write one message."""
    _write(replies, json.dumps(message).encode())


def limit_computing(seconds: float) -> None:
    """End this process by SIGPROF, where there is such a thing, after seconds of computing.

    0 lifts the limit.
    """
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
        signal.setitimer(signal.ITIMER_PROF, seconds)


def limit_memory(megabytes: int) -> None:
    """Limit memory on top of what this process has; where that can't be done, there is no limit."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(len(data).to_bytes(8, "little") + data)
    while view:
        view = view[os.write(pipe, view) :]


def _line_of(error: BaseException) -> str:
    """Return which line of the student's raised an error; "" if that is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(LIBRARY)] or frames[-1:]
    inner = [frame for frame in own if "site-packages" not in frame.filename] or own
    return f', in line {inner[-1].lineno}: "{inner[-1].line}"' if inner and inner[-1].line else ""


# Where processes can't fork


class _TimeIsOver(BaseException):
    """Raised from outside; not an Exception, so that a bare `except Exception` lets it pass."""


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
            interrupt(me, ctypes.py_object(_TimeIsOver))

    begin = time.monotonic()
    watcher = threading.Thread(target=watch, daemon=True)
    with contextlib.suppress(RuntimeError):  # in a browser there are no threads, and no limit
        watcher.start()
    try:
        try:
            reply = answer(function, positional, named)
        finally:
            over.set()
            if watcher.ident is not None:
                watcher.join()
            interrupt(me, None)  # one that is on its way
    except _TimeIsOver:
        raise EndedError("time") from None
    return {**reply, "seconds": time.monotonic() - begin}


# Results as JSON


def encode(value: Any) -> Any:
    """Return what a function returned as JSON."""
    if value is None or isinstance(value, bool | str | int | float):
        return {"plain": value}
    if isinstance(value, tuple | list):
        return {"tuple" if isinstance(value, tuple) else "list": [*map(encode, value)]}
    if isinstance(value, np.generic | np.ndarray):
        array = np.asarray(value)
        if array.dtype.hasobject:
            return {"objects": array.shape}
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        data = base64.b64encode(buffer.getvalue()).decode()
        return {"array" if isinstance(value, np.ndarray) else "number": data}
    return {"strange": type(value).__name__}


def decode(value: Any) -> Any:
    """Return what `encode` was given; an object of a type of the same name if it is strange."""
    ((kind, content),) = value.items()
    if kind == "plain":
        return content
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(map(decode, content))
    if kind in ("array", "number"):
        array = np.load(io.BytesIO(base64.b64decode(content)), allow_pickle=False)
        return array if kind == "array" else array[()]
    if kind == "objects":
        return np.empty(content, object)
    return type(str(content), (), {})()


def _error(kind: str, text: str, line: str) -> Exception:
    """Return an error of the built-in type of this name, or else of a new one."""
    base = getattr(builtins, kind, None)
    if not isinstance(base, type) or not issubclass(base, Exception):
        base = Exception
    if issubclass(base, BaseExceptionGroup):
        base = Exception  # a group wants errors, and we have none
    made: Any = type(kind, (base,), {"__str__": lambda self: text, "line": line})
    error: Exception = made.__new__(made)  # some types want other arguments than a text
    return error
