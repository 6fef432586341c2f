"""How kernels, plain Python functions with loops, become machine code at their first call.

    @compiled
    def copy(x, y):
        for k in range(x.size):
            y[k] = x[k]

`copy` is the compiled function, and `copy.py_func` is the plain Python function. If the
environment has NUMBA_DISABLE_JIT=1, nothing is compiled: `copy` runs as Python, and so does every
kernel that it calls, down to the vector instructions of `_vectors`. A debugger can step through it.

Numba saves the machine code on disk (see `_cache`). Kernels release the GIL. Their arithmetic
follows IEEE 754, so NaN and infinity behave as in `ops`. `reorder=True` relaxes one rule: sums may
be added in any order, so the processor can add 16 numbers at once.
"""

import _thread
import functools
import os
import threading
from collections.abc import Callable
from typing import Any, overload

import numba
import numpy as np
from numba.core import event as events
from numba.core.compiler_lock import global_compiler_lock

from numpy_shufflenet.kernels._cache import keep, say

PACKAGE = "numpy_shufflenet.kernels"
COMPILING = "compiling its kernels; this is done once on a machine, and takes about 20 s"


Kernel = Callable[..., Any]


@overload
def compiled(function: Kernel) -> Kernel: ...
@overload
def compiled(*, reorder: bool) -> Callable[[Kernel], Kernel]: ...
def compiled(function: Kernel | None = None, *, reorder: bool = False) -> Any:
    """Return the function compiled; its `py_func` is the function itself.

    Parameters
    ----------
    function : callable
        Without it, return a decorator: `@compiled(reorder=True)`.
    reorder : bool
        Whether sums may be added in any order.
    """
    if function is None:
        return functools.partial(compiled, reorder=reorder)
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        plain: Any = np.errstate(all="ignore")(function)  # machine code doesn't warn either
        plain.py_func = function
        return plain
    fastmath: Any = {"reassoc"} if reorder else False
    dispatcher: Any = numba.njit(nogil=True, fastmath=fastmath, error_model="numpy")(function)
    keep(dispatcher, function)
    compile_for = dispatcher._compile_for_args  # machine code calls it for new argument types
    dispatcher._compile_for_args = functools.partial(uninterrupted, compile_for)
    return dispatcher


def uninterrupted(run: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call run on another thread, because Python raises KeyboardInterrupt in the main thread only.

    An interrupt inside Numba could leave Numba in an inconsistent state. Here it only ends the
    wait: the other thread finishes, and the next caller that needs the result waits for it.
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
    # A forked process has no other threads. If one of them held the lock at the fork, the new
    # process would wait for it forever.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


class _Announcement(events.Listener):
    """Prints once why the first call takes long."""

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"].py_func.__module__.startswith(PACKAGE):
            say(COMPILING)
            events.unregister("numba:compile", self)  # type: ignore[no-untyped-call]

    def on_end(self, event: Any) -> None:
        """Do nothing: another kernel may follow."""


events.register("numba:compile", _Announcement())  # type: ignore[no-untyped-call]
