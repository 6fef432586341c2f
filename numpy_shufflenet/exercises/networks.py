"""Exercises about networks: the backward of the units of ShuffleNet, and their multiply-adds."""

from numpy_shufflenet import operations
from numpy_shufflenet.exercises.draw import DrawForStudents
from numpy_shufflenet.exercises.exercise import Case, Exercise
from numpy_shufflenet.zoo.answers import networks


def _unit_case(draw: DrawForStudents, c: int, m: int, groups: int) -> Case:
    """Draw an image, and the weights of a branch from c to m to c channels."""
    p = {"w1": draw.small(m, c // groups, 1, 1), "w2": draw.small(m, 1, 3, 3)}
    p["w3"] = draw.small(c, m // groups, 1, 1)
    for number, size in ((1, m), (2, m), (3, c)):
        p |= {f"gamma{number}": draw.positive(size) / 4, f"beta{number}": draw.small(size)}
    channels = c if groups > 1 else 2 * c
    shape = draw.integer(1, 2, example=2), channels, draw.integer(2, 4, example=4), 3
    return {"dy": draw(*shape), "x": draw.spread(*shape) / 4}, {"p": p}


def _v1_case(draw: DrawForStudents) -> Case:
    groups = draw.integer(2, 3, example=2)
    m = groups * draw.integer(2, 3, example=3)
    arrays, settings = _unit_case(draw, 2 * m, m, groups)
    return arrays, {"p": {**settings["p"], "groups": groups}}


def _v2_case(draw: DrawForStudents) -> Case:
    half = draw.integer(2, 4, example=3)
    return _unit_case(draw, half, half, 1)


def _multiply_adds(c: int, o: int, k: int, g: int, oh: int, ow: int) -> int:
    shapes = {"x": (1, c, oh + k - 1, ow + k - 1), "w": (o, c // g, k, k)}
    return operations.find("conv2d").cost(shapes, {"groups": g}).forward.multiply_adds


def _unit_multiply_adds(c: int, m: int, g: int, h: int, w: int) -> int:
    pointwise = _multiply_adds(c, m, 1, g, h, w), _multiply_adds(m, c, 1, g, h, w)
    return sum(pointwise) + _multiply_adds(m, m, 3, m, h, w)


def _convolution_case(draw: DrawForStudents) -> Case:
    g = draw.integer(1, 4, example=3)
    c, o = g * draw.integer(1, 4, example=2), g * draw.integer(1, 4, example=4)
    pixels = {"oh": draw.integer(2, 7, example=5), "ow": draw.integer(2, 7, example=4)}
    return {}, {"c": c, "o": o, "k": draw.choose(3, 1, 5, 7), "g": g, **pixels}


def _unit_cost_case(draw: DrawForStudents) -> Case:
    g, quarter = draw.integer(1, 4, example=3), draw.integer(1, 5, example=2)
    pixels = {"h": draw.integer(2, 7, example=5), "w": draw.integer(2, 7, example=4)}
    m = g * quarter
    return {}, {"c": draw.integer(2, 4, example=4) * m, "m": m, "g": g, **pixels}


UNIT = ("dy", "x", "p")
NETWORKS: dict[str, Exercise] = {
    exercise.name: exercise
    for exercise in (
        Exercise(
            "v1_unit_backward",
            UNIT,
            frozenset(UNIT),
            ("dx",),
            lambda case: (networks.v1_unit_backward(*case[0].values(), **case[1]),),
            _v1_case,
            forward=networks.v1_unit,
        ),
        Exercise(
            "v2_unit_backward",
            UNIT,
            frozenset(UNIT),
            ("dx",),
            lambda case: (networks.v2_unit_backward(*case[0].values(), **case[1]),),
            _v2_case,
            forward=networks.v2_unit,
        ),
        Exercise(
            "conv2d_multiply_adds",
            ("c", "o", "k", "g", "oh", "ow"),
            frozenset({"c", "o", "k", "g", "oh", "ow"}),
            ("count",),
            lambda case: (_multiply_adds(**case[1]),),
            _convolution_case,
        ),
        Exercise(
            "v1_unit_multiply_adds",
            ("c", "m", "g", "h", "w"),
            frozenset({"c", "m", "g", "h", "w"}),
            ("count",),
            lambda case: (_unit_multiply_adds(**case[1]),),
            _unit_cost_case,
        ),
    )
}
