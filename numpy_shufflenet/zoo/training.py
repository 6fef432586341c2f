"""Mistakes in the exercises about training: SGD, schedule, confusion matrix, occlusion map."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.plots.insight import occlusion_map
from numpy_shufflenet.zoo.catalogue import Decorator, Function, wrong_answer

# A step of SGD


def _wrong_step(cause: str) -> Decorator:
    """Add a wrong step of plain momentum. The decorated function takes g including weight decay."""

    def add(function: Function) -> Function:
        @wrong_answer("sgd_step", cause=cause)
        @functools.wraps(function)
        def step(
            p: Array, g: Array, v: Array, *, nesterov: bool, weight_decay: float, **rates: float
        ) -> Any:
            if nesterov:
                raise ValueError("this is a mistake in plain momentum only")
            return function(p, g + weight_decay * p if p.ndim > 1 else g, v, **rates)

        return function

    return add


@_wrong_step("sign")
def uphill(p: Array, g: Array, v: Array, learning_rate: float, momentum: float) -> Any:
    """Add the step to p instead of subtracting it.

    Hint: your step increases the loss: subtract the step.
    """
    v = momentum * v + g
    return p + learning_rate * v, v


@_wrong_step("factor")
def rate_inside_of_v(p: Array, g: Array, v: Array, learning_rate: float, momentum: float) -> Any:
    """Multiply g by the learning rate before adding it to v.

    Hint: your v contains the learning rate; with v = momentum v + g and p = p - learning_rate v, a
    schedule acts at once.
    """
    v = momentum * v + learning_rate * g
    return p - v, v


@_wrong_step("factor")
def velocity_averaged(p: Array, g: Array, v: Array, learning_rate: float, momentum: float) -> Any:
    """Multiply g by 1 - momentum.

    Hint: you multiply g by 1 - momentum; here v = momentum v + g.
    """
    v = momentum * v + (1 - momentum) * g
    return p - learning_rate * v, v


@_wrong_step("term")
def moved_along_g(p: Array, g: Array, v: Array, learning_rate: float, momentum: float) -> Any:
    """Move p along g, and don't use v.

    Hint: you move p along g; move it along the new v.
    """
    return p - learning_rate * g, momentum * v + g


@wrong_answer("sgd_step", cause="mask")
def vectors_decay(
    p: Array, g: Array, v: Array, *, nesterov: bool, weight_decay: float, **rates: float
) -> tuple[Array, Array]:
    """Apply weight decay to biases, too.

    Hint: you apply weight decay to a vector; apply it to parameters of two or more axes only.
    """
    if p.ndim > 1 or not weight_decay:
        raise ValueError("this case has no vector with weight decay")
    g = g + weight_decay * p
    v = rates["momentum"] * v + g
    return p - rates["learning_rate"] * (g + rates["momentum"] * v if nesterov else v), v


# The cosine schedule


def _wrong_fall(cause: str) -> Callable[[Callable[[float], float]], Any]:
    """Add a schedule with a wrong decrease. The decorated function takes t, from 0 to 1."""

    def add(fall: Callable[[float], float]) -> Any:
        @wrong_answer("cosine_schedule", cause=cause)
        @functools.wraps(fall)
        def schedule(*, step: int, peak: float, steps: int, warmup: int) -> float:
            if step < warmup:
                return peak * (step + 1) / warmup
            return peak * fall((step - warmup) / (steps - warmup))

        return fall

    return add


def _right_fall(t: float) -> float:
    return (1 + math.cos(math.pi * t)) / 2


@wrong_answer("cosine_schedule", cause="single entry")
def warmup_from_zero(*, step: int, peak: float, steps: int, warmup: int) -> float:
    """Warm up by step / warmup.

    Hint: your first step has the learning rate 0; warm up by (step + 1) / warmup.
    """
    if step < warmup:
        return peak * step / warmup
    return peak * _right_fall((step - warmup) / (steps - warmup))


@wrong_answer("cosine_schedule", cause="factor")
def counted_from_the_first_step(*, step: int, peak: float, steps: int, warmup: int) -> float:
    """Start the cosine at step 0, even if there is a warm-up.

    Hint: your cosine starts at step 0; start it after the warm-up: t = (step - warmup) / (steps -
    warmup).
    """
    return peak * ((step + 1) / warmup if step < warmup else _right_fall(step / steps))


@_wrong_fall("slope")
def straight_line(t: float) -> float:
    """Decrease in a straight line.

    Hint: your learning rate decreases in a straight line; a cosine is flat at both ends.
    """
    return 1 - t


@_wrong_fall("slope")
def cosine_itself(t: float) -> float:
    """Use the cosine itself, which decreases to -1.

    Hint: this is the cosine itself, from 1 to -1; add 1 and divide by 2.
    """
    return math.cos(math.pi * t)


# The confusion matrix


@wrong_answer("confusion_matrix", cause="transpose")
def predictions_in_rows(labels: Array, predictions: Array, *, classes: int) -> Array:
    """Use the prediction as the row.

    Hint: rows and columns are swapped: the label is the row, the prediction is the column.
    """
    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (predictions, labels), 1)
    return confusion


@wrong_answer("confusion_matrix", cause="sum")
def counted_once(labels: Array, predictions: Array, *, classes: int) -> Array:
    """Count each pair once, however often it occurs.

    Hint: you count a pair once even if it occurs several times: with arrays i and j, `a[i, j] += 1`
    adds 1 to each entry only once; `np.add.at` adds 1 for every pair.
    """
    confusion = np.zeros((classes, classes))
    confusion[labels, predictions] = 1
    return confusion


# The occlusion map


def _summed(image: Array, size: int, **settings: Any) -> Array:
    """Return for each pixel the sum over the squares that cover it; the right map has the mean."""
    h, w = image.shape[1:]
    covered = np.zeros((h, w))
    for r, s in np.ndindex(h - size + 1, w - size + 1):
        covered[r : r + size, s : s + size] += 1
    return covered * occlusion_map(image=image, size=size, **settings)


@wrong_answer("occlusion_map", cause="factor")
def squares_summed(image: Array, **settings: Any) -> Array:
    """Return for each pixel the sum over the squares that cover it.

    Hint: you give a pixel the sum over the squares that cover it; give it their mean.
    """
    return _summed(image, **settings)


@wrong_answer("occlusion_map", cause="factor")
def divided_by_the_square(image: Array, *, size: int, **settings: Any) -> Array:
    """Divide by the number of pixels of a square, at the border, too.

    Hint: you divide by the number of pixels of a square; divide each pixel by the number of squares
    that cover it: there are fewer at the border.
    """
    return _summed(image, size, **settings) / size**2
