"""Chooses the implementation of each operation, and the number of threads. Layers use only this.

    y, call = backend.forward("conv2d", x, w, None, stride=2)
    dx, dw, db = backend.backward(dy, call)

There are two backends. "numpy" runs every operation by `ops`. "numba", the default if Numba is
installed, runs operations that have a kernel by `kernels`. Choose the backend for the whole
process, for a block, or by the environment:

    backend.use("numpy")
    with backend.use("numpy"): ...
    NUMPY_SHUFFLENET_BACKEND=numpy
"""

import importlib.util
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet import _threads, operations
from numpy_shufflenet._memory import workspace
from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_image

BACKENDS = ("numpy", "numba")
ENVIRONMENT = "NUMPY_SHUFFLENET_BACKEND"


class Call(NamedTuple):
    """One forward that ran: its implementation, and what its backward needs."""

    operation: operations.Operation
    implementation: str
    cache: Any


def forward(name: str, *arrays: Any, **hyperparameters: Any) -> tuple[Any, Call]:
    """Run NAME_forward; return its output, and the call for `backward`."""
    operation = operations.find(name)
    if _local.recorder:
        y = _local.recorder(name, *arrays, **hyperparameters)
        return y, Call(operation, "none", None)
    implementation = "kernels" if operation.kernel and current() == "numba" else "ops"
    y, cache = operation.forward(implementation)(*arrays, **hyperparameters)
    return y, Call(operation, implementation, cache)


def backward(dy: Any, call: Call, **options: Any) -> Any:
    """Return the gradients, by the same implementation that ran the forward."""
    return call.operation.backward(call.implementation)(dy, call.cache, **options)


# Which backend

_chosen: str | None = None


def current() -> str:
    """Return the name of the backend in use."""
    global _chosen
    if _chosen is None:
        default = "numba" if importlib.util.find_spec("numba") else "numpy"
        _chosen = _checked(os.environ.get(ENVIRONMENT, default))
    return _chosen


class use:  # noqa: N801 - it reads as a verb
    """Choose the backend for all threads; after `with`, only until the end of the block.

    Raises
    ------
    ValueError
        If name is not "numpy" or "numba".
    ImportError
        If name is "numba", and Numba isn't installed.
    """

    def __init__(self, name: str):
        global _chosen
        self._before = current()
        _chosen = _checked(name)

    def __enter__(self) -> None:
        """Do nothing: `__init__` has chosen the backend."""

    def __exit__(self, *exception: object) -> None:
        global _chosen
        _chosen = self._before


def _checked(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"backend={name!r} is not one of {', '.join(BACKENDS)}")
    if name == "numba" and not importlib.util.find_spec("numba"):
        raise ImportError('the backend "numba" needs numba: pip install numba')
    return name


# Threads

num_threads = _threads.num_threads
"""Return how many threads share the work."""

set_num_threads = _threads.set_num_threads
"""Use n threads from now on; the default is one for each core."""


def own_cores() -> AbstractContextManager[None]:
    """With "numba", hold BLAS at one thread in a block, because kernels use the other cores."""
    return _threads.single_threaded_blas() if current() == "numba" else nullcontext()


def for_each(count: int, run: Callable[[int], Any]) -> None:
    """Call run(0), ..., run(count - 1), on several threads if the backend has kernels."""
    if current() == "numba":
        _threads.share_each(count, run)
    else:
        for i in range(count):
            run(i)


def bytes_in_use() -> int:
    """Return the bytes of all arrays that kernels have allocated and that still exist.

    Arrays smaller than a page are not counted. Call it before and after a forward: the
    difference is the bytes that a training step keeps for backward.
    """
    return workspace.lent


# Inference


class _ThreadState(threading.local):
    inferring = False
    recorder: Callable[..., Any] | None = None


_local = _ThreadState()


def infer(run: Callable[..., Any], *arguments: Any) -> Any:
    """Return run(*arguments); meanwhile layers keep nothing for backward, in this thread.

    So each activation is freed after the next layer has read it, and several threads may run one
    model at the same time.
    """
    before = _local.inferring
    _local.inferring = True
    try:
        return run(*arguments)
    finally:  # no context manager: an interrupt could come before its `__exit__`
        _local.inferring = before


def inferring() -> bool:
    """Return whether this thread is within `infer`."""
    return _local.inferring


def record_calls(recorder: Callable[..., Any], run: Callable[..., Any], *arguments: Any) -> Any:
    """Return run(*arguments); `forward` calls recorder(name, *arrays, **hyperparameters) instead.

    The recorder sees each operation of a network's forward, and its inputs. See `plan`.
    """
    _local.recorder = recorder
    try:
        return infer(run, *arguments)
    finally:
        _local.recorder = None


def is_recording() -> bool:
    """Return whether this thread is in `record_calls`, where no array is computed."""
    return _local.recorder is not None


# Layout


def channel_major(x: Array) -> Array:
    """Return x (n, c, h, w), copied if need be, as a view of memory laid out as (c, h, w, n).

    A channel of the whole batch is then one contiguous row; 1x1 convolution, batch norm, split,
    concatenation and shuffle read such rows. A pixel of the whole batch is contiguous, too, so
    depthwise convolution and pooling run along the batch, for any stride and border. Every
    operation keeps the layout.

    Raises
    ------
    ValueError
        If x is not a floating-point array of shape (n, c, h, w).
    """
    if is_recording():
        return x
    check_image("x", x)
    if x.transpose(1, 2, 3, 0).flags.c_contiguous:
        return x
    if current() == "numba" and x.dtype.kind == "f":
        from numpy_shufflenet.kernels._layout import as_image, as_rows

        n, _, h, w = x.shape
        return as_image(as_rows(x), n, h, w)
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
