"""A record of one forward and backward: every activation and every gradient by name."""

from collections.abc import Iterable
from typing import Any


class Trace:
    """What `Layer.trace` returns.

    Attributes
    ----------
    activations : dict of str to array
        The output of every layer by its name; also "input", and "output" of the whole.
        Layers that hand on several arrays have a tuple.
    gradients : dict of str to array
        After `backward`: the gradient with respect to each of the activations.
    inputs : dict of str to array
        What each layer was given.
    """

    def __init__(self, named_layers: Iterable[tuple[str, Any]]):
        self.activations: dict[str, Any] = {}
        self.gradients: dict[str, Any] = {}
        self.inputs: dict[str, Any] = {}
        self.recording = False
        self._names = {id(layer): name for name, layer in named_layers}

    def record_forward(self, layer: Any, x: Any, y: Any) -> None:
        """Note what a layer was given and what it returned."""
        name = self._names[id(layer)]
        self.inputs[name or "output"] = x
        self.activations[name or "output"] = y
        if not name:
            self.activations = {"input": x, **self.activations}

    def record_backward(self, layer: Any, dy: Any, dx: Any) -> None:
        """Note the gradients of what a layer returned and, for the whole, of what it was given."""
        name = self._names[id(layer)]
        self.gradients[name or "output"] = dy
        if not name:
            self.gradients["input"] = dx

    def __repr__(self) -> str:
        return f"Trace({len(self.activations)} activations, {len(self.gradients)} gradients)"
