"""Fusion: an operation is done while the output of the one before it is in registers or cache.

    relu        negative numbers become 0 before they are stored
    add         the sums of a product start from the shortcut instead of 0
    depthwise   a product computes 6 channels at a time, which stay in the L1 cache

Each is possible only if no other operation reads the channels in between.
"""

from collections import Counter

from numpy_shufflenet.plan.record import Channel, Node

CAN_END_IN_RELU = ("convolution", "product", "depthwise", "pool", "add", "linear", "scale")


def fuse(nodes: list[Node]) -> list[Node]:
    """Return the nodes that remain, in order. The recorded nodes are changed in place."""
    for absorb in (_additions, _relus, _depthwise):
        nodes = absorb(nodes)
    return nodes


def _additions(nodes: list[Node]) -> list[Node]:
    """Fuse an addition with a product if the product computes one of its two operands."""
    readers = _readers(nodes)
    place = {node: i for i, node in enumerate(nodes)}
    renamed: dict[Channel, Channel] = {}
    kept = []
    for node in nodes:
        halves = node.inputs[: node.channels], node.inputs[node.channels :]
        for rows, shortcut in (halves, halves[::-1]) if node.kind == "add" else ():
            maker = rows[0].node
            if (
                maker.kind == "product"
                and not maker.shortcut
                and rows == maker.rows().rows
                and all(readers[row] == 1 for row in rows)
                and all(place[row.node] < place[maker] for row in shortcut)
            ):
                maker.shortcut = shortcut
                renamed |= {Channel(node, i): row for i, row in enumerate(rows)}
                break
        else:
            kept.append(node)
    return _rename(kept, renamed)


def _relus(nodes: list[Node]) -> list[Node]:
    """Fuse a ReLU with the operations before it if no other operation reads their outputs."""
    readers = _readers(nodes)
    renamed: dict[Channel, Channel] = {}
    kept = []
    for node in nodes:
        makers = {row.node for row in node.inputs}
        outputs = {row for maker in makers for row in maker.rows().rows}
        if (
            node.kind == "relu"
            and all(maker.kind in CAN_END_IN_RELU and not maker.relu for maker in makers)
            and outputs == set(node.inputs)
            and all(readers[row] == 1 for row in outputs)
        ):
            for maker in makers:
                maker.relu = True
            renamed |= {Channel(node, i): row for i, row in enumerate(node.inputs)}
        else:
            kept.append(node)
    return _rename(kept, renamed)


def _depthwise(nodes: list[Node]) -> list[Node]:
    """Fuse a depthwise convolution with a product if it alone reads the product's output."""
    readers = _readers(nodes)
    gone = set()
    for node in nodes:
        if node.kind != "depthwise":
            continue
        maker = node.inputs[0].node
        if (
            maker.kind == "product"
            and not maker.shortcut
            and set(node.inputs) == set(maker.rows().rows)
            and all(readers[row] == 1 for row in node.inputs)
        ):
            node.before = maker
            gone.add(maker)
    return [node for node in nodes if node not in gone]


def _readers(nodes: list[Node]) -> Counter[Channel]:
    """Count how often each channel is read."""
    return Counter(row for node in nodes for row in node.reads())


def _rename(nodes: list[Node], renamed: dict[Channel, Channel]) -> list[Node]:
    for node in nodes:
        node.inputs = tuple(renamed.get(row, row) for row in node.inputs)
        node.shortcut = tuple(renamed.get(row, row) for row in node.shortcut)
    return nodes
