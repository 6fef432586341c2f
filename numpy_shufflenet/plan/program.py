"""The assembler: turns nodes into instructions, which are rows of integers, and packs weights.

`planes` allocates the memory of the network's channels.
"""

from dataclasses import dataclass

import numpy as np

from numpy_shufflenet._memory import zeros
from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._vectors import WIDTH
from numpy_shufflenet.plan import layout
from numpy_shufflenet.plan.layout import BLOCK, IMAGES, SMALL, round_up, window_reach
from numpy_shufflenet.plan.planes import FEATURES, PlaneAllocator, batched_nodes
from numpy_shufflenet.plan.record import Channel, Node

SLACK = 4 * WIDTH  # numbers before the first plane and after the last one that a vector may read,
# besides those that a window reads


@dataclass(frozen=True)
class Program:
    """A program, which the machine runs on a few images.

    Attributes
    ----------
    instructions : array of int64, shape (instructions, layout.COLUMNS)
    each : int
        The first `each` instructions run for one image after the other, the rest for all at once.
    images : int
        How many images fit at once.
    tables : array of int64
    parameters : array of float32
    nodes : tuple of Node
        The operation of each instruction.
    logits, pitch, outputs : int
        Position of the first image's logits in memory after a run, distance to the next image's
        logits, and number of logits of an image.
    memory, scratch : int
        Sizes, in numbers of float32.
    """

    instructions: Array
    each: int
    images: int
    tables: Array
    parameters: Array
    nodes: tuple[Node, ...]
    logits: int
    pitch: int
    outputs: int
    memory: int
    scratch: int

    def __str__(self) -> str:
        """List the instructions: what each reads, what it makes, and what is fused with it."""
        lines = [f"{'':>3}  {'instruction':<28}{'reads':>6}  makes"]
        for number, node in enumerate(self.nodes):
            joined = ["product", *["ReLU"] * node.before.relu] if node.before else []
            joined += [node.kind, *["+ shortcut"] * bool(node.shortcut), *["ReLU"] * node.relu]
            joined += ["sigmoid"] * node.settings.get("sigmoid", False)
            size = f"{node.channels}x{node.h}x{node.w}"
            lines.append(f"{number:>3}  {' '.join(joined):<28}{len(node.reads()):>6}  {size}")
            if number + 1 == self.each:
                lines.append(f"     up to {self.images} images together:")
        numbers = self.parameters.size, self.memory, self.scratch
        kinds = ("parameters", "memory", "scratch for each thread")
        return "\n".join([*lines, *(f"{n:>12,} {k}" for n, k in zip(numbers, kinds, strict=True))])


def assemble(nodes: list[Node]) -> Program:
    """Return the program that runs these nodes; the last node computes the logits."""
    return _Assembler(nodes).program()


