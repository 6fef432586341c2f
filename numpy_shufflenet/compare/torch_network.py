"""A network in PyTorch: its layers' outputs by hooks, and its running statistics."""

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import Array
from numpy_shufflenet.compare.record import ConvBlock, LayerOutput, Record
from numpy_shufflenet.weights import layouts


class TorchNetwork:
    """A copy of a PyTorch module in float32 and evaluation mode, on the CPU."""

    def __init__(self, module: Any):
        self.torch = need("torch", "comparing with PyTorch")
        self.module = copy.deepcopy(module).float().cpu().eval()
        self.names = {id(part): name for name, part in self.module.named_modules()}
        kind = self.torch.nn.Conv2d
        named = self.module.named_modules()
        self.convolutions = {name: part for name, part in named if isinstance(part, kind)}
        self.ours, self.orders, self.layout = self._recognised()

    def run(self, x: Array) -> Record:
        """Return the outputs of all layers."""
        torch, found = self.torch, Record()
        units = self._units()
        kinds = {torch.nn.MaxPool2d: "pool", torch.nn.ChannelShuffle: "shuffle"}
        others: dict[str, list[LayerOutput]] = defaultdict(list)
        last: list[Any] = [None]  # the output of the last convolution
        hooks = []

        def convolution(part: Any, inputs: Any, y: Any) -> None:
            name = self.names[id(part)]
            block = ConvBlock(name, part.weight.detach().numpy(), part.groups, _array(y))
            block.ours, block.order = self.ours.get(name, ""), self.orders.get(name)
            found.blocks.append(block)
            last[0] = y

        def normalisation(part: Any, inputs: Any, y: Any) -> None:
            if inputs[0] is last[0]:
                block = found.blocks[-1]
                block.norm, block.normalised = self.names[id(part)], _array(y)

        def other(part: Any, inputs: Any, y: Any) -> None:
            output = LayerOutput(self.names[id(part)], _array(y), self._order(y))
            others[kinds[type(part)]].append(output)

        def unit(part: Any, inputs: Any, y: Any) -> None:
            if isinstance(y, torch.Tensor):
                name = self.names[id(part)]
                found.units[units[name]] = LayerOutput(name, _array(y), self._order(y))

        for part in self.module.modules():
            if isinstance(part, torch.nn.Conv2d):
                hooks.append(part.register_forward_hook(convolution))
            elif isinstance(part, torch.nn.BatchNorm2d):
                hooks.append(part.register_forward_hook(normalisation))
            elif type(part) in kinds:
                hooks.append(part.register_forward_hook(other))
            elif self.names[id(part)] in units:
                hooks.append(part.register_forward_hook(unit))
        try:
            with torch.inference_mode():
                y = self.module(torch.from_numpy(np.array(x, np.float32, order="C")))
        except Exception as error:  # the user's module may raise any exception
            raise ValueError(f"theirs can't run images of shape {x.shape}: {error}") from error
        finally:
            for hook in hooks:
                hook.remove()
        if not isinstance(y, torch.Tensor):
            raise ValueError(f"theirs returns {type(y).__name__}; a tensor of logits is needed")
        found.logits = _array(y)
        found.others.update(others)
        # In the authors' V2, each unit begins with the shuffle, instead of ending with it.
        late = self.layout and self.layout.options.get("shuffle_order") == "authors"
        found.shuffles_late = bool(late) and "branch_main." in self.layout.landmark
        return found

    def write_statistics(self, statistics: Mapping[str, tuple[Array, Array]]) -> None:
        """Set running means and variances, in the module's order of channels, by its names."""
        torch = self.torch
        for name, (mean, variance) in statistics.items():
            norm = self.module.get_submodule(name)
            for own, values in ((norm.running_mean, mean), (norm.running_var, variance)):
                if own is None:
                    raise ValueError(f"theirs has no running statistics in {name}")
                own.copy_(torch.from_numpy(np.array(values, np.float32)))

    def _recognised(self) -> tuple[dict[str, str], dict[str, Array], Any]:
        """Return our name and the order of channels of each convolution, if names are known."""
        arrays = {name: value.cpu().numpy() for name, value in self.module.state_dict().items()}
        try:
            layout, own = layouts.recognise(arrays)
            prefix = next(n for n in arrays if n.endswith(layout.landmark))
            prefix = prefix.removesuffix(layout.landmark)
            # Number the channels of each convolution, and see where the numbers end up.
            modules, numbers = layout.modules(), {}
            for name, part in self.convolutions.items():
                numbers[f"{name.removeprefix(prefix)}.bias"] = np.arange(len(part.weight))
            orders = layouts.to_ours(layout, own | numbers)
            ours = {name: modules[name.removeprefix(prefix)] for name in self.convolutions}
        except (ValueError, KeyError):
            return {}, {}, None
        return ours, {name: orders[f"{ours[name]}.bias"] for name in ours}, layout

    def _units(self) -> dict[str, frozenset[str]]:
        """Return the outermost modules with the same convolutions, at least two, by name."""
        found: dict[frozenset[str], str] = {}
        for name, part in self.module.named_modules():
            within = frozenset(conv for conv in self.convolutions if conv.startswith(f"{name}."))
            if len(within) > 1 and part is not self.module:
                found.setdefault(within, name)
        return {name: within for within, name in found.items()}

    def _order(self, y: Any) -> Array | None:
        """Return the order of channels between units."""
        if self.layout is None or y.ndim != 4:
            return None
        return self.layout.change("unit.bias", np.arange(y.shape[1]), None)


def _array(tensor: Any) -> Array:
    """Return a copy: a ReLU in place may overwrite the tensor."""
    return tensor.detach().numpy().copy()


def load_factory(spec: str) -> Any:
    """Call the function "package.module:name", and return the PyTorch module that it builds."""
    import importlib

    torch = need("torch", "comparing with PyTorch")
    module_name, _, name = spec.partition(":")
    if not module_name or not name.isidentifier():
        raise ValueError(f"{spec!r} is neither a file that ends in .onnx, nor MODULE:FUNCTION")
    if module_name.partition(".")[0] in ("torch", "torchvision", "pytorchcv"):
        module = need(module_name, f"THEIRS, {spec},", extra="peers")
    else:
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise ValueError(f"{spec!r} can't be imported: {error}") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        raise ValueError(f"{spec!r}: {module_name} has no function {name}")
    try:
        built = factory()
    except TypeError as error:
        raise ValueError(f"{spec!r} can't be called without arguments: {error}") from error
    if not isinstance(built, torch.nn.Module):
        raise ValueError(f"{spec!r} returns {type(built).__name__}; a torch module is needed")
    return built


def load_into(module: Any, arrays: Mapping[str, Array]) -> None:
    """Load the arrays of a file into a module, without the prefixes that the module lacks."""
    torch = need("torch", "comparing with PyTorch")
    own = module.state_dict()
    landmark = next((name for name in own if name.endswith("weight")), "")
    ends = [name for name in arrays if name == landmark or name.endswith(f".{landmark}")]
    prefix = min(ends, key=len, default=landmark).removesuffix(landmark)
    tensors = {
        name.removeprefix(prefix): torch.from_numpy(np.array(array))
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    counters = {name: own[name] for name in own if name.endswith("num_batches_tracked")}
    try:
        module.load_state_dict(counters | tensors)
    except RuntimeError as error:
        raise ValueError(f"the weights don't fit theirs: {error!s:.500}") from error
