"""The two matrix products of the engine, each computed in tiles that stay in registers.

    multiply_tile    y = a @ x      6 rows of y; a loop over the depth adds one row of x at a time
    dot_tile         a = g @ x^T    a few rows of g by 4 rows of x; a loop over the columns

The code below emits LLVM instructions for any number of rows and vectors. How many of them fit
depends on the registers of the processor: 16 vectors of 8 numbers (AVX2), or 32 of 16 (AVX-512).
"""

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._emit import call, emits

WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f", False))
LANES = 16 if WIDE else 8  # float32 numbers in a register
ROWS = 6  # of a product's tile
COLUMNS = 48 if WIDE else 16  # of a product's tile: 18 or 12 registers hold its sums
G_ROWS, X_ROWS = (6, 4) if WIDE else (3, 4)  # of a dot product's tile: 24 or 12 registers


def multiply_tile(
    x: Array, taps: Array, tap: int, depth: int, column: int,
    w: Array, place: int, bias: Array, first: int, low: float,
    source: Array, starts: Array, start: int,
    y: Array, outputs: Array, output: int, to: int,
) -> None:  # fmt: skip
    """Compute one tile of a product: 6 rows and COLUMNS columns.

    y[outputs[output + r] + to + j] = max(low, bias[first + r] + s[r, j] +
        sum over k of w[place + 6 k + r] x[taps[tap + k] + column + j])

    where s[r, j] is source[starts[start + r] + to + j], or 0 if start is negative.
    """
    _multiply(COLUMNS, x, taps, tap, depth, column, w, place, bias, first, low, source, starts,
              start, y, outputs, output, to)  # fmt: skip


def _multiply(
    columns: int, x: Array, taps: Array, tap: int, depth: int, column: int,
    w: Array, place: int, bias: Array, first: int, low: float,
    source: Array, starts: Array, start: int,
    y: Array, outputs: Array, output: int, to: int,
) -> None:  # fmt: skip
    j = np.arange(columns)
    a = w[place : place + ROWS * depth].reshape(depth, ROWS).T
    sums = bias[first : first + ROWS, None] + a @ x[taps[tap : tap + depth, None] + column + j]
    if start >= 0:
        sums = sums + source[starts[start : start + ROWS, None] + to + j]
    for r in reversed(range(ROWS)):
        y[outputs[output + r] + to + j] = np.where(sums[r] < low, np.float32(low), sums[r])


def dot_tile(
    g: Array, i: int, g_pitch: int, x: Array, k: int, x_pitch: int, columns: int,
    total: Array, to: int, pitch: int,
) -> None:  # fmt: skip
    """Add G_ROWS by X_ROWS dot products of rows.

    total[to + r pitch + c] += sum over j < columns of g[i + r g_pitch + j] x[k + c x_pitch + j]

    The number of columns is a multiple of 16.
    """
    for r in range(G_ROWS):
        row = g[i + r * g_pitch : i + r * g_pitch + columns]
        for c in range(X_ROWS):
            total[to + r * pitch + c] += row @ x[k + c * x_pitch : k + c * x_pitch + columns]


# The LLVM instructions

_FLOAT = ir.FloatType()
_INT = ir.IntType(64)
_INDEX = ir.IntType(32)


def _load(builder: Any, data: Any, i: Any, kind: Any) -> Any:
    value = builder.load(builder.bitcast(builder.gep(data, [i]), kind.as_pointer()))
    value.align = 4
    return value


def _fill(builder: Any, number: Any, kind: Any) -> Any:
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, _INDEX(0))
    return builder.shuffle_vector(
        one, one, ir.Constant(ir.VectorType(_INDEX, kind.count), [0] * kind.count)
    )


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    signature = ir.FunctionType(b.type, [b.type] * 3)
    return call(builder, f"llvm.fmuladd.v{b.type.count}f32", signature, [a, b, c])


def _plus(builder: Any, i: Any, number: int) -> Any:
    return builder.add(i, _INT(number))


