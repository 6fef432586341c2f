"""Clipped ReLU against PyTorch."""

import numpy as np
from hypothesis import given
from peers import need
from strategies import cases, seeds

from numpy_shufflenet.operations import OPERATIONS

torch = need("torch")


@given(cases("clipped_relu", np.float64), seeds())
def test_outputs_and_gradients_are_those_of_pytorch(case, seed):
    (x,), cap = case.arrays, case.hyperparameters["cap"]
    operation = OPERATIONS["clipped_relu"]
    leaf = torch.tensor(x.copy(), requires_grad=True)
    expected = torch.nn.functional.hardtanh(leaf, 0.0, cap)
    dy = np.random.default_rng(seed).normal(size=x.shape)
    expected.backward(torch.tensor(dy))
    for implementation in operation.implementations:
        y, cache = operation.forward(implementation)(x, cap=cap)
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-14)
        np.testing.assert_allclose(
            operation.backward(implementation)(dy, cache), leaf.grad, rtol=1e-14
        )
