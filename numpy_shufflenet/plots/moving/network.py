"""A whole network with its units and their shapes and costs, as in the papers' tables."""

import html
from dataclasses import dataclass

from numpy_shufflenet.models import SummaryRow, summary
from numpy_shufflenet.nn import Layer, Sequential
from numpy_shufflenet.plots.moving.picture import MovingPicture, PictureStep, Scene, svg
from numpy_shufflenet.plots.moving.unit import short

WIDTH, ROW, HEAD = 460, 58, 44
MIDDLE, BARS, BAR = 196, 322, 128
SQUARE = 14


@dataclass
class Block:
    """A child layer of the network, or a unit of a stage."""

    name: str
    kind: str
    shape: tuple[int, ...]
    multiply_adds: int
    parameters: int


def network(model: Layer, image_shape: tuple[int, int, int], *, title: str = "") -> MovingPicture:
    """Draw a network from its input to its classifier, with every unit of every stage.

    Parameters
    ----------
    model : Layer
        A network whose children run one after the other.

    Raises
    ------
    ValueError
        If the images do not fit the network.

    Source: V1, table 1; V2, table 5.
    """
    table = summary(model, image_shape)
    scene = Scene("Network", "feeds")
    total = table.multiply_adds or 1, table.parameters or 1
    head = "".join(
        f'<text class="sub left" x="{x}" y="{y}">{text}</text>'
        for x, y, text in (
            (12, 16, "layer and output"),
            (MIDDLE, 16, "units"),
            (BARS + 14, 8, "multiply-adds"),
            (BARS + 14, 24, "parameters"),
        )
    )
    keys = "".join(
        f'<rect class="{kind}" x="{BARS}" y="{y}" width="9" height="9" rx="2"/>'
        for kind, y in (("bar", 4), ("bar second", 20))
    )
    drawn = [f'<g class="box">{keys}{head}</g>']
    previous: list[int] = []
    for position, (name, child) in enumerate(model.children().items()):
        own = [row for row in table.rows if row.name == name or row.name.startswith(f"{name}.")]
        block = _block(name, child, own)
        units = [
            _block(
                f"{name}.{number}", unit, [r for r in own if r.name.startswith(f"{name}.{number}.")]
            )
            for number, unit in child.children().items()
            if unit.children()
        ]
        element = scene.add(name, kind=_colour(name))
        scene.steps.append(_step(element, block, previous, total))
        inner = [scene.add(unit.name, kind=_colour(name)) for unit in units]
        scene.steps += [
            _step(e, unit, [element], total) for e, unit in zip(inner, units, strict=True)
        ]
        drawn.append(_row(element, block, inner, HEAD + position * ROW - 8, total))
        previous = [element]
    height = HEAD + len(model.children()) * ROW
    images = " × ".join(map(str, image_shape))
    elements = (0, len(scene.labels), 1)
    scene.body = svg(drawn, (WIDTH, height), "the network, layer by layer", elements)
    kind = getattr(model, "config", {}).get("name", type(model).__name__)
    counts = f"{short(table.multiply_adds)} multiply-adds, {short(table.parameters)} parameters"
    return MovingPicture(title or f"{kind} on images of {images}: {counts}", [scene])


def _block(name: str, layer: Layer, rows: list[SummaryRow]) -> Block:
    kinds = {type(child).__name__ for child in layer.children().values()}
    kind = type(layer).__name__
    if isinstance(layer, Sequential):
        # A sequence of equal units is a stage. For other sequences, the text lists the layers.
        repeated = len(kinds) == 1
        kind = f"{len(layer)} × {kinds.pop()}" if repeated else ", ".join(row.kind for row in rows)
    elif rows and not layer.children():
        kind = rows[0].kind
    return Block(
        name,
        kind,
        rows[-1].output_shape if rows else (),
        sum(row.multiply_adds for row in rows),
        sum(row.parameters for row in rows),
    )


def _step(element: int, block: Block, reads: list[int], total: tuple[int, int]) -> PictureStep:
    shape = " × ".join(map(str, block.shape))
    share, learned = block.multiply_adds / total[0], block.parameters / total[1]
    text = (
        f"output {shape}: {short(block.multiply_adds)} multiply-adds ({share:.1%}), "
        f"{short(block.parameters)} parameters ({learned:.1%})"
    )
    return PictureStep(element, reads, text=text, note=block.kind)


def _row(element: int, block: Block, inner: list[int], y: int, total: tuple[int, int]) -> str:
    shape = "×".join(map(str, block.shape))
    colour = _colour(block.name)
    middle = y + ROW / 2 - 4
    bars = "".join(
        f'<rect class="{kind}" x="{BARS}" y="{middle + offset:g}" rx="2" height="9" '
        f'width="{max(1.9 * BAR * share, 1):.1f}"/>'
        for kind, offset, share in (
            ("bar", -11, block.multiply_adds / total[0]),
            ("bar second", 3, block.parameters / total[1]),
        )
    )
    squares = "".join(
        f'<g class="c box {colour}" data-k="{colour}" data-e="{e}"><rect rx="3" '
        f'x="{MIDDLE + i % 6 * (SQUARE + 5)}" y="{middle - 16 + i // 6 * (SQUARE + 5):g}" '
        f'width="{SQUARE}" height="{SQUARE}"/></g>'
        for i, e in enumerate(inner)
    )
    return (
        f'<g class="c box {colour}" data-k="{colour}" data-e="{element}">'
        f'<rect x="2" y="{y}" width="{WIDTH - 4}" height="{ROW - 8}" rx="6"/>{bars}'
        f'<text class="left" x="12" y="{middle - 8:g}">{html.escape(block.name)}</text>'
        f'<text class="sub left" x="12" y="{middle + 9:g}">{shape}</text></g>{squares}'
    )


def _colour(name: str) -> str:
    if name.startswith("stage"):
        return "k1"
    return "k0" if name.startswith("conv") else "k5"
