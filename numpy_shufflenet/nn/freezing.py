"""Frozen layers: parts of a network that training leaves as they are.

A frozen layer runs as in evaluation: batch normalisation uses its running statistics and doesn't
update them. Its backward computes the input gradient alone, for the layers below.

The input gradient of a pointwise convolution, and of a depthwise one that keeps the size, is itself
such a convolution of dy, with the matrix transposed or the window turned round. So it takes the
time of a forward, where the whole backward takes twice as long.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn.parameter import Parameter


class Freezable:
    """What `Layer` has for freezing."""

    _frozen = False

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Yield this layer and all layers within, by name; see `Layer`."""
        raise NotImplementedError

    @property
    def frozen(self) -> bool:
        """Whether training leaves this layer as it is. To set it also sets all layers within.

        In a training forward, a frozen layer runs in evaluation mode. Backward doesn't add to the
        gradients of its parameters, so an optimiser neither updates them nor lets them decay.
        """
        return self._frozen

    @frozen.setter
    def frozen(self, value: bool) -> None:
        for _, layer in self.named_layers():
            layer._frozen = bool(value)
            for attribute in vars(layer).values():
                if isinstance(attribute, Parameter):
                    attribute.frozen = bool(value)

    def freeze(self, *names: str) -> None:
        """Freeze layers by name, such as "conv1", "stage2" or "stage3.0"; see `frozen`.

        `layer.frozen = True` freezes a whole layer, and `layer.frozen = False` undoes it.

        Raises
        ------
        ValueError
            If there are no names, or there is no layer of a name. Then nothing changes.
        """
        layers = dict(self.named_layers())
        outer = ", ".join(name for name in layers if name and "." not in name)
        for name in names:
            if not name or name not in layers:
                raise ValueError(
                    f"there is no layer {name!r} to freeze; there are {outer}, "
                    "and layers within them, such as 'stage2.0'"
                )
        if not names:
            raise ValueError(f"names of layers to freeze are needed; there are {outer}")
        for name in names:
            layers[name].frozen = True

    def frozen_layers(self) -> list[str]:
        """Return the names of the frozen layers; layers within a frozen one are left out.

        "" is the name of the layer itself.
        """
        found: list[str] = []
        for name, layer in self.named_layers():
            within = any(not outer or name.startswith(f"{outer}.") for outer in found)
            if layer.frozen and not within:
                found.append(name)
        return found


def input_gradient(
    operation: str, w: Array, hyperparameters: Mapping[str, Any], dy: Array
) -> Array | None:
    """Return dx of a convolution if it is the same operation on dy, else None.

    Parameters
    ----------
    operation : str
        Name of the operation of the convolution.
    w : array, shape (o, c / groups, kh, kw)
    hyperparameters : dict
        Arguments of the operation.
    dy : array, shape (n, o, h, w)
    """
    if operation == "pointwise_conv2d":
        groups = hyperparameters["groups"]
        o, c = w.shape[:2]
        by_group = w.reshape(groups, o // groups, c)  # g o/g c/g
        turned = np.ascontiguousarray(by_group.transpose(0, 2, 1)).reshape(-1, o // groups, 1, 1)
        return backend.forward(operation, dy, turned, None, groups=groups)[0]
    size = 2 * hyperparameters.get("padding", 0) + 1 if operation == "depthwise_conv2d" else 0
    plain = hyperparameters.get("stride") == 1 == hyperparameters.get("dilation")
    if plain and w.shape == (dy.shape[1], 1, size, size):
        turned = np.ascontiguousarray(w[:, :, ::-1, ::-1])
        return backend.forward(operation, dy, turned, None, **hyperparameters)[0]
    return None
