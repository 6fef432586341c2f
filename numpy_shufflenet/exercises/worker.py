"""The process that runs a student's functions, within limits of time and memory."""

import contextlib
import copy
import io
import json
import os
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet.exercises import messages
from numpy_shufflenet.locale import _

MOST_PRINTED = 2000  # characters that are kept of a function's output, and of an error's message
LIBRARY = str(Path(operations.__file__).parent)


class TimeIsOver(BaseException):
    """The error that another thread raises in a function whose time is over.

    The class isn't an Exception, so `except Exception` doesn't catch it.
    """


def serve(functions: Mapping[str, Callable[..., Any]], requests: int, replies: int) -> None:
    """Answer calls until the pipe is closed."""
    while True:
        try:
            request = messages.receive(requests)
        except EOFError:
            return
        name, positional, named, seconds = pickle.loads(request)
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
        "value", or "error" (type, text, line of the student's code); "seconds" of computing time;
        "printed"; "changed": the arrays that the function wrote to, with their position or name.
    """
    before = copy.deepcopy((positional, named))
    printed, begin = io.StringIO(), time.process_time()
    with (
        np.errstate(all="ignore"),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        try:
            reply: dict[str, Any] = {"value": messages.encode(function(*positional, **named))}
        except TimeIsOver:
            raise
        except BaseException as error:
            reply = {"error": [_name_of(error), _text_of(error), _line_of(error)]}
    reply["seconds"] = time.process_time() - begin
    reply["printed"] = "" if printed.closed else printed.getvalue()[-MOST_PRINTED:]
    arguments = [*enumerate(positional), *named.items()]
    old_values = [*before[0], *before[1].values()]
    reply["changed"] = [
        [key, messages.encode(new)]
        for (key, new), old in zip(arguments, old_values, strict=True)
        if isinstance(new, np.ndarray) and not np.array_equal(old, new, equal_nan=True)
    ]
    return reply


def send(replies: int, message: Any) -> None:
    """Write one message; an error in its place if it is too large."""
    data = json.dumps(message).encode()
    if len(data) > messages.MOST:
        said = _("the result is too large: {size} MB").format(size=len(data) >> 20)
        short = {"error": ["ValueError", said, ""], "changed": []}
        data = json.dumps({**message, **short, "value": None}).encode()
    messages.transmit(replies, data)


def limit_computing(seconds: float) -> None:
    """Let SIGPROF end this process after `seconds` of computing time; 0 removes the limit.

    Windows has no such signal, so there is no limit.
    """
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
        signal.setitimer(signal.ITIMER_PROF, seconds)


def limit_memory(megabytes: int) -> None:
    """Limit the memory that this process takes from now on, if the system is Linux."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _name_of(error: BaseException) -> str:
    """Return the name of an error's type, even if its metaclass has another `__name__`."""
    name: str = vars(type)["__name__"].__get__(type(error))
    return name


def _text_of(error: BaseException) -> str:
    """Return the beginning of an error's message, even if its `__str__` fails."""
    try:
        return str(error)[:MOST_PRINTED]
    except Exception as second:
        return _("(its __str__ raised {kind})").format(kind=_name_of(second))


def _line_of(error: BaseException) -> str:
    """Return the line of the student's code that raised an error; "" if that is unknown."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(LIBRARY)] or frames[-1:]
    inner = [frame for frame in own if "site-packages" not in frame.filename] or own
    if not inner or not inner[-1].line:
        return ""
    return _(', in line {number}: "{text}"').format(number=inner[-1].lineno, text=inner[-1].line)
