"""A unit as in the papers' figures, drawn from a run of the unit itself.

In the forward scene, each box shows a layer's output and cost. In the backward scene, the arrows
are reversed. If a box feeds several boxes, the gradients from these boxes add up. If two boxes feed
an addition, both boxes get the same gradient.
"""

import html
from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn import Layer
from numpy_shufflenet.plots.moving.dataflow import FlowNode, dataflow
from numpy_shufflenet.plots.moving.grids import short_number
from numpy_shufflenet.plots.moving.picture import MovingPicture, PictureStep, Scene, svg

WIDTH, MIDDLE, LEFT, RIGHT = 440, 220, 108, 326
BOX, SLIM, SUM = 212, 186, 40  # widths of the boxes
TALL, LOW, GAP = 42, 24, 20
LAWS = {
    "input": ("", "the gradient that the unit passes to the layer before it"),
    "add": ("y = a + b", "da = dy and db = dy: an addition passes its gradient to both inputs"),
    "conv2d": ("a sum over windows and channels", "dx is a sum of dy over the flipped filter"),
    "group_conv2d": ("a sum over windows, within each group", "gradients stay within their group"),
    "depthwise_conv2d": (
        "y[c] = sum over the window of w[c] x[c]: channels do not mix",
        "dx[c] = sum of w[c] dy[c] over all windows that contain the pixel",
    ),
    "pointwise_conv2d": (
        "y[o] = sum over c of w[o, c] x[c], at every pixel",
        "dx[c] = sum over o of w[o, c] dy[o], and dw[o, c] = sum over pixels of dy[o] x[c]",
    ),
    "batch_norm": (
        "y = gamma (x - mean) / std + beta",
        "dx = gamma / std (dy - mean dy - x_hat mean(dy x_hat))",
    ),
    "relu": ("y = max(x, 0)", "dx = dy where x > 0, else 0"),
    "channel_shuffle": ("y[j g + i] = x[i n + j]: no arithmetic", "dx[i n + j] = dy[j g + i]"),
    "channel_split": ("a: the first channels, b: the rest", "dx = [da, db], concatenated"),
    "channel_concat": ("y = [a, b], concatenated", "da and db are the two parts of dy"),
    "avg_pool2d": (
        "y = the mean of the window",
        "each dy goes in equal shares to its window",
    ),
    "max_pool2d": (
        "y = the largest entry of the window",
        "each dy goes to the largest entry of its window",
    ),
    "squeeze_excitation": (
        "y = x e(x), a scale for each channel",
        "the gradient flows through x and through e(x)",
    ),
}
LAWS["batch_norm_inference"] = LAWS["batch_norm"]


