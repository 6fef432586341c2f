"""Assembling: nodes become rows of whole numbers that the machine runs; weights are laid out.

Every row of the network gets a plane of memory when it is computed, and gives it back when the last
node has read it.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._vectors import WIDTH
from numpy_shufflenet.plan import layout
from numpy_shufflenet.plan.layout import BLOCK, columns_of, lead_of, round_up, scratch_plane
from numpy_shufflenet.plan.record import Node, Row

FEATURES = ("mean", "linear")  # kinds of nodes that make one number a channel, not a plane
SLACK = 4 * WIDTH  # numbers before the first plane and after the last that a vector may look at


@dataclass(frozen=True)
class Program:
    """What the machine needs to run a network on one image.

    Attributes
    ----------
    instructions : array of int64, shape (instructions, layout.COLUMNS)
    tables : array of int64
    parameters : array of float32
    nodes : tuple of Node
        What each instruction does.
    logits, outputs : int
        Where in memory they are after a run, and how many.
    memory, scratch : int
        How many numbers of float32 they hold.
    """

    instructions: Array
    tables: Array
    parameters: Array
    nodes: tuple[Node, ...]
    logits: int
    outputs: int
    memory: int
    scratch: int

    def __str__(self) -> str:
        """List the instructions: what each reads, what it makes, and what joined it."""
        lines = [f"{'':>3}  {'instruction':<28}{'reads':>6}  makes"]
        for number, node in enumerate(self.nodes):
            joined = ["product", *["ReLU"] * node.before.relu] if node.before else []
            joined += [node.kind, *["+ shortcut"] * bool(node.shortcut), *["ReLU"] * node.relu]
            joined += ["sigmoid"] * node.settings.get("sigmoid", False)
            size = f"{node.channels}x{node.h}x{node.w}"
            lines.append(f"{number:>3}  {' '.join(joined):<28}{len(node.reads()):>6}  {size}")
        numbers = self.parameters.size, self.memory, self.scratch
        kinds = ("parameters", "memory", "scratch for each thread")
        return "\n".join([*lines, *(f"{n:>12,} {k}" for n, k in zip(numbers, kinds, strict=True))])


def assemble(nodes: list[Node]) -> Program:
    """Return the program that runs these nodes on one image."""
    return _Assembler(nodes).program()


class _Assembler:
    def __init__(self, nodes: list[Node]):
        self.nodes = nodes
        self.tables: list[int] = []
        self.parameters: list[Array] = []
        self.parameter_count = 0
        self.memory = _Memory(nodes)
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
            np.array(self.tables, np.int64),
            np.concatenate([np.ravel(p) for p in self.parameters]).astype(np.float32),
            tuple(self.nodes),
            self.memory.features[self.nodes[-1]],
            self.nodes[-1].channels,
            self.memory.top + SLACK,
            self.scratch + SLACK,
        )

    # One method for each kind of node: the instruction by columns

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
        places = (layout.STRIDE_H, layout.STRIDE_W), (layout.DILATION_H, layout.DILATION_W)
        return {
            **self._columns(layout.CONVOLUTION, node.inputs[0].node, node, *blocks),
            layout.SOURCES: sources,
            layout.CHANNELS: len(node.inputs),
            layout.KH: kh,
            layout.KW: kw,
            **dict(zip(places[0], settings["stride"], strict=True)),
            **dict(zip(places[1], settings["dilation"], strict=True)),
            **dict(zip((layout.TOP, layout.LEFT), settings["padding"], strict=True)),
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
            self._reserve_planes(1, before)
            table = zip(self._planes(node.inputs), self._planes_of(node), filters, strict=True)
            flat = [value for plane in table for value in plane]
            return self._columns(layout.DEPTHWISE, before, node, flat, node.channels)
        self._reserve_planes(BLOCK, product)
        size = scratch_plane(product.h, product.w)
        outputs = [i % BLOCK * size + lead_of(product.w) for i in range(product.channels)]
        reader = {row.channel: i for i, row in enumerate(node.inputs)}
        planes = self._planes_of(node)
        more = [[filters[reader[i]], planes[reader[i]]] for i in range(product.channels)]
        taps = np.reshape(self._planes(product.inputs), (product.settings["groups"], -1))
        blocks = self._blocks(product, taps, outputs, more)
        return {
            **self._columns(layout.PRODUCT_DEPTHWISE, product, node, *blocks),
            layout.OPTION: product.relu,
        }

    def _pool(self, node: Node) -> dict[int, int]:
        before = node.inputs[0].node
        self._reserve_planes(1, before)
        table = zip(self._planes(node.inputs), self._planes_of(node), strict=True)
        flat = [value for plane in table for value in plane]
        kind = layout.MAXIMUM if node.settings["which"] == "max" else layout.AVERAGE
        return {
            **self._columns(layout.POOL, before, node, flat, node.channels),
            layout.OPTION: kind,
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

    _relu = _add  # its two sides are the same

    def _mean(self, node: Node) -> dict[int, int]:
        columns = self._columns(layout.MEAN, node, node, self._planes(node.inputs))
        return columns | {layout.MAKES: self.memory.features[node]}

    def _linear(self, node: Node) -> dict[int, int]:
        features = len(node.inputs)
        padded = np.zeros((node.channels, round_up(features)), np.float32)
        padded[:, :features] = node.weights
        return {
            layout.OPERATION: layout.LINEAR,
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

    # What they have in common

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
            layout.CUT: node.relu,
        }

    def _blocks(
        self, node: Node, taps: Array, outputs: list[int], more: list[list[int]] | None = None
    ) -> tuple[list[int], int]:
        """Return the table of a product's blocks, and how many there are."""
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
        """Keep the 9 weights of each channel and its bias, and return where they are."""
        rows = np.column_stack([node.weights.reshape(node.channels, 9), node.bias])
        start = self._keep(rows)
        return [start + 10 * channel for channel in range(node.channels)]

    def _planes(self, rows: tuple[Row, ...]) -> list[int]:
        return [self.memory.place[row] for row in rows]

    def _planes_of(self, node: Node) -> list[int]:
        return self._planes(node.rows().rows)

    def _reserve_planes(self, count: int, node: Node) -> None:
        self.scratch = max(self.scratch, count * scratch_plane(node.h, node.w))

    def _note(self, numbers: list[int]) -> int:
        self.tables += numbers
        return len(self.tables) - len(numbers)

    def _keep(self, weights: Array) -> int:
        self.parameters.append(weights)
        self.parameter_count += weights.size
        return self.parameter_count - weights.size


