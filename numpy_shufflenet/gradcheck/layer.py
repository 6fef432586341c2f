"""Checks of layers: x and every parameter, by `check`."""

from typing import Any

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.gradcheck._random import generators_of, keep_random
from numpy_shufflenet.gradcheck.check import check
from numpy_shufflenet.gradcheck.verdict import Verdict


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
        Of `check`; per_entry is costly for a unit.

    Returns
    -------
    Verdict
        Its arrays are x and the parameters, by name.
    """
    copy = layer.astype(np.float64)
    random = keep_random(generators_of(copy))
    names = list(copy.parameters())

    def run(point: Array, parameters: tuple[Array, ...]) -> Any:
        for live, value in zip(copy.parameters().values(), parameters, strict=True):
            live[...] = value
        random()
        copy.release()
        return copy.forward(point, training=training)

    def f(point: Array, *parameters: Array) -> Any:
        return run(point, parameters)

    def vjp(dy: Any, point: Array, *parameters: Array) -> tuple[Array, ...]:
        copy.zero_gradients()
        run(point, parameters)
        dx = copy.backward(dy)
        gradients = copy.gradients()
        return dx, *(gradients[name] for name in names)

    options.setdefault("names", ["x", *names])
    return check(f, vjp, x, *copy.parameters().values(), **options)
