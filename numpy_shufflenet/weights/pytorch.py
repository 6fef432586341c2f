"""Files of PyTorch, without PyTorch: both formats of `torch.save`, and pickles of NumPy arrays.

A zip file (since PyTorch 1.6) holds a pickle, `data.pkl`, and each storage as a file, `data/KEY`.
The older format is a sequence of pickles: a magic number, the version, sizes of types, the object,
and the keys of the storages. Then follow, for each key, the number of elements as int64, and the
elements.

In both formats, the pickle describes a tensor by the key of its storage, an offset, a shape and
strides, so tensors may share a storage. For this, the pickle names functions of PyTorch. `GLOBALS`
lists all names that it may use, and a function of this file for each. Every other name is refused,
so no code that a file names is ever run.

PaddlePaddle's .pdparams is one pickle of NumPy arrays. This file reads it, too.
"""

import io
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from numpy_shufflenet._files import PathLike, write_bytes
from numpy_shufflenet._pickles import MOST, NUMBERS, StoredArray, array_globals, load_pickle
from numpy_shufflenet._typing import Array
from numpy_shufflenet.weights._arrays import MOST_AXES, Allowance, from_bfloat16

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # of the older format
DEEPEST = 8  # dicts within dicts


# For each dtype of PyTorch: the code of NumPy's dtype, and the class of storages, if there is one.
DTYPES = {
    "float64": ("f8", "DoubleStorage"),
    "float32": ("f4", "FloatStorage"),
    "float16": ("f2", "HalfStorage"),
    "bfloat16": ("u2", "BFloat16Storage"),  # read as the upper half of a float32
    "int64": ("i8", "LongStorage"),
    "int32": ("i4", "IntStorage"),
    "int16": ("i2", "ShortStorage"),
    "int8": ("i1", "CharStorage"),
    "uint64": ("u8", ""),
    "uint32": ("u4", ""),
    "uint16": ("u2", ""),
    "uint8": ("u1", "ByteStorage"),
    "bool": ("b1", "BoolStorage"),
    "complex64": ("c8", "ComplexFloatStorage"),
    "complex128": ("c16", "ComplexDoubleStorage"),
}


@dataclass(frozen=True)
class StoredTensor:
    """What a pickle says of a tensor: which elements of a storage belong to the tensor."""

    storage: str
    dtype: str
    offset: int = 0
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()


class _Ignored:
    """Replaces an object that holds no weights, such as the arguments of a training."""

    def __init__(self, *_: Any) -> None:
        pass

    def set_state(self, state: Any) -> None:
        pass


def _rebuild_tensor(
    storage: StoredTensor, offset: int, shape: Any, strides: Any, *rest: Any
) -> StoredTensor:
    """Replace torch._utils._rebuild_tensor and _v2; `rest` is requires_grad, hooks, metadata."""
    numbers = (offset, *shape, *strides)
    whole = all(type(n) is int and n >= 0 for n in numbers) and len(shape) == len(strides)
    if not isinstance(storage, StoredTensor) or not whole:
        raise ValueError(f"it holds a tensor of shape {shape!r:.60} and strides {strides!r:.60}")
    if any(rest[2:]):
        raise ValueError("it holds a conjugated or negated view, which is not read")
    return replace(storage, offset=offset, shape=tuple(shape), strides=tuple(strides))


def _rebuild_tensor_v3(storage: StoredTensor, *arguments: Any) -> StoredTensor:
    """Replace the function for dtypes that have no class of storage."""
    offset, shape, strides, requires_grad, hooks, dtype, *metadata = arguments
    if dtype not in DTYPES:
        raise ValueError(f"it holds a tensor of dtype {dtype!s:.60}")
    storage = replace(storage, dtype=dtype)
    return _rebuild_tensor(storage, offset, shape, strides, requires_grad, hooks, *metadata)


def _rebuild_from_type(function: Any, kind: Any, arguments: Any, attributes: Any) -> StoredTensor:
    """Replace the function for tensors that have attributes, and for buffers."""
    if function not in (_rebuild_tensor, _rebuild_tensor_v3, _rebuild_parameter):
        raise ValueError("it holds a tensor that is made in an unknown way")
    return function(*arguments)


def _rebuild_parameter(tensor: StoredTensor, *_: Any) -> StoredTensor:
    return tensor


