"""The table of operations tells the truth: nothing is missing, and every column is checked."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    argument_names,
    as_tuple,
    cases,
    cotangent_like,
    hyperparameters,
    run,
    seeds,
)

from numpy_shufflenet import kernels, ops, steps
from numpy_shufflenet.operations import OPERATIONS, Example, find

names = pytest.mark.parametrize("name", OPERATIONS)


def test_every_forward_is_in_the_table():
    listed = {f"{name}_forward" for name in OPERATIONS}
    assert listed == {name for name in ops.__all__ if name.endswith("_forward")}
    assert listed == {name for name in steps.__all__ if name.endswith("_forward")}
    compiled = {f"{name}_forward" for name, operation in OPERATIONS.items() if operation.kernel}
    assert compiled == {name for name in kernels.__all__ if name.endswith("_forward")}


@pytest.mark.parametrize("implementation", [ops, steps, kernels])
def test_every_forward_of_a_file_is_public(implementation):
    for module in pkgutil.iter_modules(implementation.__path__):
        contents = vars(importlib.import_module(f"{implementation.__name__}.{module.name}"))
        for name, value in contents.items():
            if name.endswith(("_forward", "_backward")) and not name.startswith("_"):
                assert getattr(implementation, name, None) is value
                assert name in implementation.__all__


@names
def test_every_operation_has_its_functions_on_its_implementations(name):
    for direction in ("forward", "backward"):
        assert inspect.isgeneratorfunction(getattr(steps, f"{name}_{direction}_steps"))
        for implementation in OPERATIONS[name].implementations:
            function = getattr(OPERATIONS[name], direction)(implementation)
            assert function.__name__ == f"{name}_{direction}"
            assert function.__module__.startswith(f"numpy_shufflenet.{implementation}.")


@names
def test_arrays_are_those_of_the_signature(name):
    operation = OPERATIONS[name]
    parameters = inspect.signature(operation.forward()).parameters
    prefix = {inspect.Parameter.VAR_POSITIONAL: "*"}
    positional = tuple(prefix.get(p.kind, "") + key for key, p in parameters.items())
    assert positional[: len(operation.arrays)] == operation.arrays
    assert set(positional[len(operation.arrays) :]) >= set(operation.example().hyperparameters)
    assert set(operation.linear_in) <= set(operation.differentiable) <= set(operation.arrays)

    def without_types(function):
        return [
            (p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()
        ]

    if operation.kernel:
        kernel = without_types(operation.forward("kernels"))
        assert kernel == without_types(operation.forward())
    twin = without_types(getattr(steps, f"{name}_forward_steps"))
    assert twin == without_types(operation.forward())
    # backward takes dy, and then what forward took
    assert without_types(getattr(steps, f"{name}_backward_steps"))[1:] == twin


@names
@given(st.data())
def test_one_gradient_for_each_differentiable_array(name, data):
    operation = OPERATIONS[name]
    case = data.draw(cases(name))
    y, cache = run(operation, case)
    gradients = operation.backward()(cotangent_like(y, np.random.default_rng(0)), cache)
    several = len(operation.differentiable) > 1 or operation.differentiable[0].startswith("*")
    assert isinstance(gradients, tuple) == several
    expected = [case.arrays[i] for i in differentiable_positions(operation, case)]
    for gradient, array in zip(as_tuple(gradients), expected, strict=True):
        assert (gradient is None) == (array is None)
        if array is not None:
            assert gradient.shape == array.shape


@names
@given(st.data(), seeds())
def test_linear_in_is_linear(name, data, seed):
    """f(2u + 3v) = 2 f(u) + 3 f(v), without a bias, the other arrays held."""
    operation = OPERATIONS[name]
    for argument in operation.linear_in:
        case = without_bias(operation, data.draw(cases(name, np.float64)))
        for i in positions(operation, case, argument):
            left, right = both_sides_of_linearity(operation, case, i, seed)
            for a, b in zip(left, right, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-11)


@names
def test_what_is_not_in_linear_in_is_not_linear(name):
    operation = OPERATIONS[name]
    case = operation.example()
    for argument in set(operation.arrays) - set(operation.linear_in) - {"labels"}:
        for i in positions(operation, case, argument):
            left, right = both_sides_of_linearity(operation, case, i, seed=1)
            apart = [np.abs(a - b).max() for a, b in zip(left, right, strict=True)]
            assert max(apart) > 1e-3, argument


@pytest.mark.parametrize("name", [n for n, operation in OPERATIONS.items() if operation.linear_in])
@given(st.data(), seeds())
def test_backward_is_the_adjoint_of_what_is_linear(name, data, seed):
    """<A u, dy> = <u, A^T dy>, for each array in which the operation is linear."""
    operation = OPERATIONS[name]
    case = without_bias(operation, data.draw(cases(name, np.float64)))
    rng = np.random.default_rng(seed)
    for implementation in operation.implementations:
        y, cache = run(operation, case, implementation)
        dy = cotangent_like(y, rng)
        gradients = as_tuple(operation.backward(implementation)(dy, cache))
        left = sum(np.vdot(a, b) for a, b in zip(as_tuple(y), as_tuple(dy), strict=True))
        size = sum(np.vdot(abs(a), abs(b)) for a, b in zip(as_tuple(y), as_tuple(dy), strict=True))
        by_position = dict(zip(differentiable_positions(operation, case), gradients, strict=True))
        linear = [positions(operation, case, argument) for argument in operation.linear_in]
        # all arrays of a concatenation together, but x and w of a convolution each by itself
        for together in linear:
            right = sum(np.vdot(case.arrays[i], by_position[i]) for i in together)
            atol = 1e-13 * (size + sum(absolute(case.arrays[i], by_position[i]) for i in together))
            np.testing.assert_allclose(right, left, rtol=0, atol=atol)


def test_examples_are_the_same_for_the_same_seed():
    for operation in OPERATIONS.values():
        first, again, other = operation.example(3), operation.example(3), operation.example(4)
        for a, b in zip(first.arrays, again.arrays, strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(first.arrays[0], other.arrays[0])
        assert operation.example(dtype=np.float32).arrays[0].dtype == np.float32


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no operation 'conv3d'; there are add, .*, linear"):
        find("conv3d")
    assert find("conv2d") is OPERATIONS["conv2d"]


def test_an_unknown_floor_lists_the_known_ones():
    with pytest.raises(ValueError, match="implementation='cuda' is not one of ops, steps, kernels"):
        find("conv2d").forward("cuda")
    with pytest.raises(ValueError, match=r"implementation='kernels' is not one of ops, steps$"):
        find("sigmoid").forward("kernels")


def positions(operation, case, argument):
    """Where the arrays of this argument stand: several for one that repeats."""
    wanted = argument.lstrip("*")
    arguments = argument_names(operation, case)
    return [i for i, key in enumerate(arguments) if key.split("[")[0] == wanted]


def differentiable_positions(operation, case):
    return [i for a in operation.differentiable for i in positions(operation, case, a)]


def without_bias(operation, case):
    """The case with b = None, if it has one: convolutions and the linear layer."""
    arrays = (*case.arrays[:-1], None) if operation.arrays[-1] == "b" else case.arrays
    return Example(arrays, case.hyperparameters)


def both_sides_of_linearity(operation, case, i, seed):
    u = case.arrays[i]
    v = np.random.default_rng(seed).uniform(0.5, 1.5, size=u.shape)  # also fits a variance

    def f(array):
        arrays = [*case.arrays[:i], array, *case.arrays[i + 1 :]]
        return as_tuple(operation.forward()(*arrays, **hyperparameters(case))[0])

    # What the other arrays of a concatenation add stays, so the weights must sum to 1.
    p, q = (2, -1) if operation.arrays[0].startswith("*") else (2, 3)
    return f(p * u + q * v), [p * a + q * b for a, b in zip(f(u), f(v), strict=True)]


def absolute(a, b):
    return np.vdot(np.abs(a), np.abs(b))
