"""Times that can be compared: interleaved runs, ratios with intervals, and shares by kind.

What else a machine does changes from minute to minute, by more than what is to be measured. So all
that is compared runs in turn, round by round, and each round gives one ratio; their median is
quoted with an interval that assumes nothing about how times are distributed.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.cost.kinds import ADDITION, ORDER, kind_of
from numpy_shufflenet.nn import Layer, OperationLayer

OTHER = "the rest"
"""Time in composed layers that add nothing: calls, and no numbers."""

CONFIDENCE = 0.95
FEWEST_ROUNDS = 6  # with fewer, no interval of two measured ratios is 95 % sure


class Interval(NamedTuple):
    """A median, and bounds that hold the true one with 95 % confidence."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def median_interval(values: Sequence[float] | Array) -> Interval:
    """Return the median of independent values, and its confidence interval by order statistics.

    The true median lies below k of n values with the probability of so many heads in n tosses;
    the bounds leave out as many values on either side as 95 % allow.

    Raises
    ------
    ValueError
        If there are fewer than 6 values.
    """
    ordered = np.sort(np.asarray(values, float))
    n = len(ordered)
    if n < FEWEST_ROUNDS:
        raise ValueError(f"{n} values give no 95 % interval; at least {FEWEST_ROUNDS} are needed")
    tail, left_out = 0.0, 0
    while True:
        tail += math.comb(n, left_out) / 2**n  # P(at most left_out of n below the median)
        if 2 * tail > 1 - CONFIDENCE:
            break
        left_out += 1
    return Interval(
        float(np.median(ordered)), float(ordered[left_out - 1]), float(ordered[n - left_out])
    )


def interleave(
    runs: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    min_seconds: float = 0.01,
    seed: int = 0,
    on_run: Callable[[str], object] = lambda name: None,
) -> dict[str, Array]:
    """Time several functions in turn.

    Parameters
    ----------
    runs : mapping of str to function
    rounds : int
        In each, every function has one turn, in a new order.
    min_seconds : float
        A turn calls its function as often as it takes to last so long.
    seed : int
        Of the orders.
    on_run : callable, optional
        Called with a name after each turn; warming up is a turn too.

    Returns
    -------
    dict of str to array, shape (rounds,)
        Seconds of one call, round by round.
    """
    calls = {}
    for name, run in runs.items():
        run()  # the first call may compile, or touch memory for the first time
        start = time.perf_counter()
        run()
        calls[name] = max(1, round(min_seconds / max(time.perf_counter() - start, 1e-9)))
        on_run(name)
    rng = np.random.default_rng(seed)
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for position in rng.permutation(len(names)):
            name = names[position]
            start = time.perf_counter()
            for _ in range(calls[name]):
                runs[name]()
            seconds[name].append((time.perf_counter() - start) / calls[name])
            on_run(name)
    return {name: np.array(values) for name, values in seconds.items()}


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
            kind = kind_of(layer.operation)
        else:
            adds = layer.own_additions((1, 2, 1, 1), (1, 2, 1, 1))[0]
            kind = ADDITION if adds else OTHER
        kinds[kind] = kinds.get(kind, 0.0) + float(np.median(times[id(layer)]))
    total = sum(kinds.values())
    order = [*ORDER, OTHER]
    return {kind: kinds[kind] / total for kind in sorted(kinds, key=order.index)}
