"""One layer after the other."""

from collections.abc import Iterator
from typing import Any

from numpy_shufflenet.nn.layer import Layer


class Sequential(Layer):
    """Run layers in a row; each is named by its number."""

    def __init__(self, *layers: Layer):
        super().__init__()
        self._layers = layers

    def _forward(self, x: Any, training: bool) -> Any:
        for layer in self._layers:
            x = layer.forward(x, training=training)
        return x

    def _backward(self, dy: Any) -> Any:
        for layer in reversed(self._layers):
            dy = layer.backward(dy)
        return dy

    def children(self) -> dict[str, Layer]:
        """Return the layers by number: "0", "1", ..."""
        return {str(number): layer for number, layer in enumerate(self._layers)}

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, number: int) -> Layer:
        return self._layers[number]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)
