"""Layers that run one after the other."""

from collections.abc import Iterator, Sequence
from typing import Any

from numpy_shufflenet.nn.fusion import Chain
from numpy_shufflenet.nn.layer import Layer


class Sequential(Layer):
    """Runs layers one after the other. Each is named by its number."""

    def __init__(self, *layers: Layer):
        super().__init__()
        self.replace(layers)

    def replace(self, layers: Sequence[Layer]) -> None:
        """Replace the layers."""
        self._chain = Chain(*layers)

    def _forward(self, x: Any, training: bool) -> Any:
        return self._chain.forward(x, training=training)

    def _backward(self, dy: Any) -> Any:
        return self._chain.backward(dy)

    def children(self) -> dict[str, Layer]:
        """Return the layers by number: "0", "1", ..."""
        return {str(number): layer for number, layer in enumerate(self._chain.layers)}

    def __len__(self) -> int:
        return len(self._chain.layers)

    def __getitem__(self, number: int) -> Layer:
        return self._chain.layers[number]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._chain.layers)
