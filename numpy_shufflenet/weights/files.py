"""Files of weights: finds the format of a file, reads and writes files."""

import errno
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from numpy_shufflenet._files import PathLike, existing_file, expanded
from numpy_shufflenet._typing import Array
from numpy_shufflenet.weights.npz import read_npz, write_npz
from numpy_shufflenet.weights.onnx import read_onnx
from numpy_shufflenet.weights.pytorch import read_torch, write_torch
from numpy_shufflenet.weights.safetensors import read_safetensors, write_safetensors

SUFFIXES = {
    ".safetensors": "safetensors",
    ".npz": "npz",
    ".pth": "torch",
    ".pt": "torch",
    ".pdparams": "torch",
    ".onnx": "onnx",
}
TITLES = {
    **{"safetensors": "safetensors", "npz": "NumPy", "onnx": "ONNX"},
    "torch": "PyTorch or PaddlePaddle",
}
READERS = {"npz": read_npz, "torch": read_torch, "onnx": read_onnx}
ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    OSError,
)
LARGEST_HEADER = 100_000_000  # bytes, of a safetensors file
LARGEST_DIRECTORY = 2**21  # bytes, of a zip file: some 20,000 members


def load(path: PathLike) -> dict[str, Array]:
    """Read all arrays of a file by name, whatever its format and its suffix.

    The names are those of the file. Where PyTorch saved dicts within dicts, their names are joined
    with dots: "state_dict.conv1.0.weight". No code of a file is run, and PyTorch isn't needed.

    Parameters
    ----------
    path : path
        A file of safetensors, NumPy (.npz), PyTorch (.pth, .pt, both formats), PaddlePaddle
        (.pdparams) or ONNX. Of an ONNX file, the initialisers are read.

    Returns
    -------
    dict of str to array
        New arrays. float16 and bfloat16 have become float32; other dtypes are as stored.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If the package that reads safetensors or ONNX isn't installed.
    ValueError
        If the file is truncated or damaged, of another format, claims more than it holds, has a
        dtype that NumPy lacks, or its pickle calls functions that tensors don't need. The message
        names the file and the reason.
    """
    return read_weights(path)[0]


def read_weights(path: PathLike) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays as `load` does, and the metadata, which only safetensors files have."""
    path = existing_file(path, "a file of weights")
    try:
        kind = file_format(path)
        if kind == "safetensors":
            arrays, metadata = read_safetensors(path)
        else:
            arrays, metadata = READERS[kind](path), {}
        if not arrays:
            raise ValueError("it holds no arrays")
    except ZIP_ERRORS as error:
        # A damaged zip file may make Python seek to a position before its beginning: EINVAL.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ValueError(f"{path} is truncated, or a damaged zip file: {error}") from error
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error
    return arrays, metadata


def file_format(path: Path) -> str:
    """Return which reader a file needs: its first bytes tell, or else its suffix."""
    with path.open("rb") as file:
        head = file.read(9)
    if not head:
        raise ValueError("it is empty")
    # This test comes first: the length of the header may begin like a file of another format.
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") <= LARGEST_HEADER:
        return "safetensors"
    if head.startswith(b"PK"):
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        return "npz" if all(name.endswith(".npy") for name in names) else "torch"
    if head.startswith(b"\x80"):  # of a pickle
        return "torch"
    if path.suffix in SUFFIXES:
        return SUFFIXES[path.suffix]
    raise ValueError("it is not a file of safetensors, NumPy (.npz), PyTorch, or ONNX")


def _check_directory(path: Path) -> None:
    """Raise if the directory of a zip file is so large that reading it takes long."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**17))
        tail = file.read()
    # The record at the end of the file says the size; so does the zip64 record before it.
    for mark, place, width in ((b"PK\5\6", 12, 4), (b"PK\6\6", 40, 8)):
        at = tail.rfind(mark) + place
        size = int.from_bytes(tail[at : at + width], "little")
        if at >= place and LARGEST_DIRECTORY < size < path.stat().st_size:
            raise ValueError(f"its directory of members has {size:,} bytes, which is too many")


def save(
    path: PathLike, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Write arrays by name to a file whose suffix is .safetensors, .npz, .pth or .pt.

    Parameters
    ----------
    metadata : dict of str to str, optional
        Written to a safetensors file; other formats have no place for it.

    Raises
    ------
    ImportError
        If the package safetensors is needed and not installed.
    OSError
        If the file can't be written; path is then as it was.
    ValueError
        If the path has another suffix, or the format lacks an array's dtype.
    """
    suffix = expanded(path).suffix
    match SUFFIXES.get(suffix):
        case "safetensors":
            write_safetensors(path, arrays, dict(metadata or {}))
        case "npz":
            write_npz(path, arrays)
        case "torch" if suffix != ".pdparams":
            write_torch(path, arrays)
        case _:
            raise ValueError(
                f"path={str(path)!r} ends in {suffix!r}; .safetensors, .npz, .pth or .pt is needed"
            )
