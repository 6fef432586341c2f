"""CIFAR-10: 50,000 training and 10,000 test images of ten classes, in colour, 32 x 32.

The set is published in two versions. `load_cifar10` reads both versions, unpacked or as .tar.gz:

- The python version has the files data_batch_1 to data_batch_5 and test_batch. Each file is a
  pickled dict. b"data" is a uint8 array (n, 3072): a row has all red values of an image, then the
  green and the blue values. b"labels" is a list of n integers.
- The binary version has files with the same names and .bin. Each image has 1 byte for the label,
  then 3072 bytes for its values in the same order.

Loading a pickle can run any code, so `_pickles` reads the pickles; it knows only arrays of integers
and plain types.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

import numpy as np

from numpy_shufflenet import _pickles
from numpy_shufflenet._files import PathLike
from numpy_shufflenet._typing import Array
from numpy_shufflenet.data._check import (
    check_labels,
    existing,
    opened_maybe_gzipped,
)
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
# Limits on the sizes in a file, about twice the published sizes.
LARGEST_BATCH = 64 * 2**20  # bytes
LARGEST_ARCHIVE = 384 * 2**20  # bytes, unpacked
MOST_MEMBERS = 1000
PIECE = 2**20  # the largest number of bytes in one read
GLOBALS = _pickles.array_globals(_pickles.WHOLE_NUMBERS)


def load_cifar10(path: PathLike) -> tuple[Dataset, Dataset]:
    """Read the training and the test set from the python or the binary version.

    Parameters
    ----------
    path : path
        cifar-10-python.tar.gz, cifar-10-binary.tar.gz, the unpacked directory, or the directory
        that contains the unpacked directory.

    Returns
    -------
    train, test : Dataset
        images (n, 3, 32, 32); `train` has the five training batches in order.

    Raises
    ------
    FileNotFoundError
        If `path` doesn't exist.
    ValueError
        If a batch is missing, damaged or larger than 64 MiB, or if an archive unpacks to more than
        384 MiB. The message names the batch or the archive.
    """
    source = existing("path", path)
    parts: dict[str, tuple[Array, Array]] = {}  # name of batch -> images n 3 32 32, labels n
    for name, data in _files(source):
        if name in (*BATCHES, TEST_BATCH):
            parts[name] = _decode_pickle(f"{source}: {name}", data)
        elif name.removesuffix(".bin") in (*BATCHES, TEST_BATCH):
            # If the directory has both versions, they hold the same images.
            parts.setdefault(name.removesuffix(".bin"), _decode_binary(f"{source}: {name}", data))
    missing = [name for name in (*BATCHES, TEST_BATCH) if name not in parts]
    if missing:
        raise ValueError(f"path={str(path)!r} lacks {', '.join(missing)} of CIFAR-10")
    images, labels = zip(*(parts[name] for name in BATCHES), strict=True)
    train = Dataset(np.concatenate(images), np.concatenate(labels), CIFAR10_CLASSES)
    return train, Dataset(*parts[TEST_BATCH], CIFAR10_CLASSES)


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each batch in a directory or an archive."""
    wanted = {name + suffix for name in (*BATCHES, TEST_BATCH) for suffix in ("", ".bin")}
    if source.is_dir():
        inside = next((source / name for name in FOLDERS if (source / name).is_dir()), source)
        for path in sorted(inside.iterdir()):
            if path.name in wanted and path.is_file():
                _check_size(str(path), path.stat().st_size)
                yield path.name, path.read_bytes()
        return
    if not source.is_file():
        raise ValueError(f"{source} is neither a file nor a directory")
    # Members are never unpacked to disk, because a name in an archive may point anywhere.
    # Reading them in order decompresses the archive only once.
    try:
        with opened_maybe_gzipped(source) as file:
            forward = _Forward(file)
            # TarFile only reads the file and seeks forwards, so `_Forward` is enough.
            archive = tarfile.TarFile(fileobj=cast(IO[bytes], forward))
            for _ in range(MOST_MEMBERS):
                forward.left = PIECE
                member = archive.next()
                if member is None:
                    return
                where = f"{source}: {member.name}"
                _check_size(where, member.size)
                name = PurePosixPath(member.name).name
                stream = archive.extractfile(member) if name in wanted and member.isreg() else None
                if stream is not None:
                    yield name, _read_member(forward, stream, member.size)
        raise ValueError(f"{source} has more than {MOST_MEMBERS:,} members; it is not CIFAR-10's")
    except (tarfile.TarError, EOFError, OSError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{source} is not a complete tar archive: {error}") from error
    except ValueError as error:
        if str(source) in str(error):
            raise
        raise ValueError(f"{source} is not a complete tar archive: {error}") from error


def _check_size(where: str, size: int) -> None:
    if not 0 <= size <= LARGEST_BATCH:
        raise ValueError(f"{where} has a size of {size:,} bytes; up to {LARGEST_BATCH:,} are read")


def _read_member(forward: "_Forward", stream: IO[bytes], size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        forward.left = PIECE
        piece = stream.read(min(PIECE, size - len(data)))
        if not piece:
            raise EOFError(f"it ends after {len(data)} of {size} bytes")
        data += piece
    return bytes(data)


class _Forward:
    """A file that allows only reads of limited size and seeks forwards.

    The header of a damaged archive may claim a name of 10^12 bytes, or a file that lies before the
    header.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.at = 0
        self.left = PIECE  # number of bytes that may be read until the caller sets `left` again

    def tell(self) -> int:
        return self.at

    def read(self, size: int) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            raise tarfile.ReadError(f"a header claims to be longer than {PIECE:,} bytes")
        return self._read(size)

    def seek(self, at: int) -> None:
        if at < self.at:
            raise tarfile.ReadError("a member claims to lie before its header")
        while self.at < at and self._read(min(PIECE, at - self.at)):
            pass

    def _read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.at += len(data)
        if self.at > LARGEST_ARCHIVE:
            raise tarfile.ReadError(f"it unpacks to more than {LARGEST_ARCHIVE:,} bytes")
        return data


def _decode_binary(where: str, data: bytes) -> tuple[Array, Array]:
    if not data or len(data) % (1 + PIXELS):
        raise ValueError(f"{where} has {len(data)} bytes, not whole records of {1 + PIXELS}")
    records = np.frombuffer(data, np.uint8).reshape(-1, 1 + PIXELS)  # n 1+3072
    labels = records[:, 0].astype(np.int64)  # n
    check_labels(where, labels, len(CIFAR10_CLASSES))
    return records[:, 1:].reshape(-1, 3, 32, 32).copy(), labels


def _decode_pickle(where: str, pickled: bytes) -> tuple[Array, Array]:
    try:
        batch = _pickles.load_pickle(pickled, GLOBALS)
    except ValueError as error:
        raise ValueError(f"{where} is not a batch of CIFAR-10: {error}") from error
    # Keys from Python 2 are bytes; keys of a batch that was pickled again may be strings.
    found = {}
    if isinstance(batch, dict):
        found = {
            key.encode() if isinstance(key, str) else key: _pickles.unboxed(value)
            for key, value in batch.items()
        }
    if not {b"data", b"labels"} <= found.keys():
        raise ValueError(f"{where} is not a dict with data and labels")
    images, labels = found[b"data"], found[b"labels"]  # n 3072, n
    fits = isinstance(images, np.ndarray) and images.dtype == np.uint8
    if not fits or images.shape[1:] != (PIXELS,) or not len(images):
        raise ValueError(f"{where}: data is not a uint8 array of shape (n, {PIXELS})")
    if isinstance(labels, list) and all(type(label) is int for label in labels):
        try:
            labels = np.array(labels, dtype=np.int64)  # n
        except OverflowError:
            raise ValueError(f"{where}: labels has a number of more than 64 bits") from None
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"{where}: labels is not a list of whole numbers")
    if len(labels) != len(images):
        raise ValueError(f"{where} has {len(images)} images, but {len(labels)} labels")
    check_labels(where, labels, len(CIFAR10_CLASSES))
    return images.reshape(-1, 3, 32, 32).copy(), labels.astype(np.int64)
