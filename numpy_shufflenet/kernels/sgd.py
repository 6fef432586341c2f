"""The step of stochastic gradient descent in one pass: parameter, gradient and velocity meet once.

NumPy needs six passes, and for a large matrix every one of them goes through memory. The arithmetic
is the same, and so are the bits. All parameters are updated in one call of compiled code: an
interrupt comes before a step or after it, and never leaves half of the parameters behind.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import overload

from numpy_shufflenet._threads import together
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._barrier import each_turn, start_together
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._emit import emits
from numpy_shufflenet.kernels._layout import contiguous

CHUNK = 1 << 14  # numbers that a thread updates in one turn


@compiled
def update_flat(
    p: Array, g: Array, v: Array, lr: Any, momentum: Any, nesterov: bool, weight_decay: Any
) -> None:
    """Move v and p."""
    for k in range(p.size):
        slope = g[k] + weight_decay * p[k] if weight_decay else g[k]
        v[k] = momentum * v[k] + slope
        p[k] -= lr * (slope + momentum * v[k] if nesterov else v[k])


def numbers_at(address: int, size: int, like: Array) -> Array:
    """Return the array of so many numbers that begins at an address, of the dtype of `like`."""
    room: Any = (ctypes.c_char * int(size * like.itemsize)).from_address(int(address))
    return np.frombuffer(room, like.dtype)


@compiled
def update_chunks(
    job: Array,
    caller: bool,
    chunks: Array,
    decays: Array,
    lr: Any,
    momentum: Any,
    nesterov: bool,
) -> None:
    """Move all parameters and their velocities, a chunk a turn; the caller's thread begins.

    Parameters
    ----------
    job, caller
        As in `_threads.together`.
    chunks : array, shape (k, 5), int64
        Addresses in p, g and v, how many numbers, and which of `decays`.
    decays : array
        Strengths of weight decay, of the dtype of p, g and v.
    """
    _, threads = start_together(job, caller)
    if threads == 0:
        return
    for turn in each_turn(job):
        chunk = chunks[turn]
        size = chunk[3]
        p = numbers_at(chunk[0], size, decays)
        g = numbers_at(chunk[1], size, decays)
        v = numbers_at(chunk[2], size, decays)
        update_flat(p, g, v, lr, momentum, nesterov, decays[chunk[4]])


def _pointer(address: int, like: Array) -> Any:
    """Return a pointer to numbers of the dtype of `like`; there are none outside compiled code."""


def _pointer_type(address: Any, like: Any) -> Any:
    return types.CPointer(like.dtype)  # type: ignore[no-untyped-call]


@emits(_pointer, _pointer_type, types.Integer, types.Array)
def _emit_pointer(builder: Any, address: Any, like: Any) -> Any:
    return builder.inttoptr(address, like.type)


@overload(numbers_at, strict=False)  # strict about annotations, too, which one of them has
def _numbers_at(address: Any, size: Any, like: Any) -> Any:
    return lambda address, size, like: carray(_pointer(address, like), (size,))


def fits(parameters: Sequence[tuple[Array, Array, Array | None]]) -> bool:
    """Whether `sgd_update` can move them: of one dtype, each p and v in one writable piece."""
    dtypes = {array.dtype for arrays in parameters for array in arrays if array is not None}
    return dtypes in ({np.dtype(np.float32)}, {np.dtype(np.float64)}) and all(
        v is not None and all(a.flags.carray for a in (p, v)) for p, _, v in parameters
    )


def sgd_update(
    parameters: Sequence[tuple[Array, Array, Array]],
    *,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Move each parameter p and its velocity v by its gradient g, whole or not at all.

    What is done is `training.optimiser.sgd_update`, compiled.

    Parameters
    ----------
    parameters : sequence of (p, g, v)
        Such as `fits` accepts, all of one dtype.
    weight_decay : float
        For those p that have more than one dimension.
    """
    number = parameters[0][0].dtype.type
    rows, kept = [], []
    for p, g, v in parameters:
        g = contiguous(g)
        kept.append(g)  # until the work is done
        starts = [array.__array_interface__["data"][0] for array in (p, g, v)]
        for k in range(0, p.size, CHUNK):
            first = (start + k * p.itemsize for start in starts)
            rows.append((*first, min(CHUNK, p.size - k), p.ndim > 1))
    chunks = np.array(rows, np.int64).reshape(len(rows), 5)
    decays = np.array([0, weight_decay], number)
    rule = number(learning_rate), number(momentum), bool(nesterov)

    def run(job: Array, caller: bool) -> None:
        update_chunks(job, caller, chunks, decays, *rule)

    together(run, turns=len(rows), work=4 * sum(p.size for p, _, _ in parameters))
