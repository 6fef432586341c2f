"""The builder: turns a recorded network into the instructions of a training step.

Every kind of node has two methods side by side: one adds the instruction of its forward, the other
that of its backward. The backward of the network is its forward in reverse.
"""

from collections import defaultdict
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.engine.convolutions import pixels_at_once
from numpy_shufflenet.engine.instruction import INSTRUCTIONS
from numpy_shufflenet.engine.machine import STEP
from numpy_shufflenet.engine.place import Allocation, place_blocks
from numpy_shufflenet.engine.products import (
    SPACE,
    filled_up,
    packed_columns,
)
from numpy_shufflenet.engine.record import Stored
from numpy_shufflenet.engine.rows import LONG, LOW, PARTS
from numpy_shufflenet.engine.tiles import COLUMNS, G_ROWS, ROWS, X_ROWS
from numpy_shufflenet.engine.wholes import CHANNELS
from numpy_shufflenet.engine.windows import (
    AVERAGE,
    MAXIMUM,
    SLACK,
    plane_of,
)
from numpy_shufflenet.nn import BatchNorm2d, Parameter
from numpy_shufflenet.plan.record import Channel, Node, Unsupported

BEYOND = 64  # numbers after a row that vector stores may overwrite
SHORTEST = 256  # a part of a row has at least so many columns


class BuiltStep:
    """One instruction of a program.

    Attributes
    ----------
    kind : str
        A key of INSTRUCTIONS.
    node : Node
        The operation that it belongs to.
    fields : dict
        The fields of its record; fields that are missing here are 0.
    """

    def __init__(self, kind: str, node: Node, fields: dict[str, Any]):
        self.kind = kind
        self.node = node
        self.fields = fields

    def __str__(self) -> str:
        node = self.node
        makers = dict.fromkeys(f"{c.node.kind} {c.node.channels}" for c in node.inputs)
        read = f" of {' and '.join(makers)}" if makers else ""
        shape = f"{node.channels}x{node.h}x{node.w}"
        return f"{self.kind:20} {node.kind} {shape}{read}, {self.fields['turns']} turns"


