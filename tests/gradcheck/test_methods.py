"""Each method measures the same slope; the complex step only where f proves to be holomorphic."""

import numpy as np
import pytest
from hypothesis import given
from strategies import seeds

from numpy_shufflenet import gradcheck, ops
from numpy_shufflenet.gradcheck import Settings, check, check_operation, check_pair
from numpy_shufflenet.gradcheck.differences import METHODS, Line
from numpy_shufflenet.operations import OPERATIONS

COMPLEX = Settings(method="complex")
DIFFERENCES = ["central", "five-point", "richardson"]


def sine_vjp(dy, x):
    return dy * np.cos(x)


@pytest.mark.parametrize("per_entry", [False, True])
@pytest.mark.parametrize("method", ["auto", "complex", "adjoint", *DIFFERENCES])
@given(seed=seeds())
def test_every_method_tells_right_from_slightly_wrong(method, per_entry, seed):
    x = np.random.default_rng(seed).normal(size=(3, 4))
    settings = Settings(method=method)
    options = {"settings": settings, "per_entry": per_entry, "seed": seed}
    right = check(np.sin, sine_vjp, x, **options)
    right.raise_if_failed()
    wrong = check(np.sin, lambda dy, x: sine_vjp(dy, x) * 1.0002, x, **options)
    assert wrong.status == "fail"
    assert wrong.worst is not None


@pytest.mark.parametrize("method", DIFFERENCES)
def test_the_method_that_is_asked_for_is_used(method):
    verdict = check(np.sin, sine_vjp, np.ones((2, 3)), settings=Settings(method=method))
    assert [report.method for report in verdict.arrays] == [method]


@pytest.mark.parametrize(("name", "order"), [("central", 2), ("five-point", 4), ("richardson", 6)])
def test_the_order_of_each_method(name, order):
    """Of a polynomial below the order nothing is left; of t^(order + 1), some power of the step."""

    def error(power, level):
        line = Line(lambda t: (np.array([(1 + t) ** power - 1]), True), np.zeros(1), 2**-52, name)
        value, _ = line.vector(level)
        return abs(value[0] - power)

    assert error(order, 0) < 1e-12
    ratio = error(order + 1, 0) / error(order + 1, 1)
    assert ratio == pytest.approx(2**order, rel=1e-3)
    assert set(METHODS) == set(DIFFERENCES)


@pytest.mark.parametrize("name", [n for n, o in OPERATIONS.items() if o.linear_in])
def test_linear_operations_are_judged_by_the_adjoint_identity(name):
    verdict = check_operation(name)
    linear = {n.lstrip("*") for n in OPERATIONS[name].linear_in}
    for report in verdict.arrays:
        if report.name.partition("[")[0] in linear:
            assert report.method == "adjoint identity"
            assert report.difference < 1e-14


def test_what_is_not_linear_is_noted_where_the_adjoint_identity_is_asked_for():
    verdict = check(lambda x: np.sin(x), sine_vjp, np.ones(3), settings=Settings(method="adjoint"))
    assert verdict.passed
    assert verdict.notes == ["y is not linear in x: differences were used"]


HOLOMORPHIC = [name for name in OPERATIONS if "relu" not in name and name != "max_pool2d"]


@pytest.mark.parametrize("name", HOLOMORPHIC)
@pytest.mark.parametrize("seed", range(3))
def test_operations_take_the_complex_step(name, seed):
    verdict = check_operation(name, example=seed, seed=seed, settings=COMPLEX)
    verdict.raise_if_failed()
    assert [report.method for report in verdict.arrays] == ["complex step"] * len(verdict.arrays)
    assert verdict.difference < 1e-13


NOT_HOLOMORPHIC = {
    "abs": (np.abs, lambda dy, x: dy * np.sign(x)),
    "np.var": (lambda x: np.var(x, axis=0), lambda dy, x: dy * 2 * (x - x.mean(axis=0)) / len(x)),
    "squares of abs": (lambda x: np.abs(x) ** 2, lambda dy, x: 2 * dy * x),
    "real part": (lambda x: np.sin(np.real(x)), sine_vjp),
    "conjugate": (lambda x: np.conj(x) ** 2, lambda dy, x: 2 * dy * x),
    "a cast": (lambda x: np.sin(x.astype(float)), sine_vjp),
    "floats only": (lambda x: np.array([float(v) ** 2 for v in x]), lambda dy, x: 2 * dy * x),
    "one entry": (
        lambda x: np.concatenate([np.abs(x[:1]), x[1:] ** 2]),
        lambda dy, x: dy * np.concatenate([np.sign(x[:1]), 2 * x[1:]]),
    ),
}


@pytest.mark.parametrize("name", NOT_HOLOMORPHIC)
@pytest.mark.parametrize("seed", range(5))
def test_what_is_not_holomorphic_is_found_out(name, seed):
    """Each of them takes complex numbers, or refuses them, and gives another slope."""
    f, vjp = NOT_HOLOMORPHIC[name]
    x = np.random.default_rng(seed).normal(size=5)
    verdict = check(f, vjp, x, settings=COMPLEX, seed=seed)
    assert verdict.passed, verdict
    assert "not holomorphic" in verdict.notes[0]
    assert verdict.arrays[0].method == "five-point"


def test_entries_are_located_by_the_complex_step_where_it_is_allowed():
    x = np.random.default_rng(0).uniform(0.5, 1.5, size=6)
    wrong = np.array([1, 1, 1.01, 1, 1, 1])
    for f, slope, method in (
        (np.sin, np.cos, "complex step"),
        (np.abs, np.sign, "five-point"),
    ):
        verdict = check(f, lambda dy, x, slope=slope: wrong * dy * slope(x), x)
        assert verdict.worst.index == (2,)
        assert verdict.arrays[0].method == method


def test_float32_says_what_it_can_reach():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    verdict = check(np.sin, sine_vjp, x, settings=Settings(dtype=None))
    assert verdict.passed
    assert 1e-6 < verdict.precision < 1e-2
    said = f"in float32, differences have a precision of {verdict.precision:.0e} here"
    assert said in str(verdict)


def test_complex_arrays_of_operations_keep_their_dtype():
    x = np.ones((2, 3, 4, 5), np.complex64)
    y, _ = ops.global_avg_pool_forward(x)
    assert y.dtype == np.complex64
    w = np.ones((2, 3, 1, 1))
    with pytest.raises(ValueError, match="w has dtype float64, but x has complex64"):
        ops.conv2d_forward(x, w)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="method='newton' is not one of auto, adjoint, complex"):
        Settings(method="newton")
    with pytest.raises(ValueError, match="skip has 'everything', which is not one of writes"):
        Settings(skip=["everything"])


def test_the_checker_needs_numpy_alone(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys, numpy as np; from numpy_shufflenet import gradcheck; "
        "v = gradcheck.check(np.sin, lambda dy, x: dy * np.sin(x), np.ones((2, 3))); "
        "v._repr_html_(); v.explain(); v.error_curve(); "
        "print([m for m in ('numba', 'matplotlib', 'scipy', 'torch', 'jax', "
        "'numpy_shufflenet.zoo') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pairs_may_have_several_outputs():
    x = np.random.default_rng(0).normal(size=(2, 6, 3, 2))
    verdict = check_pair(
        ops.channel_split_forward, ops.channel_split_backward, x, sizes=(1, 3, 2), per_entry=True
    )
    assert verdict.passed
    assert gradcheck.check_operation("channel_concat", per_entry=True).passed
