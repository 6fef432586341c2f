"""Check what is written for PyTorch or JAX: their functions as f and vjp of arrays.

f, vjp = from_torch(MyFunction.apply)       # a torch.autograd.Function
f, vjp = from_jax(my_function)              # a jax.custom_vjp
verdict = check(f, vjp, x, w)
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

Pair = tuple[Callable[..., Any], Callable[..., Any]]


def from_torch(function: Callable[..., Any]) -> Pair:
    """Return f and vjp of a function of tensors, such as `apply` of a torch.autograd.Function.

    Parameters
    ----------
    function : callable
        Tensors -> a tensor, or a tuple of tensors. Arrays become tensors of their dtype; those
        that are not floating-point, or None, get no gradient.

    Returns
    -------
    f, vjp : callable
        For `check`. They need PyTorch.
    """
    import torch

    def tensor(array: Any, differentiated: bool) -> Any:
        if not isinstance(array, np.ndarray):
            return array
        # Shares memory where it can, so that what writes into its input is found out.
        made = torch.from_numpy(np.ascontiguousarray(array))
        return made.requires_grad_(differentiated and made.is_floating_point())

    def f(*arrays: Any) -> Any:
        with torch.no_grad():
            y = function(*(tensor(a, False) for a in arrays))
        return tuple(part.numpy() for part in y) if isinstance(y, tuple) else y.numpy()

    def vjp(dy: Any, *arrays: Any) -> tuple[Any, ...]:
        inputs = [tensor(a, True) for a in arrays]
        y = function(*inputs)
        outputs, dys = (y, dy) if isinstance(y, tuple) else ((y,), (dy,))
        wanted = [t for t in inputs if torch.is_tensor(t) and t.requires_grad]
        found = iter(
            torch.autograd.grad(
                outputs, wanted, [tensor(np.asarray(d), False) for d in dys], allow_unused=True
            )
        )
        gradients: list[Any] = []
        for t in inputs:
            if torch.is_tensor(t) and t.requires_grad:
                gradient = next(found)
                found_one = torch.zeros_like(t) if gradient is None else gradient
                gradients.append(found_one.detach().numpy())
            else:
                gradients.append(None)
        return tuple(gradients)

    return f, vjp


def from_jax(function: Callable[..., Any]) -> Pair:
    """Return f and vjp of a function of JAX arrays, such as a jax.custom_vjp.

    Parameters
    ----------
    function : callable
        JAX arrays -> an array, or a tuple of arrays. It runs with 64 bits. Arrays that are not
        floating-point get no gradient.

    Returns
    -------
    f, vjp : callable
        For `check`. They need JAX.
    """
    import jax

    def wide() -> contextlib.AbstractContextManager[Any]:
        enable: contextlib.AbstractContextManager[Any] = (
            jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64()  # type: ignore[attr-defined]  # before JAX 0.8
        )
        return enable

    def numpy(y: Any) -> Any:
        return tuple(np.array(p) for p in y) if isinstance(y, tuple | list) else np.array(y)

    def f(*arrays: Any) -> Any:
        with wide():
            return numpy(function(*map(jax.numpy.asarray, arrays)))

    def vjp(dy: Any, *arrays: Any) -> tuple[Any, ...]:
        floating = [i for i, a in enumerate(arrays) if np.asarray(a).dtype.kind in "fc"]

        def of_floating(*given: Any) -> Any:
            values = list(map(jax.numpy.asarray, arrays))
            for i, value in zip(floating, given, strict=True):
                values[i] = value
            return function(*values)

        with wide():
            y, pull_back = jax.vjp(of_floating, *(jax.numpy.asarray(arrays[i]) for i in floating))
            dys = dy if isinstance(y, tuple | list) else (dy,)
            dys = tuple(jax.numpy.asarray(d) for d in dys)
            found = pull_back(dys if isinstance(y, tuple | list) else dys[0])
            gradients: list[Any] = [None] * len(arrays)
            for i, gradient in zip(floating, found, strict=True):
                gradients[i] = np.array(gradient)
        return tuple(gradients)

    return f, vjp
