"""The base class of all networks, and the layers that all networks share."""

from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._files import PathLike
from numpy_shufflenet._typing import Array, IntOrPair, Padding
from numpy_shufflenet.models.summary import summary
from numpy_shufflenet.nn import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2d,
    Sequential,
    fold,
    initialise,
)
from numpy_shufflenet.nn.layers import activation_layer
from numpy_shufflenet.ops.checks import check_floating, check_positive, is_sequence

if TYPE_CHECKING:
    from numpy_shufflenet.plan import InferencePlan

BLOCK_PIXELS = 8 * 112 * 112  # pixels of the images in one forward of `infer`


class ImageClassifier(Layer):
    """A network from images (n, c, h, w) to logits (n, classes).

    A network that is built with `classifier=False` ends after its last stage: see `stage_outputs`.

    Its children run one after the other, in the order in which they are set.

    Attributes
    ----------
    config : dict
        The name of the function that built the model, and its keyword arguments: enough to build
        it again.
    in_channels, num_classes : int
        num_classes is 0 if there is no classifier.
    default_size : int
        Usual height and width of the images.
    """

    conv1: Sequential
    maxpool: MaxPool2d
    pool: GlobalAvgPool
    dropout: Dropout
    fc: Linear

    _skipped = 0  # how many children at the beginning kept nothing in the last forward
    _needs_dx = True

    def __init__(self, config: dict[str, Any]):
        super().__init__()
        self.config = config
        num_classes = check_positive("num_classes", config["num_classes"])
        self.num_classes = num_classes if config.get("classifier", True) else 0
        self.in_channels = check_positive("in_channels", config["in_channels"])
        self.default_size = 32 if config.get("stem") == "small" else 224

    def forward(self, x: Array, *, training: bool = False, input_gradient: bool = True) -> Array:
        """Return the logits (n, classes), and keep what backward needs; see `Layer.forward`.

        Without `input_gradient`, frozen layers at the beginning keep nothing: backward ends after
        the first layer that is trained.
        """
        self._needs_dx = input_gradient
        return super().forward(x, training=training)

    def _forward(self, x: Array, training: bool) -> Array:
        self._check_images(x)
        x = backend.channel_major(x)
        layers = list(self.children().values())
        frozen = takewhile(lambda layer: all(p.frozen for _, p in layer.named_parameters()), layers)
        keeps = self._needs_dx or backend.inferring() or self.is_traced()
        skipped = 0 if keeps else len(list(frozen))
        if not backend.inferring():
            self._skipped = skipped
        with backend.own_cores():
            for number, layer in enumerate(layers):
                if number < skipped:
                    layer.release()  # of an earlier forward
                    x = backend.infer(partial(layer.forward, x, training=training))
                else:
                    x = layer.forward(x, training=training)
        return x

    def _backward(self, dlogits: Array) -> Array | None:
        dy = dlogits
        with backend.own_cores():
            for layer in reversed(list(self.children().values())[self._skipped :]):
                dy = layer.backward(dy)
        return None if self._skipped else dy

    def backward(self, dy: Array, *, input_gradient: bool = True) -> Any:
        """Return dx for dlogits dy, and add to the gradients of the parameters; see `Layer`.

        Training doesn't need dx. Without `input_gradient`, dx is None and the backward is faster.

        Raises
        ------
        ValueError
            As `Layer.backward`, or if dx is asked for and forward ran without `input_gradient`.
        """
        if input_gradient and self._pending and self._skipped:
            raise ValueError(
                "backward with input_gradient=True after a forward with input_gradient=False, in "
                "which frozen layers kept nothing; run forward with input_gradient=True"
            )
        first = self.conv1[0]
        assert isinstance(first, Conv2d)
        first.input_gradient = input_gradient
        return super().backward(dy)

    def infer(self, x: Array) -> Array:
        """Return the logits (n, classes) in evaluation mode, without a backward.

        Blocks of a few images run in parallel on all threads. So activations stay in the cache.
        """
        self._check_images(x)
        n, _, h, w = x.shape
        block = max(8, BLOCK_PIXELS // max(1, h * w))
        blocks = np.array_split(x, max(1, -(-n // block)))
        logits = [np.empty(0)] * len(blocks)

        def run(number: int) -> None:
            logits[number] = super(ImageClassifier, self).infer(blocks[number])

        backend.for_each(len(blocks), run)
        return np.concatenate(logits)

    def stage_outputs(self, x: Array) -> dict[str, Array]:
        """Return the output (n, c, h, w) of each stage by name, in evaluation mode."""
        self._check_images(x)
        found = {}
        for name, layer in self.children().items():
            x = layer.infer(x)
            if name.startswith("stage"):
                found[name] = np.ascontiguousarray(x)
        return found

    def save(self, path: PathLike, layout: str = "native") -> None:
        """Write weights and running statistics; `from_weights` reads the file back.

        Parameters
        ----------
        path : path
            Ends in .safetensors, .npz, .pth or .pt.
        layout : str
            "native": names as in `state_dict`; a safetensors file says how to build the network.
            "torchvision", "authors": names and order of channels as in networks of torchvision or
            of the authors, whose code then computes the same logits. If the network has the other
            `shuffle_order`, its channels are relabelled, if that is possible.

        Raises
        ------
        OSError
            If the file can't be written; path is then as it was.
        ValueError
            If the suffix or the layout is unknown, or the layout can't express this network.
        """
        from numpy_shufflenet.models.saving import save_model

        save_model(self, path, layout)

    def export(
        self,
        path: PathLike,
        *,
        batch: int | str = "any",
        size: IntOrPair | None = None,
        opset: int = 13,
        fold: bool = True,
        classes: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channel_order: str | None = None,
    ) -> None:
        """Write the network in evaluation mode to an ONNX file, for other engines.

        The graph computes in float32. It takes `images` (n, c, h, w) and returns `logits`
        (n, classes), as `infer` does; without a classifier it returns the output of each stage by
        name, as `stage_outputs` does. `weights.onnx_export` says which engines were tried, and
        what each needs.

        Parameters
        ----------
        path : path
            Ends in .onnx.
        batch : int or "any"
            Number of images: any number, or always this one, as some engines need it.
        size : int or (height, width), optional
            Of the images; `default_size` if not given. The graph takes no other size.
        opset : int
            Version of ONNX's operators, at least 13. Older engines read low versions only.
        fold : bool
            Whether batch normalisation is folded into the convolutions. Otherwise it has separate
            nodes, and the weights have the names and values of `state_dict`.
        classes : sequence of str, optional
            Names, in the order of the logits.
        mean, std : sequence of float, optional
            For each channel: the network takes (pixel / 255 - mean) / std.
        channel_order : str, optional
            "RGB" or "BGR".

            classes, mean, std and channel_order are not part of the graph, but are written as
            `metadata_props`, in JSON. So are "size", and "architecture", which is `config`.

        Raises
        ------
        ImportError
            If the package onnx isn't installed.
        OSError
            If the file can't be written; path is then as it was.
        ValueError
            If an argument has another value, images of this size don't fit, a weight is NaN or
            infinite, or a layer of your own can't be written; the message names it.
        """
        options = {name: value for name, value in locals().items() if name not in ("self", "path")}
        from numpy_shufflenet.weights.onnx_export import export_model

        export_model(self, path, **options)

    def with_classes(
        self, num_classes: int, *, seed: int | None = None, **options: Any
    ) -> "ImageClassifier":
        """Return a new network with the weights of this one and a new classifier.

        The new classifier has random weights. If this network has no classifier, the other layers
        after its last stage are new, too.

        Parameters
        ----------
        seed : int, optional
            Seed of the new weights, and of dropout.
        **options
            Other arguments of the function that built this network, if they leave the shapes of
            weights as they are, such as dropout.

        Raises
        ------
        ValueError
            If an argument doesn't fit the network or its weights.
        """
        from numpy_shufflenet.models import build

        config = {**self.config, "num_classes": num_classes, "seed": seed, **options}
        if "classifier" in config:
            config["classifier"] = True
        new = build(config)
        own = {name: array for name, array in self.state_dict().items() if name[:3] != "fc."}
        new = new.astype(next(iter(own.values())).dtype)
        new.load_state_dict(new.state_dict() | own)
        return new

    def fold(self: Self) -> Self:
        """Return a model for inference, with batch normalisation folded into the convolutions."""
        folded = fold(self)
        if "batch_norm" in folded.config:
            folded.config["batch_norm"] = False
        return folded

    def plan(self) -> "InferencePlan":
        """Return the network compiled for inference, its fastest form; see `InferencePlan`.

        Raises
        ------
        ImportError
            If Numba isn't installed.
        ValueError
            If the network has no classifier.
        """
        if not self.num_classes:
            raise ValueError("this network has no classifier, and a plan ends in logits; use infer")
        from numpy_shufflenet.plan import InferencePlan

        return InferencePlan(self)

    def _check_images(self, x: Array) -> None:
        if getattr(x, "ndim", None) != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"x has shape {getattr(x, 'shape', None)}; (n, {self.in_channels}, h, w) is needed"
            )
        if not backend.is_recording():
            check_floating("x", x)

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in self.config.items() if k != "name")
        return f"{self.config['name']}({settings})"

    def __str__(self) -> str:
        return str(summary(self, (self.in_channels, self.default_size, self.default_size)))


def conv_bn_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    activation: str = "relu",
) -> tuple[Layer, Layer, Layer]:
    """Return a convolution, batch normalisation and activation. Stride 1 keeps the size."""
    padding = kernel_size // 2
    convolution = Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding)
    return convolution, BatchNorm2d(out_channels), activation_layer(activation)


