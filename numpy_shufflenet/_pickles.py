"""Reads pickles of plain types and of arrays, without running code from the file.

A pickle is a program for a machine with a stack and a memo (numbered variables).
`pickle.Unpickler` runs any program. A malicious program can call any function, fill the memory with
a memo of 10^9 entries, or overflow the C stack with the hash of a deeply nested tuple. This reader
runs only the instructions for dicts, lists, strings and numbers. It looks up each global that a
pickle names in a table from the caller, and calls nothing else. `array_globals` returns a table of
the functions that Python and NumPy use to pickle arrays and bytes.
"""

import io
import math
import pickletools
import warnings
from collections.abc import Callable, Mapping
from typing import IO, Any, TypeAlias

import numpy as np

from numpy_shufflenet._typing import Array

Globals: TypeAlias = Mapping[tuple[str, str], Any]
"""What stands in for a global, by module and name."""

MOST = 400_000  # instructions: a batch of CIFAR-10 has 30,000, and pickled again up to 270,000
WHOLE_NUMBERS = frozenset(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))
NUMBERS = WHOLE_NUMBERS | {"f2", "f4", "f8", "b1"}
VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
MARK = object()


def load_pickle(
    data: bytes | IO[bytes],
    admitted: Globals,
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """Return what a pickle holds.

    Strings of Python 2 are bytes. Arrays are `StoredArray`s; attributes of dicts are
    left out.

    Parameters
    ----------
    data : bytes, or a file
        A file is read up to the end of the pickle. It must hold its bytes in memory, as a
        `BytesIO` does: a pickle may ask for 10^12 bytes at once.
    admitted : dict
        What stands in for each global that the pickle may name; it may call those of them that
        are callable.
    persistent_load : callable, optional
        Returns the object that a persistent ID stands for.

    Raises
    ------
    ValueError
        If the pickle is truncated, or names or holds anything else.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes in strings that make no sense
            return _run(
                io.BytesIO(data) if isinstance(data, bytes) else data, admitted, persistent_load
            )
    except (ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"it is no pickle of arrays and plain types: {error}") from error
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("it is no pickle: its instructions make no sense") from error


class StoredDtype:
    """Stands in for numpy.dtype: keeps the code, such as "u1", and the order of bytes."""

    def __init__(self, code: str | bytes, codes: frozenset[str]) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else code
        self.order = "="
        if self.code not in codes:
            kind = "integers" if codes is WHOLE_NUMBERS else "numbers"
            raise ValueError(f"it holds an array of dtype {self.code!r}, not of {kind}")

    def set_state(self, state: Any) -> None:
        _, order, *_ = _of_kind(state, tuple)
        self.order = order.decode("latin1") if isinstance(order, bytes) else order
        if self.order not in ("<", ">", "|", "="):
            raise ValueError(f"it holds an array with the byte order {self.order!r}")

    def array(self, data: Any, shape: Any, order: str) -> Array:
        whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if not whole or not isinstance(data, bytes | bytearray):
            raise ValueError("it holds an array without a shape, or without data")
        dtype = np.dtype(self.order + self.code)
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"it holds an array of shape {shape} in {len(data)} bytes")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


class StoredArray:
    """Stands in for numpy.ndarray."""

    values: Array = np.empty(0, np.uint8)

    def __init__(self, *_: Any) -> None:
        pass

    def set_state(self, state: Any) -> None:
        _, shape, dtype, fortran, data = _of_kind(state, tuple)
        self.values = dtype.array(data, shape, "F" if fortran else "C")


def unboxed(value: Any) -> Any:
    """Return the array of a StoredArray, and anything else as it is."""
    return value.values if isinstance(value, StoredArray) else value


def _frombuffer(data: Any, dtype: StoredDtype, shape: Any, order: str) -> StoredArray:
    array = StoredArray()
    array.values = dtype.array(data, shape, order)
    return array


def _scalar(dtype: StoredDtype, data: Any) -> Any:
    return dtype.array(data, (1,), "C")[0].item()


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"it encodes a string by {encoding!r}")
    return text.encode("latin1")


def _bytes(data: bytes | str = b"", encoding: str = "latin1") -> bytes:
    return _encode(data, encoding) if isinstance(data, str) else bytes(_of_kind(data, bytes))


def array_globals(codes: frozenset[str]) -> Globals:
    """Return the globals by which Python 2 and 3, and NumPy 1 and 2, write arrays, bytes, dicts.

    That not even NumPy's own code meets the pickled state also spares a warning: Python 2 wrote
    flags of dtypes as 0 and 1, which NumPy 2.4 wants as booleans.

    Parameters
    ----------
    codes : frozenset of str
        Of the dtypes that arrays may have: WHOLE_NUMBERS or NUMBERS.
    """
    return {
        ("numpy", "ndarray"): StoredArray,
        ("numpy", "dtype"): lambda code, *_: StoredDtype(code, codes),
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): lambda: {},
        **{
            (f"numpy.{core}.{module}", name): function
            for core in ("core", "_core")
            for module, name, function in (
                ("multiarray", "_reconstruct", StoredArray),
                ("multiarray", "scalar", _scalar),
                ("numeric", "_frombuffer", _frombuffer),
            )
        },
        **{
            (module, name): _bytes
            for module in ("builtins", "__builtin__")
            for name in ("bytes", "bytearray")
        },
    }


def _of_kind(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it has a {type(value).__name__} where a {kind.__name__} is needed")
    return value


def _filled(into: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | bytes | int):
            raise ValueError(f"it has a {type(key).__name__} as a key")
        into[key] = value
    return into


def _run(file: IO[bytes], admitted: Globals, persistent_load: Callable[[Any], Any] | None) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        items: list[Any] = []
        while (item := stack.pop()) is not MARK:
            items.append(item)
        return items[::-1]

    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if count > MOST:
            raise ValueError(f"it has more than {MOST:,} instructions")
        name = opcode.name
        if name in ("PROTO", "FRAME", "READONLY_BUFFER"):
            pass
        elif name == "STOP":
            return stack.pop()
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in ("STRING", "BINSTRING", "SHORT_BINSTRING"):  # of Python 2
            stack.append(argument.encode("latin1") if isinstance(argument, str) else argument)
        elif name in VALUES:
            stack.append(argument)
        elif name == "MARK":
            stack.append(MARK)
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            since_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"D": dict, "L": list, "T": tuple}[name[6]]())
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            size = int(name[-1])
            stack[-size:] = [tuple(stack[-size:])]
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name == "LIST":
            stack.append(since_mark())
        elif name == "DICT":
            stack.append(_filled({}, since_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else since_mark()
            _of_kind(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else since_mark()
            _filled(_of_kind(stack[-1], dict), items)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "GLOBAL":
                module, _, attribute = argument.partition(" ")
            else:
                attribute, module = stack.pop(), stack.pop()
            if (module, attribute) not in admitted:
                raise ValueError(f"it names {module}.{attribute}, which is not allowed")
            stack.append(admitted[module, attribute])
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            if not any(function is known for known in admitted.values()):
                raise ValueError(f"it calls a {type(function).__name__}")
            stack.append(function(*_of_kind(arguments, tuple)))
        elif name == "BINPERSID" and persistent_load is not None:
            stack.append(persistent_load(stack.pop()))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], dict):
                stack[-1].set_state(state)
        else:
            raise ValueError(f"it has the instruction {name}, which is not allowed")
    raise ValueError("pickle data was truncated")
