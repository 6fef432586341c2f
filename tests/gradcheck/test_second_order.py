"""The Hessian of a gradient is symmetric; that of what is no gradient is not."""

import numpy as np
import pytest

from numpy_shufflenet import backend, ops
from numpy_shufflenet.gradcheck import check_hessian, check_model_hessian
from numpy_shufflenet.models import shufflenet_v1, shufflenet_v2

SEEDS = range(20)


def gradient(x, w):
    """Of sum sin(x) cosh(w): both blocks of the Hessian, and those between."""
    return np.cos(x) * np.cosh(w).sum(), np.sinh(w) * np.sin(x).sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_gradient_passes(seed):
    rng = np.random.default_rng(seed)
    verdict = check_hessian(gradient, rng.normal(size=(2, 3)), rng.normal(size=4), seed=seed)
    verdict.raise_if_failed()
    assert verdict.precision < 1e-5


@pytest.mark.parametrize("seed", SEEDS)
def test_a_field_that_is_no_gradient_fails(seed):
    rng = np.random.default_rng(seed)

    def wrong(x, w):
        dx, dw = gradient(x, w)
        return dx, dw * 1.001

    verdict = check_hessian(wrong, rng.normal(size=(2, 3)), rng.normal(size=4), seed=seed)
    assert verdict.status == "fail"
    with pytest.raises(AssertionError, match=r"fail: u\^T H v = "):
        verdict.raise_if_failed()


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_any_scale(scale):
    x = scale * np.random.default_rng(0).uniform(0.5, 2, size=6)
    check_hessian(lambda x: [3 * x**2 * x.sum() + (x**3).sum()], x).raise_if_failed()
    wrong = check_hessian(lambda x: [3 * x**2 * x.sum()], x)
    assert wrong.status == "fail"


def test_a_point_on_a_kink_is_one():
    x = np.array([0.0, 1.0, 2.0])
    last = []

    def field(x):
        last[:] = [x > 0]
        return [np.maximum(x, 0)]

    assert check_hessian(field, x, pattern=lambda: last).status == "kink"
    assert check_hessian(field, x + 1, pattern=lambda: last).passed


NETWORKS = {
    "V1": lambda: shufflenet_v1(
        groups=3, scale=0.25, num_classes=4, in_channels=1, stem="small", seed=0
    ),
    "V2": lambda: shufflenet_v2(scale=0.5, num_classes=4, in_channels=1, stem="small", seed=0),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_whole_networks_have_symmetric_hessians(name, training):
    rng = np.random.default_rng(0)
    model, x = NETWORKS[name](), rng.normal(size=(2, 1, 8, 9))
    before = model.state_dict()
    verdict = check_model_hessian(model, x, rng.integers(0, 4, 2), training=training)
    verdict.raise_if_failed()
    assert verdict.precision < 1e-4
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


class Rectified:
    """y = x max(w, 0); its choices are there until backward has used them."""

    def __init__(self, w):
        self.w, self.mask = w, None

    def astype(self, dtype):
        return Rectified(self.w.astype(dtype))

    def parameters(self):
        return {"w": self.w}

    def gradients(self):
        return {"w": self.dw}

    def zero_gradients(self):
        pass

    def release(self):
        self.mask = None

    def forward(self, x, *, training):
        self.x, self.mask = x, self.w > 0
        return x * self.w * self.mask

    def backward(self, dy):
        self.dw, self.mask = dy * self.x * self.mask, None
        return dy

    def activation_pattern(self):
        return [] if self.mask is None else [self.mask]


@pytest.mark.parametrize(("smallest", "status"), [(0.0, "kink"), (0.5, "pass")])
def test_choices_of_a_network_are_read_before_its_backward(smallest, status):
    w = np.array([smallest, 1.0, -2.0])

    def loss(y):
        return float(np.sin(y).sum()), np.cos(y)

    verdict = check_model_hessian(Rectified(w), np.array([0.3, -1.0, 2.0]), loss=loss)
    assert verdict.status == status


def test_a_wrong_term_in_a_network_breaks_the_symmetry(monkeypatch):
    for right in (ops.batch_norm_backward, ops.batch_norm_relu_backward):

        def wrong(dy, cache, right=right):
            dx, dgamma, dbeta = right(dy, cache)
            return 1.01 * dx, dgamma, dbeta

        monkeypatch.setattr(ops, right.__name__, wrong)
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(2, 1, 8, 9)), rng.integers(0, 4, 2)
    with backend.use("numpy"):
        assert check_model_hessian(NETWORKS["V2"](), x, labels).status == "fail"


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="either labels"):
        check_model_hessian(NETWORKS["V1"](), np.zeros((2, 1, 8, 9)))
    with pytest.raises(TypeError, match=r"use verdict\.passed"):
        bool(check_hessian(gradient, np.ones(2), np.ones(3)))
