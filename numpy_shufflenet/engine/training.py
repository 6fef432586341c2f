"""The training program: forward and backward of a network in training, compiled to instructions.

program = TrainingProgram(model, (128, 3, 32, 32))
logits = program.forward(images)  # with batch statistics; running statistics are updated
program.backward(dlogits)  # adds to the gradients of the model's parameters
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from numpy_shufflenet import _threads
from numpy_shufflenet._memory import workspace, zeros
from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine.build import Builder, Part
from numpy_shufflenet.engine.instruction import Arrays
from numpy_shufflenet.engine.machine import LINE, run_program
from numpy_shufflenet.engine.record import record_training
from numpy_shufflenet.engine.rows import PARTS
from numpy_shufflenet.kernels._layout import contiguous
from numpy_shufflenet.nn import BatchNorm2d, Dropout, Layer, Parameter
from numpy_shufflenet.plan.record import Node, Unsupported

NOTHING = np.zeros(0, np.float32)
SHARES = 6  # the backward runs in about so many parts, and passes on complete gradients after each


class ProgramMemory:
    """Memory for programs that run one after the other; it grows with the largest of them."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}
        self._user: dict[str, tuple[int, int]] = {}  # the thread and process that use it now
        self._forward: Any = None  # the program whose forward was the last use, and its thread

    @contextmanager
    def use(self, program: "TrainingProgram", *, forward: bool) -> Iterator[None]:
        """Let a forward or a backward of a program run; raise RuntimeError if it must not.

        It doesn't use a lock, because an interrupt or a fork could leave a lock held.
        """
        me = threading.get_ident(), os.getpid()
        try:
            user = self._user.setdefault("is", me)  # atomic
            if user != me and user[1] == me[1]:
                raise RuntimeError(
                    "another thread runs this program, or one with the same memory; each thread "
                    "needs a program of its own"
                )
            self._user["is"] = me
            if not forward and self._forward != (id(program), *me):
                raise RuntimeError(
                    "backward needs a forward of this program, by this thread, since the last use "
                    "of the program's memory"
                )
            self._forward = None
            yield
            self._forward = (id(program), *me) if forward else None
        finally:
            if self._user.get("is") == me:
                del self._user["is"]

    def take(self, name: str, size: int, dtype: Any = np.float32) -> Array:
        """Return an array of at least `size` numbers; calls with one name return the same array."""
        found = self._arrays.get(name)
        if found is None or found.size < size:
            self._arrays.pop(name, None)  # free the smaller array before allocating
            found = self._arrays[name] = zeros(size, dtype)
        return found


def state_of(model: Layer) -> tuple[Any, ...]:
    """Return what a program of this model depends on; if it changes, make a new program."""
    parameters = [(id(p), p.frozen) for _, p in model.named_parameters()]
    norms = [
        (layer.hyperparameters["eps"], layer.momentum, layer.synchronised)
        for _, layer in model.named_layers()
        if isinstance(layer, BatchNorm2d)
    ]
    return tuple(parameters), tuple(norms)


