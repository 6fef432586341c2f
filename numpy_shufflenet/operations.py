"""The whole table of operations: `OPERATIONS` by name, `find` with a clear error."""

from numpy_shufflenet import ops as _ops  # noqa: F401 - its files register the operations
from numpy_shufflenet.registry import IMPLEMENTATIONS, OPERATIONS, Draw, Example, Operation

__all__ = ["IMPLEMENTATIONS", "OPERATIONS", "Draw", "Example", "Operation", "find"]


def find(name: str) -> Operation:
    """Return the operation of this name, or raise a ValueError that lists all names."""
    if name not in OPERATIONS:
        raise ValueError(f"there is no operation {name!r}; there are {', '.join(OPERATIONS)}")
    return OPERATIONS[name]