GLOBALS = {
    **array_globals(NUMBERS),
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    ("torch", "Tensor"): _Ignored,
    ("torch.nn.parameter", "Parameter"): _Ignored,
    ("torch.nn.parameter", "Buffer"): _Ignored,
    ("torch.storage", "UntypedStorage"): "uint8",
    **{("torch", dtype): dtype for dtype in DTYPES},
    **{
        (module, storage): dtype
        for module in ("torch", "torch.cuda")
        for dtype, (_, storage) in DTYPES.items()
        if storage
    },
    ("torch", "Size"): lambda shape: tuple(shape),
    ("torch", "device"): _Ignored,
    ("argparse", "Namespace"): _Ignored,
    ("collections", "Counter"): lambda *_: {},
}


def read_torch(path: Path) -> dict[str, Array]:
    """Return all tensors in the dicts and lists of a file, by their keys: "state_dict.fc.weight".

    float16 and bfloat16 become float32. What is neither a tensor nor an array is left out.
    """
    size = path.stat().st_size
    allowance = Allowance(size)
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            with zipfile.ZipFile(file) as archive:
                return _arrays(*_open_zip(archive, size, allowance), allowance)
    return _arrays(*_open_pickles(path.read_bytes()), allowance)


Stored: TypeAlias = StoredTensor | StoredArray
Buffers: TypeAlias = Callable[[str], Any]  # the bytes of a storage, by its key
Opened: TypeAlias = tuple[dict[str, Stored], Buffers, str]  # "<" or ">": the order of bytes


def _open_zip(archive: zipfile.ZipFile, size: int, allowance: Allowance) -> Opened:
    members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    kept: dict[str, bytes] = {}

    def read(name: str) -> bytes:
        if name not in kept:
            if name not in members:
                raise ValueError(f"it lacks {name}, which torch.save writes")
            info = members[name]
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > size:
                raise ValueError(f"its member {name} is compressed, or larger than the file")
            allowance.spend(name, (info.file_size,), 1)
            if not info.CRC:  # PyTorch was told to leave checksums out
                info.CRC = None  # type: ignore[assignment]
            kept[name] = archive.read(info)
        return kept[name]

    if "constants.pkl" in members:
        raise ValueError("it is a program of TorchScript; a file of its state_dict() is needed")
    found = _tensors(load_pickle(read("data.pkl"), GLOBALS, _storage))
    big = "byteorder" in members and read("byteorder") == b"big"
    return found, lambda key: read(f"data/{key}"), ">" if big else "<"


def _open_pickles(data: bytes) -> Opened:
    file = io.BytesIO(data)
    first = load_pickle(file, GLOBALS)
    if first != MAGIC:
        return _tensors(first), lambda key: b"", "<"
    if load_pickle(file, {}) != VERSION:
        raise ValueError("it is of an unknown version of PyTorch's format")
    system = load_pickle(file, {})
    dtypes: dict[str, str] = {}

    def storage(identity: Any) -> StoredTensor:
        described = _storage(identity)
        dtypes[described.storage] = described.dtype
        return described

    found = _tensors(load_pickle(file, GLOBALS, storage))
    keys = load_pickle(file, {})
    if not isinstance(keys, list) or sorted(map(_text, keys)) != sorted(dtypes):
        raise ValueError("its storages are not those that its tensors need")
    buffers: dict[str, Any] = {}
    for key in map(_text, keys):
        count = int.from_bytes(file.read(8), "little", signed=True)
        start = file.tell()
        end = start + count * np.dtype(DTYPES[dtypes[key]][0]).itemsize
        if not start <= end <= len(data):
            raise ValueError(f"storage {key} claims {count} numbers; the file is too small for it")
        buffers[key] = memoryview(data)[start:end]
        file.seek(end)
    little = not isinstance(system, dict) or system.get("little_endian", True)
    return found, buffers.__getitem__, "<" if little else ">"