def add_stem(
    model: ImageClassifier,
    *widths: int,
    kernel_size: int = 3,
    pool: bool = True,
    pool_padding: Padding = 1,
) -> None:
    """Add conv1, a convolution for each width.

    For the stem "imagenet" the first one has stride 2, and a max pool follows.
    """
    stem, channels = model.config["stem"], model.in_channels
    activation = model.config.get("activation", "relu")
    if stem not in ("imagenet", "small"):
        raise ValueError(f"stem={stem!r} is not one of 'imagenet', 'small'")
    strides = [2 if stem == "imagenet" else 1, *[1] * (len(widths) - 1)]
    layers: list[Layer] = []
    for width, stride in zip(widths, strides, strict=True):
        layers += conv_bn_relu(channels, width, kernel_size, stride=stride, activation=activation)
        channels = width
    model.conv1 = Sequential(*layers)
    if pool and stem == "imagenet":
        model.maxpool = MaxPool2d(3, stride=2, padding=pool_padding)


def add_classifier(model: ImageClassifier, channels: int) -> None:
    """Add the global pool, dropout if there is any, and the classifier; initialise all weights."""
    dropout, seed = model.config["dropout"], model.config["seed"]
    model.pool = GlobalAvgPool()
    if dropout:
        model.dropout = Dropout(dropout, seed=seed)
    model.fc = Linear(channels, model.num_classes, bias=model.config["classifier_bias"])
    initialise(model, np.random.default_rng(seed))


def check_widths(widths: Sequence[int], count: int) -> list[int]:
    """Return widths as a list, or raise unless they are `count` integers of at least 1."""
    if not is_sequence(widths) or len(widths) != count:
        raise ValueError(f"widths={widths!r}; a list of {count} whole numbers is needed")
    return [check_positive(f"widths[{index}]", width) for index, width in enumerate(widths)]
