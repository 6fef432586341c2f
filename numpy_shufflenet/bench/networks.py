"""Whole networks: inference and training steps, compared with PyTorch, ONNX Runtime and NumPy."""

import importlib.util
import io
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from numpy_shufflenet import backend, ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.bench.operations import fastest
from numpy_shufflenet.bench.timing import Comparison
from numpy_shufflenet.models import ImageClassifier, shufflenet_v1, shufflenet_v2
from numpy_shufflenet.nn import fill_statistics
from numpy_shufflenet.training import SGD
from numpy_shufflenet.training.passes import Passes

NETWORKS: dict[str, Callable[[], ImageClassifier]] = {
    "V2 1x": lambda: shufflenet_v2(seed=0),
    "V1 1x g=3": lambda: shufflenet_v1(seed=0),
}
SMALL = "V2 0.5x, 32x32"
SETTINGS: dict[str, Any] = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 4e-5}
Prepare = Callable[[], list[Comparison]]


def inference(batches: tuple[int, ...], *, with_compile: bool) -> Iterator[tuple[str, Prepare]]:
    """Yield the name of each measurement, and a function that prepares its comparisons."""
    for name in NETWORKS:
        for batch in batches:
            prepare = partial(_inference, name, batch, with_compile)
            yield f"{name}, inference, batch {batch}", prepare


def training() -> Iterator[tuple[str, Prepare]]:
    """Yield the name of each measurement, and a function that prepares its comparison."""

    def small() -> ImageClassifier:
        return shufflenet_v2(scale=0.5, stem="small", num_classes=10, seed=0)

    for name, make in NETWORKS.items():
        prepare = partial(_training_step, name, make, 32, 224, goal=2.0)
        yield f"{name}, training step, batch 32", prepare
    prepare = partial(_training_step, SMALL, small, 128, 32, goal=2.5)
    yield f"{SMALL}, training step, batch 128", prepare


def with_real_statistics(model: ImageClassifier, size: int = 96) -> ImageClassifier:
    """Set the running statistics to the statistics of a random batch, and return the model.

    With the running statistics of a new network, activations shrink from layer to layer. They
    become subnormal numbers, which slow processors down.
    """
    x = np.random.default_rng(1).normal(size=(4, model.in_channels, size, size))
    fill_statistics(model, x.astype(np.float32))
    return model


def _inference(name: str, batch: int, with_compile: bool) -> list[Comparison]:
    import torch

    from numpy_shufflenet.torch_peer import to_torch

    model = with_real_statistics(NETWORKS[name]())
    plan, folded = model.plan(), model.fold()
    x = _images(batch, 224)
    work, goal = f"{name}, inference", {1: 3.0, 32: 2.0}.get(batch)

    def ours() -> Array:
        return plan(x)

    def against(peer: str, theirs: Callable[[], Any], goal: float | None) -> Comparison:
        def results() -> tuple[list[Any], list[Any]]:
            return [ours()], [np.asarray(theirs())]

        return Comparison(
            "inference", work, batch, peer, ours, theirs, results, goal, warm_seconds=0.1
        )

    net: Any = to_torch(model).eval()

    def runner(module: Any, images: Any) -> Callable[[], Any]:
        def run() -> Any:
            with torch.inference_mode():
                return module(images)

        return run

    def eager(memory_format: Any) -> Callable[[], Any]:
        module: Any = to_torch(model).eval()
        module = module.to(memory_format=memory_format)
        return runner(module, torch.from_numpy(x).to(memory_format=memory_format))

    eager_run = fastest(map(eager, (torch.contiguous_format, torch.channels_last)))
    found = [against("PyTorch", eager_run, goal)]
    if with_compile:
        compiled_run = runner(torch.compile(net), torch.from_numpy(x))
        found.append(against("torch.compile", compiled_run, None))
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        found.append(against("ONNX Runtime", _onnx(net, x), 1.0))

    found.append(against("our layers, folded", lambda: folded.infer(x), None))

    def numpy_only() -> Array:
        with backend.use("numpy"):
            return folded.infer(x)

    found.append(against("our NumPy implementation", numpy_only, None))
    return found


def _onnx(net: Any, x: Array) -> Callable[[], Any]:
    """Export a network from PyTorch, and return a function that runs it with our thread count."""
    import onnxruntime
    import torch

    file: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.from_numpy(x),), file, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = backend.num_threads()
    session = onnxruntime.InferenceSession(
        file.getvalue(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})[0]


def our_training_step(
    model: ImageClassifier, batch: int, size: int
) -> Callable[[], tuple[float, Array]]:
    """Return a function that runs one training step, and returns the loss and the logits."""
    x, labels = _images(batch, size, model.in_channels), _labels(batch, model.num_classes)
    optimiser, passes = SGD(model, **SETTINGS), Passes(model)

    def step() -> tuple[float, Array]:
        model.zero_gradients()
        logits = passes.forward(x)
        loss, cache = ops.softmax_cross_entropy_forward(logits, labels)
        dlogits = ops.softmax_cross_entropy_backward(1.0, cache)
        passes.backward(dlogits)
        optimiser.step()
        return float(loss), logits

    return step


def torch_training_step(
    model: ImageClassifier, batch: int, size: int, *, channels_last: bool = True
) -> Callable[[], tuple[float, Array]]:
    """Return a function that runs the same step in PyTorch, with the same initial weights."""
    import torch

    from numpy_shufflenet.torch_peer import to_torch

    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    x, labels = _images(batch, size, model.in_channels), _labels(batch, model.num_classes)
    net: Any = to_torch(model).train()
    net = net.to(memory_format=memory_format)
    images = torch.from_numpy(x).to(memory_format=memory_format)
    decayed: Any = [p for p in net.parameters() if p.ndim > 1]
    others: Any = [p for p in net.parameters() if p.ndim <= 1]
    optimiser: Any = torch.optim.SGD(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=SETTINGS["learning_rate"],
        momentum=SETTINGS["momentum"],
        weight_decay=SETTINGS["weight_decay"],
    )
    criterion = torch.nn.CrossEntropyLoss()
    targets = torch.from_numpy(labels)

    def step() -> tuple[float, Array]:
        optimiser.zero_grad()
        logits = net(images)
        loss = criterion(logits, targets)
        loss.backward()
        optimiser.step()
        return loss.item(), logits.detach().numpy()

    return step


def _training_step(
    name: str, make: Callable[[], ImageClassifier], batch: int, size: int, *, goal: float
) -> list[Comparison]:
    model = with_real_statistics(make(), min(size, 96))
    theirs = fastest(
        torch_training_step(model, batch, size, channels_last=last) for last in (True, False)
    )
    theirs_to_compare = torch_training_step(model, batch, size)
    ours = our_training_step(model, batch, size)

    def results() -> tuple[list[Any], list[Any]]:
        """Return the losses of two steps; the second loss depends on gradients and update."""
        pairs = [(ours()[0], theirs_to_compare()[0]) for _ in range(2)]
        return [np.array([a for a, _ in pairs])], [np.array([b for _, b in pairs])]

    work = f"{name}, training step"
    return [Comparison("training", work, batch, "PyTorch", ours, theirs, results, goal)]


def _images(batch: int, size: int, channels: int = 3) -> Array:
    rng = np.random.default_rng(0)
    return rng.normal(size=(batch, channels, size, size)).astype(np.float32)


def _labels(batch: int, classes: int) -> Array:
    return np.random.default_rng(1).integers(0, classes, batch)
