"""A channel shuffle as wires: a dot for each channel, in the colour of the group it started in."""

import html
from typing import Any

import numpy as np

from numpy_shufflenet import operations, steps
from numpy_shufflenet.plots.moving.grids import short_number
from numpy_shufflenet.plots.moving.picture import MovingPicture, PictureStep, Scene
from numpy_shufflenet.steps import Step

PITCH, RADIUS, DROP = 40, 15, 120  # between dots, of a dot, between rows
LEFT, TOP = 44, 30
COLOURS = 6
MOST_CHANNELS = 24


def shuffle_wires(
    channels: int, groups: int, *, name: str = "channel_shuffle", title: str = ""
) -> MovingPicture:
    """Draw how a shuffle wires its channels, and how the gradients run back along the wires.

    Channel k of x holds the number k, and dy random tenths.

    Parameters
    ----------
    channels : int
        At most 24.
    groups : int
        Divides channels.
    name : str
        "channel_shuffle", or "channel_unshuffle", the order of the authors' V1 code.
    title : str

    Returns
    -------
    MovingPicture

    Raises
    ------
    ValueError
        If groups doesn't divide channels, or there are too many to be drawn.
    """
    if channels > MOST_CHANNELS:
        raise ValueError(f"channels={channels} is too many to draw; at most {MOST_CHANNELS} fit")
    x = np.arange(float(channels)).reshape(1, channels, 1, 1)
    operations.find(name).forward()(x, groups)  # refuses what is wrong
    dy = np.round(np.random.default_rng(1).uniform(-1, 1, x.shape), 1)
    forward = getattr(steps, f"{name}_forward_steps")(x, groups)
    backward = getattr(steps, f"{name}_backward_steps")(dy, x, groups)
    source = [
        s.reads[0][1][1]
        for s in getattr(steps, f"{name}_forward_steps")(x, groups)
        if isinstance(s, Step)
    ]
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
    generator: Any,
    source: list[int],
    size: int,
) -> Scene:
    """Draw one direction; `rows` names the row above and the one below."""
    scene = Scene(name, verb)
    channels = len(source)
    found = [item for item in generator if isinstance(item, Step)]
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
    label = html.escape(f"{rows[0]} above, {rows[1]} below: {channels} channels each")
    scene.body = (
        f'<div class="scroll"><svg class="tile{" back" if backwards else ""}" role="group" '
        f'aria-label="{label}" style="min-width: {0.8 * width:.0f}px" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" data-first="{upper[0]}" '
        f'data-count="{2 * channels}" data-columns="{channels}">{"".join(parts)}</svg></div>'
    )
    return scene


def dot(scene: Scene, element: int, x: float, y: float, radius: int = RADIUS) -> str:
    """Return a channel as a dot with its number."""
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
    """Frame each group of a row."""
    return "".join(
        f'<rect class="frame" x="{_x(start) - 18}" y="{y - 20}" rx="8" '
        f'width="{size * PITCH - 4}" height="40"/>'
        for start in range(0, channels, size)
    )
