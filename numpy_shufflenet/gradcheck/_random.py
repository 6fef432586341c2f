"""The generators inside of a network, set back before each forward: dropout draws the same mask."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def generators_of(model: Any) -> list[np.random.Generator]:
    """Return the generators that the layers of a model hold."""
    layers = [layer for _, layer in getattr(model, "named_layers", lambda: ())()]
    found = [value for layer in layers for value in vars(layer).values()]
    return [value for value in found if isinstance(value, np.random.Generator)]


def keep_random(generators: Sequence[np.random.Generator]) -> Callable[[], None]:
    """Return a function that puts all generators back into the state that they have now."""
    states = [copy.deepcopy(rng.bit_generator.state) for rng in generators]

    def restore() -> None:
        for rng, state in zip(generators, states, strict=True):
            rng.bit_generator.state = copy.deepcopy(state)

    return restore
