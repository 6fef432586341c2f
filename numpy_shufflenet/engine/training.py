"""The training program: a network's training step, compiled to instructions.

    program = TrainingProgram(model, (128, 3, 32, 32))
    logits = program.forward(images)          # batch statistics; running statistics are updated
    gradients = program.backward(dlogits)     # name -> array
"""

from functools import partial
from typing import Any

import numpy as np

from numpy_shufflenet import _threads
from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine import machine
from numpy_shufflenet.engine.build import KINDS, Builder, assemble_steps
from numpy_shufflenet.engine.record import Unsupported, record_training
from numpy_shufflenet.engine.rows import PARTS, Arrays
from numpy_shufflenet.engine.tiles import ROWS
from numpy_shufflenet.kernels._layout import contiguous
from numpy_shufflenet.nn import BatchNorm2d, Layer
from numpy_shufflenet.plan.planes import aligned_zeros


class TrainingProgram:
    """Forward and backward of a network in training mode, for batches of one shape.

    Parameters
    ----------
    model : Layer
        Its parameters are read in each step, and its running statistics updated. All are float32.
    shape : (n, c, h, w)

    Raises
    ------
    Unsupported
        If the program can't run a layer; the message names it and the reason.
    """

    def __init__(self, model: Layer, shape: tuple[int, int, int, int]):
        self.shape = shape
        self._parameters = dict(model.named_parameters())
        if any(p.value.dtype != np.float32 for p in self._parameters.values()):
            raise Unsupported("the model's parameters aren't float32")
        norms = [layer for _, layer in model.named_layers() if isinstance(layer, BatchNorm2d)]
        network = record_training(model, shape[1:])
        zeros = max(s.node.channels for s in network) * 2 + 64
        places: dict[int, int] = {}
        gradients: dict[int, int] = {}
        at = zeros
        self._values: list[tuple[Any, int]] = []
        for parameter in self._parameters.values():
            places[id(parameter.value)] = at
            self._values.append((parameter, at))
            at += parameter.value.size
        self._statistics: list[tuple[Any, int]] = []
        for norm in norms:
            for buffer in (norm.running_mean, norm.running_var):
                places[id(buffer)] = at
                self._statistics.append((buffer, at))
                at += buffer.value.size
        self._slopes = {}
        for name, parameter in self._parameters.items():
            gradients[id(parameter.value)] = at
            self._slopes[name] = (at, parameter.value.shape)
            at += parameter.value.size
        by_gamma = {id(norm.weight.value): norm for norm in norms}
        self._norms = norms
        builder = Builder(network, shape[0], places, gradients, by_gamma, -(-at // 16) * 16)
        self._builder = builder
        self._forward = assemble_steps(builder.steps[: builder.middle])
        self._backward = assemble_steps(builder.steps[builder.middle :])
        slots = len(builder.slots)
        self._arrays = Arrays(
            aligned_zeros(builder.size + 64),
            np.array(builder.tables, np.int64),
            builder.slots,
            np.zeros((slots, PARTS, 3)),
            np.zeros((slots, PARTS, 2)),
            np.zeros(0, np.float32),
            np.zeros(0),
        )
        self._masks = [s.node for s in network if s.node.kind == "mask"]
        self._last = network[-1].node

    def forward(self, images: Array) -> Array:
        """Return the logits (n, classes) of images (n, c, h, w); update running statistics."""
        if images.shape != self.shape or images.dtype != np.float32:
            raise ValueError(
                f"images have shape {images.shape} and dtype {images.dtype}; "
                f"{self.shape} of float32 are needed"
            )
        memory = self._arrays.memory
        for stored, at in (*self._values, *self._statistics):
            memory[at : at + stored.value.size] = stored.value.ravel()
        for mask in self._masks:
            self._draw(mask)
        n, c, h, w = self.shape
        self._run(self._forward, contiguous(images).reshape(n, c, h * w))
        for stored, at in self._statistics:
            stored.value[...] = memory[at : at + stored.value.size]
        for norm in self._norms:
            norm.num_batches_tracked.value += 1
        return self._row_block(self._builder.rows).T.copy()

    def backward(self, dlogits: Array) -> dict[str, Array]:
        """Return the gradient of every parameter: views, which the next step overwrites."""
        self._row_block(self._builder.slopes)[...] = dlogits.T
        self._run(self._backward, np.zeros((1, 1, 1), np.float32))
        memory = self._arrays.memory
        return {
            name: memory[at : at + int(np.prod(shape))].reshape(shape)
            for name, (at, shape) in self._slopes.items()
        }

    def _row_block(self, blocks: Any) -> Array:
        node = self._last
        pitch, at = self._builder.pitch(node), blocks[node].place
        rows = self._arrays.memory[at : at + node.channels * pitch].reshape(-1, pitch)
        return rows[:, : self.shape[0]]

    def _draw(self, mask: Any) -> None:
        """Draw a mask of dropout, as `ops.dropout_forward` does."""
        n, rate = self.shape[0], mask.settings["rate"]
        keep = mask.settings["rng"].random((n, mask.channels)) >= rate
        factor = keep.astype(np.float32) / np.float32(1 - rate)
        pitch, at = self._builder.pitch(mask), self._builder.rows[mask].place
        rows = self._arrays.memory[at : at + mask.channels * pitch].reshape(-1, pitch)
        rows[:, :n] = factor.T

    def _run(self, program: tuple[Array, dict[str, Array]], images: Array) -> None:
        steps, instructions = program
        threads = _threads.num_threads()
        builder = self._builder
        scratch = aligned_zeros(threads * (builder.scratch // 16 * 16 + 64)).reshape(threads, -1)
        wide = np.zeros((threads, builder.wide))
        counters = np.zeros(len(steps) * machine.LINE, np.int64)
        kinds = tuple(instructions[kind] for kind in KINDS)

        def run(job: Array, caller: bool) -> None:
            machine.run_program(
                job, caller, steps, kinds, counters, self._arrays, scratch, wide, images
            )

        _threads.run_together(run)
