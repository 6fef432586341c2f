"""Writing files so that nobody ever sees half of one."""

import os
import secrets
from pathlib import Path


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file in one go: whoever reads path finds the old file or the new one, whole.

    The data goes to a temporary name in the same folder, to the disk, and then takes the place
    of path. If anything fails, path stays as it was, and the temporary file is removed.

    Raises
    ------
    FileNotFoundError
        If the folder doesn't exist.
    OSError
        If the file can't be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
