"""Operations whose backward knows more arguments than were given, and names that don't fit."""

import numpy as np
import pytest

from numpy_shufflenet import operations, ops
from numpy_shufflenet.gradcheck import check, check_pair

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 5, 4))
CASES = {
    "conv2d": (X, RNG.normal(size=(3, 4, 3, 2))),
    "group_conv2d": (X, RNG.normal(size=(6, 2, 3, 2)), {"groups": 2}),
    "depthwise_conv2d": (X, RNG.normal(size=(4, 1, 3, 2))),
    "pointwise_conv2d": (X, RNG.normal(size=(3, 4, 1, 1))),
    "linear": (RNG.normal(size=(3, 4)), RNG.normal(size=(5, 4))),
}


@pytest.mark.parametrize("implementation", ["ops", "kernels"])
@pytest.mark.parametrize("name", CASES)
def test_an_optional_array_may_be_left_out_or_be_none(name, implementation):
    operation = operations.find(name)
    if implementation == "kernels" and not operation.kernel:
        implementation = "steps"
    x, w, *more = CASES[name]
    pair = operation.forward(implementation), operation.backward(implementation)
    for arrays in ((x, w), (x, w, None)):
        check_pair(*pair, *arrays, **dict(*more)).raise_if_failed()


def test_every_operation_with_an_optional_array_is_tried():
    optional = {name for name, o in operations.OPERATIONS.items() if "b" in o.arrays}
    assert {name for name in optional if not name.endswith("_relu")} == {*CASES}


def test_a_gradient_too_much_is_refused_unless_it_is_none():
    def backward(dy, cache):
        return *ops.conv2d_backward(dy, cache)[:2], np.zeros(3)

    x, w = CASES["conv2d"]
    verdict = check_pair(ops.conv2d_forward, backward, x, w)
    assert verdict.status == "fail"
    assert "3 gradients, but there are 2 arrays" in verdict.reason


@pytest.mark.parametrize("names", [["x"], ["x", "y", "z"], [], "xy"])
def test_names_that_do_not_fit_are_refused(names):
    with pytest.raises(ValueError, match="but there are 2 arrays; one each is needed"):
        check(np.multiply, lambda dy, a, b: (dy * b, dy * a), X, X + 1, names=names)