class _Memory:
    """Where each row's plane is."""

    def __init__(self, nodes: list[Node]):
        self.place: dict[Row, int] = {}
        self.free: defaultdict[int, list[int]] = defaultdict(list)
        self.last_read: defaultdict[int, list[Row]] = defaultdict(list)
        self.top = SLACK
        last = {row: number for number, node in enumerate(nodes) for row in node.reads()}
        for row, number in last.items():
            self.last_read[number].append(row)
        self.features = {
            node: self._take(round_up(node.channels)) for node in nodes if node.kind in FEATURES
        }

    def make(self, node: Node) -> None:
        """Find a plane for every row of the node's output."""
        if node.kind not in FEATURES:
            size = self._size(node)
            for row in node.rows().rows:
                self.place[row] = self.free[size].pop() if self.free[size] else self._take(size)

    def give_back(self, number: int) -> None:
        """Free the planes of the rows that nobody reads after this node."""
        for row in self.last_read[number]:
            if row in self.place:
                self.free[self._size(row.node)].append(self.place[row])

    def _size(self, node: Node) -> int:
        h, w = node.h, node.w
        return max(columns_of(h, w), round_up((h - 1) * (w + 1) + round_up(w)))

    def _take(self, size: int) -> int:
        self.top += size
        return self.top - size
