"""Reading safetensors files: every size is checked before it is believed.

    8 bytes, little-endian: length of the header | the header, JSON | the tensors, end to end

    header: {"__metadata__": {str: str}, name: {"dtype": "F32", "shape": [2, 3],
             "data_offsets": [begin, end]}, ...}

The safetensors package writes these files, but reads no bfloat16 into NumPy.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet._files import expanded
from numpy_shufflenet._typing import Array
from numpy_shufflenet.data._check import PathLike

LARGEST_HEADER = 2**25  # bytes: the history of a million steps
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


def read(path: PathLike) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the tensors by name, and the metadata.

    The arrays are read-only views of the file, which fill no memory until they are read. float16
    and bfloat16 become float32.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, isn't a safetensors file, or holds a tensor of another dtype; the
        message names the file, and the tensor.
    """
    path = expanded(path)
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise FileNotFoundError(f"{path} {what}; a safetensors file is needed")
    try:
        header, start = _header(path)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is truncated, or not a safetensors file: {error}") from error
    metadata = header.pop("__metadata__", {})
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ValueError(
                f"{path}: tensor {name!r} has dtype {entry['dtype']}; {', '.join(DTYPES)} are read"
            )
    try:
        _check_layout(header, metadata, path.stat().st_size - start)
    except ValueError as error:
        raise ValueError(f"{path} is truncated, or not a safetensors file: {error}") from error
    return {name: _tensor(path, entry, start) for name, entry in header.items()}, metadata


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header, its entries of the right types, and where the tensors begin."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"its header has {length} bytes, and the file {size}")
        if length > LARGEST_HEADER:
            raise ValueError(f"its header has {length:,} bytes; up to {LARGEST_HEADER:,} are read")
        header = json.loads(file.read(length).decode())
    if not isinstance(header, dict):
        raise ValueError("its header is not an object of JSON")
    for name, entry in header.items():
        if name == "__metadata__":
            if not isinstance(entry, dict) or not all(isinstance(v, str) for v in entry.values()):
                raise ValueError("its metadata are not strings by name")
        elif (
            not isinstance(entry, dict)
            or entry.keys() != {"dtype", "shape", "data_offsets"}
            or not isinstance(entry["dtype"], str)
            or not _are_sizes(entry["shape"])
            or not _are_sizes(entry["data_offsets"])
            or len(entry["data_offsets"]) != 2
            or len(entry["shape"]) > 32
        ):
            raise ValueError(f"tensor {name!r} is described as {str(entry)[:100]}")
    return header, 8 + length


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _check_layout(header: dict[str, Any], metadata: dict[str, str], size: int) -> None:
    """Raise unless the tensors fill the file, each as long as its shape says."""
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        needed = math.prod(entry["shape"]) * np.dtype(DTYPES[entry["dtype"]]).itemsize
        if begin != end or stop - begin != needed:
            raise ValueError(
                f"tensor {name!r} of {entry['dtype']}, shape {entry['shape']}, lies at "
                f"{begin} to {stop}; {end} to {end + needed} is needed"
            )
        end = stop
    if end != size:
        raise ValueError(f"its tensors have {end} bytes, and the file has {size} for them")


def _tensor(path: Path, entry: dict[str, Any], start: int) -> Array:
    dtype, shape = entry["dtype"], tuple(entry["shape"])
    if 0 in shape:
        return np.zeros(shape, np.float32 if dtype in ("F16", "BF16") else DTYPES[dtype])
    stored = np.memmap(
        path, DTYPES[dtype], mode="r", offset=start + entry["data_offsets"][0], shape=shape
    ).view(np.ndarray)
    if dtype == "F16":
        return stored.astype(np.float32)
    if dtype == "BF16":  # the upper half of a float32
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return stored
