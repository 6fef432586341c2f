"""Exercises around training: right answers pass, well-known mistakes are named."""

import math

import numpy as np
import pytest

from numpy_shufflenet.exercises import NotYet, check
from numpy_shufflenet.exercises.learning import Score

# Right answers, written as a student would


def sgd(p, g, v, learning_rate, momentum):
    v = momentum * v + g
    return p - learning_rate * v, v


def whole_sgd(p, g, v, learning_rate, momentum, nesterov, weight_decay):
    if p.ndim > 1:
        g = g + weight_decay * p
    v = momentum * v + g
    return p - learning_rate * (g + momentum * v if nesterov else v), v


def cosine(step, peak, steps, warmup):
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (0.5 + 0.5 * math.cos(math.pi * (step - warmup) / (steps - warmup)))


def confusion(labels, predictions, classes):
    table = [[0] * classes for _ in range(classes)]
    for label, prediction in zip(labels, predictions, strict=True):
        table[label][prediction] += 1
    return np.array(table)


def occlusion(image, probability, size, fill, divide=True):
    h, w = image.shape[1:]
    fallen, covered = np.zeros((2, h, w))
    for r in range(h - size + 1):
        for s in range(w - size + 1):
            hidden = image.copy()
            hidden[:, r : r + size, s : s + size] = fill
            fall = probability(image[None])[0] - probability(hidden[None])[0]
            fallen[r : r + size, s : s + size] += fall
            covered[r : r + size, s : s + size] += 1
    return fallen / (covered if divide else size**2)


def occlusion_sum(image, probability, size, fill):
    full = occlusion(image, probability, size, fill, divide=False)
    return full * size**2


RIGHT = {
    "sgd_step": (sgd, whole_sgd),
    "cosine_schedule": (cosine, lambda step, peak, steps: cosine(step, peak, steps, 0)),
    "confusion_matrix": (confusion,),
    "occlusion_map": (
        lambda image, probability, size, fill: occlusion(image, probability, size, fill),
        lambda image, probability, size: occlusion(image, probability, size, 0.0),
    ),
}


@pytest.mark.parametrize(
    ("name", "function"), [(name, f) for name, functions in RIGHT.items() for f in functions]
)
def test_right_answers_pass(name, function):
    assert check(name, function).passed


def test_what_a_function_does_not_take_is_said():
    assert "doesn't take it: nesterov, weight_decay" in check("sgd_step", sgd).message


# Wrong answers


def decays_vectors(p, g, v, learning_rate, momentum, weight_decay):
    v = momentum * v + g + weight_decay * p
    return p - learning_rate * v, v


def rate_inside(p, g, v, learning_rate, momentum):
    v = momentum * v + learning_rate * g
    return p - v, v


def averaged(p, g, v, learning_rate, momentum):
    v = momentum * v + (1 - momentum) * g
    return p - learning_rate * v, v


def first_step_lost(step, peak, steps, warmup):
    return peak * step / warmup if step < warmup else cosine(step, peak, steps, warmup)


def from_the_first_step(step, peak, steps, warmup):
    return cosine(step, peak, steps, warmup if step < warmup else 0)


def straight(step, peak, steps):
    return peak * (1 - step / steps)


def not_lifted(step, peak, steps):
    return peak * math.cos(math.pi * step / steps)


def counted_once(labels, predictions, classes):
    table = np.zeros((classes, classes), int)
    table[labels, predictions] += 1
    return table


WRONG = {
    "uphill": ("sgd_step", lambda p, g, v, learning_rate, momentum: (
        p + learning_rate * (momentum * v + g), momentum * v + g), "increases the loss"),
    "rate inside of v": ("sgd_step", rate_inside, "your v contains the learning rate"),
    "average": ("sgd_step", averaged, "multiply g by 1 - momentum"),
    "no momentum in p": ("sgd_step", lambda p, g, v, learning_rate, momentum: (
        p - learning_rate * g, momentum * v + g), "you move p along g"),
    "vectors decay": ("sgd_step", decays_vectors, "weight decay to a vector"),
    "decay forgotten": ("sgd_step", lambda p, g, v, learning_rate, momentum, weight_decay: sgd(
        p, g, v, learning_rate, momentum), "the result for weight_decay=0.0"),
    "warm-up from 0": ("cosine_schedule", first_step_lost, "first step has the learning rate 0"),
    "cosine from step 0": ("cosine_schedule", from_the_first_step, "start it after the warm-up"),
    "straight": ("cosine_schedule", straight, "straight line"),
    "cosine to -1": ("cosine_schedule", not_lifted, "add 1 and divide by 2"),
    "transposed": ("confusion_matrix", lambda labels, predictions, classes: confusion(
        predictions, labels, classes), "the label is the row"),
    "counted once": ("confusion_matrix", counted_once, "np.add.at"),
    "sum": ("occlusion_map", occlusion_sum, "give it their mean"),
    "of a square": ("occlusion_map", lambda image, probability, size, fill: occlusion(
        image, probability, size, fill, divide=False), "fewer at the border"),
    "sign": ("occlusion_map", lambda image, probability, size, fill: -occlusion(
        image, probability, size, fill), "the sign of fallen is wrong"),
    "fill forgotten": ("occlusion_map", lambda image, probability, size, fill: occlusion(
        image, probability, size, 0.0), "the result for fill=0.0"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_answers_get_their_cause_named(mistake):
    name, function, said = WRONG[mistake]
    with pytest.raises(NotYet) as caught:
        check(name, function)
    assert said in caught.value.result.cause


def test_the_network_of_a_failed_case_is_python_that_makes_it():
    weights = np.array([[[1.0, -2.0], [3.0, 4.0]]])
    images = np.random.default_rng(0).normal(size=(3, 1, 2, 2))
    again = eval(repr(Score(weights)), {"np": np})
    np.testing.assert_array_equal(again(images), [(image * weights).sum() for image in images])
