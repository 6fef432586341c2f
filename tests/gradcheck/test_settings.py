"""Settings are validated where they are made, and refused where they are not used."""

import dataclasses

import numpy as np
import pytest

from numpy_shufflenet.gradcheck import Settings, check, check_hessian, check_layer, check_pair
from numpy_shufflenet.nn import ReLU

X = np.random.default_rng(0).normal(size=(3, 4))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("method", "newton", "method='newton' is not one of auto, adjoint, complex"),
        ("directions", 0, "directions=0 is not a whole number of at least 1"),
        ("directions", 1.5, "directions=1.5 is not a whole number of at least 1"),
        ("dtype", np.int64, "is not a floating-point dtype, nor None"),
        ("tolerance", 0.0, "tolerance=0.0 is not a number above 0"),
        ("tolerance", float("nan"), "tolerance=nan is not a number above 0"),
        ("skip", ("layout", "all"), "skip has 'all', which is not one of writes, repeats"),
        ("max_evaluations", -1, "max_evaluations=-1 is not a number of at least 0"),
        ("max_seconds", -0.5, "max_seconds=-0.5 is not a number of at least 0"),
    ],
)
def test_values_that_do_not_fit_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{field: value})


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().method = "complex"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "complex"),
        ("cotangent", np.ones(3)),
        ("dtype", np.float32),
        ("skip", ["writes"]),
        ("keeps_dtype", False),
        ("max_evaluations", 3),
        ("max_seconds", 3.0),
    ],
)
def test_fields_that_are_not_used_are_refused(field, value):
    message = rf"settings\.{field} is not used here; only directions and tolerance can be set"
    with pytest.raises(ValueError, match=message):
        check_hessian(lambda x: [np.cos(x)], X, settings=Settings(**{field: value}))


def test_hessians_use_directions_and_tolerance():
    def gradient(x):
        return [np.cos(x) + 1e-3 * np.cumsum(x.ravel()).reshape(x.shape)]

    assert check_hessian(gradient, X).status == "fail"
    assert check_hessian(gradient, X, settings=Settings(tolerance=0.1)).passed
    few, many = (
        check_hessian(lambda x: [np.cos(x)], X, settings=s)
        for s in (Settings(directions=1), Settings(directions=5))
    )
    assert many.evaluations > 3 * few.evaluations


def test_operations_and_layers_must_keep_the_dtype_unless_it_is_said_otherwise():
    def f(x):
        return x * np.float64(2)

    def vjp(dy, x):
        return (dy * 2).astype(x.dtype)

    pair = (lambda x: (f(x), x)), vjp
    strict, loose = (Settings(keeps_dtype=keeps) for keeps in (True, False))
    assert check(f, vjp, X).passed
    assert check(f, vjp, X, settings=strict).status == "fail"
    assert check_pair(*pair, X).status == "fail"
    assert check_pair(*pair, X, settings=Settings(method="central")).status == "fail"
    assert check_pair(*pair, X, settings=loose).passed
    assert check_layer(ReLU(), X, settings=Settings(skip=["layout"])).passed
