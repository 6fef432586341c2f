"""The same stack in PyTorch, to measure beside ours; PyTorch is imported when it is asked for."""

from collections.abc import Callable
from typing import Any

from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn import Conv2d, Layer, ReLU, Sequential, Sum


def in_torch(model: Layer, x: Array) -> Callable[[], Any]:
    """Return a function that runs the same network, with the same weights, on x in PyTorch.

    Parameters
    ----------
    model : Layer
        Of `Sequential`, `Sum`, `Conv2d` and `ReLU`.
    x : array, shape (n, c, h, w)

    Raises
    ------
    ImportError
        If PyTorch isn't installed.
    ValueError
        If there is another layer in it.
    """
    try:
        import torch
    except ImportError:
        raise ImportError(
            'measuring PyTorch needs it: pip install "numpy_shufflenet[peers]"'
        ) from None
    network = _module(model, torch).eval()
    tensor = torch.from_numpy(x)

    def forward() -> Any:
        with torch.inference_mode():
            return network(tensor)

    return forward


def _module(layer: Layer, torch: Any) -> Any:
    if isinstance(layer, Sequential):
        return torch.nn.Sequential(*(_module(child, torch) for child in layer))
    if isinstance(layer, ReLU):
        return torch.nn.ReLU()
    if isinstance(layer, Sum):
        branches = [_module(child, torch) for child in layer.children().values()]

        class Added(torch.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.branches = torch.nn.ModuleList(branches)

            def forward(self, x: Any) -> Any:
                first, *rest = self.branches
                y = first(x)
                for branch in rest:
                    y = y + branch(x)
                return y

        return Added()
    if isinstance(layer, Conv2d):
        weight = layer.weight.value
        o, share, kh, kw = weight.shape
        groups = layer.hyperparameters.get("groups", 1)
        convolution = torch.nn.Conv2d(
            share * groups,
            o,
            (kh, kw),
            stride=layer.hyperparameters.get("stride", 1),
            padding=layer.hyperparameters.get("padding", 0),
            groups=groups,
            bias=False,
        )
        with torch.no_grad():
            convolution.weight.copy_(torch.from_numpy(weight))
        return convolution
    raise ValueError(f"{type(layer).__name__} is not one of Sequential, Sum, Conv2d, ReLU")
