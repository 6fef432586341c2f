import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_shufflenet.training import Schedule, cosine_schedule, linear_schedule

SCHEDULES = (linear_schedule, cosine_schedule)


def test_linear_falls_by_the_same_amount():
    schedule = linear_schedule(0.5, 5)
    assert [schedule(step) for step in range(7)] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0, 0])


def test_cosine_falls_along_a_cosine():
    schedule = cosine_schedule(0.8, 4)
    half = math.sqrt(0.5)
    expected = [0.8, 0.4 * (1 + half), 0.4, 0.4 * (1 - half), 0, 0]
    assert [schedule(step) for step in range(6)] == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("make", SCHEDULES)
def test_warm_up_rises_to_the_peak_and_the_rest_is_the_same_curve(make):
    schedule, plain = make(0.6, 13, warmup=3), make(0.6, 10)
    assert [schedule(step) for step in range(3)] == pytest.approx([0.2, 0.4, 0.6])
    assert [schedule(step) for step in range(3, 14)] == [plain(step) for step in range(11)]


@given(st.sampled_from(SCHEDULES), st.integers(1, 1000), st.data())
def test_it_never_leaves_its_range_and_only_falls_after_the_warm_up(make, steps, data):
    warmup = data.draw(st.integers(0, steps - 1))
    schedule = make(2.0, steps, warmup)
    rates = [schedule(step) for step in range(steps + 3)]
    assert all(0 < rate <= 2 for rate in rates[:steps])
    assert rates[steps:] == [0, 0, 0]
    assert rates[warmup] == 2
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])


@pytest.mark.parametrize("make", SCHEDULES)
def test_it_can_be_made_again_from_plain_data(make):
    schedule = make(0.3, 40, 5)
    assert Schedule(**schedule.to_dict()) == schedule


def test_it_describes_itself():
    assert linear_schedule(0.5, 300).describe() == "falls from 0.5 linearly to 0 at step 300"
    assert (
        cosine_schedule(0.1, 50, 5).describe()
        == "rises to 0.1 in 5 steps, then falls along a cosine to 0 at step 50"
    )


@pytest.mark.parametrize("make", SCHEDULES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 10), "peak=0.0 is not a number above 0"),
        ((math.nan, 10), "peak=nan is not"),
        ((math.inf, 10), "peak=inf is not"),
        ((0.1, 0), "steps=0 is not a whole number of at least 1"),
        ((0.1, 2.5), "steps=2.5 is not"),
        ((0.1, 10, 10), "warmup=10 is not a whole number from 0 to below steps=10"),
        ((0.1, 10, -1), "warmup=-1 is not"),
    ],
)
def test_bad_arguments_are_named(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(*arguments)


def test_a_bad_shape_or_step_is_named():
    with pytest.raises(ValueError, match="shape='stairs' is not one of linear, cosine"):
        Schedule("stairs", 0.1, 10)
    for step in (-1, 0.5):
        with pytest.raises(ValueError, match=f"step={step} is not a whole number of at least 0"):
            linear_schedule(0.1, 10)(step)
