"""Vector instructions: functions on 16 numbers at once, the building blocks of fast loops.

    x = load(row, i)             # row[i], ..., row[i + 15]
    a = fma(w, x, a)             # a + w * x, where w is one number or a vector
    store(row, i, relu(a))

A compiler turns a plain loop into vector instructions if it can prove that arrays don't overlap. To
keep sums in registers it must prove more, and for a matrix product it can't. Written with these
functions, a matrix product runs at the processor's full speed.

Each function here is plain NumPy, which runs where nothing is compiled. In compiled code it becomes
one or a few instructions of the processor on 16 numbers of float32, in two or four registers where
one register is too small. Indices are not checked, and must not be negative.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._emit import call, emits

WIDTH = 16
HALF = 8


def load(row: Array, i: int) -> Array:
    """Return row[i], ..., row[i + 15]."""
    return row[i : i + WIDTH].copy()


def load_half(row: Array, i: int) -> Array:
    """Return row[i], ..., row[i + 7]: a vector of half the width."""
    return row[i : i + HALF].copy()


def at(row: Array, i: int) -> Any:
    """Return row[i]; i must not be negative, which saves the test that Numba would add."""
    return row[i]


def load_even(row: Array, i: int) -> Array:
    """Return row[i], row[i + 2], ..., row[i + 30]; row[i + 31] is read as well."""
    return row[i : i + 2 * WIDTH : 2].copy()


def load_kept(row: Array, i: int, mask: int, outside: float) -> Array:
    """Return row[i], ..., row[i + 15], with `outside` where the bit of the mask is 0.

    The lowest bit belongs to row[i]. All 16 numbers are read.
    """
    return np.where(mask >> np.arange(WIDTH) & 1, load(row, i), np.float32(outside))


def load_inside(row: Array, i: int, place: int, length: int, outside: float) -> Array:
    """Return row[i], ..., row[i + 15], with `outside` for those whose place isn't inside.

    Their places are place, ..., place + 15; inside are 0 to length - 1. Numbers outside are not
    read. row may also be of uint8.
    """
    inside = _is_inside(place, length)
    v = fill(outside)
    v[inside] = row[i + np.flatnonzero(inside)]
    return v


def _is_inside(place: int, length: int) -> Array:
    places = np.arange(place, place + WIDTH)
    inside: Array = (places >= 0) & (places < length)
    return inside


def evens(a: Array, b: Array) -> Array:
    """Return a[0], a[2], ..., a[14], b[0], ..., b[14]."""
    return np.concatenate([a[::2], b[::2]])


def odds(a: Array, b: Array) -> Array:
    """Return a[1], a[3], ..., a[15], b[1], ..., b[15]."""
    return np.concatenate([a[1::2], b[1::2]])


def zip_first(a: Array, b: Array) -> Array:
    """Return a[0], b[0], a[1], ..., a[7], b[7]."""
    return np.stack([a[:HALF], b[:HALF]], axis=1).ravel()


def zip_last(a: Array, b: Array) -> Array:
    """Return a[8], b[8], a[9], ..., a[15], b[15]."""
    return np.stack([a[HALF:], b[HALF:]], axis=1).ravel()


def later(v: Array) -> Array:
    """Return v[1], ..., v[15], and v[15] again."""
    return np.concatenate([v[1:], v[-1:]])


def store_first(row: Array, i: int, v: Array, count: int) -> None:
    """Write the first `count` of the 16 numbers to row, of float32 or uint8."""
    row[i : i + min(count, WIDTH)] = v[:count]


def store_inside(row: Array, i: int, v: Array, place: int, length: int) -> None:
    """Write the numbers whose place is inside: the counterpart of `load_inside`."""
    inside = _is_inside(place, length)
    row[i + np.flatnonzero(inside)] = v[inside]


def store(row: Array, i: int, v: Array) -> None:
    """Write the numbers of a vector, 16 or 8, to row[i], row[i + 1], ..."""
    row[i : i + len(v)] = v


def fill(number: Any) -> Array:
    """Return the number 16 times."""
    return np.full(WIDTH, number, np.float32)


def fill_half(number: Any) -> Array:
    """Return the number 8 times."""
    return np.full(HALF, number, np.float32)


def fma(a: Any, b: Array, c: Array) -> Array:
    """Return a * b + c, rounded once if the processor can do so; a is a vector or a number."""
    return a * b + c


def add(a: Array, b: Array) -> Array:
    """Return a + b."""
    return a + b


def scale(number: Any, v: Array) -> Array:
    """Return number * v, where number is a vector or a number."""
    return number * v


def maximum(a: Array, b: Array) -> Array:
    """Return the larger of a and b, and NaN if either is NaN."""
    return np.maximum(a, b)


def larger(a: Array, b: Array) -> Array:
    """Return a where it is larger, else b; so b where either is NaN."""
    return np.where(a > b, a, b)


def choose_equal(a: Array, b: Array, yes: Array, no: Array) -> Array:
    """Return yes where a equals b, else no."""
    return np.where(a == b, yes, no)


def in_order(a: Array, b: Array, count: int) -> bool:
    """Whether of the first `count` numbers, all of a are above -inf and none of b is NaN."""
    return bool(np.all((a > -np.inf) & (b == b) | (np.arange(WIDTH) >= count)))


def relu(v: Array) -> Array:
    """Return the numbers, with 0 for those below 0."""
    return np.where(v < 0, np.float32(0), v)


def sum_first(v: Array, count: int) -> Any:
    """Return the sum of the first `count` numbers, added from the first to the last."""
    result = np.float32(0)
    for number in v[:count]:
        result += number
    return result


def sum_lanes(v: Array) -> Any:
    """Return the sum of the 16 numbers, in any order."""
    return v.sum()


def keep_last(v: Array, count: int) -> Array:
    """Return the last `count` numbers, with 0 for all before them."""
    return np.where(np.arange(WIDTH) < WIDTH - count, np.float32(0), v)


def keep_first(v: Array, count: int) -> Array:
    """Return the first `count` numbers, with 0 for all after them."""
    return np.where(np.arange(WIDTH) < count, v, np.float32(0))


def keep_positive(v: Array, sign: Array) -> Array:
    """Return v where `sign` is above 0, else 0."""
    return np.where(sign > 0, v, np.float32(0))


def prefetch(row: Array, i: int) -> None:
    """Prefetch the cache line of row[i]; i may lie beyond the end."""


# The LLVM instructions of each function

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, WIDTH)
_HALF = ir.VectorType(_FLOAT, HALF)
_INDEX = ir.IntType(32)


class VectorType(types.Type):
    """A vector of 16 or 8 numbers of float32."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"vector(float32, {width})")


