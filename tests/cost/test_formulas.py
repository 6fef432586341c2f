"""The formulas are right: a counting run of the `steps` implementation finds the same, exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import argument_names, as_tuple, cases, cotangent_like, hyperparameters, run, seeds

from numpy_shufflenet.cost import counting
from numpy_shufflenet.operations import OPERATIONS
from numpy_shufflenet.registry import formula
from numpy_shufflenet.steps import Step, thrifty

names = pytest.mark.parametrize("name", OPERATIONS)


def shapes_of(operation, case):
    named = zip(argument_names(operation, case), case.arrays, strict=True)
    return {key: array.shape for key, array in named if array is not None}


@names
@given(st.data())
def test_counted_is_computed(name, data):
    operation = OPERATIONS[name]
    case = data.draw(cases(name, np.float64, max_size=4))
    cost = operation.cost(shapes_of(operation, case), case.hyperparameters)
    forward, backward = counting.count_operation(name, *case.arrays, **hyperparameters(case))
    assert cost.forward == forward
    assert cost.backward == backward


@names
@given(st.data())
def test_bytes_are_those_of_the_caches(name, data):
    operation = OPERATIONS[name]
    case = data.draw(cases(name))
    _, cache = run(operation, case)
    own = dict(zip(operation.arrays, case.arrays, strict=False))
    given_numbers = [own.get(key) for key in (*formula.PARAMETERS, "mean", "var")]
    held = {}
    for array in arrays_within(cache):
        if not any(a is not None and np.shares_memory(array, a) for a in given_numbers):
            held[owner(array, case.arrays)] = array
    itemsize = case.arrays[0].dtype.itemsize
    cost = operation.cost(shapes_of(operation, case), case.hyperparameters, itemsize=itemsize)
    # x may lie in memory with gaps, and group convolution holds it as several parts of one array
    sizes = [case.arrays[0].nbytes if key == "x" else array.nbytes for key, array in held.items()]
    assert cost.kept_bytes == sum(sizes)


@names
def test_parameters_are_those_that_are_learned(name):
    operation = OPERATIONS[name]
    case = operation.example()
    named = zip(argument_names(operation, case), case.arrays, strict=True)
    learned = [
        array.size
        for key, array in named
        if key in operation.differentiable and not key.startswith(("x", "arr", "logits"))
    ]
    cost = operation.cost(shapes_of(operation, case), case.hyperparameters)
    assert cost.parameters == sum(learned)


@pytest.mark.parametrize("name", thrifty.BACKWARDS)
@given(st.data(), seeds())
def test_the_twins_that_are_counted_compute_the_same(name, data, seed):
    operation = OPERATIONS[name]
    case = data.draw(cases(name, np.float64, max_size=3))
    y, cache = run(operation, case, "steps")
    dy = cotangent_like(y, np.random.default_rng(seed))
    expected = as_tuple(operation.backward("steps")(dy, cache))
    keep, backward = thrifty.BACKWARDS[name]
    kept = keep(*case.arrays, **case.hyperparameters)
    entries = {}
    for step in backward(kept, dy, *case.arrays, **case.hyperparameters):
        if isinstance(step, Step):
            assert step.value == sum(step.terms[1:], *step.terms[:1])
            entries[step.output][step.index] = step.value
        else:
            entries[step.name] = {}
    for array, found in zip(expected, entries.values(), strict=True):
        assert len(found) == array.size
        for index, value in found.items():
            np.testing.assert_allclose(value, array[index], rtol=1e-9, atol=1e-11)


def test_a_count_on_paper():
    """1 2 3 in one row, padded by one zero in front; a kernel of 2, stride 2: two outputs."""
    x, w = np.array([[[[1.0, 2.0, 3.0]]]]), np.array([[[[10.0, 100.0]]]])
    settings = {"stride": 2, "padding": ((0, 0), (1, 0))}
    cost = OPERATIONS["conv2d"].cost({"x": x.shape, "w": w.shape}, settings)
    assert cost.forward.multiply_adds == 4  # one of them with the zero
    assert cost.forward.additions == 2
    assert cost.forward.read == 3 + 2
    assert cost.forward.written == 2
    assert cost.forward.memory_access == 7
    assert cost.backward.multiply_adds == 8
    assert cost.kept_bytes == 12


def test_the_formulas_of_1x1_convolutions_are_those_of_the_paper():
    """V2, section 2: B = h w c1 c2 / g, MAC = h w (c1 + c2) + c1 c2 / g."""
    h, w, c1, c2, g = 7, 5, 12, 18, 3
    shapes = {"x": (1, c1, h, w), "w": (c2, c1 // g, 1, 1)}
    forward = OPERATIONS["pointwise_conv2d"].cost(shapes, {"groups": g}).forward
    assert forward.multiply_adds == h * w * c1 * c2 // g
    assert forward.memory_access == h * w * (c1 + c2) + c1 * c2 // g


def test_the_text_shown_is_the_text_evaluated():
    text = str(OPERATIONS["linear"].formula)
    assert "forward   multiply-adds    n*o*i" in text
    assert formula.value_of("n*o*i", {"n": 2, "o": 3, "i": 5}) == 30


def arrays_within(cache):
    """Every array in a cache of nested tuples."""
    if isinstance(cache, np.ndarray):
        yield cache
    elif isinstance(cache, tuple):
        for part in cache:
            yield from arrays_within(part)


def owner(array, given):
    """What identifies an array's memory: one name for x, else its own place."""
    first = given[0]
    if np.shares_memory(array, first):
        return "x"
    return array.__array_interface__["data"][0]
