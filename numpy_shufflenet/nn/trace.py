"""A record of one forward and backward: every activation, gradient and run time by name."""

import time
from collections.abc import Iterable
from typing import Any


class Trace:
    """What `Layer.trace` returns.

    Attributes
    ----------
    activations : dict of str to array
        The output of every layer by its name; also "input" and "output" of the whole
        network. A layer that returns several arrays has a tuple.
    gradients : dict of str to array
        After `backward`: the gradient with respect to each of the activations.
    inputs : dict of str to array
        The input of each layer.
    seconds : dict of str to float
        The time of each layer's forward, without the time of layers within this layer.
    """

    def __init__(self, named_layers: Iterable[tuple[str, Any]]):
        self.activations: dict[str, Any] = {}
        self.gradients: dict[str, Any] = {}
        self.inputs: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.recording = False
        self._names = {id(layer): name for name, layer in named_layers}
        self._within = [0.0]  # for each layer that runs now, seconds of its child layers

    def forward(self, layer: Any, x: Any, training: bool) -> Any:
        """Run a layer's forward, and record its input, its output and its time."""
        name = self._names[id(layer)]
        key = name or "output"
        self._within.append(0.0)
        start = time.perf_counter()
        y = layer._forward(x, training)
        elapsed = time.perf_counter() - start
        self.seconds[key] = self.seconds.get(key, 0.0) + elapsed - self._within.pop()
        self._within[-1] += elapsed
        self.inputs[key] = x
        self.activations[key] = y
        if not name:
            self.activations = {"input": x, **self.activations}
        return y

    def record_backward(self, layer: Any, dy: Any, dx: Any) -> None:
        """Record the gradient of a layer's output and, for the whole network, of its input."""
        name = self._names[id(layer)]
        self.gradients[name or "output"] = dy
        if not name:
            self.gradients["input"] = dx

    def __repr__(self) -> str:
        return f"Trace({len(self.activations)} activations, {len(self.gradients)} gradients)"
