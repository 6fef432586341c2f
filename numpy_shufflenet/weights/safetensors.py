"""Reads and writes safetensors files with the package `safetensors`.

The package checks the sizes in a file before allocating memory. This module converts bfloat16,
which NumPy lacks, to float32, and raises an error that names tensors of other unknown dtypes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_shufflenet._files import PathLike, existing_file, write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import Array
from numpy_shufflenet.weights._arrays import check_count, from_bfloat16

FLOATS = "F64", "F32", "F16", "BF16"
LARGEST_HEADER = 2**23  # bytes
READ = (*FLOATS, "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")


def write_safetensors(
    path: PathLike, arrays: Mapping[str, Array], metadata: dict[str, str]
) -> None:
    """Write arrays and metadata to a file. If writing fails, the old file stays."""
    numpy_part = need("safetensors.numpy", "a checkpoint")
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_bytes(path, numpy_part.save(contiguous, metadata=metadata))


def read_safetensors(path: PathLike) -> tuple[dict[str, Array], dict[str, str]]:
    """Return a dict of the tensors, and the metadata. float16 and bfloat16 become float32."""
    safetensors = need("safetensors", "a checkpoint")
    path = existing_file(path, "a safetensors file")
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if LARGEST_HEADER < header < path.stat().st_size:
        raise ValueError(
            f"{path}: its header has {header:,} bytes; at most {LARGEST_HEADER:,} are read"
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            check_count(len(file.keys()))
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            for name, dtype in dtypes.items():
                if dtype not in READ:
                    known = ", ".join(READ)
                    raise ValueError(f"tensor {name!r} has dtype {dtype}; {known} are read")
            # The package can return bfloat16 only as bytes, for all tensors of the file at once.
            in_bytes: dict[str, Any] = {}
            if "BF16" in dtypes.values():
                in_bytes = dict(safetensors.deserialize(path.read_bytes()))
            arrays = {
                name: _widened(in_bytes[name]) if dtype == "BF16" else file.get_tensor(name)
                for name, dtype in dtypes.items()
            }
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is truncated, or not a safetensors file: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    halves = {name: a.astype(np.float32) for name, a in arrays.items() if a.dtype == np.float16}
    return arrays | halves, metadata


def _widened(tensor: dict[str, Any]) -> Array:
    """Return a bfloat16 tensor as float32."""
    return from_bfloat16(np.frombuffer(tensor["data"], "<u2")).reshape(tensor["shape"])
