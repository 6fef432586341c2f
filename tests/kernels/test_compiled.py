"""Every compiled function of the package is found, runs as plain Python, and gives the same there.

Operations run with each compiled function replaced by its `py_func`, so that all code is plain
Python down to single vector instructions. Calls are recorded: arguments before, arguments after,
result. Then the compiled function gets the same arguments, and must give the same.
"""

import ast
import contextlib
import copy
import importlib
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import cases, cotangent_like, run

import numpy_shufflenet
from numpy_shufflenet import _threads, backend, nn
from numpy_shufflenet.engine import TrainingProgram
from numpy_shufflenet.engine.instruction import INSTRUCTIONS
from numpy_shufflenet.kernels import _barrier, _slide, _tiles, sgd
from numpy_shufflenet.kernels._gather import gather_of
from numpy_shufflenet.operations import OPERATIONS
from numpy_shufflenet.plan import InferencePlan

PACKAGE = Path(numpy_shufflenet.__file__).parent
KEPT = 2  # calls of each function that are surely recorded; of later ones, some
COMPILERS = {
    "numba",
    "numpy_shufflenet.engine.instruction",
    "numpy_shufflenet.kernels._compile",
}


def compiled_functions():
    """Return every compiled function of the package by its full name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        imported = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
        if imported & COMPILERS:
            name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            for key, value in vars(importlib.import_module(name)).items():
                if hasattr(value, "py_func") and value.py_func.__module__ == name:
                    found[f"{name}.{key}"] = value
    return found


FUNCTIONS = compiled_functions()


class Call(NamedTuple):
    """A call of a compiled function that ran as plain Python."""

    name: str
    before: Any  # its arguments, and what it reaches by addresses
    after: Any
    result: Any
    reached: list[Any]  # the memory at those addresses


def reached_by(function, arguments):
    """Return the arrays that a function reads and writes by their addresses."""
    if function is not sgd.update_chunks:
        return []
    _, _, chunks, decays, *_ = arguments
    return [
        sgd.numbers_at(address, count, decays)
        for *addresses, count, _ in chunks.tolist()
        for address in addresses
    ]


@contextlib.contextmanager
def as_plain_python(seed):
    """Run every compiled function as plain Python in this block; yield the calls."""
    calls, count, rng = [], Counter(), random.Random(seed)
    assert all(kind.address for kind in INSTRUCTIONS.values())  # all are compiled now

    def recorder(name, function):
        def call(*arguments):
            count[name] += 1
            if count[name] > KEPT and rng.random() * count[name] > KEPT:
                return function.py_func(*arguments)
            reached = reached_by(function, arguments)
            before = copy.deepcopy((arguments, reached))
            result = function.py_func(*arguments)
            after = copy.deepcopy((arguments, reached))
            calls.append(Call(name, before, after, result, reached))
            return result

        return call

    with contextlib.ExitStack() as stack:
        stack.enter_context(np.errstate(all="ignore"))
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        plain = {
            id(function): recorder(*item) for item in FUNCTIONS.items() for function in item[1:]
        }
        for module in [m for name, m in sys.modules.items() if name.startswith("numpy_shufflenet")]:
            for key, value in list(vars(module).items()):
                if id(value) in plain:
                    monkeypatch.setattr(module, key, plain[id(value)])
        for kind in INSTRUCTIONS.values():
            monkeypatch.setattr(kind, "run", plain[id(kind.run)])
        # Memory of any content would differ between two runs.
        monkeypatch.setattr(np, "empty", np.zeros)
        monkeypatch.setattr(np, "empty_like", np.zeros_like)
        monkeypatch.setattr(_threads, "_num_threads", 1)
        yield calls


def assert_compiled_agree(calls):
    """Run the compiled functions on what the plain ones were given, and compare."""
    for call in calls:
        arguments, before = copy.deepcopy(call.before)
        for memory, content in zip(call.reached, before, strict=True):
            memory[...] = content
        result = FUNCTIONS[call.name](*arguments)
        found, expected = [], []
        flatten((result, arguments, call.reached), found)
        flatten((call.result, *call.after), expected)
        dtypes = [a.dtype for a in found if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
        eps = max((np.finfo(dtype).eps for dtype in dtypes), default=0.0)
        for a, b in zip(found, expected, strict=True):
            size = np.abs(b, where=np.isfinite(b), out=np.zeros(np.shape(b))).max(initial=1.0)
            np.testing.assert_allclose(a, b, rtol=0, atol=400 * eps * size, err_msg=call.name)


def flatten(value, found):
    """Append all arrays and numbers of nested tuples to a list."""
    if isinstance(value, tuple | list):
        for item in value:
            flatten(item, found)
    elif value is not None and getattr(value, "dtype", np.dtype(int)).fields is None:
        # (No function changes a record.)
        found.append(value if isinstance(value, np.ndarray) else np.float64(value))


@contextlib.contextmanager
def processor(*, vectors):
    """Choose kernels as for a processor with or without vectors of 16 numbers."""
    with contextlib.ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        monkeypatch.setattr(_tiles, "_HAS_REGISTERS", vectors)
        monkeypatch.setattr(_slide, "_HAS_MASKS", vectors)
        for remembered in (_slide.slide_of, gather_of):
            remembered.cache_clear()
            stack.callback(remembered.cache_clear)
        yield


# Small calls that together need every compiled function


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def image(*shape, dtype=np.float32):
    return backend.channel_major(normal(*shape, dtype=dtype))


HALF = {"stride": 2, "padding": 1}
SAME = {"stride": 1, "padding": 1}
ODD = {"stride": (2, 3), "padding": ((0, 1), (2, 1)), "dilation": (2, 1)}


def operation_cases(dtype):
    """Yield the names of operations, their arrays and their hyperparameters."""
    for n in (1, 9):
        x = image(n, 4, 6, 7, dtype=dtype)
        ones = np.ones(4, dtype)
        yield "batch_norm", (x, 2 * ones, ones), {}
        yield "batch_norm_relu", (x, 2 * ones, ones), {}
        yield "sync_batch_norm", (x, 2 * ones, ones), {}
        yield "batch_norm_inference", (x, 2 * ones, ones, ones / 4, ones), {}
        for geometry in (HALF, SAME):
            yield "depthwise_conv2d", (x, normal(4, 1, 3, 3, dtype=dtype), ones), geometry
            yield "avg_pool2d", (x,), {"kernel_size": 3, **geometry}
            yield "max_pool2d", (x,), {"kernel_size": 3, **geometry}
        infinite = normal(8, 1, 3, 3, dtype=dtype)
        infinite[0] = np.inf
        yield "depthwise_conv2d", (x, infinite, None), ODD
        special = x.copy(order="K")
        special[0, 0, 1:3, 2], special[0, 1] = np.nan, -np.inf
        yield "max_pool2d", (special,), {"kernel_size": 3, **HALF}
        yield "max_pool2d", (x,), {"kernel_size": (2, 4), "stride": (3, 1), "padding": (1, 2)}
        yield "global_avg_pool", (x,), {}
        yield "global_avg_pool", (image(n, 1, 23, 24, dtype=dtype),), {}
        yield "channel_shuffle", (x,), {"groups": 2}
        yield "relu", (normal(n, 4, 3, dtype=dtype),), {}
        yield "leaky_relu", (normal(n, 4, 3, dtype=dtype),), {"slope": 0.1}
        yield "add_relu", (x, x[::-1]), {}
    x = image(2, 24, 4, 5, dtype=dtype)
    yield "global_avg_pool", (np.ascontiguousarray(x),), {}
    yield "conv2d_relu", (x[:, :3], normal(8, 3, 3, 3, dtype=dtype)), HALF
    yield "conv2d", (image(3, 6, 6, 13, dtype=dtype), normal(12, 6, 3, 2, dtype=dtype)), SAME
    yield "group_conv2d", (x, normal(12, 12, 3, 3, dtype=dtype)), {"groups": 2, **ODD}
    for n, c, o in ((1, 20, 18), (20, 12, 14), (2, 8, 6)):
        x = image(n, 2 * c, 4, 5, dtype=dtype)
        w, b = normal(2 * o, c, 1, 1, dtype=dtype), normal(2 * o, dtype=dtype)
        yield "pointwise_conv2d_relu", (x, w, b), {"groups": 2}


def run_operations(dtype):
    for name, arrays, hyperparameters in operation_cases(dtype):
        operation = OPERATIONS[name]
        y, cache = operation.forward("kernels")(*arrays, **hyperparameters)
        operation.backward("kernels")(cotangent_like(y, np.random.default_rng(1)), cache)


def run_sgd():
    parameters = [tuple(normal(*shape, seed=i) for i in range(3)) for shape in ((5,), (3, 4))]
    rule = {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    sgd.sgd_update_all(parameters, **rule)
    return parameters


def run_job():
    """The counters of a job with one worker, from its start to its end."""
    job = _threads.counters(2)
    _barrier.watch_counter(job, int(job[0]) + 1)
    assert _barrier.enter_job(job)
    assert list(_barrier.each_turn(job)) == [0, 1]
    _barrier.leave_job(job)
    _barrier.stop_job(job)
    _barrier.close_job(job)


def run_plan():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.ShuffleNetV2Unit(6, 8, stride=2, se=True),
        nn.Parallel(nn.Sequential(), nn.Conv2d(8, 8, 1, groups=2)),
        nn.Add(),
        nn.GlobalAvgPool(),
        nn.Linear(8, 3),
    )
    InferencePlan(model)(normal(3, 3, 21, 19))


class Second(nn.Layer):
    def _forward(self, x, training):
        return x[1]


def run_training_program():
    """A training step with every kind of instruction."""
    part = nn.Sequential(nn.ChannelSplit((3, 5)), Second(), nn.Conv2d(5, 6, 1))
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        # It reads numbers as they are stored: rounding of a batch normalisation would decide ties.
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.ShuffleNetV2Unit(6, 8, stride=2),
        nn.Parallel(nn.Conv2d(8, 6, 1, groups=2, bias=True), part),  # some gradients have two parts
        nn.Add(),
        nn.Conv2d(6, 6, (3, 2), padding=1, groups=2),
        nn.ShuffleNetV1Unit(6, 16, groups=2, stride=2, se=True),
        nn.GlobalAvgPool(),
        nn.Dropout(0.5, seed=0),
        nn.Linear(16, 3),
    )
    for number, (_, parameter) in enumerate(model.named_parameters()):
        parameter.value[...] = normal(*parameter.value.shape, seed=number)
    program = TrainingProgram(model, (2, 3, 9, 10))
    program.backward(program.forward(normal(2, 3, 9, 10)))
    return program


def test_every_compiled_function_has_a_plain_twin_that_agrees():
    kept, calls = [], []
    for seed, vectors in enumerate((True, False)):
        with processor(vectors=vectors), as_plain_python(seed) as made:
            run_operations(np.float32)
            if not vectors:
                run_operations(np.float64)
        calls += made
    with as_plain_python(2) as made:
        kept.append(run_sgd())
        run_job()
        run_plan()
        kept.append(run_training_program())
    calls += made
    never = sorted(FUNCTIONS.keys() - {call.name for call in calls})
    assert not never, f"never called here, so nothing is shown of them: {', '.join(never)}"
    assert_compiled_agree(calls)


@settings(max_examples=10)
@pytest.mark.parametrize("name", [name for name in OPERATIONS if OPERATIONS[name].kernel])
@given(data=st.data(), vectors=st.booleans(), seed=st.integers(0, 99))
def test_plain_kernels_agree_on_any_shape(name, data, vectors, seed):
    case = data.draw(cases(name))
    with processor(vectors=vectors), as_plain_python(seed) as calls:
        y, cache = run(OPERATIONS[name], case, "kernels")
        dy = cotangent_like(y, np.random.default_rng(seed))
        OPERATIONS[name].backward("kernels")(dy, cache)
    assert_compiled_agree(calls)


def test_a_difference_is_seen():
    with as_plain_python(0) as calls:
        OPERATIONS["relu"].forward("kernels")(normal(3, 4))
    assert_compiled_agree(calls)
    (call,) = [call for call in calls if call.name.endswith("relu_flat")]
    call.after[0][1][5] += 1e-3
    with pytest.raises(AssertionError, match="relu_flat"):
        assert_compiled_agree(calls)


def test_every_compiled_function_says_what_it_does():
    assert len(FUNCTIONS) > 60
    for name, function in FUNCTIONS.items():
        assert function.__doc__, name
        assert function.py_func.__name__ == name.rpartition(".")[2]
