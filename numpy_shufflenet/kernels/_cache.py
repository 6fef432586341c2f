"""The cache of compiled kernels on disk, and how it notices that kernels have changed.

Numba compiles a function again if the function's own file has changed. But machine code also
contains the functions that it calls, from other files and from NumPy. So the names of our cache
files contain a hash of the sources of all kernels, and of the versions of the libraries that
compile them.
"""

import contextlib
import functools
import hashlib
import pickle
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.caching import FunctionCache, IndexDataCacheFile

from numpy_shufflenet._version import __version__

PACKAGE = Path(__file__).parents[1]


@functools.cache
def stamp() -> str:
    """Return a hash of everything that compiled kernels depend on."""
    versions = (__version__, numba.__version__, llvmlite.__version__, np.__version__)
    found = hashlib.sha256(repr(versions).encode())
    for folder in ("kernels", "plan", "engine"):
        for path in sorted((PACKAGE / folder).glob("*.py")):
            source = path.read_bytes()
            found.update(f"{folder}/{path.name} {len(source)} ".encode())
            found.update(source)
    return found.hexdigest()[:16]


@functools.cache
def say(what: str) -> None:
    """Print a message on stderr, once."""
    print(f"numpy_shufflenet: {what}", file=sys.stderr, flush=True)


def keep(dispatcher: Any, function: Callable[..., Any]) -> None:
    """Let a Numba dispatcher load and save its machine code, if there is a writable folder."""
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError:  # Numba has found no writable folder
        say(
            "compiled kernels can't be kept, since no folder for them can be written; every "
            "process compiles them again, unless NUMBA_CACHE_DIR names such a folder"
        )


class _Files(IndexDataCacheFile):
    """Numba's two cache files of a function, with a checksum after the pickled data."""

    def _dump(self, obj: Any) -> bytes:
        data: bytes = super()._dump(obj)  # type: ignore[no-untyped-call]
        return data + zlib.crc32(data).to_bytes(4)

    def _load_data(self, name: str) -> Any:
        content = Path(self._data_path(name)).read_bytes()  # type: ignore[no-untyped-call]
        data, checksum = content[:-4], content[-4:]
        if zlib.crc32(data) != int.from_bytes(checksum):
            raise ValueError(f"{name} is damaged")
        return pickle.loads(data)


class _Cache(FunctionCache):
    """Numba's cache of one function. Damaged files and full disks don't raise errors here."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        files = self._cache_file
        base = f"{self._impl.filename_base}.{stamp()}"
        self._cache_file = _Files(self._cache_path, base, files._source_stamp)  # type: ignore[no-untyped-call]
        self._ours = function.__module__.startswith("numpy_shufflenet.")

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except OSError:  # then the cache can't be written either, and `save_overload` says so
            return None
        except Exception:  # damaged bytes may make pickle raise any error
            say(f"compiled kernels in {self._cache_path} are damaged, and are compiled again")
            _remove(Path(self._cache_file._index_path))  # Numba reads it again before it saves
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            if self._ours:
                _remove_old(self._cache_path)
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except Exception as error:
            say(f"compiled kernels can't be kept in {self._cache_path}: {error}")


@functools.cache
def _remove_old(folder: str) -> None:
    """Remove the cache files of this version of Python that were compiled from other sources."""
    python = f".py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}."
    for path in Path(folder).glob("*.nb[ic]*"):
        if python in path.name and f"{python}{stamp()}." not in path.name:
            _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # another process may have removed it
        path.unlink()
