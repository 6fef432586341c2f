"""Exercises about training: a step of SGD, the cosine schedule, confusion matrix, occlusion map."""

from typing import Any

from numpy_shufflenet._typing import Array
from numpy_shufflenet.exercises.draw import DrawForStudents
from numpy_shufflenet.exercises.exercise import Case, Exercise
from numpy_shufflenet.nn.layer import Layer, Parameter
from numpy_shufflenet.plots.insight import occlusion_map
from numpy_shufflenet.training import SGD, confusion_matrix, cosine_schedule


class OneTensor(Layer):
    """A model that has a single parameter p, with the gradient g, for the optimiser."""

    def __init__(self, p: Array, g: Array):
        super().__init__()
        self.p = Parameter(p.copy())
        self.p.accumulate(g)


class Score:
    """A function in place of a network: it returns the weighted sum of all pixels.

    `repr` returns Python code that makes the function, so that a student can run a failed case.
    """

    def __init__(self, weights: Array):
        self.weights = weights  # c h w

    def __call__(self, images: Array) -> Array:
        """Return the score of each image: (n, c, h, w) -> (n,)."""
        return (images * self.weights).sum(axis=(1, 2, 3))

    def __repr__(self) -> str:
        return f"lambda images: (images * np.array({self.weights.tolist()})).sum(axis=(1, 2, 3))"


def sgd_step(case: Case) -> tuple[Any, ...]:
    """Return p and v after one step."""
    arrays, settings = case
    model = OneTensor(arrays["p"], arrays["g"])
    optimiser = SGD(model, **settings)
    optimiser.load_state_dict({**optimiser.state_dict(), "velocity": {"p": arrays["v"]}})
    optimiser.step()
    return model.p.value, optimiser.state_dict()["velocity"]["p"]


def _sgd_case(draw: DrawForStudents) -> Case:
    shape = tuple(draw.integer(1, 3) for _ in range(draw.integer(1, 2)))
    settings = {
        "learning_rate": draw.choose(0.1, 0.5),
        "momentum": draw.choose(0.5, 0.9),
        "nesterov": draw.option("nesterov", False, lambda: draw.choose(False, True)),
        "weight_decay": draw.option("weight_decay", 0.0, lambda: draw.choose(0.0, 0.1)),
    }
    return {name: draw(*shape) for name in "pgv"}, settings


def _cosine_case(draw: DrawForStudents) -> Case:
    steps = draw.integer(1, 12)
    settings = {
        "step": draw.integer(0, steps),
        "peak": draw.choose(1.0, 0.3),
        "steps": steps,
        "warmup": draw.option("warmup", 0, lambda: draw.integer(0, steps - 1)),
    }
    return {}, settings


def _cosine(step: int, **settings: Any) -> tuple[Any, ...]:
    return (cosine_schedule(**settings)(step),)


def _confusion_case(draw: DrawForStudents) -> Case:
    n, classes = draw.integer(1, 8), draw.integer(1, 4)
    arrays = {name: draw.rng.integers(0, classes, n) for name in ("labels", "predictions")}
    return arrays, {"classes": classes}


def _occlusion_case(draw: DrawForStudents) -> Case:
    c, h, w = draw.integer(1, 2), draw.integer(1, 4), draw.integer(1, 4)
    settings = {
        "probability": Score(draw(c, h, w)),
        "size": draw.integer(1, min(h, w)),
        "fill": draw.option("fill", 0.0, lambda: draw.choose(0.0, 0.5)),
    }
    return {"image": draw(c, h, w)}, settings


LEARNING: dict[str, Exercise] = {
    exercise.name: exercise
    for exercise in (
        Exercise(
            "sgd_step",
            ("p", "g", "v", "learning_rate", "momentum", "nesterov", "weight_decay"),
            frozenset({"p", "g", "v", "learning_rate", "momentum"}),
            ("p", "v"),
            sgd_step,
            _sgd_case,
        ),
        Exercise(
            "cosine_schedule",
            ("step", "peak", "steps", "warmup"),
            frozenset({"step", "peak", "steps"}),
            ("rate",),
            lambda case: _cosine(**case[1]),
            _cosine_case,
        ),
        Exercise(
            "confusion_matrix",
            ("labels", "predictions", "classes"),
            frozenset({"labels", "predictions", "classes"}),
            ("confusion",),
            lambda case: (confusion_matrix(**case[0], **case[1]),),
            _confusion_case,
        ),
        Exercise(
            "occlusion_map",
            ("image", "probability", "size", "fill"),
            frozenset({"image", "probability", "size"}),
            ("fallen",),
            lambda case: (occlusion_map(**case[0], **case[1]),),
            _occlusion_case,
        ),
    )
}
