"""The plan: a network ready to run, on images of any size."""

import itertools
import math
from functools import partial
from typing import Any

import numpy as np

from numpy_shufflenet import _threads
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._layout import contiguous
from numpy_shufflenet.nn import Layer, fold
from numpy_shufflenet.nn.layer import not_finite
from numpy_shufflenet.ops.checks import check_plain
from numpy_shufflenet.plan import machine
from numpy_shufflenet.plan.fuse import fuse
from numpy_shufflenet.plan.layout import round_up
from numpy_shufflenet.plan.planes import aligned_zeros
from numpy_shufflenet.plan.program import Program, assemble
from numpy_shufflenet.plan.record import record

Shape = tuple[int, ...]
SIZES = 8  # of images: programs that a plan keeps


class _Room:
    """Where one run of a program works."""

    def __init__(self, program: Program, threads: int):
        self.program = program
        self.memory = aligned_zeros(program.memory)
        size = round_up(program.scratch)
        self.scratch = aligned_zeros(threads * size).reshape(threads, size)

    def run(self, images: Array, job: Array, caller: bool) -> None:
        """Do one thread's part of a run."""
        machine.run(
            self.program.instructions,
            self.program.each,
            self.program.tables,
            self.program.parameters,
            self.memory,
            self.scratch,
            images,
            job,
            caller,
        )

    def logits(self, images: int) -> Array:
        """Return what the last run has computed, (images, classes)."""
        start, pitch = self.program.logits, self.program.pitch
        rows = self.memory[start : start + images * pitch].reshape(images, pitch)
        return rows[:, : self.program.outputs]


class _Site:
    """A program, and the rooms where it runs, for images of one size."""

    def __init__(self, program: Program):
        self.program = program
        self.used = 0  # when, as `InferencePlan` counts
        self.rooms: list[_Room] = []  # where nobody works

    def run(self, images: Array, *, together: bool) -> Array:
        """Return the logits of these images, computed on this thread or on all of them."""
        threads = _threads.num_threads() if together else 1
        try:
            room = self.rooms.pop()  # atomic, so no two threads get the same one
        except IndexError:
            room = _Room(self.program, threads)
        if len(room.scratch) < threads:
            room = _Room(self.program, threads)
        if together:
            _threads.together(partial(room.run, images))
        else:
            room.run(images, _threads.counters(), True)
        logits = room.logits(len(images)).copy()
        self.rooms.append(room)  # not after an interrupt: nobody knows what it left there
        return logits


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
        if names := not_finite(self._model.parameters()):
            raise ValueError(f"{names} holds NaN or infinity; a plan needs finite weights")
        self._sites: dict[Shape, _Site] = {}
        self._clock = itertools.count(1)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy the network alone; programs are made anew."""
        return {"_model": self._model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self._sites, self._clock = {}, itertools.count(1)

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

        threads = _threads.num_threads()
        taken = len(x) // threads * threads
        turns = threads * math.ceil(taken / threads / program.images)
        ends = [taken * i // max(1, turns) for i in range(turns + 1)]

        def take(turn: int) -> None:
            mine = slice(ends[turn], ends[turn + 1])
            logits[mine] = site.run(images[mine], together=False)

        _threads.for_each(turns, take)
        for i in range(taken, len(x)):
            logits[i : i + 1] = site.run(images[i : i + 1], together=True)
        return logits

    def program(self, shape: Shape) -> Program:
        """Return the program for images of shape (c, h, w)."""
        return self._site(shape).program

    def _site(self, shape: Shape) -> _Site:
        # No lock, which a fork might copy while it is held; each of these steps is atomic.
        site = self._sites.get(shape)
        if site is None:
            program = assemble(fuse(record(self._model, shape)))
            site = self._sites.setdefault(shape, _Site(program))
        site.used = next(self._clock)
        while len(self._sites) > SIZES:
            oldest = min(list(self._sites.items()), key=lambda item: item[1].used)
            self._sites.pop(oldest[0], None)
        return site