class TrainingProgram:
    """Forward and backward of a network in training, for batches of one shape.

    All numbers are float32. The terms of a gradient are added in an order that doesn't depend on
    the number of threads, so no result depends on it. Activations may be as large as 1e19, because
    their squares must be finite. `print(program)` lists the instructions.

    Parameters
    ----------
    model : Layer
        Its parameters are read at each forward, and its running statistics updated.
    shape : (n, c, h, w)
        Shape of the images.
    memory : ProgramMemory, optional
        Programs of the same model may share it. Then only one of them may run at a time, and
        between a program's forward and its backward no other program may run.

    Raises
    ------
    Unsupported
        If the program can't run a layer; the message says which one, and why.
    """

    def __init__(
        self, model: Layer, shape: tuple[int, int, int, int], memory: ProgramMemory | None = None
    ):
        self.shape = shape
        self.state = state_of(model)
        self._memory = memory or ProgramMemory()
        self._parameters = [p for _, p in model.named_parameters()]
        if any(p.value.dtype != np.float32 for p in self._parameters):
            raise Unsupported("the parameters of the model aren't float32")
        if any(p.frozen for p in self._parameters):
            raise Unsupported("some layers are frozen")
        self._learned = sum(p.value.size for p in self._parameters)
        layers = [layer for _, layer in model.named_layers()]
        self._norms = [layer for layer in layers if isinstance(layer, BatchNorm2d)]
        self._dropouts = {id(layer.rng): layer for layer in layers if isinstance(layer, Dropout)}
        network = record_training(model, shape[1:])
        self._masks = [stored.node for stored in network if stored.node.kind == "mask"]
        self._last = network[-1].node
        self._builder = Builder(network, shape[0], self._parameters, self._norms)
        self._forward = Part(self._builder.forward)
        self._backward = list(self._shares())
        slots = self._builder.slots
        self._fixed: dict[str, Any] = {
            "tables": np.array(self._builder.tables, np.int64),
            "slots": slots,
            "moments": np.zeros((len(slots), PARTS, 3)),
            "sums": np.zeros((len(slots), PARTS, 2)),
        }

    def forward(self, images: Array) -> Array:
        """Return the logits (n, classes) of images (n, c, h, w); update running statistics.

        Raises
        ------
        ValueError
            If the images have another shape or dtype.
        RuntimeError
            If another thread runs this program.
        """
        if images.shape != self.shape or images.dtype != np.float32:
            raise ValueError(
                f"images have shape {images.shape} and dtype {images.dtype}; "
                f"{self.shape} of float32 are needed"
            )
        with self._memory.use(self, forward=True):
            return self._run_forward(images)

    def _run_forward(self, images: Array) -> Array:
        builder, numbers = self._builder, self._numbers()
        for holder, place in builder.holders:
            numbers[place : place + holder.value.size] = holder.value.reshape(-1)
        for mask in self._masks:
            self._draw(mask)
        n, c, h, w = self.shape
        self._run(self._forward, contiguous(images).reshape(n, c, h * w))
        for buffer, place in builder.statistics:
            buffer.value = numbers[place : place + buffer.value.size].copy()
        for norm in self._norms:
            norm.num_batches_tracked.value += 1
        return self._features(builder.rows[self._last].place, self._last).T.copy()

    def backward(self, dlogits: Array) -> None:
        """Add to the parameters' gradients, given dlogits (n, classes), the gradient of the logits.

        The gradients are computed for the images of the last forward. The images get no gradient.

        Raises
        ------
        ValueError
            If dlogits has another shape.
        RuntimeError
            Unless the last use of the memory was a forward of this program in this thread.
        """
        if dlogits.shape != (self.shape[0], self._last.channels):
            raise ValueError(
                f"dlogits has shape {dlogits.shape}; {(self.shape[0], self._last.channels)} is "
                "needed"
            )
        with self._memory.use(self, forward=False):
            self._run_backward(dlogits)

    def _run_backward(self, dlogits: Array) -> None:
        self._features(self._builder.slopes[self._last].place, self._last)[...] = dlogits.T
        # A new array, since the gradients of an earlier backward may still be in use.
        gradients = workspace.empty((self._learned,), np.float32)
        for part, parameters in self._backward:
            self._run(part, np.zeros((1, 1, 1), np.float32), gradients)
            for parameter, place in parameters:
                found = gradients[place : place + parameter.value.size]
                parameter.accumulate(found.reshape(parameter.value.shape))

    def __str__(self) -> str:
        return str(self._builder)

    def _shares(self) -> Iterator[tuple[Part, list[tuple[Parameter, int]]]]:
        """Yield each part of the backward, with the parameters whose gradients it completes.

        Each parameter comes with the position of its gradient.
        """
        steps, done, places = (
            self._builder.backward,
            self._builder.completed,
            self._builder.gradients,
        )
        first, found = 0, []
        for last in range(1, len(steps) + 1):
            found += [p for p in self._parameters if done.get(id(p.value)) == last - 1]
            if last == len(steps) or sum(p.value.size for p in found) * SHARES >= self._learned:
                yield Part(steps[first:last]), [(p, places[id(p.value)]) for p in found]
                first, found = last, []

    def _numbers(self) -> Array:
        return self._memory.take("rows", self._builder.size + 64)

    def _features(self, place: int, node: Node) -> Array:
        """Return the rows of a node with one number for each image, (channels, n)."""
        pitch = self._builder.pitch(node)
        rows = self._numbers()[place : place + node.channels * pitch]
        return rows.reshape(-1, pitch)[:, : self.shape[0]]

    def _draw(self, mask: Node) -> None:
        """Draw a mask of dropout, as the layer does."""
        layer, n = self._dropouts[id(mask.settings["rng"])], self.shape[0]
        before, after = layer.others
        drawn = layer.rng.random((before + n + after, mask.channels))[before : before + n]
        rate = layer.hyperparameters["rate"]
        factor = (drawn >= rate).astype(np.float32) / np.float32(1 - rate)
        self._features(self._builder.rows[mask].place, mask)[...] = factor.T

    def _run(self, part: Part, images: Array, gradients: Array = NOTHING) -> None:
        threads, builder = _threads.num_threads(), self._builder
        size = -(-builder.scratch // 16) * 16 + 64
        scratch = self._memory.take("scratch", threads * size)[: threads * size]
        each = scratch.reshape(threads, size), np.zeros((threads, builder.wide))
        counters = np.zeros(len(part.steps) * LINE, np.int64)
        arrays = Arrays(
            self._numbers(), images, **self._fixed, parameter_gradients=gradients,
            scratch=NOTHING, wide=NOTHING.astype(float),
        )  # fmt: skip

        def run(job: Array, caller: bool) -> None:
            run_program(job, caller, part.steps, counters, arrays, *each)

        part.seconds = _threads.run_together(run, expected=part.seconds)
