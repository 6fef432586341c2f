"""Reads pickles of plain types and of integer arrays, without running code from the file.

A pickle is a program for a machine with a stack and a memo (numbered variables).
`pickle.Unpickler` runs any program. A malicious program can call any function, fill the memory with
a memo of 10^9 entries, or overflow the C stack with the hash of a deeply nested tuple. This reader
runs only the instructions for dicts, lists, strings and numbers. It calls only the functions in
CALLABLE, which replace the functions that Python and NumPy use to pickle arrays and bytes.
"""

import math
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array

# Most instructions. A batch of CIFAR-10 has 30,000, or up to 270,000 if it was pickled again.
MOST = 400_000
DTYPES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}
VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
MARK = object()


def load_pickle(data: bytes) -> Any:
    """Return the content of a pickle. Strings of Python 2 become bytes, NumPy scalars become ints.

    Raises
    ------
    ValueError
        If the pickle is truncated, or holds anything but plain types and integer arrays.
    """
    try:
        loaded = _run(data)
    except (ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"it is no pickle of arrays and plain types: {error}") from error
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("it is no pickle: its instructions make no sense") from error
    if not isinstance(loaded, dict):
        return loaded
    return {key: v.values if isinstance(v, _Array) else v for key, v in loaded.items()}


class _Dtype:
    """Replaces numpy.dtype: stores the code, such as "u1", and the byte order."""

    def __init__(self, code: str | bytes, *_: Any) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else code
        self.order = "="
        if self.code not in DTYPES:
            raise ValueError(f"it holds an array of dtype {self.code!r}, not of integers")

    def set_state(self, version: Any, order: str | bytes, *_: Any) -> None:
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


class _Array:
    """Replaces numpy.ndarray."""

    values: Array = np.empty(0, np.uint8)

    def __init__(self, *_: Any) -> None:
        pass

    def set_state(self, version: Any, shape: Any, dtype: _Dtype, fortran: Any, data: Any) -> None:
        self.values = dtype.array(data, shape, "F" if fortran else "C")


def _frombuffer(data: Any, dtype: _Dtype, shape: Any, order: str) -> _Array:
    array = _Array()
    array.values = dtype.array(data, shape, order)
    return array


def _scalar(dtype: _Dtype, data: Any) -> int:
    return int(dtype.array(data, (1,), "C")[0])


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"it encodes a string by {encoding!r}")
    return text.encode("latin1")


def _bytes(data: bytes | str = b"", encoding: str = "latin1") -> bytes:
    return _encode(data, encoding) if isinstance(data, str) else bytes(_of_kind(data, bytes))


# The names that Python 2 and 3, and NumPy 1 and 2, use to pickle arrays, bytes and dicts. NumPy's
# own functions would also warn: Python 2 wrote flags of dtypes as 0 and 1, but NumPy 2.4 expects
# booleans.
CALLABLE: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): lambda: {},
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _Array),
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


def _run(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        items: list[Any] = []
        while (item := stack.pop()) is not MARK:
            items.append(item)
        return items[::-1]

    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count > MOST:
            raise ValueError(f"it has more than {MOST:,} instructions")
        name = opcode.name
        if name in ("PROTO", "FRAME", "READONLY_BUFFER"):
            pass
        elif name == "STOP":
            return stack.pop()
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name in ("STRING", "BINSTRING", "SHORT_BINSTRING"):  # strings of Python 2
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
            if (module, attribute) not in CALLABLE:
                raise ValueError(f"it names {module}.{attribute}, which is not allowed")
            stack.append(CALLABLE[module, attribute])
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            if not any(function is allowed for allowed in CALLABLE.values()):
                raise ValueError(f"it calls a {type(function).__name__}")
            stack.append(function(*_of_kind(arguments, tuple)))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].set_state(*_of_kind(state, tuple))
        else:
            raise ValueError(f"it has the instruction {name}, which is not allowed")
    raise ValueError("pickle data was truncated")