class Builder:
    """Builds the instructions of a training step.

    Parameters
    ----------
    network : list of Stored
    images : int
        Number of images in a batch.
    parameters : list of Parameter
        All parameters of the network.
    norms : list of BatchNorm2d
        All batch normalisations of the network.

    Attributes
    ----------
    forward, backward : list of BuiltStep
    completed : dict
        From the id of a parameter's array to the backward step that completes its gradient.
    gradients : dict
        From the id of a parameter's array to the position of its gradient among the gradients of
        all parameters: the last parameter comes first, as in `distributed.Buckets`.
    holders : list of (Parameter or Buffer, int)
        The parameters and buffers that are copied to memory before the forward, and their positions
        there.
    statistics : list of (Buffer, int)
        The buffers among them, which are copied back after the forward.
    rows, slopes : dict
        From a node to the memory block of its output, and to that of its output's gradient.
    tables : list of int
    slots : array, shape (slots, 6)
    size, scratch, wide : int
        Lengths of memory, and of each thread's two scratch arrays.
    """

    def __init__(
        self,
        network: list[Stored],
        images: int,
        parameters: list[Parameter],
        norms: list[BatchNorm2d],
    ):
        self.network = network
        self.images = images
        self.norms = {id(norm.weight.value): norm for norm in norms}
        self.stored = {s.node: s for s in network}
        self.tables: list[int] = []
        self.scratch = 2 * LONG + 64
        self.wide = 1024
        # Memory starts with zeros, which serve as the bias of layers without one.
        start = max(s.node.channels for s in network) * 2 + 64
        self.holders: list[tuple[Any, int]] = []
        self.places: dict[int, int] = {}
        self.gradients: dict[int, int] = {}
        buffers = [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var)]
        every: list[Any] = [*parameters, *buffers]
        for holder in every:
            self.holders.append((holder, start))
            self.places[id(holder.value)] = start
            start += holder.value.size
        self.statistics = self.holders[len(parameters) :]
        position = 0
        for parameter in reversed(parameters):
            self.gradients[id(parameter.value)] = position
            position += parameter.value.size
        self.completed: dict[int, int] = {}
        self._give_slots()
        self._give_places(filled_up(start, 16))

        self.forward: list[BuiltStep] = []
        self.steps = self.forward
        for stored in network:
            self._forward(stored)
        self.backward: list[BuiltStep] = []
        self.steps = self.backward
        self.touched: set[Channel] = set()  # channels whose gradients some step has written
        last = network[-1].node
        self.touched |= set(last.rows().rows)
        for stored in reversed(network):
            self._backward(stored)

    def __str__(self) -> str:
        """Return a table of all instructions, and the memory that they use."""
        lines = []
        for title, steps in (("forward", self.forward), ("backward", self.backward)):
            lines += [f"{title}", *(f"  {i:4d}  {step}" for i, step in enumerate(steps))]
        kept = sum(block.size for block in self.rows.values())
        slopes = sum(block.size for block in self.slopes.values())
        return "\n".join(
            [
                *lines,
                f"memory: {self.size * 4 / 1e6:.1f} MB in all",
                f"  outputs of operations, kept for backward: {kept * 4 / 1e6:.1f} MB",
                f"  their gradients, which share memory: {slopes * 4 / 1e6:.1f} MB",
                "  batch normalisation and ReLU are computed again wherever they are read",
            ]
        )

    # Rows and their positions

    def columns(self, node: Node) -> int:
        """Return how many numbers a row of a node's output has."""
        return node.h * node.w * self.images

    def _give_slots(self) -> None:
        self.slot: dict[Node, int] = {}
        count = 0
        for stored in self.network:
            self.slot[stored.node] = count
            count += stored.node.channels
        self.slots = np.zeros((count, 6), np.float32)
        self.slots[:, 1], self.slots[:, LOW] = 1, -np.inf
        for stored in self.network:
            for channel in stored.relu:
                self.slots[self.slot[stored.node] + channel, LOW] = 0

    def _give_places(self, start: int) -> None:
        """Assign memory to all rows, gradients, packed weights and partial weight gradients."""
        count = len(self.network)
        readers: dict[Channel, list[int]] = defaultdict(list)
        for i, stored in enumerate(self.network):
            for channel in stored.node.inputs:
                readers[channel].append(i)
        self.needed = self._needing_gradients()
        self.rows: dict[Node, Allocation] = {}
        self.slopes: dict[Node, Allocation] = {}
        self.weights: dict[Node, dict[str, Allocation]] = {}
        blocks = []
        widest = max(self.columns(s.node) for s in self.network)
        self.garbage = Allocation(widest + BEYOND, 0, 2 * count)
        blocks.append(self.garbage)
        for i, stored in enumerate(self.network):
            node = stored.node
            size = node.channels * self.pitch(node)
            # (Masks of dropout are drawn before the first step.)
            self.rows[node] = Allocation(size, 0 if node.kind == "mask" else i, 2 * count - i)
            blocks.append(self.rows[node])
            if node in self.needed:
                latest = max([j for c in node.rows().rows for j in readers[c]], default=count)
                self.slopes[node] = Allocation(size, 2 * count - latest, 2 * count - i)
                blocks.append(self.slopes[node])
            if node.kind in ("product", "linear", "convolution"):
                groups, o, depth = self._matrix(node)
                g_rows, x_rows = filled_up(o, G_ROWS), filled_up(depth, X_ROWS)
                back = 2 * count - i
                self.weights[node] = {
                    "tiles": Allocation(groups * filled_up(o, ROWS) * depth, i, i),
                    "filled": Allocation(groups * filled_up(o, ROWS), i, i),
                    "transposed": Allocation(groups * self._transposed(node) * o, i, back),
                    "dw": Allocation(groups * self._parts(node) * g_rows * x_rows, back, back),
                }
                blocks += self.weights[node].values()
        self.size = place_blocks(blocks, start)

    def _needing_gradients(self) -> set[Node]:
        """Return the nodes whose gradients are needed to compute those of the parameters."""
        needed: set[Node] = set()
        for stored in self.network:
            node = stored.node
            learns = any(id(a) in self.gradients for a in (node.weights, node.bias)) or (
                stored.norm is not None
            )
            if learns or any(channel.node in needed for channel in node.inputs):
                needed.add(node)
        return needed

    def pitch(self, node: Node) -> int:
        """Return the distance from one row of a node to the next, in numbers."""
        return filled_up(self.columns(node), 16) + BEYOND

    def _row(self, channel: Channel) -> int:
        return self.rows[channel.node].place + channel.channel * self.pitch(channel.node)

    def _slope(self, channel: Channel) -> int:
        return self.slopes[channel.node].place + channel.channel * self.pitch(channel.node)

    def _rows(self, channels: tuple[Channel, ...]) -> int:
        return self._note([self._row(channel) for channel in channels])

    def _slots(self, channels: tuple[Channel, ...]) -> int:
        return self._note([self.slot[channel.node] + channel.channel for channel in channels])

    def _slopes(self, channels: tuple[Channel, ...]) -> int:
        return self._note([self._slope(channel) for channel in channels])

    def _filled(self, places: list[int], groups: int) -> int:
        """Add positions to the tables; return where they start.

        The positions of each group are padded to a multiple of 6 with those of `garbage`, a row
        that is written but never read.
        """
        table: list[int] = []
        size = len(places) // groups
        for group in range(groups):
            table += places[group * size : (group + 1) * size]
            table += [self.garbage.place] * (filled_up(size, ROWS) - size)
        return self._note(table)

    def _note(self, numbers: list[int]) -> int:
        self.tables += numbers
        return len(self.tables) - len(numbers)

    def _emit(self, kind: str, node: Node, /, **fields: Any) -> None:
        self.steps.append(BuiltStep(kind, node, fields))

    def _gradient(self, array: Array) -> int:
        """Return the position of a parameter's gradient, which the next step will complete."""
        self.completed[id(array)] = len(self.steps)
        return self.gradients[id(array)]

    # Forward and backward

    def _forward(self, stored: Stored) -> None:
        node = stored.node
        getattr(self, f"_{node.kind}")(node)
        if stored.norm is not None:
            self._emit("norm", stored.node, **self._norm(stored))

    def _backward(self, stored: Stored) -> None:
        node = stored.node
        if node not in self.needed:
            return
        rows = node.rows().rows
        if missing := [channel for channel in rows if channel not in self.touched]:
            columns = self.columns(node)
            slopes = self._slopes(tuple(missing))
            self._emit("clear", node, turns=len(missing), columns=columns, outputs=slopes)
        if stored.norm is not None:
            norm = stored.norm
            self._emit(
                "norm_backward",
                node,
                **self._norm(stored),
                dgamma=self._gradient(norm.weights),
                dbeta=self._gradient(norm.bias),
            )
        getattr(self, f"_{node.kind}_backward")(node)

    def _norm(self, stored: Stored) -> dict[str, Any]:
        norm, node = stored.norm, stored.node
        assert norm is not None
        layer = self.norms[id(norm.weights)]
        if self.columns(node) < 2:
            raise Unsupported("batch normalisation of one value in each channel")
        return {
            "turns": -(-node.channels // CHANNELS),
            "channels": node.channels,
            "columns": self.columns(node),
            "slot": self.slot[node],
            "gamma": self.places[id(norm.weights)],
            "beta": self.places[id(norm.bias)],
            "running_mean": self.places[id(layer.running_mean.value)],
            "running_var": self.places[id(layer.running_var.value)],
            "eps": norm.settings["eps"],
            "momentum": layer.momentum,
        }

    def _moments(self, node: Node) -> int:
        """Return the slot of the first output if its moments are needed, else -1."""
        return self.slot[node] if self.stored[node].norm is not None else -1

    def _more(self, channels: tuple[Channel, ...]) -> int:
        """Return 1 if the next step must add to gradients in memory, 0 if it may overwrite them.

        It must add if an earlier step has written some of them. The others are then set to 0.
        """
        before = [channel for channel in channels if channel in self.touched]
        fresh = tuple(channel for channel in channels if channel not in self.touched)
        self.touched |= set(channels)
        if not before:
            return 0
        if fresh:
            node = fresh[0].node
            columns, slopes = self.columns(node), self._slopes(fresh)
            self._emit("clear", node, turns=len(fresh), columns=columns, outputs=slopes)
        return 1

    def _sums(self, channels: tuple[Channel, ...]) -> int:
        """Return 1 if a batch normalisation needs the sums of these gradients, else 0."""
        return int(any(self.stored[channel.node].norm is not None for channel in channels))

    def _of_output(self, node: Node) -> dict[str, int]:
        rows = node.rows().rows
        return {
            "gradients": self._slopes(rows),
            "outputs": self._rows(rows),
            "output_slots": self._slots(rows),
        }

    def _of_input(self, channels: tuple[Channel, ...]) -> dict[str, int]:
        return {"inputs": self._rows(channels), "input_slots": self._slots(channels)}

    def _wants(self, channels: tuple[Channel, ...]) -> bool:
        """Return whether the gradients of these channels are needed.

        Raise Unsupported if some are needed and others are not.
        """
        needed = {channel.node in self.needed for channel in channels}
        if len(needed) > 1:
            raise Unsupported("an operation reads channels with and without gradients")
        return needed.pop()

    # Input, masks

    def _input(self, node: Node) -> None:
        self._whole("input", node)

    def _mask(self, node: Node) -> None:
        """Add no instruction: `TrainingProgram` draws the mask before each step."""

    def _whole(self, kind: str, node: Node, **fields: Any) -> None:
        fields = {"columns": self.columns(node)} | fields
        self._emit(
            kind,
            node,
            turns=fields.pop("turns", node.channels),
            images=self.images,
            outputs=self._rows(node.rows().rows),
            low=-np.inf,
            **fields,
        )

    # Products

    def _matrix(self, node: Node) -> tuple[int, int, int]:
        """Return the number of groups, and the number of rows and columns of a group's matrix."""
        groups = node.settings.get("groups", 1)
        return groups, node.channels // groups, node.weights[0].size

    def _window_of(self, node: Node) -> tuple[int, int]:
        return node.weights.shape[2:] if node.kind == "convolution" else (1, 1)

    def _transposed(self, node: Node) -> int:
        """Return the number of rows of the packed transposed matrices of a group."""
        kh, _ = self._window_of(node)
        return kh * filled_up(node.weights[0].size // kh, ROWS)

    def _parts(self, node: Node) -> int:
        if node.kind == "convolution":
            return max(1, min(PARTS, node.h))
        return max(1, min(PARTS, self.columns(node) // SHORTEST))

    def _pack(self, node: Node, *, back: bool) -> None:
        groups, o, depth = self._matrix(node)
        blocks = self.weights[node]
        kh, kw = self._window_of(node)
        self._emit(
            "pack",
            node,
            kh=kh,
            kw=kw,
            turns=groups,
            rows=o,
            depth=depth,
            weights=self.places[id(node.weights)],
            tiles=blocks["tiles"].place,
            transposed=blocks["transposed"].place if back else -1,
            bias=self.places.get(id(node.bias), -1),
            filled=blocks["filled"].place,
        )

    def _biased(self, node: Node) -> int:
        """Return the position of the packed bias, or of zeros."""
        return self.weights[node]["filled"].place if id(node.bias) in self.places else 0

    def _bias_backward(self, node: Node) -> None:
        if id(node.bias) in self.gradients:
            self._whole(
                "bias", node, results=self._gradient(node.bias),
                gradients=self._slopes(node.rows().rows),
                output_slots=self._slots(node.rows().rows),
            )  # fmt: skip

    def _sum(self, node: Node) -> None:
        groups, o, depth = self._matrix(node)
        self._use(wide=depth)
        self._emit(
            "sum", node, turns=groups, parts=self._parts(node), rows=o, depth=depth,
            dw=self.weights[node]["dw"].place, to=self._gradient(node.weights),
        )  # fmt: skip

    def _product(self, node: Node) -> None:
        groups, o, depth = self._matrix(node)
        self._pack(node, back=self._wants(node.inputs))
        pitch = packed_columns(depth) + SPACE
        self._use(scratch=depth * pitch + COLUMNS, wide=2 * o)
        self._emit(
            "product",
            node,
            turns=groups * self._parts(node),
            parts=self._parts(node),
            columns=self.columns(node),
            depth=depth,
            rows=o,
            taps=self._note([k * pitch for k in range(depth)]),
            outputs=self._filled([self._row(row) for row in node.rows().rows], groups),
            weights=self.weights[node]["tiles"].place,
            bias=self._biased(node),
            slot=self._moments(node),
            low=-np.inf,
            **self._of_input(node.inputs),
        )

    def _product_backward(self, node: Node) -> None:
        groups, o, depth = self._matrix(node)
        wanted = self._wants(node.inputs)
        size = filled_up(o, G_ROWS) + filled_up(depth, X_ROWS)
        pitch = packed_columns(size) + SPACE
        self._use(scratch=size * pitch + COLUMNS, wide=2 * depth)
        self._bias_backward(node)
        self._emit(
            "product_backward",
            node,
            turns=groups * self._parts(node),
            parts=self._parts(node),
            columns=self.columns(node),
            depth=o,
            rows=depth,
            taps=self._note([k * pitch for k in range(o)]),
            more=self._more(node.inputs) if wanted else 0,
            last=self._sums(node.inputs) if wanted else 0,
            results=self._filled([self._slope(c) for c in node.inputs], groups) if wanted else -1,
            weights=self.weights[node]["transposed"].place,
            dw=self.weights[node]["dw"].place,
            **self._of_output(node),
            **self._of_input(node.inputs),
        )
        self._sum(node)

    _linear, _linear_backward = _product, _product_backward

    # Convolutions

    def _geometry(self, node: Node) -> dict[str, int]:
        before = node.inputs[0].node
        (stride_h, stride_w), (dilation_h, dilation_w) = (
            node.settings["stride"],
            node.settings["dilation"],
        )
        top, left = node.settings["padding"]
        groups, o, _ = self._matrix(node)
        parts = self._parts(node)
        return {
            "turns": groups * parts, "parts": parts, "n": self.images, "h": before.h, "w": before.w,
            "oh": node.h, "ow": node.w, "channels": node.weights.shape[1],
            "kh": node.weights.shape[2], "kw": node.weights.shape[3],
            "stride_h": stride_h, "stride_w": stride_w, "dilation_h": dilation_h,
            "dilation_w": dilation_w, "top": top, "left": left, "rows": o,
        }  # fmt: skip

    def _convolution(self, node: Node) -> None:
        _, o, depth = self._matrix(node)
        groups = node.settings["groups"]
        self._pack(node, back=self._wants(node.inputs))
        step = pixels_at_once(node.w, self.images, depth)
        pitch = filled_up(step * self.images, COLUMNS) + SPACE
        self._use(scratch=(depth + ROWS) * pitch + COLUMNS, wide=2 * o)
        self._emit(
            "convolution",
            node,
            taps=self._note([k * pitch for k in range(depth)]),
            packed=self._note([(depth + r) * pitch for r in range(ROWS)]),
            outputs=self._filled([self._row(row) for row in node.rows().rows], groups),
            weights=self.weights[node]["tiles"].place,
            bias=self._biased(node),
            slot=self._moments(node),
            **self._geometry(node),
            **self._of_input(node.inputs),
        )

    def _convolution_backward(self, node: Node) -> None:
        _, o, depth = self._matrix(node)
        size = filled_up(o, G_ROWS) + filled_up(depth, X_ROWS)
        step = pixels_at_once(node.w, self.images, size)
        pitch = filled_up(step * self.images, COLUMNS) + SPACE
        self._use(scratch=size * pitch + COLUMNS)
        self._bias_backward(node)
        self._emit(
            "convolution_backward",
            node,
            dw=self.weights[node]["dw"].place,
            **self._geometry(node),
            **self._of_output(node),
            **self._of_input(node.inputs),
        )
        self._sum(node)
        if self._wants(node.inputs):
            self._convolution_dx(node)

    def _convolution_dx(self, node: Node) -> None:
        """Add the instruction that computes dx; each of its parts computes some rows of dx."""
        before, (groups, o, _) = node.inputs[0].node, self._matrix(node)
        parts = max(1, min(PARTS, before.h))
        pitch = filled_up(pixels_at_once(node.w, self.images, o) * self.images, COLUMNS) + SPACE
        self._use(scratch=(o + ROWS) * pitch + COLUMNS, wide=2 * node.weights.shape[1])
        more = self._more(node.inputs)
        self._emit(
            "convolution_dx",
            node,
            taps=self._note([k * pitch for k in range(o)]),
            packed=self._note([(o + r) * pitch for r in range(ROWS)]),
            weights=self.weights[node]["transposed"].place,
            results=self._slopes(node.inputs),
            more=more,
            last=self._sums(node.inputs),
            **self._geometry(node) | {"turns": groups * parts, "parts": parts},
            **self._of_output(node),
            **self._of_input(node.inputs),
        )

    # Windows

    def _window(self, node: Node) -> dict[str, Any]:
        before = node.inputs[0].node
        stride = before.h // node.h if node.kind == "pool" else node.settings["stride"][0]
        stride = 2 if node.kind == "pool" else stride
        plane = plane_of(self.images, before.h, before.w, stride)
        outer = plane_of(self.images, node.h, node.w, 1)
        size = plane.size + outer.size + plane.size + plane.w * self.images + 4 * SLACK
        self._use(scratch=size + 64)
        kind = MAXIMUM if node.settings.get("which") == "max" else AVERAGE
        return {
            "turns": node.channels, "kind": kind, "n": self.images, "h": before.h, "w": before.w,
            "stride": stride, "weights": self.places.get(id(node.weights), -1),
        } | self._of_input(node.inputs)  # fmt: skip

    def _depthwise(self, node: Node) -> None:
        fields = self._window(node)
        outputs = self._rows(node.rows().rows)
        self._emit("depthwise", node, **fields, outputs=outputs, slot=self._moments(node))

    def _depthwise_backward(self, node: Node) -> None:
        fields = self._window(node) | {"dw": self._gradient(node.weights)}
        self._hand_back("depthwise_backward", node, fields)

    def _pool(self, node: Node) -> None:
        fields = self._window(node)
        outputs = self._rows(node.rows().rows)
        self._emit("pool", node, **fields, outputs=outputs, slot=self._moments(node))

    def _pool_backward(self, node: Node) -> None:
        self._hand_back("pool_backward", node, self._window(node))

    def _hand_back(self, kind: str, node: Node, fields: dict[str, Any]) -> None:
        """Add a backward instruction that writes one input row for each output row."""
        if not self._wants(node.inputs):
            raise Unsupported(f"a {node.kind} as the first layer")
        more = self._more(node.inputs)
        self._emit(
            kind,
            node,
            **fields,
            **self._of_output(node),
            results=self._slopes(node.inputs),
            more=more,
            last=self._sums(node.inputs),
        )

    # Whole rows

    def _operands(self, node: Node) -> tuple[tuple[Channel, ...], tuple[Channel, ...]]:
        return node.inputs[: node.channels], node.inputs[node.channels :]

    def _both(self, node: Node) -> dict[str, Any]:
        x, other = self._operands(node)
        return self._of_input(x) | {"others": self._rows(other), "other_slots": self._slots(other)}

    def _add(self, node: Node) -> None:
        self._whole("add", node, **self._both(node))

    def _add_backward(self, node: Node) -> None:
        x, other = self._operands(node)
        if not (self._wants(x) and self._wants(other)):
            raise Unsupported("an addition to the image")
        more, other_more = self._more(x), self._more(other)
        output = self._of_output(node)
        self._emit(
            "add_backward", node,
            turns=node.channels, columns=self.columns(node), images=self.images,
            **output, **self._both(node), results=self._slopes(x),
            other_results=self._slopes(other), more=more, other_more=other_more,
            last=self._sums(x), other_last=self._sums(other),
        )  # fmt: skip

    def _mean(self, node: Node) -> None:
        columns = self.columns(node.inputs[0].node)
        self._use(wide=self.images)
        self._whole("mean", node, columns=columns, **self._of_input(node.inputs))

    def _mean_backward(self, node: Node) -> None:
        columns = self.columns(node.inputs[0].node)
        fields = self._of_input(node.inputs) | {
            "turns": node.channels, "columns": columns, "images": self.images,
        }  # fmt: skip
        self._hand_back("mean_backward", node, fields)

    def _scale(self, node: Node) -> None:
        self._use(wide=self.images, scratch=3 * (self.images + 16))
        self._whole("scale", node, **self._both(node))

    def _scale_backward(self, node: Node) -> None:
        x, e = self._operands(node)
        wanted = self._wants(e)
        fields = self._both(node)
        if not self._wants(x):
            raise Unsupported("a scaled image")
        fields |= {"more": self._more(x), "last": self._sums(x)}
        fields |= {
            "other_results": self._slopes(e) if wanted else -1,
            "other_more": self._more(e) if wanted else 0,
        }
        self._emit(
            "scale_backward", node,
            turns=node.channels, columns=self.columns(node), images=self.images,
            **self._of_output(node), results=self._slopes(x), **fields,
        )  # fmt: skip

    def _sigmoid(self, node: Node) -> None:
        self._use(scratch=self.images + 16)
        self._whole("sigmoid", node, **self._of_input(node.inputs))

    def _sigmoid_backward(self, node: Node) -> None:
        fields = self._of_input(node.inputs) | {
            "turns": node.channels, "columns": self.columns(node), "images": self.images,
        }  # fmt: skip
        self._hand_back("sigmoid_backward", node, fields)

    def _use(self, *, scratch: int = 0, wide: int = 0) -> None:
        self.scratch, self.wide = max(self.scratch, scratch), max(self.wide, wide)

    def _input_backward(self, node: Node) -> None:
        """Add no instruction: the gradient of the images isn't needed."""

    _mask_backward = _input_backward


class Part:
    """Some instructions of a program, ready for the machine.

    Attributes
    ----------
    steps : array of dtype STEP
    seconds : float
        How long its last run took.
    """

    def __init__(self, steps: list[BuiltStep]):
        self.seconds = 0.0
        self.steps = np.zeros(len(steps), STEP)
        by_kind: dict[str, list[int]] = defaultdict(list)
        for number, step in enumerate(steps):
            by_kind[step.kind].append(number)
        self._records = []  # the steps hold the addresses of these arrays, so keep them alive
        for name, numbers in by_kind.items():
            kind = INSTRUCTIONS[name]
            records = np.zeros(len(numbers), kind.dtype)
            for record, number in zip(records, numbers, strict=True):
                for field, value in steps[number].fields.items():
                    record[field] = value
            first, pitch = records.ctypes.data, kind.dtype.itemsize
            self.steps["instruction"][numbers] = kind.address
            self.steps["record"][numbers] = first + pitch * np.arange(len(numbers))
            self.steps["turns"][numbers] = records["turns"]
            self._records.append(records)