class _Assembler:
    def __init__(self, nodes: list[Node]):
        self.last = nodes[-1]
        self.together = batched_nodes(nodes)
        rest = [node for node in nodes if node.inputs and self._makers(node) <= self.together]
        self.nodes = [node for node in nodes if node not in rest] + rest
        self.each = len(nodes) - len(rest)
        self.images = IMAGES if self.together else 1
        self.tables: list[int] = []
        self.parameters: list[Array] = []
        self.parameter_count = 0
        self.borders: dict[tuple[int, int], int] = {}
        self.margin = SLACK + max(window_reach(node.w) for node in nodes)
        self.memory = PlaneAllocator(self.nodes, self.together, self.margin)
        self.scratch = 0

    def program(self) -> Program:
        instructions = np.zeros((len(self.nodes), layout.COLUMNS), np.int64)
        for number, node in enumerate(self.nodes):
            self.memory.make(node)
            for column, value in getattr(self, f"_{node.kind}")(node).items():
                instructions[number, column] = value
            self.memory.give_back(number)
        return Program(
            instructions,
            self.each,
            self.images,
            np.array(self.tables, np.int64),
            self._packed(),
            tuple(self.nodes),
            self.memory.features[self.last],
            round_up(self.last.channels),
            self.last.channels,
            self.memory.top + self.margin,
            self.scratch + self.margin,
        )

    def _packed(self) -> Array:
        """Return all parameters in one array, at the positions that `_keep` returned."""
        packed, place = zeros(self.parameter_count, np.float32), 0
        for weights in self.parameters:
            packed[place : place + weights.size] = weights.ravel()
            place += round_up(weights.size)
        return packed

    # One method for each kind of node. It returns the columns of the instruction.

    def _input(self, node: Node) -> dict[int, int]:
        return self._columns(layout.INPUT, node, node, self._planes(node.rows().rows))

    def _convolution(self, node: Node) -> dict[int, int]:
        settings = node.settings
        kh, kw = node.weights.shape[2:]
        pitch = round_up(node.w)
        taps = np.arange(len(node.inputs) * kh * kw) * pitch
        self.scratch = max(self.scratch, len(taps) * pitch)
        sources = self._note(self._planes(node.inputs))
        blocks = self._blocks(node, taps.reshape(settings["groups"], -1), self._planes_of(node))
        places = layout.STRIDE_H, layout.STRIDE_W
        return {
            **self._columns(layout.CONVOLUTION, node.inputs[0].node, node, *blocks),
            layout.SOURCES: sources,
            layout.SPANS: self._spans(node),
            layout.CHANNELS: len(node.inputs),
            layout.KH: kh,
            layout.KW: kw,
            **dict(zip(places, settings["stride"], strict=True)),
            layout.DILATION_H: settings["dilation"][0],
            layout.TOP: settings["padding"][0],
        }

    def _product(self, node: Node) -> dict[int, int]:
        taps = np.reshape(self._planes(node.inputs), (node.settings["groups"], -1))
        more = [[place] for place in self._planes(node.shortcut)]
        blocks = self._blocks(node, taps, self._planes_of(node), more)
        return {
            **self._columns(layout.PRODUCT, node, node, *blocks),
            layout.OPTION: bool(node.shortcut),
        }

    def _depthwise(self, node: Node) -> dict[int, int]:
        product = node.before
        filters = self._filters(node)
        if product is None:
            before = node.inputs[0].node
            table = zip(self._planes(node.inputs), self._planes_of(node), filters, strict=True)
            flat = [value for plane in table for value in plane]
            return {
                **self._columns(layout.DEPTHWISE, before, node, flat, node.channels),
                **self._corner(node),
                layout.BORDERS: self._borders(before),
            }
        images = self.images if self._makers(node) <= self.together else 1
        size = self.memory.size(product, images)
        self.scratch = max(self.scratch, window_reach(product.w) + BLOCK * size)
        outputs = [window_reach(product.w) + i % BLOCK * size for i in range(product.channels)]
        reader = {row.channel: i for i, row in enumerate(node.inputs)}
        planes = self._planes_of(node)
        more = [[filters[reader[i]], planes[reader[i]]] for i in range(product.channels)]
        taps = np.reshape(self._planes(product.inputs), (product.settings["groups"], -1))
        blocks = self._blocks(product, taps, outputs, more)
        return {
            **self._columns(layout.PRODUCT_DEPTHWISE, product, node, *blocks),
            **self._corner(node),
            layout.OPTION: product.relu,
            layout.BORDERS: self._borders(product),
        }

    def _pool(self, node: Node) -> dict[int, int]:
        before = node.inputs[0].node
        table = zip(self._planes(node.inputs), self._planes_of(node), strict=True)
        flat = [value for plane in table for value in plane]
        return {
            **self._columns(layout.POOL, before, node, flat, node.channels),
            **self._corner(node),
            layout.OPTION: layout.POOLS[node.settings["which"]],
        }

    def _add(self, node: Node) -> dict[int, int]:
        places = self._planes(node.inputs)
        sides = places[: node.channels], places[-node.channels :]
        table = zip(*sides, self._planes_of(node), strict=True)
        flat = [value for plane in table for value in plane]
        kind = layout.ADD if node.kind == "add" else layout.RELU
        return {
            **self._columns(kind, node, node, flat, node.channels),
            layout.CUT: node.relu or node.kind == "relu",
        }

    _relu = _add  # with the same operand twice

    def _mean(self, node: Node) -> dict[int, int]:
        columns = self._columns(layout.MEAN, node, node, self._planes(node.inputs))
        return columns | {layout.MAKES: self.memory.features[node]}

    def _linear(self, node: Node) -> dict[int, int]:
        features = len(node.inputs)
        padded = np.zeros((node.channels, round_up(features)), np.float32)
        padded[:, :features] = node.weights
        return {
            layout.OPERATION: layout.LINEAR,
            layout.STEP: self._step(node),
            layout.COUNT: node.channels,
            layout.TABLE: self._keep(padded),
            layout.SOURCES: self._keep(node.bias),
            layout.CHANNELS: features,
            layout.CUT: node.relu,
            layout.OPTION: layout.SIGMOID if node.settings.get("sigmoid") else 0,
            layout.READS: self.memory.features[node.inputs[0].node],
            layout.MAKES: self.memory.features[node],
        }

    def _scale(self, node: Node) -> dict[int, int]:
        rows, excitation = node.inputs[: node.channels], node.inputs[-1].node
        table = zip(self._planes(rows), self._planes_of(node), strict=True)
        flat = [value for plane in table for value in plane]
        columns = self._columns(layout.SCALE, node, node, flat, node.channels)
        return columns | {layout.READS: self.memory.features[excitation]}

    # Columns and tables that several kinds of nodes need

    def _columns(
        self, operation: int, before: Node, node: Node, table: list[int], count: int | None = None
    ) -> dict[int, int]:
        return {
            layout.OPERATION: operation,
            layout.COUNT: len(table) if count is None else count,
            layout.TABLE: self._note(table),
            layout.IN_H: before.h,
            layout.IN_W: before.w,
            layout.OUT_H: node.h,
            layout.OUT_W: node.w,
            layout.STEP: self._step(node),
            layout.CUT: node.relu,
        }

    def _corner(self, node: Node) -> dict[int, int]:
        """Return how far the first window starts outside the image."""
        return dict(zip((layout.TOP, layout.LEFT), node.settings["padding"], strict=True))

    def _blocks(
        self, node: Node, taps: Array, outputs: list[int], more: list[list[int]] | None = None
    ) -> tuple[list[int], int]:
        """Return the table of a product's blocks, and their number."""
        groups = len(taps)
        width = node.channels // groups
        table: list[int] = []
        for group in range(groups):
            listed = self._note(taps[group].tolist())
            for first in range(group * width, (group + 1) * width, BLOCK):
                rows = range(first, min(first + BLOCK, (group + 1) * width))
                weights = np.zeros((taps.shape[1], BLOCK), np.float32)
                bias = np.zeros(BLOCK, np.float32)
                weights[:, : len(rows)] = node.weights[rows].reshape(len(rows), -1).T
                bias[: len(rows)] = node.bias[rows]
                filled = [*rows, *[first] * (BLOCK - len(rows))]
                block = [self._keep(weights), self._keep(bias), listed, taps.shape[1], len(rows)]
                block += [outputs[row] for row in filled]
                for values in zip(*(more[row] for row in filled), strict=True) if more else ():
                    block += values
                table += block + [0] * (layout.BLOCK_COLUMNS - len(block))
        return table, len(table) // layout.BLOCK_COLUMNS

    def _filters(self, node: Node) -> list[int]:
        """Keep the 9 weights and the bias of each channel, and return their positions."""
        rows = np.column_stack([node.weights.reshape(node.channels, 9), node.bias])
        start = self._keep(rows)
        return [start + 10 * channel for channel in range(node.channels)]

    def _planes(self, rows: tuple[Channel, ...]) -> list[int]:
        return [self.memory.place[row] for row in rows]

    def _planes_of(self, node: Node) -> list[int]:
        return self._planes(node.rows().rows)

    def _makers(self, node: Node) -> set[Node]:
        return {row.node for row in node.reads()}

    def _step(self, node: Node) -> int:
        """Return the distance from the output of one image to that of the next."""
        if node not in self.together:
            return 0
        return round_up(node.channels) if node.kind in FEATURES else node.h * node.w

    def _spans(self, node: Node) -> int:
        """Add to the tables, for each tap of a row, what column 0 reads, and the columns inside."""
        table = []
        stride, w = node.settings["stride"][1], node.inputs[0].node.w
        for j in range(node.weights.shape[3]):
            x = j * node.settings["dilation"][1] - node.settings["padding"][1]
            first = min(node.w, max(0, -(x // stride)))
            table += [x, first, min(node.w, max(first, (w - 1 - x) // stride + 1))]
        return self._note(table)

    def _borders(self, node: Node) -> int:
        """Add masks of 16 pixels to the tables: which have neighbours above, below, left, right."""
        if (node.h, node.w) not in self.borders:
            pixels = self.images if node.h * node.w <= SMALL else 1
            y, x = np.indices((node.h, node.w)).reshape(2, -1)
            sides = np.array([y > 0, y < node.h - 1, x > 0, x < node.w - 1])
            masks = np.zeros((4, round_up(pixels * node.h * node.w)), np.int64)
            masks[:, : pixels * node.h * node.w] = np.tile(sides, pixels)
            bits = masks.reshape(4, -1, WIDTH) @ (1 << np.arange(WIDTH))
            self.borders[node.h, node.w] = self._note(bits.T.ravel().tolist())
        return self.borders[node.h, node.w]

    def _note(self, numbers: list[int]) -> int:
        self.tables += numbers
        return len(self.tables) - len(numbers)

    def _keep(self, weights: Array) -> int:
        self.parameters.append(weights)
        self.parameter_count += round_up(weights.size)
        return self.parameter_count - round_up(weights.size)
