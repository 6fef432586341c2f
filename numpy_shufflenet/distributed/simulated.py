"""Ranks as threads of one process: for tests, and to try out a program where there is no MPI.

Threads share one interpreter, so this is no faster than one process.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.distributed.communicator import Communicator, Wait
from numpy_shufflenet.ops.checks import check_positive

T = TypeVar("T")


class SimulatedCommunicator(Communicator):
    """One of the ranks of `simulate`."""

    def __init__(self, rank: int, values: list[Any], barrier: threading.Barrier):
        self.rank, self.size = rank, len(values)
        self._values, self._barrier = values, barrier  # a place for the value of each rank

    def gather(self, vector: Array) -> Array:
        """Return the vectors of all ranks as (size, k)."""
        return np.stack(self.exchange(vector))

    def start_sum(self, array: Array) -> Wait:
        """Return a function that adds up the arrays in the order of the ranks."""

        def wait() -> Array:
            array[...] = np.sum(self.exchange(array), axis=0)
            return array

        return wait

    def exchange(self, value: Any) -> list[Any]:
        """Return the values of all ranks."""
        self._values[self.rank] = value
        self._barrier.wait()
        values = list(self._values)
        if isinstance(value, np.ndarray):  # another rank may change its array after the barrier
            values = [np.copy(other) for other in values]
        self._barrier.wait()
        return values


def simulate(ranks: int, run: Callable[[Communicator], T]) -> list[T]:
    """Call run(communicator) in a thread for each rank, and return the results in their order.

    Raises
    ------
    ValueError
        If `ranks` isn't a whole number of at least 1.
    BaseException
        The exception of the lowest rank that fails. The other ranks end, too.
    """
    barrier = threading.Barrier(check_positive("ranks", ranks))
    values: list[Any] = [None] * ranks
    results: list[Any] = [None] * ranks
    errors: dict[int, BaseException] = {}

    def run_rank(rank: int) -> None:
        try:
            results[rank] = run(SimulatedCommunicator(rank, values, barrier))
        except BaseException as error:
            errors[rank] = error
            barrier.abort()

    threads = [threading.Thread(target=run_rank, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waiting = threading.BrokenBarrierError  # the error of a rank that waited for a failed one
    for error in sorted(errors.items(), key=lambda item: (isinstance(item[1], waiting), item[0])):
        raise error[1]
    return results
