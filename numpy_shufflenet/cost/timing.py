"""Where the time of a network goes: layer by layer, and by kind of operation."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet._typing import Array
from numpy_shufflenet.cost.kinds import ADDITION, ORDER
from numpy_shufflenet.nn import Layer, OperationLayer

OTHER = "the rest"
"""Time in composed layers that add nothing: calls, and no numbers."""


@contextlib.contextmanager
def own_times() -> Iterator[dict[int, float]]:
    """Note, inside of the block, the seconds of each layer's forwards, by id(layer).

    Time in layers within is theirs. This is the one place that looks into the clock of a network.
    """
    original = Layer.forward
    seconds: dict[int, float] = {}
    within = [0.0]

    def timed(self: Layer, x: Any, *, training: bool = False) -> Any:
        within.append(0.0)
        start = time.perf_counter()
        try:
            return original(self, x, training=training)
        finally:
            elapsed = time.perf_counter() - start
            own = elapsed - within.pop()
            within[-1] += elapsed
            seconds[id(self)] = seconds.get(id(self), 0.0) + own

    Layer.forward = timed  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        Layer.forward = original  # type: ignore[method-assign]


def shares_by_kind(
    model: Layer,
    x: Array,
    *,
    training: bool = False,
    rounds: int = 10,
    on_run: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Return which share of a forward's run time each kind of operation takes: they sum to 1.

    A median is taken of each layer's times over all rounds. Layers run one by one, as in every
    trace: two that would run as one are told apart. "addition" is also the time that a layer takes
    for itself which adds without a layer for it.
    """
    model.trace(x, training=training)
    model.release()
    times: dict[int, list[float]] = {}
    for _ in range(rounds):
        with own_times() as seconds:
            model.trace(x, training=training)
        model.release()
        for key, value in seconds.items():
            times.setdefault(key, []).append(value)
        on_run()
    kinds: dict[str, float] = {}
    for _, layer in model.named_layers():
        if id(layer) not in times:
            continue
        if isinstance(layer, OperationLayer):
            kind = operations.find(layer.operation).kind
        else:
            adds = layer.own_additions((1, 2, 1, 1), (1, 2, 1, 1))[0]
            kind = ADDITION if adds else OTHER
        kinds[kind] = kinds.get(kind, 0.0) + float(np.median(times[id(layer)]))
    total = sum(kinds.values())
    order = [*ORDER, OTHER]
    return {kind: kinds[kind] / total for kind in sorted(kinds, key=order.index)}
