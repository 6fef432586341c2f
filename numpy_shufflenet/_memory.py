"""The workspace: a pool of memory that new arrays reuse once old arrays are gone.

The first write to a page of memory takes about twenty times as long as later writes, and each
training step allocates hundreds of arrays of the same sizes as the step before. So `empty` reuses
the memory of an earlier array of the same size, if such an array is gone. An array is gone when
Python has freed it and all views of it, so memory that a caller still uses is never given away.
"""

import contextlib
import math
import mmap
import weakref
from collections import defaultdict, deque
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array

PAGE = mmap.PAGESIZE  # bytes; smaller arrays are allocated by NumPy
LITTLE = 1 << 28  # bytes that the pool may always keep
HUGE = 1 << 21  # bytes of a huge page


class _Memory(mmap.mmap):
    """Memory from the system; an array may use `room` bytes of it, from `start` on."""

    start: int
    room: int


class _Loan(weakref.ref[Array]):
    """A weak reference that reports when its array is gone, with the memory of that array."""

    __slots__ = ("memory",)
    memory: _Memory


class Workspace:
    """A pool of memory. Any number of threads may use it."""

    def __init__(self) -> None:
        self._free: defaultdict[int, list[_Memory]] = defaultdict(list)
        self._loans: dict[int, _Loan] = {}
        # Loans of arrays that are gone. Python calls `append` wherever the last reference to an
        # array disappears. `append` is built in: a KeyboardInterrupt could arrive inside a Python
        # function, and Python would ignore the interrupt there.
        self._returned: deque[_Loan] = deque()
        self._most_lent = 0

    @property
    def lent(self) -> int:
        """Bytes that arrays use."""
        self._collect()
        return sum(loan.memory.room for loan in list(self._loans.values()))

    @property
    def kept(self) -> int:
        """Bytes that are kept for later arrays of the same sizes."""
        self._collect()
        return sum(size * len(waiting) for size, waiting in list(self._free.items()))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return a C-contiguous array without setting its entries."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < PAGE:
            return np.empty(shape, dtype)
        memory = self._take(-(-size // PAGE) * PAGE)
        # Every view has this array as its base, so the array lives as long as any view. (If this
        # array were itself a view of an array or a memoryview, NumPy would make that one the base.)
        array: Array = np.ndarray(shape, dtype, memory, memory.start)
        loan = _Loan(array, self._returned.append)
        loan.memory = memory
        self._loans[id(loan)] = loan
        return array

    def clear(self) -> None:
        """Return all kept memory to the system."""
        self._collect()
        self._free.clear()

    def _take(self, size: int) -> _Memory:
        self._collect()
        try:
            return self._free[size].pop()
        except IndexError:
            self._make_room(size)
            return take(size)

    def _make_room(self, size: int) -> None:
        """Return kept memory to the system if there is much: other sizes may be needed now."""
        for loan in list(self._loans.values()):
            if loan() is None:  # an interrupt prevented its collection
                self._back(loan)
        lent = self.lent + size
        self._most_lent = max(self._most_lent, lent)
        if lent + self.kept > max(LITTLE, 2 * self._most_lent):
            self.clear()

    def _collect(self) -> None:
        """Take back the memory of arrays that are gone."""
        while self._returned:
            try:
                loan = self._returned.popleft()
            except IndexError:  # another thread was faster
                return
            self._back(loan)

    def _back(self, loan: _Loan) -> None:
        # Only one thread can remove the loan from the dict, so memory is never kept twice.
        # An interrupt between the two lines only loses memory that could be reused.
        if self._loans.pop(id(loan), None) is loan:
            self._free[loan.memory.room].append(loan.memory)


def zeros(count: int, dtype: Any) -> Array:
    """Return a vector of zeros that starts at a page.

    Its memory returns to the system when it is gone. (The C library may keep memory of many
    megabytes for later.)
    """
    dtype = np.dtype(dtype)
    memory = take(max(1, count * dtype.itemsize))
    return np.ndarray(count, dtype, memory, memory.start)


def take(size: int) -> _Memory:
    """Allocate memory that no other process shares, not even a forked one.

    Large blocks start at a huge page and consist of huge pages, except for a remainder of less than
    three quarters of a huge page. The processor then has fewer page addresses to translate.
    """
    large = (size + HUGE // 4) // HUGE * HUGE if hasattr(mmap, "MADV_HUGEPAGE") else 0
    length = size + HUGE if large else size
    if hasattr(mmap, "MAP_PRIVATE"):
        memory = _Memory(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    else:
        memory = _Memory(-1, length)
    memory.room, memory.start = size, 0
    if large:
        memory.start = -np.ndarray(1, np.uint8, memory).__array_interface__["data"][0] % HUGE
        with contextlib.suppress(OSError):  # the system may have no huge pages
            memory.madvise(mmap.MADV_HUGEPAGE, memory.start, large)
    return memory


workspace = Workspace()
"""The pool from which all kernels allocate outputs and scratch."""

empty = workspace.empty
