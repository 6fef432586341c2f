"""What the generators yield is true: an entry is the sum of its terms, and of what it reads."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import argument_names, cases, cotangent_like, hyperparameters, run, seeds

from numpy_shufflenet import steps
from numpy_shufflenet.operations import OPERATIONS, Example
from numpy_shufflenet.steps import Output, Step
from numpy_shufflenet.steps._driver import run_steps

names = pytest.mark.parametrize("name", OPERATIONS)


@names
@given(st.data(), seeds())
def test_steps_tell_what_they_do(name, data, seed):
    case = data.draw(cases(name, max_size=3))
    for entries, arrays in both_directions(name, case, seed):
        for step in entries:
            if isinstance(step, Output):
                continue
            assert step.value == sum(step.terms[1:], *step.terms[:1] or [0.0])
            for array, index in step.reads:
                assert len(index) == np.ndim(arrays[array])
                assert all(
                    0 <= i < size for i, size in zip(index, np.shape(arrays[array]), strict=True)
                )


@names
@given(st.data(), seeds())
def test_an_entry_depends_on_nothing_but_what_it_reads(name, data, seed):
    """All that one entry doesn't read is replaced by NaN, and the entry stays as it is."""
    case = data.draw(cases(name, max_size=3))
    y, _ = run(OPERATIONS[name], case, "steps")
    dy = cotangent_like(y, np.random.default_rng(seed))
    for direction in ("forward", "backward"):
        arrays = named_arrays(name, case, None if direction == "forward" else dy)
        entries = [s for s in generate(name, direction, arrays, case) if isinstance(s, Step)]
        number = data.draw(st.integers(0, len(entries) - 1))
        chosen = entries[number]
        poisoned = {key: with_nan_but_at(key, a, chosen.reads) for key, a in arrays.items()}
        with np.errstate(all="ignore"):
            again = [s for s in generate(name, direction, poisoned, case) if isinstance(s, Step)]
        assert again[number] == chosen


@names
@given(st.data())
def test_outputs_are_announced_before_the_first_step(name, data):
    operation = OPERATIONS[name]
    case = data.draw(cases(name, max_size=2))
    y, _ = run(operation, case, "steps")
    dy = cotangent_like(y, np.random.default_rng(0))
    arrays = named_arrays(name, case, dy)

    forward = list(generate(name, "forward", named_arrays(name, case), case))
    announced = list(itertools.takewhile(lambda s: isinstance(s, Output), forward))
    parts = {f"y[{i}]": part for i, part in enumerate(y)} if isinstance(y, tuple) else {"y": y}
    assert announced == [Output(key, part.shape) for key, part in parts.items()]
    assert all(isinstance(s, Step) for s in forward[len(announced) :])

    backward = list(generate(name, "backward", arrays, case))
    announced = list(itertools.takewhile(lambda s: isinstance(s, Output), backward))
    argument = dict(zip(argument_names(operation, case), case.arrays, strict=True))
    assert announced == [
        Output(f"d{key}", None if array is None else array.shape)
        for key, array in argument.items()
        if key.split("[")[0] in [d.lstrip("*") for d in operation.differentiable]
    ]
    assert all(isinstance(s, Step) for s in backward[len(announced) :])


def test_a_convolution_on_paper():
    """x = 1 2 3 in one row, the kernel 10 100, stride 2, one zero in front."""
    x, w = np.array([[[[1.0, 2.0, 3.0]]]]), np.array([[[[10.0, 100.0]]]])
    hyper = {"stride": 2, "padding": ((0, 0), (1, 0))}
    assert list(steps.conv2d_forward_steps(x, w, **hyper)) == [
        Output("y", (1, 1, 1, 2)),
        Step("y", (0, 0, 0, 0), [("x", (0, 0, 0, 0)), ("w", (0, 0, 0, 1))], [100.0], 100.0),
        Step(
            "y",
            (0, 0, 0, 1),
            [("x", (0, 0, 0, 1)), ("w", (0, 0, 0, 0)), ("x", (0, 0, 0, 2)), ("w", (0, 0, 0, 1))],
            [20.0, 300.0],
            320.0,
        ),
    ]
    dy = np.array([[[[1.0, 1000.0]]]])
    gradients = {
        (s.output, s.index): s.terms
        for s in steps.conv2d_backward_steps(dy, x, w, **hyper)
        if isinstance(s, Step)
    }
    assert gradients == {
        ("dx", (0, 0, 0, 0)): [100.0],
        ("dx", (0, 0, 0, 1)): [10000.0],
        ("dx", (0, 0, 0, 2)): [100000.0],
        ("dw", (0, 0, 0, 0)): [2000.0],
        ("dw", (0, 0, 0, 1)): [1.0, 3000.0],
    }


