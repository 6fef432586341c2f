"""Mistakes of students in training: SGD, schedule, confusion matrix; see `answers`."""

import math
from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.plots.insight import occlusion_map
from numpy_shufflenet.zoo.answers.windows import RIGHT, Wrong
from numpy_shufflenet.zoo.catalogue import variants, wrong_answer


@variants(
    "sgd_step",
    uphill=("sign", "your step increases the loss: subtract the step"),
    rate_inside_of_v=(
        "factor",
        "your v contains the learning rate; with v = momentum v + g and p = p - learning_rate v, a "
        "schedule acts at once",
    ),
    velocity_averaged=("factor", "you multiply g by 1 - momentum; here v = momentum v + g"),
    moved_along_g=("term", "you move p along g; move it along the new v"),
    moved_along_the_old_v=("term", "you move p along the old v; compute the new v first"),
    momentum_of_both=("factor", "you multiply g by the momentum, too; v = momentum v + g"),
    momentum_left_out=("term", "v lacks its factor: v = momentum v + g"),
    velocity_subtracted=("sign", "you subtract g from v; v = momentum v + g"),
    rate_left_out=("factor", "the learning rate is missing in the step of p"),
    vectors_decay=(
        "mask",
        "you apply weight decay to a vector; apply it to parameters of two or more axes only",
    ),
    decay_subtracted=("sign", "you subtract the weight decay from g; add weight_decay p"),
    decay_after_the_velocity=("term", "you add weight decay to the step; add it to g, before v"),
    decay_of_the_square=("slope", "weight decay adds weight_decay p; you use p squared"),
    nesterov_with_the_old_v=("term", "Nesterov moves along g + momentum v with the new v"),
    nesterov_without_g=("term", "Nesterov moves along g + momentum v; g is missing"),
)
def sgd_step(
    p: Array,
    g: Array,
    v: Array,
    *,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    wrong: Wrong = RIGHT,
) -> Any:
    """Take one step."""
    old, decay = v, 0 * p
    if p.ndim > 1 or "vectors_decay" in wrong:
        decay = weight_decay * (p * p if "decay_of_the_square" in wrong else p)
    late = "decay_after_the_velocity" in wrong
    if not late:
        g = g - decay if "decay_subtracted" in wrong else g + decay
    scale = learning_rate if "rate_inside_of_v" in wrong else 1.0
    scale = 1 - momentum if "velocity_averaged" in wrong else scale
    scale = momentum if "momentum_of_both" in wrong else scale
    scale = -scale if "velocity_subtracted" in wrong else scale
    v = (1 if "momentum_left_out" in wrong else momentum) * v + scale * g
    step = g if "moved_along_g" in wrong else old if "moved_along_the_old_v" in wrong else v
    if nesterov:
        ahead = momentum * (old if "nesterov_with_the_old_v" in wrong else v)
        step = ahead if "nesterov_without_g" in wrong else g + ahead
    step = step + decay if late else step
    rate = 1.0 if wrong & {"rate_inside_of_v", "rate_left_out"} else learning_rate
    return p - (-rate if "uphill" in wrong else rate) * step, v


@variants(
    "cosine_schedule",
    warmup_from_zero=(
        "single entry",
        "your first step has the learning rate 0; warm up by (step + 1) / warmup",
    ),
    counted_from_the_first_step=(
        "factor",
        "your cosine starts at step 0; start it after the warm-up: t = (step - warmup) / (steps - "
        "warmup)",
    ),
    all_steps_counted=("factor", "divide by steps - warmup, the steps after the warm-up"),
    one_step_less=("factor", "you divide by one step less; divide by steps - warmup"),
    straight_line=(
        "slope",
        "your learning rate decreases in a straight line; a cosine is flat at both ends",
    ),
    cosine_itself=("slope", "this is the cosine itself, from 1 to -1; add 1 and divide by 2"),
    not_halved=("factor", "1 + cos goes from 2 to 0: divide by 2"),
    quarter_wave=("slope", "you use the cosine up to pi / 2; use (1 + cos(pi t)) / 2"),
    rising=("sign", "your learning rate rises: use 1 + cos, not 1 - cos"),
    without_pi=("factor", "pi is missing: cos(pi t)"),
    two_pi=("factor", "your cosine goes through a whole period; use cos(pi t), not cos(2 pi t)"),
    degrees=("factor", "NumPy's cos takes radians: pi is half a turn, not 180"),
)
def cosine_schedule(
    *, step: int, peak: float, steps: int, warmup: int, wrong: Wrong = RIGHT
) -> float:
    """Rise in a line, fall along a cosine."""
    if step < warmup:
        return peak * (step + ("warmup_from_zero" not in wrong)) / warmup
    last = steps if wrong & {"counted_from_the_first_step", "all_steps_counted"} else steps - warmup
    t = (step - (0 if "counted_from_the_first_step" in wrong else warmup)) / (
        last - ("one_step_less" in wrong)
    )
    if "straight_line" in wrong:
        return peak * (1 - t)
    turn = 1.0 if "without_pi" in wrong else 180.0 if "degrees" in wrong else math.pi
    turn = 2 * turn if "two_pi" in wrong else turn / 2 if "quarter_wave" in wrong else turn
    wave = math.cos(turn * t)
    if wrong & {"cosine_itself", "quarter_wave"}:
        return peak * wave
    fall = 1 - wave if "rising" in wrong else 1 + wave
    return peak * fall / (1 if "not_halved" in wrong else 2)


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
