"""Measurements of memory, time to the first result, growth of the time, and the machine."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet.timing import interleave

PRODUCTS = 10  # matrix products in one timed call

MEMORY_CASES = {
    "V2 1x, training step, batch 32": ("shufflenet_v2(seed=0)", 32, 224),
    "V1 1x g=3, training step, batch 32": ("shufflenet_v1(seed=0)", 32, 224),
    "V2 0.5x, 32x32, training step, batch 128": (
        "shufflenet_v2(scale=0.5, stem='small', num_classes=10, seed=0)",
        128,
        32,
    ),
}

MEMORY_CODE = """
import json
import numpy as np
from numpy_shufflenet import backend
from numpy_shufflenet.bench import networks
from numpy_shufflenet.models import shufflenet_v1, shufflenet_v2
backend.set_num_threads({threads})
def peak():  # getrusage would include the peak of the parent process
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
if {torch}:
    import torch
    torch.set_num_threads({threads})
    torch.nn.functional.conv2d(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3))
    make = networks.torch_training_step
else:
    import numpy_shufflenet.kernels
    make = networks.our_training_step
    small = shufflenet_v2(scale=0.5, stem="small", num_classes=10, seed=0)
    for n in (1, 2):
        networks.our_training_step(small, n, 32)()  # load the kernels before the measurement
model = {model}
before = peak()
step = make(model, {batch}, {size})
for _ in range(3):
    step()
print(json.dumps(peak() - before))
"""


class Memory(NamedTuple):
    """Peak memory of a training step in bytes, minus the memory in use after the imports."""

    work: str
    ours: int
    theirs: int

    @property
    def ratio(self) -> float:
        """Their memory divided by ours: above 1, we need less."""
        return self.theirs / self.ours


def memory() -> Iterator[tuple[str, Callable[[], list[Memory]]]]:
    """Yield the name of each measurement, and a function that runs it in new processes (Linux)."""

    def measure(work: str, model: str, batch: int, size: int) -> list[Memory]:
        settings = {"model": model, "batch": batch, "size": size, "threads": backend.num_threads()}
        codes = [MEMORY_CODE.format(torch=torch, **settings) for torch in (False, True)]
        return [Memory(work, *(json.loads(_python(code)) for code in codes))]

    for work, case in MEMORY_CASES.items():
        yield f"{work}: memory", partial(measure, work, *case)


class Start(NamedTuple):
    """Seconds until the first result of a new process."""

    what: str
    seconds: float
    goal: float


FIRST_STEP = """
import time
import numba
start = time.perf_counter()
from numpy_shufflenet.bench.networks import our_training_step
from numpy_shufflenet.models import shufflenet_v2
our_training_step(shufflenet_v2(seed=0), 2, 64)()
print(time.perf_counter() - start)
"""

IMPORT = """
import time
import numpy
start = time.perf_counter()
import numpy_shufflenet
import numpy_shufflenet.models
print(time.perf_counter() - start)
"""


def starts() -> Iterator[tuple[str, Callable[[], list[Start]]]]:
    """Yield the name of each measurement, and a function that runs it in new processes."""

    def imports() -> list[Start]:
        seconds = min(float(_python(IMPORT)) for _ in range(3))
        return [Start("import numpy_shufflenet, beyond numpy", seconds, 0.25)]

    def first_steps() -> list[Start]:
        with tempfile.TemporaryDirectory() as cache:
            seconds = [float(_python(FIRST_STEP, NUMBA_CACHE_DIR=cache)) for _ in range(2)]
        return [
            Start("first training step of V2, kernels compiled, beyond numba", seconds[0], 25.0),
            Start("first training step of V2, kernels on disk, beyond numba", seconds[1], 1.5),
        ]

    yield "import", imports
    yield "first training step", first_steps


class Growth(NamedTuple):
    """Seconds at several sizes, which show how the time grows with the work."""

    what: str
    axis: str  #: "batch" or "pixels a side"
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def worst(self) -> float:
        """The largest factor on the time when the work doubles."""
        doublings = np.diff(np.log2(self.sizes)) * (1 if self.axis == "batch" else 2)
        return float(max(2 ** (np.diff(np.log2(self.seconds)) / doublings)))


def growth(*, short: bool) -> Iterator[tuple[str, Callable[[], list[Growth]]]]:
    """Yield the name of each measurement, and a function that runs it."""
    from numpy_shufflenet.bench.networks import our_training_step, with_real_statistics
    from numpy_shufflenet.models import shufflenet_v2

    batches = (1, 2, 4, 8, 16) if short else (1, 2, 4, 8, 16, 32, 64)
    sides = (64, 96, 128) if short else (64, 96, 128, 192, 256)

    def runner(kind: str, batch: int, side: int) -> Callable[[], Any]:
        model = with_real_statistics(shufflenet_v2(seed=0), 64)
        if kind == "training step":
            return our_training_step(model, batch, side)
        plan = model.plan()
        x = np.random.default_rng(0).normal(size=(batch, 3, side, side)).astype(np.float32)
        return lambda: plan(x)

    def measure(kind: str, axis: str, sizes: tuple[int, ...]) -> list[Growth]:
        seconds = []
        for size in sizes:
            batch, side = (size, 128) if axis == "batch" else (4, size)
            found = interleave({kind: runner(kind, batch, side)}, rounds=5, min_seconds=0)
            seconds.append(float(np.median(found[kind])))
        return [Growth(f"V2 1x, {kind}", axis, sizes, tuple(seconds))]

    for kind in ("inference", "training step"):
        for axis, sizes in (("batch", batches), ("pixels a side", sides)):
            yield f"growth of {kind} with {axis}", partial(measure, kind, axis, sizes)


class Machine(NamedTuple):
    """The highest speeds of this machine, with all threads together."""

    gflops: float  #: GFLOP/s of matrix products in float32
    gbytes: float  #: GB/s of copies, reads and writes together


def machine() -> Machine:
    """Measure products of matrices that fit in the cache, and copies of arrays that do not."""
    from numpy_shufflenet._threads import share_range, single_threaded_blas

    threads = backend.num_threads()
    a, b = (np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32) for _ in range(2))
    outs = [np.empty_like(a) for _ in range(threads)]
    source = np.ones((threads, 1 << 24), np.float32)
    target = np.ones_like(source)

    def multiply(first: int, last: int) -> None:
        for i in range(first, last):
            for _ in range(PRODUCTS):
                np.matmul(a, b, out=outs[i])

    def copy(first: int, last: int) -> None:
        for i in range(first, last):
            np.copyto(target[i], source[i])

    with single_threaded_blas():
        flops = 2 * 256**3 * PRODUCTS * threads
        seconds = interleave(
            {
                "multiply": lambda: share_range(threads, multiply, 1 << 30),
                "copy": lambda: share_range(threads, copy, 1 << 30),
            },
            rounds=21,  # many short rounds, so that the best one is not interrupted
            min_seconds=0,
        )
    multiplying, copying = (float(seconds[name].min()) for name in ("multiply", "copy"))
    return Machine(flops / multiplying / 1e9, 2 * source.nbytes / copying / 1e9)


def _python(code: str, **environment: str) -> str:
    """Run code in a new process, and return its output."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"a measuring process failed: {result.stderr[-500:]}")
    return result.stdout
