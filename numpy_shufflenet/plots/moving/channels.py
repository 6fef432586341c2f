"""A unit at one pixel: each channel of a layer is a dot, and wires lead to the channels it reads.

On an image of one pixel, a 3x3 convolution uses only the centre of its filter. So the picture shows
only how channels depend on each other, and by what factor. Each factor is a slope dy/dx, which the
backward of the loop implementation returns for dy = 1.
"""

import html
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet import operations, steps
from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn import BatchNorm2d, Layer, OperationLayer
from numpy_shufflenet.plots.moving.dataflow import FlowNode, dataflow
from numpy_shufflenet.plots.moving.grids import short_number
from numpy_shufflenet.plots.moving.picture import MovingPicture, Part, PictureStep, Scene, svg
from numpy_shufflenet.plots.moving.unit import LEFT, RIGHT, place_boxes
from numpy_shufflenet.plots.moving.wires import dot
from numpy_shufflenet.steps import Step

PITCH, RADIUS = 34, 14  # distance between dots, radius of a dot
MOST_CHANNELS = 24
LABEL = 164  # width of the names of the rows


class Spot(NamedTuple):
    """One channel of one output of a node."""

    node: int
    part: int
    channel: int


Links = dict[Spot, list[tuple[Spot, float]]]


def unit_channels(layer: Layer, channels: int, *, seed: int = 0, title: str = "") -> MovingPicture:
    """Draw how the channels of a unit depend on each other, with the numbers of one pixel.

    Hover over a channel to highlight all channels that it depends on. In the backward scene, this
    highlights all channels that it influences. Weights are random multiples of 0.1, and batch
    normalisation is in inference mode.

    Parameters
    ----------
    layer : Layer
        A small unit, with at most 24 channels in each layer.
    channels : int
        Channels of the input.

    Raises
    ------
    ValueError
        If the input does not fit, or a layer has more than 24 channels.
    """
    rng = np.random.default_rng(seed)
    small = layer.astype(np.float64)
    for name, array in small.parameters().items():
        if array.ndim > 1:
            array[...] = np.round(rng.uniform(-1, 1, array.shape), 1)
        elif name.endswith("bias"):
            array[...] = np.round(rng.uniform(-0.5, 0.5, array.shape), 1)
    x = np.round(rng.uniform(-1, 1, (1, channels, 1, 1)), 1)
    nodes = dataflow(small, x, training=False)
    widest = max(node.shape[0] for node in nodes)
    if widest > MOST_CHANNELS:
        raise ValueError(
            f"the unit has up to {widest} channels; use a unit with at most {MOST_CHANNELS}"
        )
    drawing = _Drawing(nodes, widest)
    return MovingPicture(
        title or f"{type(layer).__name__}, channel by channel",
        [drawing.scene(backwards=backwards) for backwards in (False, True)],
    )


def links_of(nodes: list[FlowNode]) -> Links:
    """Return the channels that each channel reads, with their factors."""
    links: Links = {
        Spot(i, part, k): []
        for i, node in enumerate(nodes)
        for part, array in enumerate(node.outputs)
        for k in range(array.shape[1])
    }
    for i, node in enumerate(nodes):
        if node.layer is None:  # an addition, or the input, which has no sources
            for source in node.sources:
                for k in range(node.shape[0]):
                    links[Spot(i, 0, k)].append((Spot(*source, k), 1.0))
            continue
        taken = [nodes[source].outputs[part] for source, part in node.sources]
        named = operations.find(node.layer.operation).named(taken)
        gradients_of = [f"d{name}" for name in named]
        for step in _backward_of_ones(node.layer, taken, node.outputs):
            if step.output not in gradients_of:
                continue  # the gradient of a parameter
            read = Spot(*node.sources[gradients_of.index(step.output)], step.index[1])
            gradients = [read for read in step.reads if read[0].startswith("dy")]
            for (name, index), slope in zip(gradients, step.terms, strict=False):
                links[Spot(i, _part(name), index[1])].append((read, float(slope)))
    return links


def _backward_of_ones(
    layer: OperationLayer, taken: list[Array], outputs: tuple[Array, ...]
) -> list[Step]:
    """Run the loop implementation's backward of a layer with dy = 1, so that terms are slopes."""
    operands = list(layer.operands().values())
    if isinstance(layer, BatchNorm2d):
        operands += [layer.running_mean.value, layer.running_var.value]
    ones: Any = tuple(np.ones_like(array) for array in outputs)
    dy = ones if layer.operation == "channel_split" else ones[0]
    backward = getattr(steps, f"{layer.operation}_backward_steps")
    items = backward(dy, *taken, *operands, **layer.hyperparameters)
    return [item for item in items if isinstance(item, Step)]


def _part(name: str) -> int:
    """Return the index in a name such as dy[2], here 2; a name without index has 0."""
    return int(name.partition("[")[2].rstrip("]") or 0)


