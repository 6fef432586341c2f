"""The recorder: runs the network's forward on symbolic channels, and records each operation.

`Rows` is a symbolic activation: a list of channels, which hold no numbers. It passes through the
layers like an array, and each operation on it becomes a `Node`. Split, concatenation and shuffle
only reorder the channels, so they cost nothing when the network runs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._typing import Array
from numpy_shufflenet.nn import Layer
from numpy_shufflenet.ops.checks import as_padding, as_pair


class Unsupported(ValueError):  # noqa: N818 - no "Error" needed: the name says what happened
    """A plan or a training program can't run a layer of this network."""


class Channel(NamedTuple):
    """One channel of a node's output."""

    node: "Node"
    channel: int


@dataclass(eq=False)
class Node:
    """One operation of the recorded network.

    Attributes
    ----------
    kind : str
        "input", "convolution", "product", "depthwise", "pool", "add", "relu", "mean", "linear" or
        "scale".
    inputs : tuple of Channel
    channels, h, w : int
        Shape of its output for one image.
    weights, bias : array
        Weights (o, c / groups, kh, kw) or (o, features), and bias (o,).
    settings : dict
        Hyperparameters.
    relu : bool
        Whether negative values of its output become 0.
    shortcut : tuple of Channel
        The channels that a product adds to its output before the ReLU: one for each output channel,
        or none.
    before : Node or None
        The product that is fused with a depthwise convolution: only this node reads its output.
    """

    kind: str
    inputs: tuple[Channel, ...]
    channels: int
    h: int
    w: int
    weights: Array = field(default_factory=lambda: np.empty(0))
    bias: Array = field(default_factory=lambda: np.empty(0))
    settings: dict[str, Any] = field(default_factory=dict)
    relu: bool = False
    shortcut: tuple[Channel, ...] = ()
    before: "Node | None" = None

    def rows(self) -> "Rows":
        """Return its output."""
        return Rows(tuple(Channel(self, i) for i in range(self.channels)), self.h, self.w)

    def reads(self) -> tuple[Channel, ...]:
        """Return all channels that it reads from memory."""
        return (self.before.inputs if self.before else self.inputs) + self.shortcut

    def __repr__(self) -> str:
        return f"Node({self.kind}, {self.channels}x{self.h}x{self.w})"


