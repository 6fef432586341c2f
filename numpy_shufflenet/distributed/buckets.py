"""Sums of gradients over all ranks, in a few large arrays, during the backward.

The backward computes the gradients of the last layers first. The parameters are divided, from the
last to the first, into buckets of a few megabytes. As soon as all gradients of a bucket are known,
its sum over the ranks starts, while the backward of earlier layers goes on. Few large messages
are faster than many small ones, because each message costs the latency of the network.

A `TrainingProgram` writes the gradients of all parameters into one array, in the order of the
buckets, so a bucket is a part of this array. Layers write each gradient into an array of its own,
so these are copied into the bucket. In both cases, the gradients then are views of the bucket, and
the sum is written into the array that the optimiser reads.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from numpy_shufflenet._memory import workspace
from numpy_shufflenet._typing import Array
from numpy_shufflenet.distributed.communicator import Communicator, Wait
from numpy_shufflenet.nn.layer import Layer, Parameter
from numpy_shufflenet.ops.checks import check_positive

BUCKET_BYTES = 1 << 21
"""Usual size of a bucket: large against the latency, but small enough to start early."""


class Buckets:
    """Adds up the gradients of a model over all ranks; all ranks have the same model.

    A bucket with at least `bucket_bytes` is full.
    """

    def __init__(self, model: Layer, ranks: Communicator, bucket_bytes: int = BUCKET_BYTES):
        check_positive("bucket_bytes", bucket_bytes)
        names = model.gradients().keys()
        model.zero_gradients()
        found = dict(model.named_parameters())
        parameters = [found[name] for name in reversed(names)]
        self.bytes = sum(parameter.value.nbytes for parameter in parameters)  #: of all gradients
        self.waited = 0.0  #: seconds that `reduction` waited for sums after the backward's end
        self._ranks = ranks
        self._buckets: list[list[Parameter]] = [[]]
        for parameter in parameters:
            if sum(p.value.nbytes for p in self._buckets[-1]) >= bucket_bytes:
                self._buckets.append([])
            self._buckets[-1].append(parameter)
        self._missing: list[set[int]] = []  # for each bucket, parameters without a gradient
        self._started: list[tuple[Array, Wait]] = []

    def __len__(self) -> int:
        return len(self._buckets)

    @contextmanager
    def reduction(self) -> Iterator[None]:
        """Run a backward; afterwards each gradient is the sum of those of all ranks."""
        self._missing = [set(map(id, bucket)) for bucket in self._buckets]
        self._started = []
        for bucket in self._buckets:
            for parameter in bucket:
                parameter.listener = self._note
        try:
            with self._ranks.progress():
                yield
        finally:
            for bucket in self._buckets:
                for parameter in bucket:
                    parameter.listener = None
        while len(self._started) < len(self._buckets):  # parameters that the loss doesn't depend on
            self._start()
        start = time.perf_counter()
        for bucket, (_, wait) in zip(self._buckets, self._started, strict=True):
            total, first = wait(), 0
            for parameter in bucket:
                last = first + parameter.value.size
                parameter.zero_gradient()
                parameter.accumulate(total[first:last].reshape(parameter.value.shape))
                first = last
        self._started = []
        self.waited += time.perf_counter() - start

    def _note(self, parameter: Parameter) -> None:
        """Start the sums of all buckets whose gradients are complete with this one."""
        for missing in self._missing:
            missing.discard(id(parameter))
        # Sums must start in the same order on all ranks.
        while len(self._started) < len(self._buckets) and not self._missing[len(self._started)]:
            self._start()

    def _start(self) -> None:
        gradients = [parameter.gradient for parameter in self._buckets[len(self._started)]]
        flat = _one_vector(gradients)
        if flat is None:
            flat = workspace.empty((sum(g.size for g in gradients),), gradients[0].dtype)
            np.concatenate([g.reshape(-1) for g in gradients], out=flat)
        self._started.append((flat, self._ranks.start_sum(flat)))


def _one_vector(arrays: list[Array]) -> Array | None:
    """Return the vector of which these arrays are neighbouring parts, or None if they aren't."""
    whole = arrays[0].base
    if not isinstance(whole, np.ndarray) or whole.ndim != 1 or not whole.flags.c_contiguous:
        return None
    start = whole.ctypes.data
    first = end = (arrays[0].ctypes.data - start) // whole.itemsize
    for array in arrays:
        follows = array.ctypes.data == start + end * whole.itemsize
        alike = array.base is whole and array.dtype == whole.dtype and array.flags.c_contiguous
        if not (follows and alike):
            return None
        end += array.size
    return whole[first:end]
