"""How the run time of a network divides among its kinds of operations."""

from collections.abc import Callable

import numpy as np

from numpy_shufflenet import operations
from numpy_shufflenet._typing import Array
from numpy_shufflenet.cost.kinds import ADDITION, ORDER
from numpy_shufflenet.nn import Layer, OperationLayer

OTHER = "the rest"
"""The time that composed layers spend outside their child layers, which is overhead of calls."""


def shares_by_kind(
    model: Layer,
    x: Array,
    *,
    training: bool = False,
    rounds: int = 10,
    on_run: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Return the share of each kind of operation in the run time of a forward; they sum to 1.

    The time of a layer is its median over all rounds. Layers run one by one, as in every trace, so
    no two are fused. If a unit adds its branches itself, the time that it spends outside its child
    layers counts as "addition".

    Parameters
    ----------
    x : array, shape (n, c, h, w)
    rounds : int
        Number of measured forwards; one more forward runs first, unmeasured.
    on_run : callable, optional
        Called after each measured forward.
    """
    model.trace(x, training=training)
    model.release()
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        seconds = model.trace(x, training=training).seconds
        model.release()
        for name, value in seconds.items():
            times.setdefault(name, []).append(value)
        on_run()
    kinds: dict[str, float] = {}
    for name, layer in model.named_layers():
        if (name or "output") not in times:
            continue
        if isinstance(layer, OperationLayer):
            kind = operations.find(layer.operation).kind
        else:
            adds = layer.own_additions((1, 2, 1, 1), (1, 2, 1, 1))[0]
            kind = ADDITION if adds else OTHER
        kinds[kind] = kinds.get(kind, 0.0) + float(np.median(times[name or "output"]))
    total = sum(kinds.values())
    order = [*ORDER, OTHER]
    return {kind: kinds[kind] / total for kind in sorted(kinds, key=order.index)}
