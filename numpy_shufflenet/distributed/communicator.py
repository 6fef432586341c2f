"""What several processes exchange: vectors, sums of large arrays, and small Python objects.

A process is called a rank. `Single` is one process alone; `mpi.MPICommunicator` uses MPI, and
`simulated.simulate` runs the ranks as threads of one process.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from numpy_shufflenet._typing import Array

Wait = Callable[[], Array]
"""Waits for the end of a sum, and returns it."""


class Communicator:
    """The ranks of a program. All ranks must call the same methods in the same order.

    Attributes
    ----------
    rank : int
        The number of this process, from 0.
    size : int
        The number of processes.
    """

    rank = 0
    size = 1

    def __deepcopy__(self, memo: dict[int, Any]) -> "Communicator":
        """Return self: a copy of a layer or model communicates with the same ranks."""
        return self

    def gather(self, vector: Array) -> Array:
        """Return the vectors (k,) of all ranks as (size, k), in the order of the ranks.

        The vectors have the same shape and dtype on all ranks. So whatever a rank computes from
        the result is the same, bit by bit, on all ranks.
        """
        raise NotImplementedError

    def start_sum(self, array: Array) -> Wait:
        """Start to add up an array over all ranks; the array must not be used until `wait()`."""
        raise NotImplementedError

    def progress(self) -> None:
        """Let sums that have started go on, where the system doesn't do this by itself."""

    def exchange(self, value: Any) -> list[Any]:
        """Return the values of all ranks, which pickle can store, in the order of the ranks."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> NoReturn:
        """Raise an error of this rank; with MPI, print it once and end all ranks."""
        raise error


class Single(Communicator):
    """One process alone."""

    def gather(self, vector: Array) -> Array:
        """Return a copy of the vector as (1, k)."""
        return np.array(vector[None])

    def start_sum(self, array: Array) -> Wait:
        """Return the array: it is the sum."""
        return lambda: array

    def exchange(self, value: Any) -> list[Any]:
        """Return the value in a list."""
        return [value]
