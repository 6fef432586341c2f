"""The workspace: memory that is handed out again as soon as nobody looks at it any more.

A page that is touched for the first time costs about twenty times one that is there already, and a
training step makes hundreds of arrays, the same ones as the step before. So `empty` takes memory
that an earlier array has left behind, if there is any of this size. It is free again when that
array and all views of it are gone, which Python itself counts: an array that a caller keeps is
never written to.
"""

import contextlib
import math
import mmap
import weakref
from collections import defaultdict, deque
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array

PAGE = mmap.PAGESIZE  # bytes; what is smaller is made anew each time
LITTLE = 1 << 28  # bytes that may always wait
HUGE = 1 << 21  # bytes of a large page


class _Memory(mmap.mmap):
    """Memory of the system, of which an array may have `room` bytes, from `start` on."""

    start: int
    room: int


class _Loan(weakref.ref[Array]):
    """Knows when an array is gone, and which memory it had."""

    __slots__ = ("memory",)
    memory: _Memory


class Workspace:
    """Memory that is kept and lent out; any number of threads may use it."""

    def __init__(self) -> None:
        self._free: defaultdict[int, list[_Memory]] = defaultdict(list)
        self._loans: dict[int, _Loan] = {}
        # Loans of arrays that are gone. The last reference to an array may go anywhere, so what
        # Python calls then is compiled code: it would swallow a KeyboardInterrupt that came there.
        self._returned: deque[_Loan] = deque()
        self._most_lent = 0

    @property
    def lent(self) -> int:
        """Bytes that arrays live in."""
        self._collect()
        return sum(loan.memory.room for loan in list(self._loans.values()))

    @property
    def kept(self) -> int:
        """Bytes that wait for the next array of their size."""
        self._collect()
        return sum(size * len(waiting) for size, waiting in list(self._free.items()))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of any content, C-contiguous."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < PAGE:
            return np.empty(shape, dtype)
        memory = self._take(-(-size // PAGE) * PAGE)
        # All views of this array have it as their base, so it is the last to go. (NumPy would look
        # through another array, or a memoryview, to what these look at.)
        array: Array = np.ndarray(shape, dtype, memory, memory.start)
        loan = _Loan(array, self._returned.append)
        loan.memory = memory
        self._loans[id(loan)] = loan
        return array

    def clear(self) -> None:
        """Give all memory that waits back to the system."""
        self._collect()
        self._free.clear()

    def _take(self, size: int) -> _Memory:
        self._collect()
        try:
            return self._free[size].pop()
        except IndexError:
            self._make_room(size)
            return _new(size)

    def _make_room(self, size: int) -> None:
        """Give memory back that waits since other shapes were in use, if it is much."""
        for loan in list(self._loans.values()):
            if loan() is None:  # an interrupt has kept it from being collected
                self._back(loan)
        lent = self.lent + size
        self._most_lent = max(self._most_lent, lent)
        if lent + self.kept > max(LITTLE, 2 * self._most_lent):
            self.clear()

    def _collect(self) -> None:
        """Keep the memory of arrays that are gone for others."""
        while self._returned:
            try:
                loan = self._returned.popleft()
            except IndexError:  # another thread was faster
                return
            self._back(loan)

    def _back(self, loan: _Loan) -> None:
        # Whoever takes the loan out of the dict has its memory, so nobody has it twice.
        # An interrupt in between only loses memory that waits.
        if self._loans.pop(id(loan), None) is loan:
            self._free[loan.memory.room].append(loan.memory)


def _new(size: int) -> _Memory:
    """Ask the system for memory that no other process will share, not even a forked one.

    Much memory begins where a large page does, and consists of such pages, but for what would fill
    less than three quarters of one: the processor has fewer places of pages to look up then.
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
        with contextlib.suppress(OSError):  # a system may have none
            memory.madvise(mmap.MADV_HUGEPAGE, memory.start, large)
    return memory


workspace = Workspace()
"""The one that all kernels take their outputs and their scratch from."""

empty = workspace.empty
