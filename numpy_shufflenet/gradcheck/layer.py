"""Layers and networks as functions of x and their parameters, to be checked by `check`."""

import copy
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from ._arrays import Array
from .pair import check_pair
from .verdict import Verdict


class Replica:
    """A copy of a layer in one dtype, whose forward draws the same random numbers each time.

    The layer is anything with forward, backward, parameters, gradients, zero_gradients, release and
    astype; `training` is passed to forward. Frozen parameters are left out: they have no gradient.
    """

    def __init__(self, layer: Any, dtype: Any, training: bool) -> None:
        self.layer = layer.astype(dtype)
        named: dict[str, Any] = dict(getattr(self.layer, "named_parameters", dict)())
        frozen = {name for name, entry in named.items() if getattr(entry, "frozen", False)}
        self.parameters: dict[str, Array] = {
            name: value for name, value in self.layer.parameters().items() if name not in frozen
        }
        self._training = training
        layers = [inner for _, inner in getattr(self.layer, "named_layers", lambda: ())()]
        values = [value for inner in layers for value in vars(inner).values()]
        self._generators = [value for value in values if isinstance(value, np.random.Generator)]
        self._states = copy.deepcopy([rng.bit_generator.state for rng in self._generators])

    def assign(self, values: Iterable[Array]) -> None:
        """Write values into the parameters, in their order."""
        for live, value in zip(self.parameters.values(), values, strict=True):
            live[...] = value

    def forward(self, x: Array) -> Any:
        """Return y; dropout draws the same mask each time."""
        for rng, state in zip(self._generators, self._states, strict=True):
            rng.bit_generator.state = copy.deepcopy(state)
        self.layer.release()
        return self.layer.forward(x, training=self._training)

    def backward(self, dy: Any) -> tuple[Array, dict[str, Array]]:
        """Return dx and the gradients of the parameters, for the last forward."""
        self.layer.zero_gradients()
        dx = self.layer.backward(dy)
        return dx, self.layer.gradients()

    def pattern(self) -> list[Array]:
        """Return the choices (masks, winners) of the last forward, if the layer offers them."""
        return [np.array(p) for p in getattr(self.layer, "activation_pattern", list)()]


def check_layer(layer: Any, x: Array, *, training: bool = False, **options: Any) -> Verdict:
    """Check dx and the gradient of every parameter of a layer or unit, with a report for each.

    Parameters
    ----------
    layer : Layer
        Anything with forward, backward, parameters, gradients, zero_gradients, release and astype.
        Copies are checked; the layer itself is not touched.
    x : array
    training : bool
        Whether batch normalisation uses the statistics of the batch, and dropout is on, with the
        same mask each time.
    **options
        The keywords of `check`; `per_entry` takes long for a unit. `pattern` is called with the
        `Replica` that did the last forward.
    """
    replica = cache(lambda dtype: Replica(layer, dtype, training))
    parameters = replica(np.dtype(np.float64)).parameters

    def forward(point: Array, *values: Array) -> tuple[Any, Replica]:
        here = replica(point.dtype)
        here.assign(values)
        return here.forward(point), here

    def backward(dy: Any, here: Replica) -> tuple[Array, ...]:
        dx, gradients = here.backward(dy)
        return dx, *(gradients[name] for name in parameters)

    options.setdefault("names", ["x", *parameters])
    options.setdefault("pattern", Replica.pattern)
    return check_pair(forward, backward, x, *parameters.values(), **options)
