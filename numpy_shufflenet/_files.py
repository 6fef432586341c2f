"""Expand paths as users write them, and write files so that no reader sees an incomplete file."""

import contextlib
import os
import secrets
from pathlib import Path
from typing import TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]


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


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write a file in one go: whoever reads path finds the old file or the new one, whole.

    The data is written to a temporary file in the same folder and flushed to the disk; then that
    file replaces path. If anything fails, path stays as it was, and the temporary file is removed.

    Raises
    ------
    FileNotFoundError
        If the folder doesn't exist.
    OSError
        If the file can't be written; the message names the file, and says what is there now.
    """
    path = expanded(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # if removing fails too, report the first error
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        left = "its last version is there, whole" if path.exists() else "nothing was written"
        reason = error.strerror or str(error)
        message = f"cannot write {path}: {reason}; {left}"
        raise OSError(*([error.errno] if error.errno else []), message) from error
