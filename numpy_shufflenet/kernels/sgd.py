"""The step of stochastic gradient descent in one pass: parameter, gradient and velocity meet once.

NumPy needs six passes, and for a large matrix every one of them goes through memory. The arithmetic
is the same, and so are the bits.
"""

from typing import Any

import numpy as np

from numpy_shufflenet._threads import share
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled
from numpy_shufflenet.kernels._layout import contiguous


def update_flat(
    p: Array, g: Array, v: Array, lr: Any, momentum: Any, nesterov: bool, weight_decay: Any
) -> None:
    """Move v and p."""
    for k in range(p.size):
        slope = g[k] + weight_decay * p[k] if weight_decay else g[k]
        v[k] = momentum * v[k] + slope
        p[k] -= lr * (slope + momentum * v[k] if nesterov else v[k])


update_flat_jit = compiled(update_flat)


def fits(p: Array, g: Array, v: Array) -> bool:
    """Whether it can be done: all of one dtype, and p and v in one piece that can be written to."""
    whole = p.flags.c_contiguous and v.flags.c_contiguous
    writable = p.flags.writeable and v.flags.writeable
    same = p.dtype == g.dtype == v.dtype and p.dtype in (np.float32, np.float64)
    return whole and writable and same


def sgd_update(
    p: Array,
    g: Array,
    v: Array,
    *,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    """`training.optimiser.sgd_update`, compiled, for arrays that `fits` accepts."""
    number = p.dtype.type
    lr, momentum, weight_decay = number(learning_rate), number(momentum), number(weight_decay)
    p, g, v = p.reshape(-1), contiguous(g).reshape(-1), v.reshape(-1)

    def run(i: int, j: int) -> None:
        update_flat_jit(p[i:j], g[i:j], v[i:j], lr, momentum, nesterov, weight_decay)

    share(p.size, run, work=4 * p.size)
