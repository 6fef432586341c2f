"""What every operation promises, whatever it computes: purity, dtypes, layouts, clear refusals."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    LAYOUTS,
    argument_names,
    arrange,
    as_tuple,
    cases,
    cotangent_like,
    hyperparameters,
    run,
    seeds,
)

from numpy_shufflenet.operations import OPERATIONS, Example

# What "array of any shape" in a docstring promises is tested here, too.
ANY_RANK = (
    "add_relu",  # documented as add, then ReLU
    *(name for name in OPERATIONS if "any shape" in OPERATIONS[name].forward().__doc__),
)
NO_MEAN_OF_NOTHING = (
    *("batch_norm", "batch_norm_relu", "sync_batch_norm"),
    "softmax_cross_entropy",
)
IMAGE_BY_IMAGE = tuple(name for name in OPERATIONS if name not in (*NO_MEAN_OF_NOTHING, *ANY_RANK))

names = pytest.mark.parametrize("name", OPERATIONS)
EVERYWHERE = [
    (name, implementation)
    for name in OPERATIONS
    for implementation in OPERATIONS[name].implementations
]


@pytest.mark.parametrize(("name", "implementation"), EVERYWHERE)
@given(st.data(), seeds())
def test_inputs_stay_bit_identical_and_the_dtype_is_kept(name, implementation, data, seed):
    operation, case = OPERATIONS[name], data.draw(cases(name))
    before = bits(case.arrays)
    y, cache = run(operation, case, implementation)
    assert bits(case.arrays) == before
    dy = cotangent_like(y, np.random.default_rng(seed))
    dy_before, y_before = bits(as_tuple(dy)), bits(as_tuple(y))
    gradients = operation.backward(implementation)(dy, cache)
    assert bits(case.arrays) == before
    assert bits(as_tuple(dy)) == dy_before
    assert bits(as_tuple(y)) == y_before
    for array in (*as_tuple(y), *as_tuple(gradients)):
        assert array is None or array.dtype == case.arrays[0].dtype


@names
@given(st.data(), st.sampled_from(LAYOUTS), seeds())
def test_any_layout_gives_the_same(name, data, layout, seed):
    operation, case = OPERATIONS[name], data.draw(cases(name, np.float64))
    arrays = tuple(a if a is None else np.ascontiguousarray(a) for a in case.arrays)
    y, cache = run(operation, case)
    plain_y, plain_cache = run(operation, Example(arrays, case.hyperparameters))
    assert_close(y, plain_y)
    dy = cotangent_like(y, np.random.default_rng(seed))
    if isinstance(dy, tuple):
        laid_out = tuple(arrange(part, layout) for part in dy)
    else:
        laid_out = arrange(dy, layout) if np.ndim(dy) else dy
    backward = operation.backward()
    assert_close(backward(laid_out, cache), backward(dy, plain_cache))


@names
@given(st.data(), seeds())
def test_backward_can_be_called_again_and_results_are_unchanged_by_later_calls(name, data, seed):
    operation, case = OPERATIONS[name], data.draw(cases(name))
    rng = np.random.default_rng(seed)
    y, cache = run(operation, case)
    dy = cotangent_like(y, rng)
    gradients, again = (operation.backward()(dy, cache) for _ in range(2))
    assert bits(as_tuple(gradients)) == bits(as_tuple(again))
    before = bits((*as_tuple(y), *as_tuple(gradients)))
    others = tuple(with_other_values(a, rng) for a in case.arrays)
    other_y, other_cache = run(operation, Example(others, case.hyperparameters))
    operation.backward()(cotangent_like(other_y, rng), other_cache)
    operation.backward()(cotangent_like(y, rng), cache)
    assert bits((*as_tuple(y), *as_tuple(gradients))) == before


@names
@given(st.data(), seeds())
def test_results_share_no_memory_with_inputs(name, data, seed):
    """But for those that say so: split's views, as in concat's backward, and the same dy twice."""
    operation, case = OPERATIONS[name], data.draw(cases(name))
    y, cache = run(operation, case)
    dy = cotangent_like(y, np.random.default_rng(seed))
    gradients = [g for g in as_tuple(operation.backward()(dy, cache)) if g is not None]
    inputs = [array for array in case.arrays if array is not None]
    if name != "channel_split":
        assert not any(np.shares_memory(a, b) for a in as_tuple(y) for b in inputs)
    if name not in ("channel_concat", "add"):
        assert not any(np.shares_memory(a, b) for a in gradients for b in as_tuple(dy))
    if name not in ("add", "add_relu"):
        for i, gradient in enumerate(gradients):
            assert not any(np.shares_memory(gradient, other) for other in gradients[:i])
    assert not any(np.shares_memory(a, b) for a in gradients for b in inputs)


@pytest.mark.parametrize(("name", "implementation"), EVERYWHERE)
def test_a_dy_of_the_wrong_shape_is_refused(name, implementation):
    operation = OPERATIONS[name]
    y, cache = run(operation, operation.example(), implementation)
    dy = cotangent_like(y, np.random.default_rng(0))
    if isinstance(dy, tuple):
        wrong = [dy[:-1], (*dy, dy[0])]
        wrong += [(wrong_part, *dy[1:]) for wrong_part in wrong_shapes(dy[0])]
    else:
        wrong = wrong_shapes(dy)
    for candidate in wrong:
        with pytest.raises(ValueError, match=r"dy has (shape \(|\d parts)"):
            operation.backward(implementation)(candidate, cache)


@pytest.mark.parametrize(
    ("name", "implementation"), [pair for pair in EVERYWHERE if pair[0] != "softmax_cross_entropy"]
)
def test_a_dy_of_the_wrong_dtype_is_refused(name, implementation):
    operation = OPERATIONS[name]
    y, cache = run(operation, operation.example(), implementation)
    dy = cotangent_like(y, np.random.default_rng(0))
    for dtype in (np.float32, np.int64):
        candidate = (dy[0].astype(dtype), *dy[1:]) if isinstance(dy, tuple) else dy.astype(dtype)
        with pytest.raises(ValueError, match=f"dy has dtype {np.dtype(dtype)}"):
            operation.backward(implementation)(candidate, cache)


@names
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float16, object, bool])
def test_other_dtypes_are_refused_by_name(name, dtype):
    operation, case = OPERATIONS[name], OPERATIONS[name].example()
    for i, argument in floating_arguments(operation, case):
        arrays = replaced(case, i, np.ones(case.arrays[i].shape, dtype))
        with pytest.raises(ValueError, match=f"{quoted(argument)} has dtype {np.dtype(dtype)}"):
            operation.forward()(*arrays, **hyperparameters(case))


@names
def test_lists_are_refused_by_name(name):
    operation, case = OPERATIONS[name], OPERATIONS[name].example()
    for i, argument in floating_arguments(operation, case):
        arrays = replaced(case, i, case.arrays[i].tolist())
        with pytest.raises(ValueError, match=f"{quoted(argument)} is a list"):
            operation.forward()(*arrays, **hyperparameters(case))


@names
def test_mixed_dtypes_are_refused_by_name(name):
    operation, case = OPERATIONS[name], OPERATIONS[name].example()
    for i, argument in floating_arguments(operation, case)[1:]:
        arrays = replaced(case, i, case.arrays[i].astype(np.float32))
        with pytest.raises(ValueError, match=f"{quoted(argument)} has dtype float32, but "):
            operation.forward()(*arrays, **hyperparameters(case))


@pytest.mark.parametrize("name", [n for n in OPERATIONS if n not in ANY_RANK])
def test_a_wrong_rank_is_refused_with_the_shape(name):
    operation, case = OPERATIONS[name], OPERATIONS[name].example()
    for i, argument in enumerate(argument_names(operation, case)):
        array = case.arrays[i]
        for wrong in (array[None], array[0]):
            message = f"{quoted(argument)} has shape {quoted(str(np.shape(wrong)))}"
            if np.ndim(wrong) == 0:
                wrong = np.asarray(wrong)
            with pytest.raises(ValueError, match=message):
                operation.forward()(*replaced(case, i, wrong), **hyperparameters(case))


@pytest.mark.parametrize("name", IMAGE_BY_IMAGE)
@given(st.data(), seeds())
def test_a_batch_of_one_gives_its_part_of_the_batch(name, data, seed):
    operation, case = OPERATIONS[name], data.draw(cases(name, np.float64))
    batched = batched_positions(name, case)
    y, cache = run(operation, case)
    dy = cotangent_like(y, np.random.default_rng(seed))
    gradients = as_tuple(operation.backward()(dy, cache))
    for n in range(len(case.arrays[0])):
        arrays = tuple(a[n : n + 1] if i in batched else a for i, a in enumerate(case.arrays))
        one_y, one_cache = run(operation, Example(arrays, case.hyperparameters))
        assert_close(one_y, images_of(y, n))
        one = as_tuple(operation.backward()(images_of(dy, n), one_cache))
        for i in batched:
            assert_close(one[i], gradients[i][n : n + 1])


@pytest.mark.parametrize(
    ("name", "implementation"), [pair for pair in EVERYWHERE if pair[0] not in NO_MEAN_OF_NOTHING]
)
def test_an_empty_batch_works(name, implementation):
    operation, case = OPERATIONS[name], OPERATIONS[name].example()
    full_y, _ = run(operation, case, implementation)
    arrays = tuple(
        a[:0] if i in batched_positions(name, case) else a for i, a in enumerate(case.arrays)
    )
    y, cache = run(operation, Example(arrays, case.hyperparameters), implementation)
    for part, full in zip(as_tuple(y), as_tuple(full_y), strict=True):
        assert part.shape == (0, *full.shape[1:])
    gradients = as_tuple(operation.backward(implementation)(y, cache))
    for gradient, array in zip(gradients, arrays, strict=False):  # mean and var have no gradient
        assert gradient.shape == array.shape
        assert not gradient.any()


@pytest.mark.parametrize("name", NO_MEAN_OF_NOTHING)
def test_an_empty_batch_is_refused_where_there_is_a_mean(name):
    operation, case = OPERATIONS[name], OPERATIONS[name].example()
    x, *rest = case.arrays
    if name == "softmax_cross_entropy":
        rest = [rest[0][:0]]
    with pytest.raises(ValueError, match=r"has shape \(0, .*(no mean|at least 1)"):
        operation.forward()(x[:0], *rest, **case.hyperparameters)


def bits(arrays):
    return [None if a is None else (np.shape(a), np.asarray(a).tobytes()) for a in arrays]


def assert_close(got, expected):
    for a, b in zip(as_tuple(got), as_tuple(expected), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def with_other_values(array, rng):
    if array is None or array.dtype.kind == "i":
        return copy.copy(array)
    return rng.uniform(0.5, 1.5, size=array.shape).astype(array.dtype)


def wrong_shapes(dy):
    """Among them shapes that would broadcast, and one with as many entries."""
    if np.ndim(dy) == 0:
        return [np.ones(1), np.ones((2, 1))]
    return [
        dy[None],
        dy[0],
        dy[:1],
        np.concatenate([dy, dy[:1]]),
        dy[..., :1],
        dy.ravel(),
        np.ones(()),
    ]


def floating_arguments(operation, case):
    """Position and name of each array but labels."""
    named = enumerate(argument_names(operation, case))
    return [(i, key) for i, key in named if key != "labels"]


def replaced(case, i, array):
    return (*case.arrays[:i], array, *case.arrays[i + 1 :])


def quoted(text):
    """For use in a regular expression; names stand at the start of a word."""
    for character in "[]()":
        text = text.replace(character, "\\" + character)
    return rf"(^|\b){text}" if text[0].isalpha() else text


def batched_positions(name, case):
    """The arrays whose first axis is the batch."""
    all_of_them = OPERATIONS[name].arrays[0].startswith("*") or name in ("add", "add_relu")
    return range(len(case.arrays)) if all_of_them else (0,)


def images_of(y, n):
    return tuple(part[n : n + 1] for part in y) if isinstance(y, tuple) else y[n : n + 1]