class Rows:
    """A symbolic activation of one image: its channels, and their height and width."""

    ndim = 4
    dtype = np.dtype(np.float32)

    def __init__(self, rows: tuple[Channel, ...], h: int, w: int):
        self.rows = rows
        self.h = h
        self.w = w

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(1, channels, h, w)."""
        return 1, len(self.rows), self.h, self.w

    def take(self, order: Any) -> "Rows":
        """Return these channels in another order."""
        return Rows(tuple(self.rows[i] for i in order), self.h, self.w)

    def _compute(self, *_: Any) -> Any:
        raise Unsupported(
            "a layer computes by itself; only calls of the package's operations can be recorded"
        )

    __array__ = __getitem__ = __len__ = __iter__ = __neg__ = __abs__ = __bool__ = _compute
    __add__ = __sub__ = __mul__ = __truediv__ = __matmul__ = __pow__ = _compute
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rmatmul__ = __rpow__ = _compute
    __lt__ = __le__ = __gt__ = __ge__ = _compute

    def __getattr__(self, name: str) -> Any:
        """Raise Unsupported for the methods of an array."""
        return super().__getattribute__(name) if name.startswith("__") else self._compute()


def record(model: Layer, shape: tuple[int, ...]) -> list[Node]:
    """Return the operations of a network's inference, in order; the last one is its output.

    Parameters
    ----------
    model : Layer
        Its batch normalisations are folded.
    shape : (c, h, w)
        Shape of one image.

    Raises
    ------
    Unsupported
        If a plan can't run an operation of the network.
    """
    recorder = Recorder()
    c, h, w = shape
    image = recorder.note(Node("input", (), c, h, w))
    logits = backend.record_calls(recorder, model.forward, image)
    if not recorder.nodes or logits.rows[0].node is not recorder.nodes[-1]:
        raise Unsupported("the network's output isn't the output of its last operation")
    return recorder.nodes


class Recorder:
    """Records every call of `backend.forward`."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def __call__(self, name: str, *arrays: Any, **settings: Any) -> Any:
        first, relu, _ = name.partition("_relu")
        handler: Callable[..., Any] | None = getattr(self, first, None)
        if handler is None:
            raise Unsupported(
                f"a plan can't run {name}; it runs convolutions (with batch normalisation folded "
                "into them), pooling, additions, ReLU, and operations that move channels"
            )
        x = handler(*arrays, **settings)
        return self.relu(x) if relu else x

    def note(self, node: Node) -> Rows:
        self.nodes.append(node)
        return node.rows()

    # Operations that compute

    def conv2d(self, x: Rows, w: Array, b: Array | None, **settings: Any) -> Rows:
        return self._convolution("convolution", x, w, b, settings)

    group_conv2d = conv2d

    def pointwise_conv2d(self, x: Rows, w: Array, b: Array | None, *, groups: int) -> Rows:
        return self._convolution("product", x, w, b, {"groups": groups})

    def depthwise_conv2d(self, x: Rows, w: Array, b: Array | None, **settings: Any) -> Rows:
        _check_window("depthwise_conv2d", w.shape[2:], settings, strides=(1, 2))
        if len(w) != len(x.rows):
            raise Unsupported(
                "a plan can't run a depthwise convolution with more outputs than inputs"
            )
        return self._convolution("depthwise", x, w, b, settings)

    def _convolution(
        self, kind: str, x: Rows, w: Array, b: Array | None, settings: dict[str, Any]
    ) -> Rows:
        stride, dilation = (as_pair(key, settings.get(key, 1)) for key in ("stride", "dilation"))
        (top, bottom), (left, right) = as_padding(settings.get("padding", 0))
        o, _, kh, kw = w.shape
        h = (x.h + top + bottom - dilation[0] * (kh - 1) - 1) // stride[0] + 1
        wide = (x.w + left + right - dilation[1] * (kw - 1) - 1) // stride[1] + 1
        _check_image((kh, kw), x, h, wide)
        geometry = {"stride": stride, "dilation": dilation, "padding": (top, left)}
        settings = {"groups": settings.get("groups", 1), **geometry}
        bias = np.zeros(o, np.float32) if b is None else b
        return self.note(Node(kind, x.rows, o, h, wide, w, bias, settings))

    def max_pool2d(self, x: Rows, **settings: Any) -> Rows:
        return self._pool("max", x, settings)

    def avg_pool2d(self, x: Rows, **settings: Any) -> Rows:
        counted = settings.pop("count_include_pad", True)
        return self._pool("average" if counted else "average inside", x, settings)

    def _pool(self, which: str, x: Rows, settings: dict[str, Any]) -> Rows:
        window = as_pair("kernel_size", settings["kernel_size"])
        _check_window(f"{which} pooling", window, settings, strides=(2,))
        (top, bottom), (left, right) = as_padding(settings["padding"])
        h, w = (x.h + top + bottom - 3) // 2 + 1, (x.w + left + right - 3) // 2 + 1
        _check_image(window, x, h, w)
        settings = {"which": which, "padding": (top, left)}
        return self.note(Node("pool", x.rows, len(x.rows), h, w, settings=settings))

    def add(self, x: Rows, y: Rows) -> Rows:
        return self.note(Node("add", x.rows + y.rows, len(x.rows), x.h, x.w))

    def relu(self, x: Rows) -> Rows:
        return self.note(Node("relu", x.rows, len(x.rows), x.h, x.w))

    def global_avg_pool(self, x: Rows) -> Rows:
        return self.note(Node("mean", x.rows, len(x.rows), x.h, x.w))

    def linear(self, x: Rows, w: Array, b: Array | None) -> Rows:
        bias = np.zeros(len(w), np.float32) if b is None else b
        return self.note(Node("linear", x.rows, len(w), 1, 1, w, bias))

    def squeeze_excitation(self, x: Rows, w1: Array, b1: Array, w2: Array, b2: Array) -> Rows:
        means = self.global_avg_pool(x)
        excitation = self.linear(self.relu(self.linear(means, w1, b1)), w2, b2)
        excitation.rows[0].node.settings["sigmoid"] = True
        return self.note(Node("scale", x.rows + excitation.rows, len(x.rows), x.h, x.w))

    # Operations that only move channels

    def channel_split(self, x: Rows, *, sizes: tuple[int, ...]) -> tuple[Rows, ...]:
        ends = np.cumsum(sizes)
        return tuple(x.take(range(end - n, end)) for end, n in zip(ends, sizes, strict=True))

    def channel_concat(self, *parts: Rows) -> Rows:
        return Rows(sum((part.rows for part in parts), ()), parts[0].h, parts[0].w)

    def channel_shuffle(self, x: Rows, *, groups: int) -> Rows:
        return x.take(np.arange(len(x.rows)).reshape(groups, -1).T.ravel())

    def channel_concat_shuffle(self, *parts: Rows, groups: int) -> Rows:
        return self.channel_shuffle(self.channel_concat(*parts), groups=groups)


def _check_window(
    what: str, window: tuple[int, ...], settings: dict[str, Any], *, strides: tuple[int, ...]
) -> None:
    """Raise Unsupported unless it is the 3x3 window that ShuffleNets use."""
    stride = as_pair("stride", settings.get("stride", 1))
    padding = as_padding(settings.get("padding", 0))
    fits = (
        tuple(window) == (3, 3)
        and stride[0] == stride[1] in strides
        and (padding == ((1, 1), (1, 1)) or (stride[0] == 2 and max(map(max, padding)) <= 1))
        and as_pair("dilation", settings.get("dilation", 1)) == (1, 1)
    )
    if not fits:
        raise Unsupported(
            f"a plan can't run {what} with a window of {tuple(window)} and {settings}; it needs "
            f"3x3, stride {' or '.join(map(str, strides))}, padding 1, or 0 and 1 at stride 2"
        )


def _check_image(window: tuple[int, int], x: Rows, h: int, w: int) -> None:
    """Raise Unsupported unless the output has pixels."""
    if h < 1 or w < 1:
        kh, kw = window
        raise Unsupported(f"the image is too small: a {kh}x{kw} window doesn't fit in {x.h}x{x.w}")
