"""The plan: a network that is ready to run, on images of any size."""

import itertools
import math
from functools import partial
from typing import Any

import numpy as np

from numpy_shufflenet import _threads
from numpy_shufflenet._memory import zeros
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._layout import contiguous
from numpy_shufflenet.nn import Layer, fold
from numpy_shufflenet.nn.layer import not_finite
from numpy_shufflenet.ops.checks import check_plain
from numpy_shufflenet.plan import machine
from numpy_shufflenet.plan.fuse import fuse
from numpy_shufflenet.plan.layout import round_up
from numpy_shufflenet.plan.program import Program, assemble
from numpy_shufflenet.plan.record import record

Shape = tuple[int, ...]
SIZES = 8  # a plan keeps the programs for so many sizes of images


class _RunMemory:
    """The memory for one run of a program."""

    def __init__(self, program: Program, threads: int):
        self.program = program
        self.memory = zeros(program.memory, np.float32)
        size = round_up(program.scratch)
        self.scratch = zeros(threads * size, np.float32).reshape(threads, size)

    def run(self, images: Array, job: Array, caller: bool) -> None:
        """Run one thread's part of the program."""
        machine.run_program(
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
        """Return the logits of the last run, (images, classes)."""
        start, pitch = self.program.logits, self.program.pitch
        rows = self.memory[start : start + images * pitch].reshape(images, pitch)
        return rows[:, : self.program.outputs]


class _SizedProgram:
    """The program for images of one size, and memory for its runs."""

    def __init__(self, program: Program):
        self.program = program
        self.used = 0  # the number of the last call that used it
        self.seconds = 0.0  # the duration of the last run on all threads
        self.free: list[_RunMemory] = []  # memory that no run uses now

    def run(self, images: Array, *, together: bool) -> Array:
        """Return the logits of these images, computed on this thread or on all threads."""
        threads = _threads.num_threads() if together else 1
        try:
            memory = self.free.pop()  # atomic, so no two threads get the same one
        except IndexError:
            memory = _RunMemory(self.program, threads)
        if len(memory.scratch) < threads:
            memory = _RunMemory(self.program, threads)
        if together:
            run = partial(memory.run, images)
            self.seconds = _threads.run_together(run, expected=self.seconds)
        else:
            memory.run(images, _threads.counters(), True)
        logits = memory.logits(len(images)).copy()
        self.free.append(memory)  # not after an interrupt, which leaves its state unknown
        return logits


class InferencePlan:
    """A network in evaluation mode, compiled for speed, with the weights that it has now.

    `plan(x)` returns the logits of the model, up to rounding. There is no backward. Several threads
    may call it at once.

    Parameters
    ----------
    model : Layer
        It may have standard, group, depthwise (3x3) and pointwise convolutions, with or without
        batch normalisation after them; 3x3 pooling of stride 2, global pooling, linear layers,
        ReLU, additions, squeeze-and-excitation; and layers that split, concatenate or shuffle
        channels. All networks of `models` fit. Later changes of its weights have no effect here.

    Raises
    ------
    ValueError
        If a weight is NaN or infinite after batch normalisation is folded into it.
    """

    def __init__(self, model: Layer):
        self._model = fold(model)
        if names := not_finite(self._model.parameters()):
            raise ValueError(f"{names} holds NaN or infinity; a plan needs finite weights")
        self._programs: dict[Shape, _SizedProgram] = {}
        self._clock = itertools.count(1)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy only the network; programs are assembled again."""
        return {"_model": self._model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self._programs, self._clock = {}, itertools.count(1)

    def __call__(self, x: Array) -> Array:
        """Return the logits (n, classes) of images x (n, c, h, w), float32.

        While there are enough images, each thread runs the network on its own images, a few at
        once. The remaining images run one by one, on all threads together. No result depends on the
        number of threads.

        Raises
        ------
        ValueError
            If x is not such an array, or a plan can't run an operation of the network.
        """
        check_plain("x", x)
        if not isinstance(x, np.ndarray) or x.ndim != 4 or x.dtype != np.float32:
            found = f"is a {type(x).__name__}"
            if isinstance(x, np.ndarray):
                found = f"has shape {x.shape} and dtype {x.dtype}"
            raise ValueError(f"x {found}; an array (n, c, h, w) of float32 is needed")
        sized = self._sized(x.shape[1:])
        program = sized.program
        images = contiguous(x).reshape(len(x), math.prod(x.shape[1:]))
        logits = np.empty((len(x), program.outputs), np.float32)

        threads = _threads.num_threads()
        taken = len(x) // threads * threads
        turns = threads * math.ceil(taken / threads / program.images)
        ends = [taken * i // max(1, turns) for i in range(turns + 1)]

        def run_turn(turn: int) -> None:
            mine = slice(ends[turn], ends[turn + 1])
            logits[mine] = sized.run(images[mine], together=False)

        _threads.share_each(turns, run_turn)
        for i in range(taken, len(x)):
            logits[i : i + 1] = sized.run(images[i : i + 1], together=True)
        return logits

    def program(self, shape: Shape) -> Program:
        """Return the program for images of shape (c, h, w)."""
        return self._sized(shape).program

    def _sized(self, shape: Shape) -> _SizedProgram:
        # Each step is atomic. There is no lock, because a fork might copy it while it is held.
        sized = self._programs.get(shape)
        if sized is None:
            program = assemble(fuse(record(self._model, shape)))
            sized = self._programs.setdefault(shape, _SizedProgram(program))
        sized.used = next(self._clock)
        while len(self._programs) > SIZES:
            oldest = min(list(self._programs.items()), key=lambda item: item[1].used)
            self._programs.pop(oldest[0], None)
        return sized