vector, half = VectorType(WIDTH), VectorType(HALF)


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any):
        super().__init__(manager, kind, ir.VectorType(_FLOAT, kind.width))  # type: ignore[no-untyped-call]


def _address(builder: Any, data: Any, i: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(data, [i]), kind.as_pointer())


def _load(builder: Any, data: Any, i: Any, kind: Any = _VECTOR) -> Any:
    value = builder.load(_address(builder, data, i, kind))
    value.align = 4
    return value


def _fill(builder: Any, number: Any, kind: Any = _VECTOR) -> Any:
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, _INDEX(0))
    return builder.shuffle_vector(first, first, _lanes([0] * kind.count))


def _lanes(numbers: Any) -> Any:
    numbers = list(numbers)
    return ir.Constant(ir.VectorType(_INDEX, len(numbers)), numbers)


def _zero(kind: Any) -> Any:
    return ir.Constant(kind, [0.0] * kind.count)


@emits(load, vector, types.Array, types.Integer)
def _emit_load(builder: Any, data: Any, i: Any) -> Any:
    return _load(builder, data, i)


@emits(load_half, half, types.Array, types.Integer)
def _emit_load_half(builder: Any, data: Any, i: Any) -> Any:
    return _load(builder, data, i, _HALF)


@emits(at, lambda row, i: row.dtype, types.Array, types.Integer)
def _emit_at(builder: Any, data: Any, i: Any) -> Any:
    return builder.load(builder.gep(data, [i]))


@emits(load_even, vector, types.Array, types.Integer)
def _emit_load_even(builder: Any, data: Any, i: Any) -> Any:
    halves = [_load(builder, data, builder.add(i, i.type(skip))) for skip in (0, WIDTH)]
    return builder.shuffle_vector(*halves, _lanes(range(0, 2 * WIDTH, 2)))


def _keep(builder: Any, mask: Any, v: Any, outside: Any) -> Any:
    bits = builder.bitcast(
        builder.trunc(mask, ir.IntType(WIDTH)), ir.VectorType(ir.IntType(1), WIDTH)
    )
    return builder.select(bits, v, _fill(builder, outside))


