"""NumPy's archives: a zip file in which each array is a member NAME.npy."""

import io
import math
import tokenize
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet._files import PathLike, write_bytes
from numpy_shufflenet._typing import Array
from numpy_shufflenet.weights._arrays import Allowance

KINDS = "fiubc"  # the kinds of dtypes that are numbers
READ_HEADER: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: Path) -> dict[str, Array]:
    """Return the arrays of an archive. float16 becomes float32.

    Every header is compared with the size of its member before an array is made.
    """
    allowance = Allowance(path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        return {
            info.filename.removesuffix(".npy"): _member(archive, info, allowance)
            for info in archive.infolist()
        }


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, allowance: Allowance) -> Array:
    name = info.filename
    allowance.spend(name, (info.file_size,), 1)
    with archive.open(info) as file:
        data = io.BytesIO(file.read(info.file_size))
    version = np.lib.format.read_magic(data)
    if version not in READ_HEADER:
        raise ValueError(f"{name} is of version {version}; (1, 0) and (2, 0) are read")
    try:
        shape, fortran, dtype = READ_HEADER[version](data)
    except (SyntaxError, tokenize.TokenError, TypeError, RecursionError) as error:
        raise ValueError(f"the header of {name} is damaged: {error}") from error
    if dtype.kind not in KINDS or dtype.hasobject:
        raise ValueError(f"{name} has dtype {dtype}; numbers are needed")
    allowance.spend(name, shape, max(4, dtype.itemsize))
    count, left = math.prod(shape), info.file_size - data.tell()
    if count * dtype.itemsize != left:
        raise ValueError(f"{name} claims shape {shape} of {dtype}, but has {left} bytes")
    array = np.frombuffer(data.getvalue(), dtype, count, data.tell())
    array = array.reshape(shape, order="F" if fortran else "C")
    native = dtype.newbyteorder("=")
    return array.astype(np.float32 if native == np.float16 else native, order="C")


def write_npz(path: PathLike, arrays: Mapping[str, Array]) -> None:
    """Write an archive without compression, which would hardly make weights smaller."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    write_bytes(path, content.getvalue())
