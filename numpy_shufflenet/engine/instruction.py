"""Kinds of instructions: what a program consists of, and how the machine calls them.

    @instruction(WHOLE)
    def run_clear(it, arrays, turn):
        ...

`run_clear` is one kind of instruction. A program has a record of type WHOLE for each instruction of
this kind; `it` is this record. `arrays` are the arrays that all instructions work on. `turn` is the
piece of work to do, from 0 to `it.turns` - 1. Turns don't depend on each other.

A position is an index in `arrays.memory`. A field whose comment says "table" is an index in
`arrays.tables`: there begins a list of positions or slots, one for each row.

The machine calls the machine code of an instruction by its address. So only the kinds that a
program uses are compiled, and a new kind needs no change in the machine.
"""

import ctypes
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import lower_builtin, type_callable

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._compile import compiled, uninterrupted


class Arrays(NamedTuple):
    """The arrays that instructions work on."""

    memory: Array  # float32: all rows
    images: Array  # float32, (n, channels, pixels): the input of the network
    tables: Array  # int64: positions of rows, slots
    slots: Array  # float32, (slots, 6)
    parameter_gradients: Array  # float32: of all parameters, in reverse order
    moments: Array  # float64, (slots, PARTS, 3): count, mean, sum of squared deviations
    sums: Array  # float64, (slots, PARTS, 2): sums of g [y > low] and of g [y > low] (z - mean)
    scratch: Array  # float32: of this thread
    wide: Array  # float64: of this thread


def _example() -> Arrays:
    """Return arrays of the types that instructions are compiled for."""
    number, wide = np.zeros(0, np.float32), np.zeros(0)
    cube = wide.reshape(0, 1, 1)
    return Arrays(
        number, number.reshape(0, 1, 1), np.zeros(0, np.int64), number.reshape(0, 1), number, cube,
        cube, number, wide,
    )  # fmt: skip


class Instruction:
    """A kind of instruction.

    Attributes
    ----------
    name : str
    dtype : dtype
        The dtype of its records; the first field is `turns`.
    run : callable
        The compiled function, run(record, arrays, turn).
    """

    def __init__(self, function: Callable[..., None], dtype: Any):
        self.name = function.__name__.removeprefix("run_")
        self.dtype = dtype
        self.run: Any = compiled(function)

    @cached_property
    def address(self) -> int:
        """The address of its machine code, which is compiled or loaded on first use."""
        if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
            return id(self)
        record, arrays = numba.from_dtype(self.dtype), numba.typeof(_example())  # type: ignore[no-untyped-call]
        signature = types.void(record, arrays, types.int64)
        uninterrupted(self.run.compile, signature)
        machine_code = self.run.overloads[signature.args]
        found: int = machine_code.library.get_pointer_to_function(
            machine_code.fndesc.llvm_func_name
        )
        return found


INSTRUCTIONS: dict[str, Instruction] = {}
"""All kinds of instructions, by name."""


def instruction(dtype: Any) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that registers a function as a kind of instruction, and compiles it."""

    def decorate(function: Callable[..., None]) -> Any:
        kind = Instruction(function, dtype)
        INSTRUCTIONS[kind.name] = kind
        return kind.run

    return decorate


def call_turn(address: int, record: int, arrays: Arrays, turn: int) -> None:
    """Run one turn of an instruction, given the addresses of its machine code and its record."""
    kind = next(kind for kind in INSTRUCTIONS.values() if vars(kind).get("address") == address)
    room: Any = (ctypes.c_char * kind.dtype.itemsize).from_address(int(record))
    kind.run(np.frombuffer(room, kind.dtype).view(np.recarray)[0], arrays, turn)


@type_callable(call_turn)
def _type_call_turn(context: Any) -> Any:
    return lambda address, record, arrays, turn: types.none


@lower_builtin(call_turn, types.Integer, types.Integer, types.BaseTuple, types.Integer)  # type: ignore[no-untyped-call, untyped-decorator]
def _lower_call_turn(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    address, record, arrays, turn = values
    any_record = numba.from_dtype(np.dtype([("turns", np.int64)]))
    kinds = [any_record, signature.args[2], types.int64]
    kind = context.call_conv.get_function_type(types.none, kinds)
    pointer = builder.inttoptr(record, context.get_value_type(any_record))
    turn = context.cast(builder, turn, signature.args[3], types.int64)
    given = context.get_arg_packer(kinds).as_arguments(builder, [pointer, arrays, turn])
    # Numba's functions first take addresses for their result and for an exception.
    result, exception = (
        cgutils.alloca_once(builder, pointed.pointee)  # type: ignore[no-untyped-call]
        for pointed in kind.args[:2]
    )
    builder.call(builder.inttoptr(address, kind.as_pointer()), [result, exception, *given])
    return context.get_dummy_value()
