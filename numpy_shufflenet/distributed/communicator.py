"""What several processes exchange: vectors, sums of large arrays, and small Python objects.

A process is called a rank. `Communicator` is one process alone. Its subclass `mpi.MPICommunicator`
uses MPI, and `simulated.simulate` runs the ranks as threads of one process.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

import numpy as np

from numpy_shufflenet._typing import Array

Wait = Callable[[], Array]
"""Waits for the end of a sum, and returns it."""


class Communicator:
    """The ranks of a program; in this base class, one process alone.

    All ranks must call the same methods in the same order.
    """

    rank = 0  #: the number of this process, from 0
    size = 1  #: the number of processes

    def __deepcopy__(self, memo: dict[int, Any]) -> "Communicator":
        """Return self: a copy of a layer or model communicates with the same ranks."""
        return self

    def gather(self, vector: Array) -> Array:
        """Return the vectors (k,) of all ranks as (size, k), in the order of the ranks.

        The vectors have the same shape and dtype on all ranks. All ranks get the same result, so
        everything that they compute from it is equal, bit by bit.
        """
        return np.array(vector[None])

    def start_sum(self, array: Array) -> Wait:
        """Start to add up an array over all ranks; the array must not be used until `wait()`."""
        return lambda: array

    def progress(self) -> AbstractContextManager[None]:
        """Let sums make progress during a `with` block, while the program computes."""
        return nullcontext()

    def exchange(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in the order of the ranks; pickle must support them."""
        return [value]

    def fail(self, error: BaseException) -> NoReturn:
        """Raise an error of this rank; with MPI, print it once and end all ranks."""
        raise error


Single = Communicator
"""One process alone."""