class Box(NamedTuple):
    """The position of a node: the centre of its box, and its height."""

    x: float
    y: float
    height: float

    @property
    def top(self) -> float:
        """The upper edge."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height / 2


def unit(layer: Layer, image_shape: tuple[int, int, int], *, title: str = "") -> MovingPicture:
    """Draw a unit with its shapes and costs, forward and backward.

    Parameters
    ----------
    layer : Layer
        A unit, or any layer composed of operation layers. A copy of it runs once.
    image_shape : (channels, height, width)
        The shape of the unit's input.

    Raises
    ------
    ValueError
        If the input does not fit.

    Source: figure 2 of ShuffleNet V1, and figure 3 of V2.
    """
    x = np.random.default_rng(0).normal(size=(2, *image_shape))
    nodes = dataflow(layer, x)
    boxes, skips = place_boxes(nodes)
    cost = sum(node.multiply_adds for node in nodes)
    scenes = [_scene(nodes, boxes, skips, backwards=b) for b in (False, True)]
    return MovingPicture(title or f"{type(layer).__name__}, {short(cost)} multiply-adds", scenes)


def place_boxes(nodes: list[FlowNode]) -> tuple[list[Box], set[tuple[int, int]]]:
    """Return a box for each node, and the edges that pass other nodes on the left.

    A node that is on every path is in the middle. Branches between two such nodes are side by side.
    """
    middle = _on_every_path(nodes)
    boxes: dict[int, Box] = {}
    skips: set[tuple[int, int]] = set()
    y = 10.0
    for position, node in enumerate(middle):
        if position:
            start = middle[position - 1]
            chains = _chains(nodes, start, node)
            direct = any(source == start for source, _ in nodes[node].sources)
            if direct and chains:
                skips.add((start, node))
            tallest = max((_height(nodes, chain) for chain in chains), default=0.0)
            columns = (LEFT, RIGHT)[2 - len(chains) :]
            for chain, x in zip(sorted(chains, key=len), columns, strict=True):
                at = y + (tallest - _height(nodes, chain)) / 2
                for member in chain:
                    height = _box_height(nodes[member])
                    boxes[member] = Box(x, at + height / 2, height)
                    at += height + GAP
            y += tallest + (GAP / 2 if chains else 0)
        height = _box_height(nodes[node])
        boxes[node] = Box(MIDDLE, y + height / 2, height)
        y += height + GAP
    return [boxes[i] for i in range(len(nodes))], skips


def _on_every_path(nodes: list[FlowNode]) -> list[int]:
    """Return the nodes that are on every path from the first node to the last."""
    ways_to = [1.0] + [0.0] * (len(nodes) - 1)
    for i, node in enumerate(nodes):
        for source, _ in node.sources:
            ways_to[i] += ways_to[source]
    ways_on = [0.0] * (len(nodes) - 1) + [1.0]
    for i in reversed(range(len(nodes))):
        for source, _ in nodes[i].sources:
            ways_on[source] += ways_on[i]
    return [i for i in range(len(nodes)) if ways_to[i] * ways_on[i] == ways_to[-1]]


def _chains(nodes: list[FlowNode], start: int, end: int) -> list[list[int]]:
    """Return the branches between two nodes, each as a list of nodes."""
    chains: list[list[int]] = []
    for i in range(start + 1, end):
        sources = {source for source, _ in nodes[i].sources}
        chain = next((chain for chain in chains if sources & set(chain)), None)
        if chain is None:
            chains.append(chain := [])
        chain.append(i)
    return chains


def _box_height(node: FlowNode) -> float:
    return TALL if node.multiply_adds or node.name == "input" else LOW


def _height(nodes: list[FlowNode], chain: list[int]) -> float:
    return sum(_box_height(nodes[i]) + GAP for i in chain)


def _scene(
    nodes: list[FlowNode], boxes: list[Box], skips: set[tuple[int, int]], *, backwards: bool
) -> Scene:
    scene = Scene(*(("Backward", "flows into") if backwards else ("Forward", "feeds")))
    elements = [scene.add(node.kind, kind=_colour(node)) for node in nodes]
    edges: dict[tuple[int, int], int] = {}
    for i, node in enumerate(nodes):
        for source, _ in node.sources:
            edges.setdefault((source, i), scene.add(f"{nodes[source].kind} to {node.kind}"))
    order = list(reversed(range(len(nodes)))) if backwards else range(len(nodes))
    own, other = (0, 1) if backwards else (1, 0)  # positions of this and the other node in an edge
    for i in order:
        read = {pair: edge for pair, edge in edges.items() if pair[own] == i}
        reads = [elements[pair[other]] for pair in read]
        text, note = _describe(nodes[i], len(read), backwards=backwards)
        extra = list(read.values())
        scene.steps.append(PictureStep(elements[i], reads, text=text, note=note, extra=extra))
    scene.still = 0 if backwards else len(nodes) - 1
    height = max(box.bottom for box in boxes) + 14
    drawn = [
        _arrow(scene, element, boxes, pair, skips, backwards=backwards)
        for pair, element in edges.items()
    ]
    drawn += [
        _box(scene, elements[i], nodes[i], boxes[i], backwards=backwards) for i in range(len(nodes))
    ]
    label = "the layers of the unit, from input to output; arrow keys move"
    scene.body = svg(drawn, (WIDTH, height), label, (elements[0], len(nodes), 1))
    return scene


def _describe(node: FlowNode, arrivals: int, *, backwards: bool) -> tuple[str, str]:
    """Return a sentence about a node, and the node's equation."""
    name = node.layer.operation if node.layer else node.name
    law = LAWS.get(name, ("", ""))[backwards]
    shape = " × ".join(map(str, node.shape))
    if backwards:
        size = _size(node.gradients)
        several = f"; {arrivals} gradients add up here" if arrivals > 1 else ""
        if name == "channel_split":
            several = ""
        return f"gradient {shape}, root mean square {size}{several}", law
    facts = [f"output {shape}, root mean square {_size(node.outputs)}"]
    if node.multiply_adds:
        facts.append(f"{short(node.multiply_adds)} multiply-adds")
    if node.parameters:
        facts.append(f"{short(node.parameters)} parameters")
    return ", ".join(facts), law


