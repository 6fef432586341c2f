"""Ranks of MPI, by mpi4py.

MPI guarantees that all ranks get the whole sum. The standard advises, but doesn't require, that the
same number of ranks gets the same sum each time; Open MPI and MPICH follow this advice. After each
epoch, the training compares the weights of all ranks, and so detects a difference.

`import mpi4py.MPI` starts MPI, so only `world` imports it.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._optional import need
from numpy_shufflenet._threads import ENVIRONMENT
from numpy_shufflenet._typing import Array
from numpy_shufflenet.distributed.communicator import Communicator, Single, Wait

LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE", "MPI_LOCALNRANKS")
"""Environment variables in which `mpiexec` says how many processes it has started."""

TURN, LONGEST = 0.25, 5.0  # seconds; see `MPICommunicator.fail`
BREAK = 1e-3  # seconds between two calls of MPI that let sums make progress


class MPICommunicator(Communicator):
    """The ranks of a communicator of mpi4py."""

    def __init__(self, comm: Any):
        from mpi4py import MPI

        self._mpi = MPI
        self._comm = comm.Dup()  # keeps our messages apart from those of the rest of the program
        self.rank, self.size = comm.Get_rank(), comm.Get_size()

    def gather(self, vector: Array) -> Array:
        """Return the vectors of all ranks by Allgather."""
        vector = np.ascontiguousarray(vector)
        rows = np.empty((self.size, *vector.shape), vector.dtype)
        self._comm.Allgather(vector, rows)
        return rows

    def start_sum(self, array: Array) -> Wait:
        """Start an Iallreduce in place."""
        request = self._comm.Iallreduce(self._mpi.IN_PLACE, array, op=self._mpi.SUM)

        def wait() -> Array:
            request.Wait()
            return array

        return wait

    @contextmanager
    def progress(self) -> Iterator[None]:
        """Call MPI again and again in a thread: most implementations send only during calls."""
        if self._mpi.Query_thread() < self._mpi.THREAD_MULTIPLE:  # MPI allows one thread only
            yield
            return
        end = threading.Event()

        def call_mpi() -> None:
            while not end.wait(BREAK):
                self._comm.Iprobe()

        thread = threading.Thread(target=call_mpi, name="numpy_shufflenet MPI")
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    def exchange(self, value: Any) -> list[Any]:
        """Return the values of all ranks."""
        return self._comm.allgather(value)

    def fail(self, error: BaseException) -> NoReturn:
        """Print an error with its rank, once, and end all ranks.

        If several ranks fail at the same time, each waits longer the higher its number is. So the
        lowest rank prints its error and ends the others.
        """
        if self.size == 1:
            raise error
        time.sleep(min(TURN * self.rank, LONGEST))
        if not isinstance(error, ValueError | OSError | ImportError | KeyboardInterrupt):
            traceback.print_exception(error)
        interrupted = isinstance(error, KeyboardInterrupt)
        text = "interrupted" if interrupted else f"{type(error).__name__}: {error}"
        print(f"numpy-shufflenet: rank {self.rank} of {self.size}: {text}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        self._comm.Abort(130 if interrupted else 2)
        raise error


def launched() -> int:
    """Return how many processes `mpiexec` has started with this one; 1 without `mpiexec`."""
    return max(int(os.environ.get(name, 1)) for name in LAUNCHED)


def world() -> Communicator:
    """Return the ranks that `mpiexec` has started; `Single` if there is just one.

    If the environment doesn't set a number of threads, the ranks of one machine share its cores.

    Raises
    ------
    ImportError
        If mpi4py isn't installed, or doesn't find an MPI library.
    OSError
        If `mpiexec` and mpi4py belong to different implementations of MPI, so that each process
        would be alone.
    """
    need("mpi4py", "distributed training")
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ImportError(
            "mpi4py finds no MPI library: install Open MPI or MPICH with the system's package "
            f"manager, or pip install mpich ({error})"
        ) from error
    comm = MPI.COMM_WORLD
    if comm.Get_size() == 1 and launched() > 1:
        raise OSError(
            f"mpiexec has started {launched()} processes, but mpi4py sees one: use the mpiexec of "
            f"the library that mpi4py has loaded, {MPI.Get_library_version().split(',')[0].strip()}"
        )
    if comm.Get_size() == 1:
        return Single()
    if ENVIRONMENT not in os.environ:
        local = comm.Split_type(MPI.COMM_TYPE_SHARED)
        backend.set_num_threads(max(1, backend.num_threads() // local.Get_size()))
        local.Free()
    return MPICommunicator(comm)
