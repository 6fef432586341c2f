"""The record of one run of a network: the outputs of its layers."""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from numpy_shufflenet import nn
from numpy_shufflenet._typing import Array

if TYPE_CHECKING:
    from numpy_shufflenet.models import ImageClassifier

KINDS: dict[str, type[nn.Layer]] = {
    "concat": nn.ChannelConcat,
    "shuffle": nn.ChannelShuffle,
    "pool": nn.MaxPool2d,
}
"""The kinds of layers without weights that are compared, and our classes of them."""


@dataclass
class ConvBlock:
    """A convolution, and the batch normalisation after it, which may be missing."""

    conv: str
    weight: Array  # o c/g kh kw
    groups: int
    output: Array
    norm: str = ""
    normalised: Array | None = None
    ours: str = ""  #: Our name of the convolution, if the names in the other network are known.
    #: The channels of the other network in our order, if both orders are known.
    order: Array | None = None

    @property
    def signature(self) -> tuple[int, ...]:
        """The shape of the weights and the groups, which matching convolutions share."""
        return (*self.weight.shape, self.groups)

    def __str__(self) -> str:
        groups = f" in {self.groups} groups" if self.groups > 1 else ""
        return f"{self.conv} of shape {self.weight.shape}{groups}"


class LayerOutput(NamedTuple):
    """The output of a layer without weights."""

    name: str
    array: Array
    order: Array | None = None


@dataclass
class Record:
    """The outputs of one run."""

    blocks: list[ConvBlock] = field(default_factory=list)
    #: Layers without weights, by their kind.
    others: dict[str, list[LayerOutput]] = field(default_factory=dict)
    #: Parts of the network by the names of the convolutions within.
    units: dict[frozenset[str], LayerOutput] = field(default_factory=dict)
    #: Whether a unit's output is shuffled at the start of the next unit.
    shuffles_late: bool = False
    logits: Array | None = None


def post_order(layer: nn.Layer, name: str = "") -> Iterator[tuple[str, nn.Layer]]:
    """Yield all layers with their names, each after the layers within."""
    for child_name, child in layer.children().items():
        yield from post_order(child, f"{name}.{child_name}" if name else child_name)
    yield name, layer


def record_ours(model: "ImageClassifier", x: Array) -> Record:
    """Run a network of ours in evaluation mode."""
    activations = model.trace(x).activations
    model.release()
    found = Record(logits=activations["output"])
    layers = list(post_order(model))
    # V1 has a ReLU after its concatenation. Other libraries have the ReLU before it, with the same
    # output, so the concatenations of a V1 are not compared.
    v1 = any(isinstance(layer, nn.ShuffleNetV1Unit) for _, layer in layers)
    kinds = {kind: of_kind for kind, of_kind in KINDS.items() if not (v1 and kind == "concat")}
    for name, layer in layers:
        if isinstance(layer, nn.Conv2d):
            o, weight = len(layer.weight.value), layer.weight.value
            depthwise = layer.operation == "depthwise_conv2d"
            groups = o // layer.multiplier if depthwise else layer.hyperparameters.get("groups", 1)
            found.blocks.append(ConvBlock(name, weight, groups, activations[name]))
        elif isinstance(layer, nn.BatchNorm2d) and found.blocks:
            found.blocks[-1].norm, found.blocks[-1].normalised = name, activations[name]
        elif isinstance(layer, nn.ShuffleNetV1Unit | nn.ShuffleNetV2Unit):
            within = frozenset(b.conv for b in found.blocks if b.conv.startswith(f"{name}."))
            found.units[within] = LayerOutput(name, activations[name])
        for kind, of_kind in kinds.items():
            if isinstance(layer, of_kind):
                found.others.setdefault(kind, []).append(LayerOutput(name, activations[name]))
    return found


def paired(
    ours: Sequence[ConvBlock], theirs: Sequence[ConvBlock]
) -> list[tuple[ConvBlock, ConvBlock]]:
    """Return pairs of our convolution and the matching convolution of the other network.

    Convolutions are matched by names if all names are known. Otherwise the shapes of the weights
    decide: the first convolution of a shape belongs to the first one of the same shape, and so on.
    """
    by_name = {block.ours: block for block in theirs}
    if by_name.keys() == {block.conv for block in ours}:
        for block in ours:
            if by_name[block.conv].signature != block.signature:
                raise ValueError(f"our convolution is {block}, theirs is {by_name[block.conv]}")
        return [(block, by_name[block.conv]) for block in ours]
    waiting: dict[tuple[int, ...], deque[ConvBlock]] = defaultdict(deque)
    for block in theirs:
        waiting[block.signature].append(block)
    pairs = []
    for number, block in enumerate(ours):
        queue = waiting[block.signature]
        if not queue:
            shown = f"; number {number + 1} there is {theirs[number]}" if theirs[number:] else ""
            raise ValueError(
                f"ours has {len(ours)} convolutions, theirs {len(theirs)}; theirs has none for our "
                f"{block}{shown}"
            )
        pairs.append((block, queue.popleft()))
    left = [block for queue in waiting.values() for block in queue]
    if left:
        raise ValueError(
            f"ours has {len(ours)} convolutions, theirs {len(theirs)}; ours has none for their "
            f"{left[0]}"
        )
    return pairs
