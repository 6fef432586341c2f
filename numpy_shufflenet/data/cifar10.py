"""CIFAR-10: 50,000 training and 10,000 test images of ten classes, colour, 32 x 32.

Two versions are published, and both are read, unpacked or as .tar.gz:

- python: data_batch_1 .. data_batch_5 and test_batch, each a pickled dict; b"data" is (n, 3072)
  uint8, a row the red plane, then the green, then the blue; b"labels" is a list of n numbers.
- binary: the same names with .bin; a record is 1 byte of label, then 3072 of the three planes.

A pickle can run any code when it is loaded, so these go through an unpickler that knows nothing
but arrays of bytes and plain types.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import io
import pickle
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.data._check import PathLike, check_labels, existing
from numpy_shufflenet.data.dataset import Dataset

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5")
TEST_BATCH = "test_batch"
FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
PIXELS = 3 * 32 * 32


def load_cifar10(path: PathLike) -> tuple[Dataset, Dataset]:
    """Read the training and the test set from the python or the binary version.

    Parameters
    ----------
    path : path
        cifar-10-python.tar.gz, cifar-10-binary.tar.gz, or the directory that either unpacks to
        (or the one above it).

    Returns
    -------
    train, test : Dataset
        images (n, 3, 32, 32), the five training batches in their order.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If a batch is missing, truncated or something else; the message names it.
    """
    source = existing("path", path)
    parts: dict[str, tuple[Array, Array]] = {}  # by name of batch: images n 3 32 32, labels n
    for name, data in _files(source):
        if name in (*BATCHES, TEST_BATCH):
            parts[name] = _decode_pickle(f"{source}: {name}", data)
        elif name.removesuffix(".bin") in (*BATCHES, TEST_BATCH):
            # Where both versions lie side by side, they hold the same images.
            parts.setdefault(name.removesuffix(".bin"), _decode_binary(f"{source}: {name}", data))
    missing = [name for name in (*BATCHES, TEST_BATCH) if name not in parts]
    if missing:
        raise ValueError(f"path={str(path)!r} lacks {', '.join(missing)} of CIFAR-10")
    images, labels = zip(*(parts[name] for name in BATCHES), strict=True)
    train = Dataset(np.concatenate(images), np.concatenate(labels), CIFAR10_CLASSES)
    return train, Dataset(*parts[TEST_BATCH], CIFAR10_CLASSES)


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and bytes of each batch in a directory or an archive, one at a time."""
    wanted = {name + suffix for name in (*BATCHES, TEST_BATCH) for suffix in ("", ".bin")}
    if source.is_dir():
        inside = next((source / name for name in FOLDERS if (source / name).is_dir()), source)
        for path in sorted(inside.iterdir()):
            if path.name in wanted and path.is_file():
                yield path.name, path.read_bytes()
        return
    # Members are read, never unpacked: a name in an archive may point anywhere.
    # Going through them in order decompresses the archive once.
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                file = archive.extractfile(member) if name in wanted and member.isfile() else None
                if file is not None:
                    data = file.read()
                    if len(data) != member.size:
                        raise EOFError(f"{name} ends after {len(data)} of {member.size} bytes")
                    yield name, data
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{source} is not a complete tar archive: {error}") from error


def _decode_binary(where: str, data: bytes) -> tuple[Array, Array]:
    if not data or len(data) % (1 + PIXELS):
        raise ValueError(f"{where} has {len(data)} bytes, not whole records of {1 + PIXELS}")
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + PIXELS)  # n 1+3072
    labels = records[:, 0].astype(np.int64)  # n
    check_labels(where, labels, len(CIFAR10_CLASSES))
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), labels


def _decode_pickle(where: str, pickled: bytes) -> tuple[Array, Array]:
    try:
        batch = _BatchUnpickler(io.BytesIO(pickled), encoding="bytes").load()
    except Exception as error:  # damaged pickles raise errors of almost any kind
        raise ValueError(f"{where} is not a batch of CIFAR-10: {error}") from error
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= batch.keys():
        raise ValueError(f"{where} is not a dict with data and labels")
    data, values = batch[b"data"], batch[b"labels"]
    images = data.values if isinstance(data, _PickledArray) else np.empty(0)  # n 3072
    if images.shape[1:] != (PIXELS,) or not len(images):
        raise ValueError(f"{where}: data is not a uint8 array of shape (n, {PIXELS})")
    if not isinstance(values, list) or not all(type(label) is int for label in values):
        raise ValueError(f"{where}: labels is not a list of whole numbers")
    if len(values) != len(images):
        raise ValueError(f"{where} has {len(images)} images, but {len(values)} labels")
    labels = np.array(values, dtype=np.int64)  # n
    check_labels(where, labels, len(CIFAR10_CLASSES))
    return images.reshape(-1, 3, 32, 32).copy(), labels


class _PickledDtype:
    """Stands in for numpy.dtype: keeps the code, such as "u1", and ignores the rest."""

    def __init__(self, code: str | bytes, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        pass


class _PickledArray:
    """Stands in for numpy.ndarray: takes the bytes that were pickled, if they are unsigned."""

    values: Array = np.empty(0, np.uint8)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if dtype.code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"it holds an array of {dtype.code!r}, not of bytes")
        self.values = np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


# The archive names nothing else. That not even NumPy's own code meets the pickled state also
# spares a warning: Python 2 wrote flags of dtypes as 0 and 1, which NumPy 2.4 wants as booleans.
_ADMITTED: dict[tuple[str, str], type] = {
    ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledDtype,
}


class _BatchUnpickler(pickle.Unpickler):
    """Loads plain types and arrays of bytes, and refuses everything else."""

    def find_class(self, module: str, name: str) -> type:
        """Return the stand-in for what the pickle names."""
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not admitted")
        return _ADMITTED[module, name]
