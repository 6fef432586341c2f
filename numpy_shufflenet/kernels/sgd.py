"""The step of stochastic gradient descent, in one pass over parameters, gradients and velocities.

NumPy needs six passes, and each of them reads a large matrix from memory. The arithmetic is the
same, to the last bit. One call of compiled code updates all parameters, so an interrupt comes
before a step or after it, and never in the middle.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray, types  # type: ignore[attr-defined]
from numba.extending import overload

from numpy_shufflenet._threads import run_together
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
    """Update the velocity v and the parameter p by the gradient g."""
    for k in range(p.size):
        slope = g[k] + weight_decay * p[k] if weight_decay else g[k]
        v[k] = momentum * v[k] + slope
        p[k] -= lr * (slope + momentum * v[k] if nesterov else v[k])


def numbers_at(address: int, size: int, like: Array) -> Array:
    """Return the array of `size` numbers at an address, of the dtype of `like`."""
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
    """Update all parameters and velocities, one chunk in each turn.

    Parameters
    ----------
    job, caller
        As in `_threads.run_together`.
    chunks : array, shape (k, 5), int64
        Addresses in p, g and v, the count of numbers, and an index of `decays`.
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
    """Return a pointer to numbers of the dtype of `like`, for compiled code only."""


def _pointer_type(address: Any, like: Any) -> Any:
    return types.CPointer(like.dtype)  # type: ignore[no-untyped-call]


@emits(_pointer, _pointer_type, types.Integer, types.Array)
def _emit_pointer(builder: Any, address: Any, like: Any) -> Any:
    return builder.inttoptr(address, like.type)


@overload(numbers_at, strict=False)  # strict also compares annotations, which only one of them has
def _numbers_at(address: Any, size: Any, like: Any) -> Any:
    return lambda address, size, like: carray(_pointer(address, like), (size,))


def fits(parameters: Sequence[tuple[Array, Array, Array | None]]) -> bool:
    """Whether `sgd_update_all` supports them: one dtype, each p and v contiguous and writable."""
    dtypes = {array.dtype for arrays in parameters for array in arrays if array is not None}
    return dtypes in ({np.dtype(np.float32)}, {np.dtype(np.float64)}) and all(
        v is not None and all(a.flags.carray for a in (p, v)) for p, _, v in parameters
    )


def sgd_update_all(
    parameters: Sequence[tuple[Array, Array, Array]],
    *,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """Update each parameter p and its velocity v by its gradient g: all of them or none.

    Each update is that of `training.optimiser.sgd_update`.

    Parameters
    ----------
    parameters : sequence of (p, g, v)
        Parameters, gradients and velocities for which `fits` returns True.
    weight_decay : float
        Strength of weight decay for each p that has more than one dimension; 0 for others.
    """
    number = parameters[0][0].dtype.type
    rows, kept = [], []
    for p, g, v in parameters:
        g = contiguous(g)
        kept.append(g)  # the kernel gets addresses only, so keep it alive
        starts = [array.__array_interface__["data"][0] for array in (p, g, v)]
        for k in range(0, p.size, CHUNK):
            first = (start + k * p.itemsize for start in starts)
            rows.append((*first, min(CHUNK, p.size - k), p.ndim > 1))
    chunks = np.array(rows, np.int64).reshape(len(rows), 5)
    decays = np.array([0, weight_decay], number)
    rule = number(learning_rate), number(momentum), bool(nesterov)

    def run(job: Array, caller: bool) -> None:
        update_chunks(job, caller, chunks, decays, *rule)

    run_together(run, turns=len(rows), work=4 * sum(p.size for p, _, _ in parameters))
