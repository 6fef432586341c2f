"""Functions of PyTorch and of JAX are checked as they are."""

import os

import jax
import numpy as np
import pytest
from peers import need

from numpy_shufflenet.gradcheck import adapters, check, from_jax, from_torch

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


LABELS = np.array([2, 0, 1])
LOGITS = RNG.normal(size=(3, 4))


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_losses_and_numbers_through_torch(shape):
    need("torch")
    x, scale = np.array(RNG.normal(size=shape)), np.array(1.5)
    check(*from_torch(lambda x, s: (s * x.sin()).sum()), x, scale).raise_if_failed()
    check(*from_torch(lambda x, s: (s * x).exp()), x, scale).raise_if_failed()
    wrong = check(*from_torch(lambda x: x.detach().sin().sum() + 0 * x.sum()), x)
    assert wrong.status == "fail"


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_losses_and_numbers_through_jax(shape):
    x, scale = np.array(RNG.normal(size=shape)), np.array(1.5)
    check(*from_jax(lambda x, s: (s * jax.numpy.sin(x)).sum()), x, scale).raise_if_failed()
    check(*from_jax(lambda x, s: jax.numpy.exp(s * x)), x, scale).raise_if_failed()
    wrong = check(*from_jax(lambda x: jax.numpy.sin(jax.lax.stop_gradient(x)).sum()), x)
    assert wrong.status == "fail"


def test_cross_entropy_through_both():
    def loss(logits, labels):
        return -jax.nn.log_softmax(logits)[jax.numpy.arange(3), labels].mean()

    check(*from_jax(loss), LOGITS, LABELS).raise_if_failed()
    torch_loss = need("torch").nn.functional.cross_entropy
    check(*from_torch(torch_loss), LOGITS, LABELS).raise_if_failed()


def test_lists_missing_arguments_and_outputs_without_a_gradient():
    need("torch")

    def torch_list(x, missing, power):
        assert missing is None
        return [x**power, x.detach() * 2, (x > 0).to(x.dtype), x.sum()]

    check(*from_torch(lambda *a: torch_list(*a)[::3]), X, None, 3).raise_if_failed()
    f, vjp = from_torch(torch_list)
    dys = [np.ones(X.shape)] * 3 + [np.array(2.0)]
    dx, none, power = vjp(dys, X, None, 3)
    np.testing.assert_allclose(dx, 3 * X**2 + 2)
    assert none is None
    assert power is None

    def jax_dict(x, missing, power):
        assert missing is None
        return {"a": x**power, "b": [x.sum(), (x > 0).sum()]}

    f, vjp = from_jax(jax_dict)
    assert [part.shape for part in f(X, None, 3)] == [X.shape, (), ()]
    dx, none, power = vjp((np.ones(X.shape), np.array(2.0), np.array(1.0)), X, None, 3)
    np.testing.assert_allclose(dx, 3 * X**2 + 2)
    assert none is None
    assert power is None


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_inside(dtype):
    torch = need("torch")
    x = RNG.normal(size=4)
    halves = (
        from_torch(lambda x: x.to(getattr(torch, dtype)).sin()),
        from_jax(lambda x: jax.numpy.sin(x.astype(dtype))),
    )
    for f, vjp in halves:
        y = f(x)
        assert y.dtype == ("float32" if dtype == "bfloat16" else "float16")
        (dx,) = vjp(np.ones(4, y.dtype), x)
        assert dx.dtype == np.float64
        np.testing.assert_allclose(dx, np.cos(x), rtol=0, atol=0.02)


def test_any_memory_through_torch():
    need("torch")
    f, vjp = from_torch(lambda x: x * x)
    x = np.arange(12.0).reshape(3, 4)
    kept = x.copy()
    kept.flags.writeable = False
    for view in (x[::-1, ::-2], x.T, kept, np.broadcast_to(x[:1], (3, 4)), x[:, ::2], x[0, 0]):
        np.testing.assert_array_equal(f(view), view * view)
        np.testing.assert_array_equal(vjp(np.ones(view.shape), view)[0], 2 * view)


def test_what_does_not_fit_torch_is_said():
    need("torch")
    with pytest.raises(ValueError, match=r"dtype (float128|longdouble)"):
        from_torch(lambda x: x)[0](np.ones(2, np.longdouble))
    with pytest.raises(ValueError, match="the function returns a float; a tensor"):
        from_torch(lambda x: 3.0)[0](X)
    with pytest.raises(ValueError, match="writes into its input"):
        from_torch(lambda x: x.mul_(2))[1](X, X.copy())


def test_jax_is_kept_from_ending_python(monkeypatch):
    """By a flag, if it hasn't started yet; by a warning, once, if it has."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_hlo_as_text")
    monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", lambda: False)
    from_jax(jax.numpy.sin)
    assert os.environ["XLA_FLAGS"] == f"--xla_dump_hlo_as_text {adapters.SAFE_FLAG}"
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", lambda: True)
    with pytest.warns(RuntimeWarning, match="Call from_jax first, or set XLA_FLAGS="):
        from_jax(jax.numpy.sin)
    from_jax(jax.numpy.sin)
