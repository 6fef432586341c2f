"""How much memory there is, and a check of large requests before the system runs out of it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
# Of a process in a container: the files with its limit and its use, for version 2 and 1 of cgroups.
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def check_room(needed: int, what: str) -> None:
    """Raise MemoryError if `needed` bytes are more than there is; `what` is for the message."""
    there = free_memory()
    if there is not None and needed > there:
        raise MemoryError(f"{what} needs {size_text(needed)} of memory; {size_text(there)} is free")


def free_memory() -> int | None:
    """Return how many bytes this process can still get, swap included; None if unknown."""
    return min(_bounds(), default=None)


def _bounds() -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError, KeyError):  # only Linux has these files
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        kib = {name: int(rest.split()[0]) for name, _, rest in (r.partition(":") for r in lines)}
        yield 1024 * (kib["MemAvailable"] + kib["SwapFree"])
    for limit, usage in CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # the limit "max" is no number
            yield max(0, int(Path(limit).read_text("ascii")) - int(Path(usage).read_text("ascii")))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit_of_addresses = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit_of_addresses != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
            yield max(0, limit_of_addresses - pages * resource.getpagesize())


def size_text(count: int) -> str:
    """Return a number of bytes in its largest unit: "3.6 PiB"."""
    size, unit = float(count), 0
    while size >= 1024 and unit + 1 < len(UNITS):
        size, unit = size / 1024, unit + 1
    return f"{size:,.1f} {UNITS[unit]}" if unit else f"{count} bytes"
