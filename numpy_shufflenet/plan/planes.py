"""Memory for planes, by liveness; and which planes hold several images side by side.

A channel gets a plane when it is computed, and the plane is free again after the last node that
reads it. Small planes, at the end of the network, collect several images.
"""

from collections import defaultdict

from numpy_shufflenet.kernels._vectors import WIDTH
from numpy_shufflenet.plan.layout import IMAGES, SMALL, round_up
from numpy_shufflenet.plan.record import Channel, Node

FEATURES = ("mean", "linear")  # kinds of nodes whose channels are single numbers, not planes


def batched_nodes(nodes: list[Node]) -> set[Node]:
    """Return the nodes whose planes hold several images, so that later nodes read them together.

    Their planes are small, and every node reads either such planes only, or none of them. At the
    end of a network, a node has more weights than pixels, so it should read the weights only once.
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


class PlaneAllocator:
    """The position of each channel's plane."""

    def __init__(self, nodes: list[Node], together: set[Node], margin: int):
        self.together = together
        self.place: dict[Channel, int] = {}
        self.free: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        self.last_read: defaultdict[int, list[Channel]] = defaultdict(list)
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
        """Allocate a plane for each channel of the node's output."""
        if node.kind not in FEATURES:
            free, size = self._free(node), self.size(node, self._images(node))
            for row in node.rows().rows:
                self.place[row] = free.pop() if free else self._take(size)

    def give_back(self, number: int) -> None:
        """Free the planes of the channels that no later node reads."""
        for row in self.last_read[number]:
            if row in self.place:
                self._free(row.node).append(self.place[row])

    def _free(self, node: Node) -> list[int]:
        """Return the free planes of this size; those of several images have their own list."""
        images = self._images(node)
        return self.free[images, self.size(node, images)]

    def size(self, node: Node, images: int) -> int:
        """Return the size of a plane, in numbers; a vector may start at any of its pixels."""
        return round_up(images * node.h * node.w + WIDTH - 1)

    def _images(self, node: Node) -> int:
        return IMAGES if node in self.together else 1

    def _take(self, size: int) -> int:
        self.top += size
        return self.top - size
