"""Check functions written for PyTorch or JAX: turn them into f and vjp of NumPy arrays.

f, vjp = from_torch(MyFunction.apply)       # a torch.autograd.Function
f, vjp = from_jax(my_function)              # a jax.custom_vjp
verdict = check(f, vjp, x, w)
"""

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Pair = tuple[Callable[..., Any], Callable[..., Any]]
SAFE_FLAG = "--xla_disable_hlo_passes=algsimp"
ARRAYS = np.ndarray, np.generic


def from_torch(function: Callable[..., Any]) -> Pair:
    """Return f and vjp of a function of tensors, such as `apply` of a torch.autograd.Function.

    Parameters
    ----------
    function : callable
        Tensors -> a tensor, or a tuple or list of tensors, of any shape, also (). Arrays become
        tensors of their dtype. Arrays that are not floating-point get no gradient. Arguments that
        are not arrays (None, a number) are passed on as they are.

    Returns
    -------
    f, vjp : callable
        For `check`. They need PyTorch. Outputs and gradients in bfloat16, which NumPy lacks, become
        float32.

    Raises
    ------
    ImportError
        If PyTorch isn't installed.
    ValueError
        By f and vjp: if the function returns anything but tensors, if PyTorch lacks the dtype of an
        array, or if the function writes into an input, so that PyTorch has no gradient for it.
    """
    import torch

    def tensor(array: Any, *, differentiated: bool = False) -> Any:
        if not isinstance(array, ARRAYS):
            return array
        array = np.asarray(array)
        if not array.flags.writeable or min(array.strides, default=0) < 0:
            array = array.copy()  # other arrays aren't copied, so a write into an input is noticed
        try:
            made = torch.from_numpy(array)
        except TypeError as error:
            raise ValueError(f"an array has dtype {array.dtype}, which PyTorch lacks") from error
        inexact = made.is_floating_point() or made.is_complex()
        return made.requires_grad_(differentiated and inexact)

    def array(value: Any) -> Any:
        if not torch.is_tensor(value):
            kind = type(value).__name__
            raise ValueError(
                f"the function returns a {kind}; a tensor, or a tuple of them, is needed"
            )
        value = value.detach().cpu().resolve_conj().resolve_neg()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()

    def f(*arrays: Any) -> Any:
        with torch.no_grad():
            y = function(*map(tensor, arrays))
        return tuple(map(array, y)) if isinstance(y, tuple | list) else array(y)

    def vjp(dy: Any, *arrays: Any) -> tuple[Any, ...]:
        inputs = [tensor(a, differentiated=True) for a in arrays]
        try:
            y = function(*inputs)
        except RuntimeError as error:
            if "in-place" not in str(error):
                raise
            raise ValueError(f"the function writes into its input: {error}") from error
        pairs = zip(y, dy, strict=True) if isinstance(y, tuple | list) else [(y, dy)]
        pairs = [
            (part, tensor(np.array(d)).to(part.dtype)) for part, d in pairs if part.requires_grad
        ]
        wanted = {i: t for i, t in enumerate(inputs) if torch.is_tensor(t) and t.requires_grad}
        found = tuple(map(torch.zeros_like, wanted.values()))
        if pairs and wanted:
            parts, dys = zip(*pairs, strict=True)
            found = torch.autograd.grad(parts, [*wanted.values()], dys, materialize_grads=True)
        gradients = dict(zip(wanted, map(array, found), strict=True))
        return tuple(gradients.get(i) for i in range(len(inputs)))

    return f, vjp


def from_jax(function: Callable[..., Any]) -> Pair:
    """Return f and vjp of a function of JAX arrays, such as a jax.custom_vjp.

    The CPU compiler of jaxlib 0.10.2 crashes Python while it compiles the input gradient of some
    float64 convolutions, about one in 600. So this function turns off the optimisation that
    crashes: it sets XLA_FLAGS for this process and its child processes. XLA_FLAGS has no effect if
    JAX has computed something before; then a warning says so.

    Parameters
    ----------
    function : callable
        JAX arrays -> an array, or a tuple, list or dict of arrays. JAX computes it with 64-bit
        numbers. All else is as in `from_torch`.

    Raises
    ------
    ImportError
        If JAX isn't installed.
    """
    import jax

    _spare_the_process()
    known = jax if hasattr(jax, "enable_x64") else jax.experimental  # before JAX 0.8
    wide: Any = known.enable_x64

    def jax_array(value: Any) -> Any:
        return jax.numpy.asarray(value) if isinstance(value, ARRAYS) else value

    def array(value: Any) -> Any:
        value = jax.numpy.asarray(value)
        return np.array(value.astype("float32") if value.dtype == jax.numpy.bfloat16 else value)

    def f(*arrays: Any) -> Any:
        with wide(True):
            y = function(*map(jax_array, arrays))
            leaves = tuple(map(array, jax.tree.leaves(y)))
        return leaves if isinstance(y, tuple | list | dict) else leaves[0]

    def vjp(dy: Any, *arrays: Any) -> tuple[Any, ...]:
        floating = [
            i for i, a in enumerate(arrays) if isinstance(a, ARRAYS) and a.dtype.kind in "fc"
        ]

        def of_floating(*given: Any) -> Any:
            values = dict(enumerate(map(jax_array, arrays))) | dict(
                zip(floating, given, strict=True)
            )
            return function(*values.values())

        def cotangent(part: Any, d: Any) -> Any:
            if jax.numpy.issubdtype(part.dtype, jax.numpy.inexact):
                return jax.numpy.asarray(d, dtype=part.dtype)
            return np.zeros(part.shape, jax.dtypes.float0)  # JAX's cotangent of integers

        with wide(True):
            y, pull_back = jax.vjp(of_floating, *(jax.numpy.asarray(arrays[i]) for i in floating))
            parts, structure = jax.tree.flatten(y)
            dys = dy if isinstance(y, tuple | list | dict) else (dy,)
            found = pull_back(jax.tree.unflatten(structure, map(cotangent, parts, dys)))
            gradients = dict(zip(floating, map(array, found), strict=True))
        return tuple(gradients.get(i) for i in range(len(arrays)))

    return f, vjp


def _spare_the_process() -> None:
    """Keep JAX's compiler from crashing Python; warn if JAX has computed something before."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_disable_hlo_passes" in flags:
        return
    bridge = sys.modules.get("jax._src.xla_bridge")
    started = getattr(bridge, "backends_are_initialized", bool)()
    os.environ["XLA_FLAGS"] = f"{flags} {SAFE_FLAG}".strip()
    if started:
        warnings.warn(
            "JAX has computed something before from_jax was called; from now on its compiler "
            "may crash Python at the gradient of a float64 convolution, as jaxlib 0.10.2 does. "
            f"Call from_jax first, or set XLA_FLAGS={SAFE_FLAG}",
            RuntimeWarning,
            stacklevel=3,
        )
