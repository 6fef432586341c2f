"""Sums of rows, weighted by the taps of a 3x3 window, as LLVM instructions.

Each tap of the window reads a row of numbers from a different start. So an output row is a weighted
sum of these rows, and the gradient of each tap's weight is a dot product.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine.tiles import LANES, _fill, _fma, _load
from numpy_shufflenet.kernels._emit import call, emits

_FLOAT, _INT, _INDEX = ir.FloatType(), ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, LANES)
VECTORS = 2  # of an output row that are computed at once


def _weigh(count: int) -> Callable[..., None]:
    """Return the function that computes the weighted sum of `count` rows."""

    def weigh(x: Array, starts: Array, w: Array, columns: int, y: Array, to: int) -> None:
        k = np.arange(-(-columns // (LANES * VECTORS)) * LANES * VECTORS)
        y[to : to + len(k)] = w[:count] @ x[starts[:count, None] + k]

    def emit(builder: Any, x: Any, starts: Any, w: Any, columns: Any, y: Any, to: Any) -> None:
        firsts = [builder.load(builder.gep(starts, [_INT(t)])) for t in range(count)]
        weights = [
            _fill(builder, builder.load(builder.gep(w, [_INT(t)])), _VECTOR) for t in range(count)
        ]
        step = _INT(LANES * VECTORS)
        with cgutils.for_range_slice(builder, _INT(0), columns, step) as (k, _):
            for v in range(VECTORS):
                at = builder.add(k, _INT(v * LANES))
                total = ir.Constant(_VECTOR, [0.0] * LANES)
                for first, weight in zip(firsts, weights, strict=True):
                    value = _load(builder, x, builder.add(first, at), _VECTOR)
                    total = _fma(builder, weight, value, total)
                address = builder.gep(y, [builder.add(to, at)])
                builder.store(total, builder.bitcast(address, _VECTOR.as_pointer()), align=4)

    emits(weigh, types.none, *[types.Array] * 3, types.Integer, types.Array, types.Integer)(emit)
    return weigh


weigh_1, weigh_2, weigh_4, weigh_9 = (_weigh(count) for count in (1, 2, 4, 9))
"""y[to + k] = sum over t of w[t] x[starts[t] + k], for 1, 2, 4 or 9 taps.

The number of columns is rounded up to a multiple of 2 LANES. The numbers written beyond the columns
are undefined.
"""


def dot_9(g: Array, i: int, x: Array, starts: Array, columns: int, sums: Array) -> None:
    """Add the dot products of a row with 9 others to sums; each is spread over LANES numbers.

    sums[LANES t + lane] += sum over k with k % LANES = lane of g[i + k] x[starts[t] + k]
    """
    for k in range(columns):
        for t in range(9):
            sums[LANES * t + k % LANES] += g[i + k] * x[starts[t] + k]


@emits(
    dot_9, types.none, types.Array, types.Integer, *[types.Array] * 2, types.Integer, types.Array
)
def _emit_dot_9(builder: Any, g: Any, i: Any, x: Any, starts: Any, columns: Any, sums: Any) -> None:
    firsts = [builder.load(builder.gep(starts, [_INT(t)])) for t in range(9)]
    places = [_INT(LANES * t) for t in range(9)]
    room: Any = cgutils.alloca_once_value
    totals = [room(builder, _load(builder, sums, place, _VECTOR)) for place in places]
    for total, place in zip(totals, places, strict=True):
        builder.store(_load(builder, sums, place, _VECTOR), total)

    def step(k: Any, value: Any) -> None:
        for first, total in zip(firsts, totals, strict=True):
            other = _load(builder, x, builder.add(first, k), _VECTOR)
            builder.store(_fma(builder, value, other, builder.load(total)), total)

    whole = builder.and_(columns, _INT(-LANES))
    with cgutils.for_range_slice(builder, _INT(0), whole, _INT(LANES)) as (k, _):
        step(k, _load(builder, g, builder.add(i, k), _VECTOR))
    with builder.if_then(builder.icmp_signed("<", whole, columns)):
        rest = builder.trunc(builder.sub(columns, whole), _INDEX)
        lanes = ir.VectorType(_INDEX, LANES)
        mask = builder.icmp_signed(
            "<", ir.Constant(lanes, list(range(LANES))), _fill(builder, rest, lanes)
        )
        address = builder.bitcast(builder.gep(g, [builder.add(i, whole)]), _VECTOR.as_pointer())
        values = [address, _INDEX(4), mask, ir.Constant(_VECTOR, [0.0] * LANES)]
        kind = ir.FunctionType(_VECTOR, [value.type for value in values])
        step(whole, call(builder, f"llvm.masked.load.v{LANES}f32.p0", kind, values))
    for total, place in zip(totals, places, strict=True):
        address = builder.bitcast(builder.gep(sums, [place]), _VECTOR.as_pointer())
        builder.store(builder.load(total), address, align=4)
