"""The compiled step of SGD against the NumPy one: the same bits, and the same arrays untouched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_shufflenet import backend
from numpy_shufflenet._threads import counters
from numpy_shufflenet.nn.layer import Layer, Parameter
from numpy_shufflenet.training import SGD
from numpy_shufflenet.training.optimiser import sgd_update

kernel = pytest.importorskip("numpy_shufflenet.kernels.sgd")

RULES = st.fixed_dictionaries(
    {
        "learning_rate": st.floats(0, 2),
        "momentum": st.floats(0.1, 0.99),
        "nesterov": st.booleans(),
        "weight_decay": st.sampled_from([0.0, 4e-5, 0.3]),
    }
)
SPECIAL = (np.nan, np.inf, -np.inf, -0.0)


@given(
    rule=RULES,
    shape=st.sampled_from([(1,), (7,), (33, 3), (5, 2, 3, 3), (700, 800)]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 99),
    special=st.booleans(),
)
def test_the_same_bits(rule, shape, dtype, seed, special):
    rng = np.random.default_rng(seed)
    p, g, v = (rng.normal(size=shape).astype(dtype) for _ in range(3))
    if special:
        for array in (p, g, v):
            array.flat[rng.integers(array.size)] = rng.choice(SPECIAL)
    ours, theirs = [p.copy(), v.copy()], [p.copy(), v.copy()]
    before = g.copy()
    with np.errstate(invalid="ignore"):
        kernel.sgd_update_all([(ours[0], g, ours[1])], **rule)
        decay = rule["weight_decay"] * (p.ndim > 1)
        sgd_update(theirs[0], g, theirs[1], **{**rule, "weight_decay": decay})
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(np.signbit(ours), np.signbit(theirs))
    np.testing.assert_array_equal(g, before)


def test_gradients_may_lie_in_any_order():
    rng = np.random.default_rng(0)
    p, v, g = rng.normal(size=(4, 6)), np.zeros((4, 6)), rng.normal(size=(6, 4)).T
    expected = p - 0.5 * g
    rule = {"learning_rate": 0.5, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0}
    kernel.sgd_update_all([(p, g, v)], **rule)
    np.testing.assert_array_equal(p, expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_parameters_in_one_call(dtype, threads):
    rng = np.random.default_rng(0)
    shapes = [(3,), (kernel.CHUNK,), (kernel.CHUNK + 1, 1), (2, 3, 5, 1), (), (0, 2), (300, 301)]
    given = [[rng.normal(size=shape).astype(dtype) for _ in range(3)] for shape in shapes]
    expected = [[p.copy(), g, v.copy()] for p, g, v in given]
    rule = {"learning_rate": 0.3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    before = backend.num_threads()
    try:
        backend.set_num_threads(threads)
        kernel.sgd_update_all(given, **rule)
    finally:
        backend.set_num_threads(before)
    for p, g, v in expected:
        sgd_update(p, g, v, **{**rule, "weight_decay": 0.01 * (p.ndim > 1)})
    for ours, theirs in zip(given, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_plain_functions_do_the_same():
    p, g, v = (np.arange(1.0, 6) * k for k in (1, 2, 3))
    ours = [a.copy() for a in (p, g, v)]
    starts = [a.ctypes.data for a in ours]
    chunks = np.array([[*starts, 2, 0], [*(s + 16 for s in starts), 3, 1]])
    kernel.update_chunks.py_func(counters(2), True, chunks, np.array([0, 0.1]), 0.5, 0.9, False)
    sgd_update(p[:2], g[:2], v[:2], learning_rate=0.5, momentum=0.9, nesterov=False, weight_decay=0)
    sgd_update(
        p[2:], g[2:], v[2:], learning_rate=0.5, momentum=0.9, nesterov=False, weight_decay=0.1
    )
    np.testing.assert_array_equal(ours, [p, g, v])


@pytest.mark.parametrize(
    ("p", "g", "v"),
    [
        (np.zeros((90, 100)).T, np.zeros((100, 90)), np.zeros((100, 90))),
        (np.zeros((100, 90)), np.zeros((100, 90)), np.zeros((90, 100)).T),
        (np.zeros(9000, np.float32), np.zeros(9000), np.zeros(9000, np.float32)),
        (np.zeros(9000, np.float16), np.zeros(9000, np.float16), np.zeros(9000, np.float16)),
        (np.zeros(9000), np.zeros(9000), None),
    ],
)
def test_what_does_not_fit_is_left_to_numpy(p, g, v):
    assert not kernel.fits([(p, g, v)])
    assert not kernel.fits([(np.zeros(3), np.zeros(3), np.zeros(3)), (p, g, v)])


@pytest.mark.parametrize("implementation", backend.BACKENDS)
def test_the_backend_decides(implementation, monkeypatch):
    class Model(Layer):
        w = Parameter(np.ones((100, 90), np.float32))

        def named_parameters(self):
            yield "w", self.w

    calls = []
    monkeypatch.setattr(kernel, "sgd_update_all", lambda *a, **k: calls.append("numba"))
    with backend.use(implementation):
        SGD(Model(), learning_rate=0.1, momentum=0.9).step()
    assert calls == (["numba"] if implementation == "numba" else [])
