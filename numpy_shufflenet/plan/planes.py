"""Planes: where in memory the rows of a network lie, and which hold several images side by side.

Every row gets a plane when it is computed, and gives it back when the last node has read it. What
comes in small planes at the end of the network waits there for the other images.
"""

from collections import defaultdict

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.kernels._vectors import WIDTH
from numpy_shufflenet.plan.layout import IMAGES, SMALL, round_up
from numpy_shufflenet.plan.record import Node, Row

LINE = 16  # numbers in a line of the cache
FEATURES = ("mean", "linear")  # kinds of nodes that make one number a channel, not a plane


def together(nodes: list[Node]) -> set[Node]:
    """Return the nodes whose output waits for other images, to be read together with theirs.

    It is small, and so is all that is made of it: there the weights are more than the pixels.
    """
    found = {node for node in nodes if node.kind in FEATURES or node.h * node.w <= SMALL}
    makers = {node: {row.node for row in node.reads()} for node in nodes}
    while True:
        alone = set()
        for node in nodes:
            if not (node in found and makers[node] <= found):
                alone |= makers[node] & found
        if not alone:
            return found
        found -= alone


def aligned_zeros(count: int) -> Array:
    """Return so many zeros, from where a line of the cache starts: no vector lies across two."""
    room = np.zeros(count + LINE, np.float32)
    start = -room.ctypes.data // room.itemsize % LINE
    return room[start : start + count]


class Planes:
    """Where each row's plane is."""

    def __init__(self, nodes: list[Node], together: set[Node], margin: int):
        self.together = together
        self.place: dict[Row, int] = {}
        self.free: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        self.last_read: defaultdict[int, list[Row]] = defaultdict(list)
        self.top = margin
        last = {row: number for number, node in enumerate(nodes) for row in node.reads()}
        for row, number in last.items():
            self.last_read[number].append(row)
        self.features = {
            node: self._take(self._images(node) * round_up(node.channels))
            for node in nodes
            if node.kind in FEATURES
        }

    def make(self, node: Node) -> None:
        """Find a plane for every row of the node's output."""
        if node.kind not in FEATURES:
            free, size = self._free(node), self.size(node, self._images(node))
            for row in node.rows().rows:
                self.place[row] = free.pop() if free else self._take(size)

    def give_back(self, number: int) -> None:
        """Free the planes of the rows that nobody reads after this node."""
        for row in self.last_read[number]:
            if row in self.place:
                self._free(row.node).append(self.place[row])

    def _free(self, node: Node) -> list[int]:
        """Return the free planes of its size: other planes wait while the next image is run."""
        images = self._images(node)
        return self.free[images, self.size(node, images)]

    def size(self, node: Node, images: int) -> int:
        """Return how many numbers a plane takes; a vector may end behind any of its pixels."""
        return round_up(images * node.h * node.w + WIDTH - 1)

    def _images(self, node: Node) -> int:
        return IMAGES if node in self.together else 1

    def _take(self, size: int) -> int:
        self.top += size
        return self.top - size
