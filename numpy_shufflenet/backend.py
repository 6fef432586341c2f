"""Which floor an operation runs on. Layers call operations here, and nowhere else.

y, call = backend.forward("conv2d", x, w, None, stride=2)
dx, dw, db = backend.backward(dy, call)
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet._typing import Array


class Call(NamedTuple):
    """One forward that ran: what its backward needs, on the floor that it ran on."""

    operation: operations.Operation
    floor: str
    cache: Any


def forward(name: str, *arrays: Any, **hyperparameters: Any) -> tuple[Any, Call]:
    """Run NAME_forward; return its output, and the call for `backward`."""
    operation = operations.find(name)
    floor = "ops"
    y, cache = operation.forward(floor)(*arrays, **hyperparameters)
    return y, Call(operation, floor, cache)


def backward(dy: Any, call: Call) -> Any:
    """Run NAME_backward on the floor that the forward ran on; return what it returns."""
    return call.operation.backward(call.floor)(dy, call.cache)


def channel_major(x: Array) -> Array:
    """Return x (n, c, h, w), copied if need be, as a view of memory laid out as (c, h, w, n).

    So a channel of the whole batch is one contiguous row, which is how 1x1 convolutions, batch
    normalisation, split, concatenation and shuffle read it; and one pixel of the whole batch is
    contiguous too, so that what looks through windows (depthwise convolution, pooling) runs along
    the batch, whatever stride and border. Every operation keeps the layout.
    """
    return np.ascontiguousarray(x.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