def _size(arrays: tuple[Array, ...]) -> str:
    """Return the root mean square of all entries."""
    flat = np.concatenate([array.ravel() for array in arrays])
    return short_number(float(np.sqrt(np.mean(flat * flat))))


def short(count: int) -> str:
    """Return a count with its unit: 1.23 M, 4.5 k."""
    return f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count / 1e3:.1f} k"


def _colour(node: FlowNode) -> str:
    operation = node.layer.operation if node.layer else ""
    if operation == "depthwise_conv2d":
        return "k1"
    if operation.endswith("conv2d"):
        return "k0"
    if operation in ("channel_shuffle", "channel_split", "channel_concat") or node.kind == "add":
        return "k2"
    return "k3" if operation else "k5"


def _box(scene: Scene, element: int, node: FlowNode, box: Box, *, backwards: bool) -> str:
    shape = "×".join(map(str, node.shape))
    title = f"d {node.kind}" if backwards else node.kind
    width = BOX if box.height == TALL else (SUM if node.kind == "add" else SLIM)
    left = box.x - width / 2
    sub = ""
    y = box.y
    if box.height == TALL:
        y -= 8
        cost = f", {short(node.multiply_adds)} multiply-adds" if node.multiply_adds else ""
        sub = f'<text class="sub" x="{box.x}" y="{box.y + 10:g}">{shape}{cost}</text>'
    text = "+" if node.kind == "add" else html.escape(title)
    return (
        f'<g class="c box {_colour(node)}{scene.classes(element)}" data-k="{_colour(node)}" '
        f'data-e="{element}"><rect x="{left:g}" y="{box.top:g}" width="{width}" '
        f'height="{box.height}" rx="{12 if box.height == LOW else 6}"/>'
        f'<text x="{box.x}" y="{y:g}">{text}</text>{sub}</g>'
    )


def _arrow(
    scene: Scene,
    element: int,
    boxes: list[Box],
    pair: tuple[int, int],
    skips: set[tuple[int, int]],
    *,
    backwards: bool,
) -> str:
    start, end = boxes[pair[0]], boxes[pair[1]]
    x1, y1, x2, y2 = start.x, start.bottom, end.x, end.top
    if end.x == RIGHT and start.x == MIDDLE and y2 - y1 > TALL:  # below a branch's first box
        bend, x2, y2 = RIGHT - BOX / 2 - 12, end.x - SUM / 2, end.y
        path = (
            f"M{x1} {y1:g} C{x1} {y1 + 16:g} {bend} {y1 + 6:g} {bend} {y1 + 36:g} "
            f"L{bend} {y2 - 30:g} C{bend} {y2:g} {x2 - 20} {y2:g} {x2} {y2:g}"
        )
    elif pair in skips:
        bend = LEFT - 60
        path = (
            f"M{x1} {y1:g} C{x1} {y1 + 24:g} {bend} {y1 + 6:g} {bend} {y1 + 46:g} "
            f"L{bend} {y2 - 46:g} C{bend} {y2 - 6:g} {x2} {y2 - 24:g} {x2} {y2:g}"
        )
    else:
        pull = min(18.0, (y2 - y1) / 2)
        path = f"M{x1} {y1:g} C{x1} {y1 + pull:g} {x2} {y2 - pull:g} {x2} {y2:g}"
    x, y, way = (x1, y1, 7) if backwards else (x2, y2, -7)
    head = f'<path class="head" d="M{x} {y:g} l-4 {way} l8 0 z"/>'
    return f'<path class="edge{scene.classes(element)}" data-e="{element}" d="{path}"/>{head}'
