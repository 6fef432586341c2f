"""What students get wrong around training; see `variants`, of which this is a part."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_shufflenet.exercises.cases import Case
from numpy_shufflenet.exercises.learning import sgd_step
from numpy_shufflenet.plots.insight import occlusion_map

Results = tuple[Any, ...]


def _rule(case: Case) -> dict[str, Any]:
    """Return a plain step's arrays and numbers by short names; g with its decay."""
    arrays, settings = case
    if settings.get("nesterov"):
        raise ValueError("these are mistakes of plain momentum")
    p, g = arrays["p"], arrays["g"]
    if p.ndim > 1:
        g = g + settings.get("weight_decay", 0.0) * p
    return {
        "p": p, "g": g, "v": arrays["v"],
        "lr": settings["learning_rate"], "mu": settings["momentum"],
    }  # fmt: skip


def _step(velocity: Callable[..., Any], parameter: Callable[..., Any]) -> Callable[[Case], Results]:
    """Return p and v of another rule: v from p, g, v, lr, mu, and then p with the new v."""

    def results(case: Case) -> Results:
        rule = _rule(case)
        v = velocity(**rule)
        return parameter(**{**rule, "v": v}), v

    return results


def _decayed_vector(case: Case) -> Results:
    arrays, settings = case
    if arrays["p"].ndim > 1 or not settings.get("weight_decay"):
        raise ValueError("nothing is decayed by mistake")
    row = {name: array[None] for name, array in arrays.items()}
    return tuple(result[0] for result in sgd_step((row, settings)))


def _schedule(formula: Callable[..., float]) -> Callable[[Case], Results]:
    """Return the rate of a formula of step, peak, steps and warmup."""

    def results(case: Case) -> Results:
        return (formula(**{"warmup": 0, **case[1]}),)

    return results


def _fall(t: float) -> float:
    return (1 + math.cos(math.pi * t)) / 2


def _counted_once(case: Case) -> Results:
    labels, predictions = case[0].values()
    confusion = np.zeros((case[1]["classes"],) * 2, np.int64)
    confusion[labels, predictions] += 1
    return (confusion,)


def _transposed(case: Case) -> Results:
    labels, predictions = case[0].values()
    confusion = np.zeros((case[1]["classes"],) * 2, np.int64)
    np.add.at(confusion, (predictions, labels), 1)
    return (confusion,)


def _occlusion(case: Case) -> tuple[Any, Any, int]:
    """Return the right map, how many squares cover each pixel, and the side of a square."""
    image, size = case[0]["image"], case[1]["size"]
    h, w = image.shape[1:]
    covered = np.zeros((h, w))
    for r, s in np.ndindex(h - size + 1, w - size + 1):
        covered[r : r + size, s : s + size] += 1
    return occlusion_map(image=image, **case[1]), covered, size


def _summed(case: Case) -> Results:
    fallen, covered, _ = _occlusion(case)
    return (fallen * covered,)


def _of_squares(case: Case) -> Results:
    fallen, covered, size = _occlusion(case)
    return (fallen * covered / size**2,)


LEARNING_MISTAKES: dict[str, tuple[tuple[str, Callable[[Case], Results]], ...]] = {
    "sgd_step": (
        (
            "your p goes uphill: subtract the step",
            _step(
                lambda p, g, v, lr, mu: mu * v + g,
                lambda p, g, v, lr, mu: p + lr * v,
            ),
        ),
        (
            "the learning rate is inside of your v; here it is not, so that a schedule acts at "
            "once: v = momentum v + g, p = p - learning_rate v",
            _step(
                lambda p, g, v, lr, mu: mu * v + lr * g,
                lambda p, g, v, lr, mu: p - v,
            ),
        ),
        (
            "you average: g counts in full here, v = momentum v + g",
            _step(
                lambda p, g, v, lr, mu: mu * v + (1 - mu) * g,
                lambda p, g, v, lr, mu: p - lr * v,
            ),
        ),
        (
            "your p moves along g alone: the new v is the direction",
            _step(
                lambda p, g, v, lr, mu: mu * v + g,
                lambda p, g, v, lr, mu: p - lr * g,
            ),
        ),
        (
            "your weight decay pulls at vectors, too; only what has more than one axis decays",
            _decayed_vector,
        ),
    ),
    "cosine_schedule": (
        (
            "your warm-up starts at 0, and the first step is lost: it rises as (step + 1) / warmup",
            _schedule(
                lambda step, peak, steps, warmup: (
                    peak * step / warmup
                    if step < warmup
                    else peak * _fall((step - warmup) / (steps - warmup))
                )
            ),
        ),
        (
            "your cosine counts from the first step; after a warm-up it counts from its end: "
            "t = (step - warmup) / (steps - warmup)",
            _schedule(
                lambda step, peak, steps, warmup: (
                    peak * (step + 1) / warmup if step < warmup else peak * _fall(step / steps)
                )
            ),
        ),
        (
            "this falls in a straight line; a cosine is flat at both ends",
            _schedule(
                lambda step, peak, steps, warmup: (
                    peak * (step + 1) / warmup
                    if step < warmup
                    else peak * (1 - (step - warmup) / (steps - warmup))
                )
            ),
        ),
        (
            "this is the cosine itself, from 1 to -1; move it up by 1 and halve it",
            _schedule(
                lambda step, peak, steps, warmup: (
                    peak * (step + 1) / warmup
                    if step < warmup
                    else peak * math.cos(math.pi * (step - warmup) / (steps - warmup))
                )
            ),
        ),
    ),
    "confusion_matrix": (
        (
            "rows and columns are swapped: a row is a label, a column a prediction",
            _transposed,
        ),
        (
            "a pair that occurs several times counts once: `a[i, j] += 1` with arrays i, j adds 1 "
            "to each place but once; `np.add.at` adds them all",
            _counted_once,
        ),
    ),
    "occlusion_map": (
        (
            "a pixel gets the sum over all squares that cover it; it should be their mean",
            _summed,
        ),
        (
            "you divide by the pixels of a square; divide each pixel by how many squares cover it, "
            "which is fewer at the border",
            _of_squares,
        ),
    ),
}
