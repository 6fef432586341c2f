"""The plan: a network ready to run, on images of any size."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from numpy_shufflenet import _threads
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._layout import contiguous
from numpy_shufflenet.nn import Layer, fold
from numpy_shufflenet.ops._check import check_plain
from numpy_shufflenet.plan import machine
from numpy_shufflenet.plan.fuse import fuse
from numpy_shufflenet.plan.planes import aligned_zeros
from numpy_shufflenet.plan.program import Program, assemble
from numpy_shufflenet.plan.record import record

Shape = tuple[int, ...]
SLOW = 1.5  # times as long as one thread alone: not yet so slow is the first run after a pause
MOST_ALONE = 8  # runs on one thread, before threads try to run together again


class _Room:
    """Where one run of a program works."""

    def __init__(self, program: Program):
        self.program = program
        self.memory = aligned_zeros(program.memory)
        self.scratch: list[Array] = []  # of each thread
        self.arrivals = np.zeros(1, np.int64)

    def prepare(self, threads: int) -> None:
        """Make ready for one run on so many threads."""
        while len(self.scratch) < threads:
            self.scratch.append(aligned_zeros(self.program.scratch))
        self.arrivals[0] = 0

    def run(self, images: Array, thread: int, threads: int) -> None:
        """Do one thread's part of a run."""
        machine.run_jit(
            self.program.instructions,
            self.program.each,
            self.program.tables,
            self.program.parameters,
            self.memory,
            self.scratch[thread],
            images,
            thread,
            threads,
            self.arrivals,
        )

    def logits(self, images: int) -> Array:
        """Return what the last run has computed, (images, classes)."""
        start, pitch = self.program.logits, self.program.pitch
        rows = self.memory[start : start + images * pitch].reshape(images, pitch)
        return rows[:, : self.program.outputs]


class _Pace:
    """Lets threads run together, unless others are in their way.

    Threads that meet after each instruction wait for the slowest, and where another pool of threads
    keeps a core busy, that is long: then one thread goes alone for a while, and for longer if that
    hasn't helped.
    """

    def __init__(self) -> None:
        self.best = math.inf  # seconds together
        self.alone = 0  # so many runs
        self.pause = 1  # so many the last time

    def run(self, together: Callable[[], None], alone: Callable[[], None], threads: int) -> None:
        """Run one of both."""
        if self.alone:
            self.alone -= 1
            alone()
            return
        start = time.perf_counter()
        together()
        seconds = time.perf_counter() - start
        self.best = min(self.best, seconds)
        disturbed = seconds > SLOW * threads * self.best
        self.pause = min(2 * self.pause, MOST_ALONE) if disturbed else 1
        self.alone = self.pause if disturbed else 0


class _Site:
    """A program, the rooms where it runs, and the pace of its threads."""

    def __init__(self, program: Program):
        self.program = program
        self.pace = _Pace()
        self.rooms: list[_Room] = []  # where nobody works
        self.lock = threading.Lock()

    @contextmanager
    def room(self, threads: int) -> Iterator[_Room]:
        """Lend a room that nobody works in."""
        with self.lock:
            room = self.rooms.pop() if self.rooms else _Room(self.program)
        room.prepare(threads)
        try:
            yield room
        finally:
            with self.lock:
                self.rooms.append(room)


class InferencePlan:
    """A network in evaluation mode, with its weights as they are now, that runs at full speed.

    `plan(x)` returns the logits, to rounding those of the model; there is no backward. Several
    threads may call it at once.

    Parameters
    ----------
    model : Layer
        Its convolutions may be standard, group, depthwise (3x3) and pointwise, each followed by
        batch normalisation or not; besides, 3x3 pooling of stride 2, global pooling, linear, ReLU,
        additions, squeeze-and-excitation, and what moves channels. All networks of `models` are
        such. Later changes of its weights change nothing here.

    Raises
    ------
    ValueError
        If a weight, batch normalisation folded in, is NaN or infinite.
    """

    def __init__(self, model: Layer):
        self._model = fold(model)
        for name, weights in self._model.parameters().items():
            if not np.isfinite(weights).all():
                raise ValueError(f"{name} holds NaN or infinity; a plan needs finite weights")
        self._sites: dict[Shape, _Site] = {}
        self._lock = threading.Lock()

    def __call__(self, x: Array) -> Array:
        """Return the logits (n, classes) of images x (n, c, h, w), float32.

        Each thread takes images of its own, a few at once, as long as there are enough; the rest
        goes through the network one by one, on all threads together. No result depends on their
        number.

        Raises
        ------
        ValueError
            If x is not such an array, or the network has an operation that a plan can't run.
        """
        check_plain("x", x)
        if not isinstance(x, np.ndarray) or x.ndim != 4 or x.dtype != np.float32:
            found = f"is a {type(x).__name__}"
            if isinstance(x, np.ndarray):
                found = f"has shape {x.shape} and dtype {x.dtype}"
            raise ValueError(f"x {found}; an array (n, c, h, w) of float32 is needed")
        site = self._site(x.shape[1:])
        program = site.program
        images = contiguous(x).reshape(len(x), math.prod(x.shape[1:]))
        logits = np.empty((len(x), program.outputs), np.float32)

        def alone(start: int, stop: int) -> None:
            with site.room(1) as room:
                room.run(images[start:stop], 0, 1)
                logits[start:stop] = room.logits(stop - start)

        def together(number: int) -> None:
            with site.room(threads) as room:
                _threads.together(partial(room.run, images[number : number + 1]))
                logits[number] = room.logits(1)[0]

        threads = _threads.num_threads()
        taken = len(x) // threads * threads
        turns = threads * math.ceil(taken / threads / program.images)
        ends = [taken * i // max(1, turns) for i in range(turns + 1)]
        _threads.for_each(turns, lambda i: alone(ends[i], ends[i + 1]))
        for number in range(taken, len(x)):
            site.pace.run(partial(together, number), partial(alone, number, number + 1), threads)
        return logits

    def program(self, shape: Shape) -> Program:
        """Return the program for images of shape (c, h, w)."""
        return self._site(shape).program

    def _site(self, shape: Shape) -> _Site:
        with self._lock:
            if shape not in self._sites:
                self._sites[shape] = _Site(assemble(fuse(record(self._model, shape))))
            return self._sites[shape]
