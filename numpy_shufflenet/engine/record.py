"""The recorder for training: it runs a network's forward in training mode on symbolic channels.

It does for training what `plan.record` does for inference; batch normalisation uses the statistics
of the batch, and dropout is on. The outputs of batch normalisation and ReLU are not stored: both
become part of the *view* of the channels before them (see `rows`).
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn import Layer
from numpy_shufflenet.ops.checks import as_padding, as_pair
from numpy_shufflenet.plan.record import Channel, Node, Recorder, Rows, Unsupported

NORMALISED = ("product", "convolution", "depthwise", "pool", "linear")
"""Kinds of nodes that batch normalisation may follow: they also compute their outputs' moments."""


@dataclass(eq=False)
class Stored:
    """A node whose output is stored, and the view of it that its readers see.

    Attributes
    ----------
    node : Node
    norm : Node or None
        The batch normalisation of the output.
    relu : set of int
        The channels of the output that a ReLU follows.
    """

    node: Node
    norm: Node | None = None
    relu: set[int] = field(default_factory=set)


def record_training(model: Layer, shape: tuple[int, ...]) -> list[Stored]:
    """Return the stored outputs of a network's forward in training mode, in order.

    Parameters
    ----------
    model : Layer
    shape : (c, h, w)
        Shape of one image.

    Raises
    ------
    Unsupported
        If a training program can't run an operation of the network.
    """
    recorder = _TrainingRecorder()
    c, h, w = shape
    image = recorder.note(Node("input", (), c, h, w))

    def run(x: Rows) -> Any:
        return model.forward(x, training=True)

    logits = backend.record_calls(recorder, run, image)
    stored = _with_views(recorder.nodes)
    last = stored[-1]
    if getattr(logits, "rows", ()) != last.node.rows().rows or last.node.kind != "linear":
        raise Unsupported("the network doesn't end in a linear layer")
    return stored


class _TrainingRecorder(Recorder):
    def batch_norm(self, x: Rows, gamma: Array, beta: Array, *, eps: float) -> Rows:
        return self.note(Node("norm", x.rows, len(x.rows), x.h, x.w, gamma, beta, {"eps": eps}))

    def depthwise_conv2d(self, x: Rows, w: Array, b: Array | None, **settings: Any) -> Rows:
        """Record "depthwise" if it has the form that ShuffleNet uses, else a group convolution."""
        stride = as_pair("stride", settings.get("stride", 1))
        usual = (
            b is None
            and len(w) == len(x.rows)
            and w.shape[2:] == (3, 3)
            and stride[0] == stride[1] <= 2
            and as_padding(settings.get("padding", 0)) == ((1, 1), (1, 1))
            and as_pair("dilation", settings.get("dilation", 1)) == (1, 1)
        )
        if usual:
            return self._convolution("depthwise", x, w, b, settings)
        return self.conv2d(x, w, b, groups=len(x.rows), **settings)

    def _pool(self, which: str, x: Rows, settings: dict[str, Any]) -> Rows:
        if as_padding(settings["padding"]) != ((1, 1), (1, 1)) or which == "average inside":
            raise Unsupported(
                f"{which} pooling with {settings}; padding 1 is needed, and averages of 9 numbers"
            )
        return super()._pool(which, x, settings)

    def dropout(self, x: Rows, *, rate: float, rng: np.random.Generator) -> Rows:
        if x.h * x.w > 1:
            raise Unsupported("a training program runs dropout on features, not on images")
        settings = {"rate": rate, "rng": rng}
        mask = self.note(Node("mask", (), len(x.rows), 1, 1, settings=settings))
        return self.note(Node("scale", x.rows + mask.rows, len(x.rows), x.h, x.w))

    def global_avg_pool(self, x: Rows) -> Rows:
        return self.note(Node("mean", x.rows, len(x.rows), 1, 1))

    def squeeze_excitation(self, x: Rows, w1: Array, b1: Array, w2: Array, b2: Array) -> Rows:
        means = self.global_avg_pool(x)
        z = self.linear(self.relu(self.linear(means, w1, b1)), w2, b2)
        e = self.note(Node("sigmoid", z.rows, len(z.rows), 1, 1))
        return self.note(Node("scale", x.rows + e.rows, len(x.rows), x.h, x.w))


def _with_views(nodes: list[Node]) -> list[Stored]:
    """Make batch normalisation and ReLU part of the views of the nodes before them."""
    readers = Counter(channel for node in nodes for channel in node.inputs)
    stored: dict[Node, Stored] = {}
    seen: dict[Channel, Channel] = {}  # from a channel of a norm or ReLU to the stored one below it
    for node in nodes:
        node.inputs = tuple(seen.get(channel, channel) for channel in node.inputs)
        if node.kind not in ("norm", "relu"):
            stored[node] = Stored(node)
            continue
        if any(readers[channel] > 1 for channel in node.inputs):
            raise Unsupported(f"an output before a {node.kind} is also read without it")
        if node.kind == "norm":
            maker = stored[node.inputs[0].node]
            if node.inputs != maker.node.rows().rows or maker.norm or maker.relu:
                raise Unsupported(
                    "a batch normalisation must read all channels of one operation directly"
                )
            if maker.node.kind not in NORMALISED:
                raise Unsupported(
                    f"a batch normalisation follows this operation: {maker.node.kind}"
                )
            maker.norm = node
        for i, channel in enumerate(node.inputs):
            if node.kind == "relu":
                stored[channel.node].relu.add(channel.channel)
            seen[Channel(node, i)] = channel
            readers[channel] = readers[Channel(node, i)]
    return list(stored.values())
