"""Channel shuffle, unshuffle, split and concatenation: nothing is computed, all is in the order."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import cases, cotangent_like, images, seeds

from numpy_shufflenet import ops

equal = np.testing.assert_array_equal
rngs = seeds().map(np.random.default_rng)


def numbered(channels):
    """An image of one pixel whose channels hold their own numbers."""
    return np.arange(float(channels)).reshape(1, channels, 1, 1)


def order(forward, channels, groups):
    return forward(numbered(channels), groups)[0].ravel().astype(int).tolist()


def test_the_order_of_the_paper():
    """Figure 1 of ShuffleNet V1: the first of each group, then the second of each, ..."""
    assert order(ops.channel_shuffle_forward, 6, 2) == [0, 3, 1, 4, 2, 5]
    assert order(ops.channel_shuffle_forward, 12, 3) == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


@given(cases("channel_shuffle"))
def test_shuffle_is_the_formula(case):
    (x,), groups = case.arrays, case.hyperparameters["groups"]
    n = x.shape[1] // groups
    out, _ = ops.channel_shuffle_forward(x, groups)
    for i in range(groups):
        for j in range(n):
            equal(out[:, j * groups + i], x[:, i * n + j])


@given(cases("channel_unshuffle"))
def test_unshuffle_is_the_formula(case):
    (x,), groups = case.arrays, case.hyperparameters["groups"]
    n = x.shape[1] // groups
    out, _ = ops.channel_unshuffle_forward(x, groups)
    for i in range(groups):
        for j in range(n):
            equal(out[:, i * n + j], x[:, j * groups + i])


@given(cases("channel_shuffle"))
def test_shuffle_and_unshuffle_undo_each_other(case):
    (x,), groups = case.arrays, case.hyperparameters["groups"]
    shuffled, _ = ops.channel_shuffle_forward(x, groups)
    equal(ops.channel_unshuffle_forward(shuffled, groups)[0], x)
    unshuffled, _ = ops.channel_unshuffle_forward(x, groups)
    equal(ops.channel_shuffle_forward(unshuffled, groups)[0], x)


@given(cases("channel_shuffle"))
def test_the_inverse_is_a_shuffle_with_c_over_g_groups(case):
    (x,), groups = case.arrays, case.hyperparameters["groups"]
    other = x.shape[1] // groups
    shuffled, _ = ops.channel_shuffle_forward(x, groups)
    equal(ops.channel_shuffle_forward(shuffled, other)[0], x)
    equal(ops.channel_unshuffle_forward(x, groups)[0], ops.channel_shuffle_forward(x, other)[0])


@given(st.integers(2, 6), st.integers(2, 6))
def test_shuffle_does_not_undo_itself(groups, n):
    """Save for the square table: the mistake that 4 channels in 2 groups would hide."""
    assume(groups != n)
    x = numbered(groups * n)
    once, _ = ops.channel_shuffle_forward(x, groups)
    twice, _ = ops.channel_shuffle_forward(once, groups)
    assert (twice != x).any()


@pytest.mark.parametrize(("channels", "groups"), [(6, 1), (6, 6), (4, 2), (9, 3)])
def test_shuffle_undoes_itself_with_one_row_one_column_or_a_square(channels, groups):
    x = numbered(channels)
    once, _ = ops.channel_shuffle_forward(x, groups)
    equal(ops.channel_shuffle_forward(once, groups)[0], x)


@given(cases("channel_shuffle", np.float64), rngs)
def test_gradients_go_back_the_way_the_numbers_came(case, rng):
    (x,), groups = case.arrays, case.hyperparameters["groups"]
    for name, back in [("shuffle", "unshuffle"), ("unshuffle", "shuffle")]:
        y, cache = getattr(ops, f"channel_{name}_forward")(x, groups)
        dy = cotangent_like(y, rng)
        dx = getattr(ops, f"channel_{name}_backward")(dy, cache)
        equal(dx, getattr(ops, f"channel_{back}_forward")(dy, groups)[0])
        equal(getattr(ops, f"channel_{name}_backward")(y, cache), x)


@given(st.integers(2, 4), st.integers(1, 3))
def test_after_a_shuffle_each_group_holds_channels_of_every_group(groups, share):
    """The purpose of it, where groups divide evenly."""
    channels = groups * groups * share
    shuffled = np.array(order(ops.channel_shuffle_forward, channels, groups))
    came_from = shuffled // (channels // groups)
    for group in came_from.reshape(groups, -1):
        assert set(group) == set(range(groups))


@given(cases("channel_split", np.float64), rngs)
def test_split_is_slicing_and_concat_undoes_it(case, rng):
    (x,), sizes = case.arrays, case.hyperparameters["sizes"]
    parts, cache = ops.channel_split_forward(x, sizes)
    ends = np.cumsum(sizes)
    for part, size, end in zip(parts, sizes, ends, strict=True):
        equal(part, x[:, end - size : end])
    equal(ops.channel_concat_forward(*parts)[0], x)

    dparts = cotangent_like(parts, rng)
    equal(ops.channel_split_backward(dparts, cache), np.concatenate(dparts, axis=1))
    equal(ops.channel_split_backward(parts, cache), x)


@given(cases("channel_concat", np.float64), rngs)
def test_concat_is_concatenation_and_split_undoes_it(case, rng):
    y, cache = ops.channel_concat_forward(*case.arrays)
    equal(y, np.concatenate(case.arrays, axis=1))
    sizes = [array.shape[1] for array in case.arrays]
    for part, array in zip(ops.channel_split_forward(y, sizes)[0], case.arrays, strict=True):
        equal(part, array)

    dy = cotangent_like(y, rng)
    expected = np.split(dy, np.cumsum(sizes)[:-1], axis=1)
    for actual, dpart in zip(ops.channel_concat_backward(dy, cache), expected, strict=True):
        equal(actual, dpart)


@given(images(min_channels=2, divisible_by=2))
def test_shuffle_in_two_groups_interleaves_two_halves(x):
    """What V2 does after each unit."""
    half = x.shape[1] // 2
    (first, second), _ = ops.channel_split_forward(x, (half, half))
    y, _ = ops.channel_shuffle_forward(x, 2)
    equal(y[:, 0::2], first)
    equal(y[:, 1::2], second)