def _text(value: Any) -> str:
    """Return a string; Python 2 wrote strings as bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _storage(identity: Any) -> StoredTensor:
    """Return a whole storage from its ID: ("storage", class, key, device, elements, view).

    A storage without a tensor is read as an array with one axis.
    """
    match identity:
        case (_, str() as dtype, str() | bytes() as key, _, int() as count, *view) if (
            dtype in DTYPES and count >= 0 and view in ([], [None])
        ):
            return StoredTensor(_text(key), dtype, 0, (count,), (1,))
    raise ValueError(f"it refers to {identity!s:.60}, which is not a storage")


def _tensors(loaded: Any) -> dict[str, Stored]:
    """Return the tensors and arrays of nested dicts and lists, with dotted names."""
    if not isinstance(loaded, dict):
        single = isinstance(loaded, StoredTensor | StoredArray)
        kind = "single tensor" if single else type(loaded).__name__
        raise ValueError(f"it holds a {kind}; a dict of tensors is needed")
    left = MOST

    def walk(value: Any, name: str, depth: int) -> Iterator[tuple[str, Stored]]:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEEPEST:
            raise ValueError(f"its dicts are nested deeper than {DEEPEST}, or hold too much")
        if isinstance(value, StoredTensor | StoredArray):
            yield name, value
        elif isinstance(value, dict | list | tuple):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                yield from walk(item, f"{name}.{_text(key)}" if name else _text(key), depth + 1)

    found: dict[str, Stored] = {}
    for name, value in walk(loaded, "", 0):
        if name in found:
            raise ValueError(f"it holds two arrays whose keys make the name {name}")
        found[name] = value
    return found


def _arrays(
    found: Mapping[str, Stored], buffers: Buffers, order: str, allowance: Allowance
) -> dict[str, Array]:
    """Return new contiguous arrays in the machine's order of bytes."""
    arrays = {}
    for name, value in found.items():
        if isinstance(value, StoredTensor):
            view = _view(name, value, buffers(value.storage), order)
        else:
            view = value.values
        allowance.spend(name, view.shape, max(4, view.itemsize))
        native = view.dtype.newbyteorder("=")
        if isinstance(value, StoredTensor) and value.dtype == "bfloat16":
            arrays[name] = from_bfloat16(view)
        else:
            arrays[name] = view.astype(np.float32 if native == np.float16 else native, order="C")
    return arrays


def _view(name: str, tensor: StoredTensor, buffer: bytes, order: str) -> Array:
    """Return a tensor's numbers as a view of its storage, which takes no memory."""
    dtype = np.dtype(order + DTYPES[tensor.dtype][0])
    shape, strides, offset = tensor.shape, tensor.strides, tensor.offset
    if len(shape) > MOST_AXES or max(shape, default=0) >= 2**62:
        raise ValueError(f"{name} has shape {shape!s:.60}, which is too large")
    if 0 in shape:
        return np.broadcast_to(np.zeros((), dtype), shape)
    end = offset + 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if end * dtype.itemsize > len(buffer):
        raise ValueError(
            f"{name} needs {end} numbers of its storage, which has {len(buffer) // dtype.itemsize}"
        )
    flat = np.frombuffer(buffer, dtype, end - offset, offset * dtype.itemsize)
    # The stride of an axis of length 1 plays no role, and may be any number.
    in_bytes = [
        step * dtype.itemsize if n > 1 else 0 for n, step in zip(shape, strides, strict=True)
    ]
    return np.lib.stride_tricks.as_strided(flat, shape, in_bytes)


def write_torch(path: PathLike, arrays: Mapping[str, Array]) -> None:
    """Write the zip file that `torch.save` writes for a dict of tensors; `torch.load` reads it."""
    kinds = (kind for name, kind in DTYPES.items() if name != "bfloat16")
    storages = {np.dtype(code): storage for code, storage in kinds}
    pickled = [b"\x80\x02}("]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number, (name, array) in enumerate(arrays.items()):
            array = np.asarray(array, order="C")
            if not storages.get(array.dtype):
                raise ValueError(f"{name} has dtype {array.dtype}; PyTorch has no storage for it")
            strides = tuple(step // array.itemsize for step in array.strides)
            # ("storage", class, key, device, elements), then what _rebuild_tensor_v2 takes.
            pickled += [
                *(_pickled(name), b"ctorch._utils\n_rebuild_tensor_v2\n((", _pickled("storage")),
                *(b"ctorch\n", storages[array.dtype].encode(), b"\n"),
                *(_pickled(str(number)), _pickled("cpu"), _pickled(array.size), b"tQ"),
                *(_pickled(0), _pickled(array.shape), _pickled(strides)),
                b"\x89ccollections\nOrderedDict\n)RtR",
            ]
            archive.writestr(zipfile.ZipInfo(f"archive/data/{number}"), array.tobytes())
        members = {
            "data.pkl": b"".join(pickled) + b"u.",
            "byteorder": sys.byteorder.encode(),
            "version": b"3\n",
        }
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    write_bytes(path, content.getvalue())


def _pickled(value: str | int | tuple[int, ...]) -> bytes:
    """Return a value's pickle without the instructions that begin and end every pickle."""
    return pickle.dumps(value, 2)[2:-1]