class _Drawing:
    """The drawing of one unit, with a row of dots for each layer."""

    def __init__(self, nodes: list[FlowNode], widest: int):
        self.nodes = nodes
        self.boxes, _ = place_boxes(nodes)
        self.links = links_of(nodes)
        self.two_branches = any(box.x == LEFT for box in self.boxes)
        self.width = LABEL + widest * PITCH + (LABEL if self.two_branches else 24)
        self.at = {spot: self._place(spot, widest) for spot in self.links}
        self.colours: dict[Spot, str] = {}
        for spot in self.links:
            self.colours[spot] = self._colour(spot)

    def scene(self, *, backwards: bool) -> Scene:
        name, verb = ("Backward", "flows into") if backwards else ("Forward", "feeds")
        scene = Scene(name, verb, deep=True)
        before = "d " if backwards else ""
        elements = {
            spot: scene.add(
                f"{before}{self.nodes[spot.node].kind} [{self._column(spot)}]",
                short_number(self._value(spot, backwards)),
                self.colours[spot],
            )
            for spot in self.links
        }
        wires = {
            (source, spot): scene.add("wire", kind=self.colours[source])
            for spot, sources in self.links.items()
            for source, _ in sources
        }
        links = _reversed(self.links) if backwards else self.links
        order = sorted(links, reverse=backwards)
        for spot in order:
            ends = [(spot, other) if backwards else (other, spot) for other, _ in links[spot]]
            scene.steps.append(
                PictureStep(
                    elements[spot],
                    [elements[other] for other, _ in links[spot]],
                    self._terms(spot, links, elements, backwards),
                    scene.values[elements[spot]],
                    extra=[wires[end] for end in ends],
                )
            )
        end = 0 if backwards else len(self.nodes) - 1
        at_the_end = [i for i, spot in enumerate(order) if spot.node == end]
        scene.still = max(at_the_end, key=lambda i: abs(self._value(order[i], backwards)))
        scene.body = self._svg(scene, elements, wires, before)
        return scene

    def _terms(
        self, spot: Spot, links: Links, elements: dict[Spot, int], backwards: bool
    ) -> list[list[Part]]:
        terms: list[list[Part]] = []
        rest = self._value(spot, backwards)
        for other, slope in links[spot]:
            factor = [] if slope == 1 else [f" × {short_number(slope)}"]
            terms.append([elements[other], *factor])
            rest -= slope * self._value(other, backwards)
        if abs(rest) > 1e-9:  # a bias, or the upstream gradient
            terms.append([short_number(rest)])
        return terms

    def _value(self, spot: Spot, backwards: bool) -> float:
        node = self.nodes[spot.node]
        arrays = node.gradients if backwards else node.outputs
        return float(arrays[spot.part][0, spot.channel, 0, 0])

    def _column(self, spot: Spot) -> int:
        """Return the position of a channel in its row."""
        parts = self.nodes[spot.node].outputs[: spot.part]
        return spot.channel + sum(array.shape[1] for array in parts)

    def _place(self, spot: Spot, widest: int) -> tuple[float, float]:
        """Return the position (x, y) of a dot; only the right branch is aligned to the right."""
        box = self.boxes[spot.node]
        start = widest - self.nodes[spot.node].shape[0] if box.x == RIGHT else 0
        return LABEL + (start + self._column(spot) + 0.5 + spot.part * 0.4) * PITCH, box.y

    def _colour(self, spot: Spot) -> str:
        """Return the colour of a channel's group, or without groups, of its first input channel."""
        node = self.nodes[spot.node]
        settings = node.layer.hyperparameters if node.layer else {}
        if not node.sources:
            first = self.nodes[1].layer
            given = first.hyperparameters if first else {}
            size = given.get("sizes", (node.shape[0] // given.get("groups", 1),))[0]
            return f"k{spot.channel // size}"
        if node.layer and node.layer.operation.endswith("conv2d") and settings.get("groups", 1) > 1:
            return f"k{spot.channel * settings['groups'] // node.shape[0]}"
        read = self.links[spot]
        return self.colours[read[0][0] if read else Spot(*node.sources[0], spot.channel)]

    def _svg(
        self,
        scene: Scene,
        elements: dict[Spot, int],
        wires: dict[tuple[Spot, Spot], int],
        before: str,
    ) -> str:
        drawn = []
        for (source, spot), wire in wires.items():
            (x1, y1), (x2, y2) = self.at[source], self.at[spot]
            y1, y2 = y1 + RADIUS, y2 - RADIUS
            pull = min(30.0, (y2 - y1) / 2)
            path = f"M{x1:g} {y1:g} C{x1:g} {y1 + pull:g} {x2:g} {y2 - pull:g} {x2:g} {y2:g}"
            kind = f"wire thin {scene.kinds[wire]}{scene.classes(wire)}"
            drawn.append(f'<path class="{kind}" data-e="{wire}" d="{path}"/>')
        for node, box in zip(self.nodes, self.boxes, strict=True):
            aside = self.two_branches and box.x == RIGHT
            left = self.width - LABEL + 14 if aside else 2
            label = html.escape(before + node.kind)
            drawn.append(f'<text class="left" x="{left}" y="{box.y:g}">{label}</text>')
        drawn += [dot(scene, element, *self.at[spot], RADIUS) for spot, element in elements.items()]
        height = max(box.y for box in self.boxes) + 24
        return svg(
            drawn,
            (self.width, height),
            "channels, layer by layer; arrow keys move",
            (min(elements.values()), len(elements), 1),
            backwards=bool(before),
            scroll=True,
        )


def _reversed(links: Links) -> Links:
    """Return the channels that read each channel, with their factors, for the backward scene."""
    readers: Links = {spot: [] for spot in links}
    for spot, sources in links.items():
        for source, slope in sources:
            readers[source].append((spot, slope))
    return readers
