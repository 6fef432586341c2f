"""How the loops of this floor become machine code: when they are first called, once for a machine.

A kernel is a plain function with loops, `rows`; beside it stands `rows_jit = compiled(rows)`. The
plain one runs as well, slowly, and can be stepped through with a debugger.

`_cache` keeps the result on disk beside the source, or in Numba's cache folder, where that can't be
written. No kernel holds the interpreter's lock. Arithmetic follows IEEE 754, and NaN and infinity
behave as in `ops`, for all kernels but those compiled with `reorder=True`: there sums may be added
up in another order, which is what lets a processor add 16 numbers at once.
"""

import _thread
import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event as events
from numba.core.compiler_lock import global_compiler_lock

from numpy_shufflenet.kernels._cache import keep, say

PACKAGE = "numpy_shufflenet.kernels"


def compiled(function: Callable[..., Any], *, reorder: bool = False) -> Callable[..., Any]:
    """Return the function compiled; `reorder` lets sums be added up in any order."""
    fastmath: Any = {"reassoc"} if reorder else False
    dispatcher: Any = numba.njit(nogil=True, fastmath=fastmath, error_model="numpy")(function)
    keep(dispatcher, function)
    compile_for = dispatcher._compile_for_args  # what machine code calls for arguments that are new
    dispatcher._compile_for_args = functools.partial(_uninterrupted, compile_for)
    result: Callable[..., Any] = dispatcher
    return result


def _uninterrupted(run: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call run on another thread, since Python interrupts the main thread only.

    Numba may be left in a state that it doesn't expect, were it interrupted itself. An interrupt
    ends the waiting; the other thread goes on, and whoever needs the result later waits for it.
    """
    if threading.current_thread() is not threading.main_thread():
        return run(*arguments, **options)
    results: list[Any] = []
    errors: list[BaseException] = []
    done = _thread.allocate_lock()
    done.acquire()

    def work() -> None:
        try:
            results.append(run(*arguments, **options))
        except BaseException as error:
            errors.append(error)
        finally:
            done.release()

    _thread.start_new_thread(work, ())
    done.acquire()  # (`threading.Thread.join` fails if it is interrupted twice)
    for error in errors:
        raise error
    return results[0]


if hasattr(os, "register_at_fork"):
    # Another thread may be compiling. A forked process would wait for it, and it isn't there.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


class _Announcement(events.Listener):
    """Says, once, what the first call is waiting for."""

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"].py_func.__module__.startswith(PACKAGE):
            say("compiling its kernels; this is done once on a machine, and takes about 20 s")
            events.unregister("numba:compile", self)  # type: ignore[no-untyped-call]

    def on_end(self, event: Any) -> None:
        """Nothing to say: the next kernel may follow at once."""


events.register("numba:compile", _Announcement())  # type: ignore[no-untyped-call]