@emits(load_kept, vector, types.Array, types.Integer, types.Integer, types.Float)
def _emit_load_kept(builder: Any, data: Any, i: Any, mask: Any, outside: Any) -> Any:
    return _keep(builder, mask, _emit_load(builder, data, i), outside)


def _inside(builder: Any, place: Any, length: Any) -> Any:
    """Return which of place, place + 1, ... are in range(length).

    The comparison is unsigned, so negative numbers count as large ones.
    """
    kind = ir.VectorType(_INDEX, WIDTH)
    place, length = (_fill(builder, builder.trunc(v, _INDEX), kind) for v in (place, length))
    return builder.icmp_unsigned("<", builder.add(place, _lanes(range(WIDTH))), length)


def _kind_in_memory(data: Any) -> tuple[Any, str]:
    """Return the vector type of an array's numbers, float32 or uint8, and its name in LLVM."""
    number = data.type.pointee
    name = "f32" if number == _FLOAT else f"i{number.width}"
    return ir.VectorType(number, WIDTH), f"v{WIDTH}{name}"


@emits(load_inside, vector, types.Array, *[types.Integer] * 3, types.Float)
def _emit_load_inside(
    builder: Any, data: Any, i: Any, place: Any, length: Any, outside: Any
) -> Any:
    kind, name = _kind_in_memory(data)
    address, mask = _address(builder, data, i, kind), _inside(builder, place, length)
    if kind != _VECTOR:
        outside = builder.fptoui(outside, kind.element)
    values = [address, _INDEX(1), mask, _fill(builder, outside, kind)]
    signature = ir.FunctionType(kind, [value.type for value in values])
    v = call(builder, f"llvm.masked.load.{name}.p0", signature, values)
    return v if kind == _VECTOR else builder.uitofp(v, _VECTOR)


@emits(evens, vector, VectorType, VectorType)
def _emit_evens(builder: Any, a: Any, b: Any) -> Any:
    return builder.shuffle_vector(a, b, _lanes(range(0, 2 * WIDTH, 2)))


@emits(odds, vector, VectorType, VectorType)
def _emit_odds(builder: Any, a: Any, b: Any) -> Any:
    return builder.shuffle_vector(a, b, _lanes(range(1, 2 * WIDTH, 2)))


@emits(later, vector, VectorType)
def _emit_later(builder: Any, v: Any) -> Any:
    return builder.shuffle_vector(v, v, _lanes([*range(1, WIDTH), WIDTH - 1]))


@emits(store_first, types.none, types.Array, types.Integer, VectorType, types.Integer)
def _emit_store_first(builder: Any, data: Any, i: Any, v: Any, count: Any) -> None:
    _emit_store_inside(builder, data, i, v, count.type(0), count)


@emits(store_inside, types.none, types.Array, types.Integer, VectorType, *[types.Integer] * 2)
def _emit_store_inside(builder: Any, data: Any, i: Any, v: Any, place: Any, length: Any) -> None:
    kind, name = _kind_in_memory(data)
    if kind != _VECTOR:
        v = builder.fptoui(v, kind)
    values = [v, _address(builder, data, i, kind), _INDEX(1), _inside(builder, place, length)]
    signature = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    call(builder, f"llvm.masked.store.{name}.p0", signature, values)


@emits(zip_first, vector, VectorType, VectorType)
def _emit_zip_first(builder: Any, a: Any, b: Any) -> Any:
    return builder.shuffle_vector(a, b, _lanes(k for i in range(HALF) for k in (i, i + WIDTH)))


@emits(zip_last, vector, VectorType, VectorType)
def _emit_zip_last(builder: Any, a: Any, b: Any) -> Any:
    places = range(HALF, WIDTH)
    return builder.shuffle_vector(a, b, _lanes(k for i in places for k in (i, i + WIDTH)))


@emits(store, types.none, types.Array, types.Integer, VectorType)
def _emit_store(builder: Any, data: Any, i: Any, v: Any) -> None:
    builder.store(v, _address(builder, data, i, v.type), align=4)


@emits(fill, vector, types.Float)
def _emit_fill(builder: Any, number: Any) -> Any:
    return _fill(builder, number)


@emits(fill_half, half, types.Float)
def _emit_fill_half(builder: Any, number: Any) -> Any:
    return _fill(builder, number, _HALF)


def _fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    kind = ir.FunctionType(b.type, [b.type] * 3)
    return call(builder, f"llvm.fmuladd.v{b.type.count}f32", kind, [a, b, c])


