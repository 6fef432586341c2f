"""A unit as in the papers' figures, drawn from the unit itself: its layers are read off a run.

Forward, each box says what it makes of what arrives. Backward, the arrows turn round: where a box
feeds several, their gradients add up; where two were added, both get the same gradient.
"""

import html
from typing import NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn import Layer
from numpy_shufflenet.plots.moving.dataflow import FlowNode, dataflow
from numpy_shufflenet.plots.moving.grids import short_number
from numpy_shufflenet.plots.moving.picture import MovingPicture, PictureStep, Scene

WIDTH, MIDDLE, LEFT, RIGHT = 440, 220, 108, 326
BOX, SLIM, SUM = 212, 186, 40  # widths
TALL, LOW, GAP = 42, 24, 20
LAWS = {
    "input": ("", "the gradient that the unit hands on to what came before it"),
    "add": ("y = a + b", "da = dy and db = dy: an addition hands its gradient to both"),
    "conv2d": ("a sum over windows and channels", "dx gathers dy through the flipped kernel"),
    "group_conv2d": ("a sum over windows, in each group alone", "no gradient leaves its group"),
    "depthwise_conv2d": (
        "y[c] = sum over the window of w[c] x[c]: channels don't meet",
        "dx[c] gathers w[c] dy[c] over all windows that hold the pixel",
    ),
    "pointwise_conv2d": (
        "y[o] = sum over c of w[o, c] x[c], at every pixel",
        "dx[c] = sum over o of w[o, c] dy[o], and dw[o, c] = sum over pixels of dy[o] x[c]",
    ),
    "batch_norm": (
        "y = gamma (x - mean) / std + beta",
        "dx = gamma / std (dy - mean dy - x_hat mean(dy x_hat))",
    ),
    "batch_norm_inference": (
        "y = gamma (x - mean) / std + beta",
        "dx = gamma / std (dy - mean dy - x_hat mean(dy x_hat))",
    ),
    "relu": ("y = max(x, 0)", "dx = dy where x > 0, else 0"),
    "channel_shuffle": ("y[j g + i] = x[i n + j]: no arithmetic", "dx[i n + j] = dy[j g + i]"),
    "channel_split": ("the first channels, and the others", "dx = [da, db], side by side"),
    "channel_concat": ("y = [a, b], side by side", "da and db are the two parts of dy"),
    "avg_pool2d": ("y = the mean of the window", "each dy goes to its window in equal shares"),
    "max_pool2d": ("y = the largest of the window", "each dy goes to the one that won"),
    "squeeze_excitation": ("y = x e(x), a scale for each channel", "through the product, and e"),
}


class Box(NamedTuple):
    """Where a node stands."""

    x: float
    y: float  # of its middle
    height: float

    @property
    def top(self) -> float:
        """Upper edge."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.y + self.height / 2


def unit(layer: Layer, image_shape: tuple[int, int, int], *, title: str = "") -> MovingPicture:
    """Draw a unit with its shapes and costs, forward and backward, from the unit itself.

    Parameters
    ----------
    layer : Layer
        A unit, or anything that is composed of operation layers. It is run, as a copy.
    image_shape : (channels, height, width)
        Of its input.
    title : str

    Returns
    -------
    MovingPicture

    Raises
    ------
    ValueError
        If such an input doesn't fit.

    Source: the figures 2 of ShuffleNet V1 and 3 of V2.
    """
    x = np.random.default_rng(0).normal(size=(2, *image_shape))
    nodes = dataflow(layer, x)
    boxes, skips = place_boxes(nodes)
    cost = sum(node.multiply_adds for node in nodes)
    said = f"{type(layer).__name__}, {short(cost)} multiply-adds"
    return MovingPicture(
        title or said, [_scene(nodes, boxes, skips, backwards=b) for b in (False, True)]
    )


def place_boxes(nodes: list[FlowNode]) -> tuple[list[Box], set[tuple[int, int]]]:
    """Return a box for each node, and the edges that go past others, on the left.

    Nodes that every path passes stand in the middle; what lies between two of them, side by side.
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
    """Return the nodes that all paths from the first to the last one pass."""
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
    """Return the rows of nodes that lead from one node to another, side by side."""
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
    scene = Scene(
        "Backward" if backwards else "Forward", "feeds" if not backwards else "flows into"
    )
    elements = [scene.add(node.kind, kind=_colour(node)) for node in nodes]
    edges: dict[tuple[int, int], int] = {}
    for i, node in enumerate(nodes):
        for source, _ in node.sources:
            edges.setdefault((source, i), scene.add(f"{nodes[source].kind} to {node.kind}"))
    order = list(reversed(range(len(nodes)))) if backwards else range(len(nodes))
    for i in order:
        if backwards:
            lit = [pair for pair in edges if pair[0] == i]
            reads = [elements[user] for _, user in lit]
        else:
            lit = [pair for pair in edges if pair[1] == i]
            reads = [elements[source] for source, _ in lit]
        text, note = _say(nodes[i], len(lit), backwards=backwards)
        scene.steps.append(
            PictureStep(
                elements[i], reads, text=text, note=note, extra=[edges[pair] for pair in lit]
            )
        )
    scene.still = 0 if backwards else len(nodes) - 1
    height = max(box.bottom for box in boxes) + 14
    drawn = [
        _arrow(scene, element, boxes, pair, skips, backwards=backwards)
        for pair, element in edges.items()
    ]
    drawn += [
        _box(scene, elements[i], nodes[i], boxes[i], backwards=backwards) for i in range(len(nodes))
    ]
    label = "the unit's layers, from input to output; arrow keys move"
    scene.body = (
        f'<svg class="tile" role="group" aria-label="{label}" viewBox="0 0 {WIDTH} {height:g}" '
        f'width="{WIDTH}" height="{height:g}" data-first="{elements[0]}" '
        f'data-count="{len(nodes)}" data-columns="1">{"".join(drawn)}</svg>'
    )
    return scene


def _say(node: FlowNode, arrivals: int, *, backwards: bool) -> tuple[str, str]:
    """Return a sentence for a node, and its law."""
    name = node.layer.operation if node.layer else node.name
    law = LAWS.get(name, ("", ""))[backwards]
    shape = " × ".join(map(str, node.shape))
    if backwards:
        size = _size(node.gradients)
        several = f"; {arrivals} gradients arrive here and add up" if arrivals > 1 else ""
        if name == "channel_split":
            several = ""
        return f"gets {shape} gradients of size {size}{several}", law
    facts = [f"gives {shape} numbers of size {_size(node.outputs)}"]
    if node.multiply_adds:
        facts.append(f"{short(node.multiply_adds)} multiply-adds")
    if node.parameters:
        facts.append(f"{short(node.parameters)} parameters")
    return ", ".join(facts), law


def _size(arrays: tuple[Array, ...]) -> str:
    """Root mean square of all entries."""
    flat = np.concatenate([array.ravel() for array in arrays])
    return short_number(float(np.sqrt(np.mean(flat * flat))))


def short(count: int) -> str:
    """Write a count with its unit: 1.23 M, 4.5 k."""
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
    if end.x == RIGHT and start.x == MIDDLE and y2 - y1 > TALL:  # into a branch, not to its head
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
