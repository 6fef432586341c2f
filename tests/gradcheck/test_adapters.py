"""Functions of PyTorch and of JAX are checked as they are."""

import jax
import numpy as np
import pytest
from peers import need

from numpy_shufflenet.gradcheck import check, from_jax, from_torch

RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(2, 3, 4))


def torch_function(mistake=1.0, *, writes=False):
    torch = need("torch")

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x.clone(), w)
            y = x * x * w
            if writes:
                x.mul_(2)
            return y

        @staticmethod
        def backward(ctx, dy):
            x, w = ctx.saved_tensors
            return mistake * 2 * x * w * dy, x * x * dy

    return Product.apply


def test_a_torch_function_passes():
    verdict = check(*from_torch(torch_function()), X, W, names=["x", "w"])
    verdict.raise_if_failed()
    assert [report.method for report in verdict.arrays][1] == "adjoint identity"


def test_a_wrong_torch_function_fails_and_is_explained():
    verdict = check(*from_torch(torch_function(0.5)), X, W, names=["x", "w"])
    assert verdict.status == "fail"
    assert verdict.worst.array == "x"
    assert verdict.explain().family == "factor"


def test_a_torch_function_that_writes_into_its_input():
    verdict = check(*from_torch(torch_function(writes=True)), X, W, names=["x", "w"])
    assert verdict.reason == "f or vjp writes into x"


def test_torch_functions_of_several_outputs_integers_and_unused_arguments():
    torch = need("torch")

    def function(x, index, unused):
        return torch.index_select(x, 0, index), x.sin()

    verdict = check(*from_torch(function), X, np.array([2, 0]), W)
    verdict.raise_if_failed()
    assert len(verdict.arrays) == 2  # x, and the unused one with its zeros


def jax_function(slope):
    @jax.custom_vjp
    def sine(x):
        return jax.numpy.sin(x)

    sine.defvjp(lambda x: (sine(x), x), lambda x, dy: (dy * slope(x),))
    return sine


@pytest.mark.parametrize(("slope", "status"), [(jax.numpy.cos, "pass"), (jax.numpy.sin, "fail")])
def test_a_custom_vjp_of_jax(slope, status):
    verdict = check(*from_jax(jax_function(slope)), X)
    assert verdict.status == status
    if status == "fail":
        assert verdict.explain().family == "slope"


def test_jax_functions_of_several_outputs_and_integers():
    def function(x, labels):
        return x[labels], x * x

    check(*from_jax(function), X, np.array([2, 0])).raise_if_failed()
