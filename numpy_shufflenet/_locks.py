"""Locks on files. The system releases such a lock when its process ends, however it ends."""

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    with contextlib.suppress(ImportError):  # a browser has no locks
        import fcntl

TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
FAR = 1 << 30  # the byte that is locked on Windows; other processes can read the bytes before it

_held: dict[str, int] = {}  # files that are locked: the process that locked each


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file for this process, and return whether that worked.

    The lock ends when this process closes the file, or any other handle of the same file. A forked
    process doesn't inherit the lock.

    Raises
    ------
    OSError
        If there are no locks on this file system, or on this system.
    """
    try:
        if sys.platform == "win32":
            file.seek(FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        elif "fcntl" in globals():
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    except OSError as error:
        if error.errno in TAKEN:
            return False
        raise
    return True


class FileLock:
    """`with FileLock(path):` lets no other FileLock of the same path in; blocks may be nested.

    While the lock is held, a file `.NAME.lock` beside path holds the number of the process. If the
    process is killed, the file stays, but doesn't lock anything. Without locks on the file system,
    any number of processes may enter.

    Raises
    ------
    BlockingIOError
        If another process, or another FileLock of this process, holds the lock.
    OSError
        If the folder doesn't exist, or can't be written to.
    """

    def __init__(self, path: Path):
        self.path = path
        self.lock_path = path.with_name(f".{self.path.name}.lock")
        self._depth = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> None:
        if self._depth == 0:
            self._acquire()
        self._depth += 1

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._release()

    def _acquire(self) -> None:
        key = os.path.realpath(self.path)
        if _held.get(key) == os.getpid():
            raise BlockingIOError(f"this process writes to {self.path} already, elsewhere")
        while self._file is None:
            file = open(self.lock_path, "a+b")  # noqa: SIM115 - it stays open
            try:
                taken = not try_lock(file)
            except OSError:
                taken = False
            if taken:
                raise BlockingIOError(
                    f"process {_owner(file)} writes to {self.path} now; wait until it ends, or "
                    "write to another folder"
                )
            if _is_at(file, self.lock_path):
                self._file = file
            else:  # its last holder has removed it meanwhile
                file.close()
        self._file.truncate(0)
        self._file.write(str(os.getpid()).encode())
        self._file.flush()
        _held[key] = os.getpid()

    def _release(self) -> None:
        key = os.path.realpath(self.path)
        file, self._file = self._file, None
        if file is None or _held.get(key) != os.getpid():  # a fork of the process that holds it
            return
        del _held[key]
        with contextlib.suppress(OSError):
            if sys.platform == "win32":  # no open file can be removed there
                file.close()
            self.lock_path.unlink()
        file.close()


def _owner(file: IO[bytes]) -> str:
    """Return the number of the process that holds a lock file, and close the file."""
    with file:
        file.seek(0)
        return file.read().decode(errors="replace") or "unknown"


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