@names
def test_numbers_of_another_class_pass_through(name):
    """A class that has + - * / and > and counts them; the counters of costs stand on this."""
    operation = OPERATIONS[name]
    example = operation.example()
    y, cache = run(operation, example, "steps")
    dy = cotangent_like(y, np.random.default_rng(0))
    expected = operation.backward("steps")(dy, cache)

    counted = Example(tuple(counting(a) for a in example.arrays), example.hyperparameters)
    counted_y, counted_cache = run(operation, counted, "steps")
    assert_same_numbers(counted_y, y)
    counted_dy = tuple(counting(p) for p in dy) if isinstance(dy, tuple) else counting(dy)
    assert_same_numbers(operation.backward("steps")(counted_dy, counted_cache), expected)


def test_dropout_redraws_its_own_mask():
    x = np.ones((4, 5))
    rng, same_rng = np.random.default_rng(1), np.random.default_rng(1)
    y, cache = steps.dropout_forward(x, rate=0.5, rng=rng)
    same_rng.random(x.shape)
    assert rng.bit_generator.state == same_rng.bit_generator.state
    rng.random(100)  # what the caller draws in between doesn't matter
    for _ in range(2):
        np.testing.assert_array_equal(steps.dropout_backward(x, cache), y)
    assert 0 < (y == 0).sum() < y.size


def test_an_entry_that_is_written_twice_is_refused():
    step = Step("y", (1,), [], [1.0], 1.0)
    with pytest.raises(RuntimeError, match=r"y\[1\] is written twice"):
        run_steps([Output("y", (2,)), step, step], np.dtype(float))


def test_an_entry_that_is_never_written_is_refused():
    step = Step("y", (1,), [], [1.0], 1.0)
    with pytest.raises(RuntimeError, match=r"y\[0\] is never written"):
        run_steps([Output("y", (2,)), step], np.dtype(float))


def named_arrays(name, case, dy=None):
    """All arrays that a generator may read, by the names that it uses."""
    arrays = {}
    if isinstance(dy, tuple):
        arrays |= {f"dy[{i}]": part for i, part in enumerate(dy)}
    elif dy is not None:
        arrays["dy"] = dy
    arguments = zip(argument_names(OPERATIONS[name], case), case.arrays, strict=True)
    return arrays | {key: array for key, array in arguments if array is not None}


def generate(name, direction, arrays, case):
    """The generator over these named arrays."""
    inputs = [arrays.get(key) for key in argument_names(OPERATIONS[name], case)]
    if direction == "backward":
        parts = [array for key, array in arrays.items() if key.startswith("dy[")]
        inputs.insert(0, parts or arrays["dy"])
    return getattr(steps, f"{name}_{direction}_steps")(*inputs, **hyperparameters(case))


def both_directions(name, case, seed):
    """Forward and backward steps, each with the arrays that it may read."""
    y, _ = run(OPERATIONS[name], case, "steps")
    arrays = named_arrays(name, case)
    yield generate(name, "forward", arrays, case), arrays
    arrays = named_arrays(name, case, cotangent_like(y, np.random.default_rng(seed)))
    yield generate(name, "backward", arrays, case), arrays


def with_nan_but_at(key, array, reads):
    if np.ndim(array) == 0:
        return array if (key, ()) in reads else array.dtype.type(np.nan)
    if array.dtype.kind != "f":  # labels
        return array
    poisoned = np.full_like(array, np.nan)
    for read, index in reads:
        if read == key:
            poisoned[index] = array[index]
    return poisoned


class Counting:
    """A number that counts products."""

    products = 0

    def __init__(self, value):
        self.value = float(value)

    def __add__(self, other):
        return Counting(self.value + float(other))

    def __sub__(self, other):
        return Counting(self.value - float(other))

    def __rsub__(self, other):
        return Counting(float(other) - self.value)

    def __mul__(self, other):
        Counting.products += 1
        return Counting(self.value * float(other))

    def __truediv__(self, other):
        return Counting(self.value / float(other))

    def __rtruediv__(self, other):
        return Counting(float(other) / self.value)

    def __neg__(self):
        return Counting(-self.value)

    def __gt__(self, other):
        return self.value > float(other)

    def __lt__(self, other):
        return self.value < float(other)

    def __float__(self):
        return self.value

    def exp(self):
        return Counting(np.exp(self.value))

    def log(self):
        return Counting(np.log(self.value))

    def sqrt(self):
        return Counting(np.sqrt(self.value))

    __radd__, __rmul__ = __add__, __mul__


def counting(array):
    if np.ndim(array) and array.dtype.kind == "i":
        return array
    numbers = np.empty(np.shape(array), object)
    for index in np.ndindex(numbers.shape):
        numbers[index] = Counting(array[index])
    return numbers if numbers.shape else numbers[()]


def assert_same_numbers(got, expected):
    got = got if isinstance(got, tuple) else (got,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(a, dtype=float), b)