@emits(fma, lambda a, b, c: b, VectorType, VectorType, VectorType)
def _emit_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _fused(builder, a, b, c)


@emits(fma, lambda a, b, c: b, types.Float, VectorType, VectorType)
def _emit_fma_of_number(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return _fused(builder, _fill(builder, a, b.type), b, c)


@emits(add, lambda a, b: b, VectorType, VectorType)
def _emit_add(builder: Any, a: Any, b: Any) -> Any:
    return builder.fadd(a, b)


@emits(scale, lambda number, v: v, VectorType, VectorType)
def _emit_scale_by_vector(builder: Any, number: Any, v: Any) -> Any:
    return builder.fmul(number, v)


@emits(scale, lambda number, v: v, types.Float, VectorType)
def _emit_scale(builder: Any, number: Any, v: Any) -> Any:
    return builder.fmul(_fill(builder, number, v.type), v)


@emits(maximum, lambda a, b: b, VectorType, VectorType)
def _emit_maximum(builder: Any, a: Any, b: Any) -> Any:
    larger = builder.or_(builder.fcmp_ordered(">", a, b), builder.fcmp_unordered("!=", a, a))
    return builder.select(larger, a, b)


@emits(larger, lambda a, b: b, VectorType, VectorType)
def _emit_larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@emits(choose_equal, lambda a, b, yes, no: no, *[VectorType] * 4)
def _emit_choose_equal(builder: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    return builder.select(builder.fcmp_ordered("==", a, b), yes, no)


@emits(in_order, types.boolean, VectorType, VectorType, types.Integer)
def _emit_in_order(builder: Any, a: Any, b: Any, count: Any) -> Any:
    lowest = ir.Constant(_VECTOR, [float("-inf")] * WIDTH)
    fine = builder.and_(builder.fcmp_ordered(">", a, lowest), builder.fcmp_ordered("ord", b, b))
    unused = builder.not_(_inside(builder, count.type(0), count))
    bits = builder.bitcast(builder.or_(fine, unused), ir.IntType(WIDTH))
    return builder.icmp_unsigned("==", bits, bits.type(-1))


@emits(relu, lambda v: v, VectorType)
def _emit_relu(builder: Any, v: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", v, _zero(v.type)), _zero(v.type), v)


@emits(sum_first, types.float32, VectorType, types.Integer)
def _emit_total(builder: Any, v: Any, count: Any) -> Any:
    result = _FLOAT(0.0)
    for lane in range(WIDTH):
        number = builder.extract_element(v, _INDEX(lane))
        counts = builder.icmp_signed(">", count, count.type(lane))
        result = builder.fadd(result, builder.select(counts, number, _FLOAT(0.0)))
    return result


@emits(sum_lanes, types.float32, VectorType)
def _emit_add_up(builder: Any, v: Any) -> Any:
    kind = ir.FunctionType(_FLOAT, [_FLOAT, _VECTOR])
    name = f"llvm.vector.reduce.fadd.v{WIDTH}f32"
    return call(builder, name, kind, [_FLOAT(0.0), v], fastmath=("reassoc",))


@emits(keep_last, vector, VectorType, types.Integer)
def _emit_keep_last(builder: Any, v: Any, count: Any) -> Any:
    lanes = ir.VectorType(_INDEX, WIDTH)
    start = builder.insert_element(
        ir.Constant(lanes, ir.Undefined),
        builder.sub(_INDEX(WIDTH), builder.trunc(count, _INDEX)),
        _INDEX(0),
    )
    start = builder.shuffle_vector(start, start, _lanes([0] * WIDTH))
    kept = builder.icmp_signed(">=", _lanes(range(WIDTH)), start)
    return builder.select(kept, v, _zero(v.type))


@emits(keep_first, vector, VectorType, types.Integer)
def _emit_keep_first(builder: Any, v: Any, count: Any) -> Any:
    return builder.select(_inside(builder, count.type(0), count), v, _zero(v.type))


@emits(keep_positive, vector, VectorType, VectorType)
def _emit_keep_positive(builder: Any, v: Any, sign: Any) -> Any:
    zero = _zero(v.type)
    return builder.select(builder.fcmp_ordered(">", sign, zero), v, zero)


@emits(prefetch, types.none, types.Array, types.Integer)
def _emit_prefetch(builder: Any, data: Any, i: Any) -> None:
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    address = builder.bitcast(builder.gep(data, [i]), byte)
    call(builder, "llvm.prefetch.p0", kind, [address, number(0), number(2), number(1)])
