"""Checks of layers: x and every parameter, by `check`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ._arrays import Array
from ._random import generators_of, keep_random
from .check import check
from .settings import DEFAULTS
from .verdict import Verdict


def check_layer(layer: Any, x: Array, *, training: bool = False, **options: Any) -> Verdict:
    """Check dx and the gradient of every parameter of a layer or unit.

    Parameters
    ----------
    layer : Layer
        Anything with forward, backward, parameters, gradients, zero_gradients, release and astype.
        A float64 copy is checked; the layer itself is not touched.
    x : array
    training : bool
        Whether batch normalisation uses the statistics of the batch, and dropout drops: the same
        mask each time.
    **options
        The keywords of `check`; per_entry is costly for a unit.

    Returns
    -------
    Verdict
        Its arrays are x and the parameters, by name.
    """
    copies = {np.dtype(np.float64): layer.astype(np.float64)}
    names = list(layer.parameters())
    last: list[Any] = [None]

    def run(point: Array, parameters: tuple[Array, ...]) -> Any:
        dtype = np.asarray(point).dtype
        if dtype not in copies:
            copies[dtype] = layer.astype(dtype)
        copy = last[0] = copies[dtype]
        for live, value in zip(copy.parameters().values(), parameters, strict=True):
            live[...] = value
        copy.release()
        random = randoms.setdefault(dtype, keep_random(generators_of(copy)))
        random()
        return copy.forward(point, training=training)

    randoms: dict[Any, Callable[[], None]] = {}

    def f(point: Array, *parameters: Array) -> Any:
        return run(point, parameters)

    def vjp(dy: Any, point: Array, *parameters: Array) -> tuple[Array, ...]:
        run(point, parameters)
        copy = last[0]
        copy.zero_gradients()
        dx = copy.backward(dy)
        gradients = copy.gradients()
        return dx, *(gradients[name] for name in names)

    options.setdefault("names", ["x", *names])
    options["settings"] = options.get("settings", DEFAULTS).for_operations()
    if hasattr(layer, "activation_pattern"):
        options.setdefault("pattern", lambda *_: last[0].activation_pattern())
    values = copies[np.dtype(np.float64)].parameters().values()
    return check(f, vjp, x, *values, **options)
