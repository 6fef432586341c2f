"""A channel shuffle as wires: a dot is a channel, in the colour of its group before the shuffle."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from numpy_shufflenet import operations, steps
from numpy_shufflenet.plots.moving.grids import short_number
from numpy_shufflenet.plots.moving.picture import MovingPicture, PictureStep, Scene, svg
from numpy_shufflenet.steps import Step

PITCH, RADIUS, DROP = 40, 15, 120  # distance between dots, radius of a dot, distance between rows
LEFT, TOP = 44, 30
COLOURS = 6
MOST_CHANNELS = 24


def shuffle_wires(
    channels: int, groups: int, *, name: str = "channel_shuffle", title: str = ""
) -> MovingPicture:
    """Draw where a shuffle moves each channel, and how the gradients flow back.

    Channel k of x holds the number k, and dy holds random multiples of 0.1.

    Parameters
    ----------
    channels : int
        At most 24.
    groups : int
        A divisor of channels.
    name : str
        "channel_shuffle", or "channel_unshuffle", which is the order in the authors' V1 code.

    Raises
    ------
    ValueError
        If `groups` does not divide `channels`, or there are more than 24 channels.
    """
    if channels > MOST_CHANNELS:
        raise ValueError(f"channels={channels} is too many to draw; at most {MOST_CHANNELS} fit")
    x = np.arange(float(channels)).reshape(1, channels, 1, 1)
    operations.find(name).forward()(x, groups)  # checks the arguments
    dy = np.round(np.random.default_rng(1).uniform(-1, 1, x.shape), 1)
    forward = _steps(getattr(steps, f"{name}_forward_steps")(x, groups))
    backward = _steps(getattr(steps, f"{name}_backward_steps")(dy, x, groups))
    source = [step.reads[0][1][1] for step in forward]
    size = channels // groups
    scenes = [
        _scene("Forward", "goes to", ("x", "y"), x, forward, source, size),
        _scene("Backward", "flows into", ("dx", "dy"), dy, backward, source, size),
    ]
    words = name.replace("_", " ")
    return MovingPicture(title or f"{words}: {channels} channels in {groups} groups", scenes)


def _scene(
    name: str,
    verb: str,
    rows: tuple[str, str],
    given: Any,
    found: list[Step],
    source: list[int],
    size: int,
) -> Scene:
    """Draw one direction; `rows` are the names of the upper and the lower row."""
    scene = Scene(name, verb)
    channels = len(source)
    computed = np.zeros(channels)
    for step in found:
        computed[step.index[1]] = step.value
    backwards = name == "Backward"
    above, below = (computed, given.ravel()) if backwards else (given.ravel(), computed)
    colour = [f"k{k // size % COLOURS}" for k in range(channels)]
    upper = [scene.add(f"{rows[0]}[{k}]", short_number(v), colour[k]) for k, v in enumerate(above)]
    lower = [
        scene.add(f"{rows[1]}[{k}]", short_number(v), colour[source[k]])
        for k, v in enumerate(below)
    ]
    wires = [scene.add(f"wire {k}") for k in range(channels)]
    for step in found:
        written, read = step.index[1], step.reads[0][1][1]
        output, origin = (
            (upper[written], lower[read]) if backwards else (lower[written], upper[read])
        )
        wire = wires[read if backwards else written]
        scene.steps.append(
            PictureStep(output, [origin], [[origin]], short_number(step.value), extra=[wire])
        )
    scene.still = channels // 2

    width, height = LEFT + channels * PITCH, TOP + DROP + 30
    parts = [_frames(channels, size, y) for y in (TOP, TOP + DROP)]
    for k, wire in enumerate(wires):
        x1, x2 = _x(source[k]), _x(k)
        path = f"M{x1} {TOP + 16} C{x1} {TOP + 60} {x2} {TOP + DROP - 60} {x2} {TOP + DROP - 16}"
        kind = f"wire {colour[source[k]]}{scene.classes(wire)}"
        parts.append(f'<path class="{kind}" data-e="{wire}" d="{path}"/>')
    for y, row, label in ((TOP, upper, rows[0]), (TOP + DROP, lower, rows[1])):
        parts.append(f'<text x="18" y="{y}">{label}</text>')
        parts += [dot(scene, e, _x(k), y) for k, e in enumerate(row)]
    label = f"{rows[0]} above, {rows[1]} below: {channels} channels each"
    elements = (upper[0], 2 * channels, channels)
    size_on_page = (width, height)
    scene.body = svg(parts, size_on_page, label, elements, backwards=backwards, scroll=True)
    return scene


def _steps(items: Iterable[Any]) -> list[Step]:
    return [item for item in items if isinstance(item, Step)]


def dot(scene: Scene, element: int, x: float, y: float, radius: int = RADIUS) -> str:
    """Return the drawing of a channel: a dot with its value."""
    rect = f'x="{x - radius:g}" y="{y - radius:g}" width="{2 * radius}" height="{2 * radius}"'
    kind = scene.kinds[element]
    return (
        f'<g class="c {kind}{scene.classes(element)}" data-k="{kind}" data-e="{element}">'
        f'<rect class="dot" {rect} rx="{radius}"/>'
        f'<text x="{x:g}" y="{y:g}">{scene.values[element]}</text></g>'
    )


def _x(k: int) -> int:
    return LEFT + k * PITCH + PITCH // 2


def _frames(channels: int, size: int, y: int) -> str:
    """Return a frame for each group in a row."""
    return "".join(
        f'<rect class="frame" x="{_x(start) - 18}" y="{y - 20}" rx="8" '
        f'width="{size * PITCH - 4}" height="40"/>'
        for start in range(0, channels, size)
    )
