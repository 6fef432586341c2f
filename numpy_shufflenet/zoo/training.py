"""Mistakes around training: a step of the optimiser, its schedule, and what came of it."""

import math
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.plots.insight import occlusion_map
from numpy_shufflenet.zoo.catalogue import wrong_answer

# A step of SGD


def _decayed(p: Array, g: Array, *, nesterov: bool, weight_decay: float) -> Array:
    """Return g with its weight decay. What is below are mistakes of plain momentum."""
    if nesterov:
        raise ValueError("these are mistakes of plain momentum")
    return g + weight_decay * p if p.ndim > 1 else g


@wrong_answer("sgd_step", cause="sign")
def uphill(
    p: Array, g: Array, v: Array, *, learning_rate: float, momentum: float, **decay: Any
) -> tuple[Array, Array]:
    """Add the step to p in place of subtracting it.

    Hint: your p goes uphill: subtract the step.
    """
    v = momentum * v + _decayed(p, g, **decay)
    return p + learning_rate * v, v


@wrong_answer("sgd_step", cause="factor")
def rate_inside_of_v(
    p: Array, g: Array, v: Array, *, learning_rate: float, momentum: float, **decay: Any
) -> tuple[Array, Array]:
    """Multiply g by the learning rate before it goes into v.

    Hint: the learning rate is inside of your v; here it is not, so that a schedule acts at once: v
    = momentum v + g, p = p - learning_rate v.
    """
    v = momentum * v + learning_rate * _decayed(p, g, **decay)
    return p - v, v


@wrong_answer("sgd_step", cause="factor")
def velocity_averaged(
    p: Array, g: Array, v: Array, *, learning_rate: float, momentum: float, **decay: Any
) -> tuple[Array, Array]:
    """Weigh g by 1 - momentum.

    Hint: you average: g counts in full here, v = momentum v + g.
    """
    v = momentum * v + (1 - momentum) * _decayed(p, g, **decay)
    return p - learning_rate * v, v


@wrong_answer("sgd_step", cause="term")
def moved_along_g(
    p: Array, g: Array, v: Array, *, learning_rate: float, momentum: float, **decay: Any
) -> tuple[Array, Array]:
    """Move p along g, and keep v for nothing.

    Hint: your p moves along g alone: the new v is the direction.
    """
    g = _decayed(p, g, **decay)
    return p - learning_rate * g, momentum * v + g


@wrong_answer("sgd_step", cause="mask")
def vectors_decay(
    p: Array,
    g: Array,
    v: Array,
    *,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> tuple[Array, Array]:
    """Let weight decay act on biases, too.

    Hint: your weight decay pulls at vectors, too; only what has more than one axis decays.
    """
    if p.ndim > 1 or not weight_decay:
        raise ValueError("nothing is decayed by mistake")
    g = g + weight_decay * p
    v = momentum * v + g
    return p - learning_rate * (g + momentum * v if nesterov else v), v


# The cosine schedule


def _fall(t: float) -> float:
    return (1 + math.cos(math.pi * t)) / 2


@wrong_answer("cosine_schedule", cause="single entry")
def warmup_from_zero(*, step: int, peak: float, steps: int, warmup: int) -> float:
    """Rise as step / warmup.

    Hint: your warm-up starts at 0, and the first step is lost: it rises as (step + 1) / warmup.
    """
    if step < warmup:
        return peak * step / warmup
    return peak * _fall((step - warmup) / (steps - warmup))


@wrong_answer("cosine_schedule", cause="factor")
def counted_from_the_first_step(*, step: int, peak: float, steps: int, warmup: int) -> float:
    """Let the cosine begin at step 0, warm-up or not.

    Hint: your cosine counts from the first step; after a warm-up it counts from its end: t = (step
    - warmup) / (steps - warmup).
    """
    return peak * ((step + 1) / warmup if step < warmup else _fall(step / steps))


@wrong_answer("cosine_schedule", cause="slope")
def straight_line(*, step: int, peak: float, steps: int, warmup: int) -> float:
    """Fall in a straight line.

    Hint: this falls in a straight line; a cosine is flat at both ends.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (1 - (step - warmup) / (steps - warmup))


@wrong_answer("cosine_schedule", cause="slope")
def cosine_itself(*, step: int, peak: float, steps: int, warmup: int) -> float:
    """Fall to -1, as a cosine does.

    Hint: this is the cosine itself, from 1 to -1; move it up by 1 and halve it.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * math.cos(math.pi * (step - warmup) / (steps - warmup))


# The confusion matrix


@wrong_answer("confusion_matrix", cause="transpose")
def predictions_in_rows(labels: Array, predictions: Array, *, classes: int) -> Array:
    """Let a row be a prediction.

    Hint: rows and columns are swapped: a row is a label, a column a prediction.
    """
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (predictions, labels), 1)
    return confusion


@wrong_answer("confusion_matrix", cause="sum")
def counted_once(labels: Array, predictions: Array, *, classes: int) -> Array:
    """Count each pair once, however often it occurs.

    Hint: a pair that occurs several times counts once: `a[i, j] += 1` with arrays i, j adds 1 to
    each place but once; `np.add.at` adds them all.
    """
    confusion = np.zeros((classes, classes))
    confusion[labels, predictions] = 1
    return confusion


# The occlusion map


def _summed(image: Array, size: int, **settings: Any) -> Array:
    """Return the sum over all squares that cover a pixel; the right map has their mean."""
    h, w = image.shape[1:]
    covered = np.zeros((h, w))
    for r, s in np.ndindex(h - size + 1, w - size + 1):
        covered[r : r + size, s : s + size] += 1
    return covered * occlusion_map(image=image, size=size, **settings)


@wrong_answer("occlusion_map", cause="factor")
def squares_summed(image: Array, **settings: Any) -> Array:
    """Add up over the squares that cover a pixel.

    Hint: a pixel gets the sum over all squares that cover it; it should be their mean.
    """
    return _summed(image, **settings)


@wrong_answer("occlusion_map", cause="factor")
def divided_by_the_square(image: Array, *, size: int, **settings: Any) -> Array:
    """Divide by the pixels of a square, also at the border, where fewer squares cover a pixel.

    Hint: you divide by the pixels of a square; divide each pixel by how many squares cover it,
    which is fewer at the border.
    """
    return _summed(image, size, **settings) / size**2