def _emit_multiply(lanes: int, vectors: int) -> Any:
    kind = ir.VectorType(_FLOAT, lanes)

    def emit(
        builder: Any, x: Any, taps: Any, tap: Any, depth: Any, column: Any, w: Any, place: Any,
        bias: Any, first: Any, low: Any, source: Any, starts: Any, start: Any,
        y: Any, outputs: Any, output: Any, to: Any,
    ) -> None:  # fmt: skip
        room: Any = cgutils.alloca_once
        sums = [[room(builder, kind) for _ in range(vectors)] for _ in range(ROWS)]
        for r, row in enumerate(sums):
            b = _fill(builder, builder.load(builder.gep(bias, [_plus(builder, first, r)])), kind)
            for slot in row:
                builder.store(b, slot)
        with builder.if_then(builder.icmp_signed(">=", start, _INT(0))):
            for r, row in enumerate(sums):
                at = builder.load(builder.gep(starts, [_plus(builder, start, r)]))
                at = builder.add(at, to)
                for v, slot in enumerate(row):
                    more = _load(builder, source, _plus(builder, at, v * lanes), kind)
                    builder.store(builder.fadd(builder.load(slot), more), slot)
        with cgutils.for_range(builder, depth) as loop:
            at = builder.load(builder.gep(taps, [builder.add(tap, loop.index)]))
            at = builder.add(at, column)
            values = [
                _load(builder, x, _plus(builder, at, v * lanes), kind) for v in range(vectors)
            ]
            weights = builder.add(place, builder.mul(loop.index, _INT(ROWS)))
            for r, row in enumerate(sums):
                a = _fill(builder, builder.load(builder.gep(w, [_plus(builder, weights, r)])), kind)
                for slot, value in zip(row, values, strict=True):
                    builder.store(_fma(builder, a, value, builder.load(slot)), slot)
        least = _fill(builder, low, kind)
        for r, row in reversed(list(enumerate(sums))):
            at = builder.load(builder.gep(outputs, [_plus(builder, output, r)]))
            at = builder.add(at, to)
            for v, slot in enumerate(row):
                value = builder.load(slot)
                value = builder.select(builder.fcmp_ordered("<", value, least), least, value)
                address = builder.gep(y, [_plus(builder, at, v * lanes)])
                builder.store(value, builder.bitcast(address, kind.as_pointer()), align=4)

    return emit


_ARGUMENTS = [
    types.Array, types.Array, *[types.Integer] * 3,
    types.Array, types.Integer, types.Array, types.Integer, types.Float,
    types.Array, types.Array, types.Integer,
    types.Array, types.Array, *[types.Integer] * 2,
]  # fmt: skip
emits(multiply_tile, types.none, *_ARGUMENTS)(_emit_multiply(LANES, COLUMNS // LANES))


@emits(
    dot_tile, types.none, types.Array, *[types.Integer] * 2, types.Array, *[types.Integer] * 3,
    types.Array, *[types.Integer] * 2,
)  # fmt: skip
def _emit_dot(
    builder: Any, g: Any, i: Any, g_pitch: Any, x: Any, k: Any, x_pitch: Any, columns: Any,
    total: Any, to: Any, pitch: Any,
) -> None:  # fmt: skip
    kind = ir.VectorType(_FLOAT, LANES)
    zero = ir.Constant(kind, [0.0] * LANES)
    room: Any = cgutils.alloca_once_value
    sums = [[room(builder, zero) for _ in range(X_ROWS)] for _ in range(G_ROWS)]
    for row in sums:
        for slot in row:
            builder.store(zero, slot)
    g_rows = [builder.add(i, builder.mul(g_pitch, _INT(r))) for r in range(G_ROWS)]
    x_rows = [builder.add(k, builder.mul(x_pitch, _INT(c))) for c in range(X_ROWS)]
    with cgutils.for_range_slice(builder, _INT(0), columns, _INT(LANES)) as (j, _):
        values = [_load(builder, g, builder.add(row, j), kind) for row in g_rows]
        for c, row in enumerate(x_rows):  # `other` takes one register, beside the sums and `values`
            other = _load(builder, x, builder.add(row, j), kind)
            for r, value in enumerate(values):
                slot = sums[r][c]
                builder.store(_fma(builder, value, other, builder.load(slot)), slot)
    four = ir.VectorType(_FLOAT, X_ROWS)
    for r, row in enumerate(sums):
        dots = _sums_of_four(builder, [builder.load(slot) for slot in row])
        address = builder.gep(total, [builder.add(to, builder.mul(pitch, _INT(r)))])
        address = builder.bitcast(address, four.as_pointer())
        before = builder.load(address)
        before.align = 4
        builder.store(builder.fadd(before, dots), address, align=4)


def _sums_of_four(builder: Any, rows: list[Any]) -> Any:
    """Return the sums of four vectors as one vector of four numbers."""

    def shuffled(a: Any, b: Any, lanes: list[int]) -> Any:
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INDEX, len(lanes)), lanes))

    def joined(a: Any, b: Any) -> Any:
        """Return the sums of neighbouring numbers: those of a, then those of b."""
        n = a.type.count
        evens, odds = list(range(0, 2 * n, 2)), list(range(1, 2 * n, 2))
        return builder.fadd(shuffled(a, b, evens), shuffled(a, b, odds))

    total = joined(joined(rows[0], rows[1]), joined(rows[2], rows[3]))  # LANES / 4 of each row
    while total.type.count > X_ROWS:
        n = total.type.count
        evens, odds = list(range(0, n, 2)), list(range(1, n, 2))
        total = builder.fadd(shuffled(total, total, evens), shuffled(total, total, odds))
    return total
