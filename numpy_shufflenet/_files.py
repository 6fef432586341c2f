"""Expand paths as users write them, and write files so that no reader sees an incomplete file."""

import contextlib
import errno
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import TypeAlias

from numpy_shufflenet._locks import try_lock

PathLike: TypeAlias = str | os.PathLike[str]

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
ATTEMPTS = 3  # to write a file whose temporary file another process removes

_writing: set[str] = set()  # names of temporary files that threads of this process write


def expanded(path: PathLike) -> Path:
    """Return path with a leading ~ or ~NAME replaced by that home folder, where there is one."""
    return Path(os.path.expanduser(path))


def existing_file(path: PathLike, kind: str) -> Path:
    """Return path, expanded, or raise FileNotFoundError unless it is a file."""
    path = expanded(path)
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise FileNotFoundError(f"{path} {what}; {kind} is needed")
    return path


def existing_folder_of(path: PathLike) -> Path:
    """Return path, expanded, or raise FileNotFoundError unless its folder exists."""
    path = expanded(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist")
    return path


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write a file in one go: whoever reads path finds the old file or the new one, whole.

    The data is written to a temporary file in the same folder and flushed to the disk; then that
    file replaces path. If anything fails, path stays as it was, and the temporary file is removed.
    If the process is killed, the temporary file stays until `remove_leftovers`. A pipe or a device
    is never replaced: the data goes into it.

    Raises
    ------
    FileNotFoundError
        If the folder doesn't exist.
    OSError
        If the file can't be written. The message names the file and its size, and says what is
        there now.
    """
    path = existing_folder_of(path)
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe or a device
        path.write_bytes(data)
        return
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _write(path, data)
            return
        except OSError as error:
            # `remove_leftovers` of another process may take a file that isn't locked yet for one
            # of a dead process.
            if isinstance(error, FileNotFoundError) and attempt < ATTEMPTS:
                continue
            left = "its last version is there, whole" if path.exists() else "nothing was written"
            reason = error.strerror or str(error)
            if error.errno == errno.ENOSPC:
                reason += f" ({shutil.disk_usage(path.parent).free:,} bytes are free)"
            message = f"cannot write {path} ({len(data):,} bytes): {reason}; {left}"
            raise OSError(*([error.errno] if error.errno else []), message) from error


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    _writing.add(temporary.name)
    try:
        with open(temporary, "xb") as file:
            with contextlib.suppress(OSError):  # file systems without locks keep their leftovers
                try_lock(file)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # if removing fails too, report the first error
            temporary.unlink(missing_ok=True)
        raise
    finally:
        _writing.discard(temporary.name)


def remove_leftovers(folder: PathLike) -> None:
    """Remove temporary files that `write_bytes` left in a folder when its process was killed.

    A process that lives locks its temporary files, so those stay.
    """
    for path in expanded(folder).glob(".*.tmp"):
        if TEMPORARY.fullmatch(path.name) and path.name not in _writing:
            # A file of another user, or without locks, stays.
            with contextlib.suppress(OSError):
                with open(path, "r+b") as file:
                    dead = try_lock(file)
                if dead:
                    path.unlink()
