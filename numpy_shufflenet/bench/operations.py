"""Every operation of V1 and V2, at shapes of the 1x networks for images of 224 pixels."""

import timeit
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._typing import Array
from numpy_shufflenet.bench.timing import Comparison
from numpy_shufflenet.operations import find


class Workload(NamedTuple):
    """An operation at one shape, and the same work in PyTorch."""

    work: str
    operation: str
    images: tuple[tuple[int, int, int], ...]  #: (c, h, w) of each image argument
    weights: tuple[tuple[int, ...], ...]
    hyperparameters: dict[str, Any]
    peer: Callable[..., Any]  #: maps (torch.nn.functional, images, weights) to the output

    def work_in_numbers(self, batch: int) -> tuple[int, int] | None:
        """Return FLOPs and moved bytes of a convolution's forward; None for other operations."""
        if not self.operation.endswith("conv2d"):
            return None
        shapes = {"x": (batch, *self.images[0]), "w": self.weights[0]}
        counts = find(self.operation).cost(shapes, self.hyperparameters).forward
        return 2 * counts.multiply_adds, 4 * counts.memory_access


HALF = {"stride": 2, "padding": 1}
PIXEL = (1, 1)


def _convolution(
    work: str, image: tuple[int, int, int], weight: tuple[int, int, int, int], **settings: int
) -> Workload:
    """Return a convolution; its kind and its groups follow from the shapes."""
    groups = image[0] // weight[1]
    depthwise = weight[1] == 1
    grouped = {} if depthwise or groups == 1 else {"groups": groups}
    kind = "depthwise_" if depthwise else "pointwise_" if weight[2:] == PIXEL else ""
    return Workload(
        work,
        f"{kind}conv2d",
        (image,),
        (weight,),
        {**settings, **grouped},
        lambda f, x, w: f.conv2d(*x, *w, **settings, groups=groups),
    )


def _batch_norm_relu(work: str, image: tuple[int, int, int]) -> Workload:
    def peer(f: Any, x: Any, w: Any) -> Any:
        return f.relu(f.batch_norm(x[0], None, None, *w, training=True), inplace=True)

    return Workload(work, "batch_norm_relu", (image,), ((image[0],),) * 2, {}, peer)


def _pool(work: str, operation: str, image: tuple[int, int, int]) -> Workload:
    """Return a 3x3 pooling with stride 2, which PyTorch calls by the same name."""
    settings = {"kernel_size": 3, **HALF}

    def peer(f: Any, x: Any, w: Any) -> Any:
        return getattr(f, operation)(x[0], 3, **HALF)

    return Workload(work, operation, (image,), (), settings, peer)


def _split_concat_shuffle(f: Any, x: Any, w: Any) -> Any:
    import torch

    left, _ = x[0].chunk(2, dim=1)
    y = torch.cat([left, x[1]], 1)
    n, c, h, width = y.shape
    return y.view(n, 2, c // 2, h, width).transpose(1, 2).reshape(n, c, h, width)


CASES = (
    _convolution("stem 3x3, stride 2", (3, 224, 224), (24, 3, 3, 3), **HALF),
    _convolution("pointwise, stage 2", (58, 28, 28), (58, 58, *PIXEL)),
    _convolution("pointwise, stage 3", (116, 14, 14), (116, 116, *PIXEL)),
    _convolution("pointwise, stage 4", (232, 7, 7), (232, 232, *PIXEL)),
    _convolution("pointwise, conv5", (464, 7, 7), (1024, 464, *PIXEL)),
    _convolution("group pointwise, g=3, stage 2", (240, 28, 28), (60, 80, *PIXEL)),
    _convolution("group pointwise, g=8, stage 3", (768, 14, 14), (192, 96, *PIXEL)),
    _convolution("depthwise, stride 1, stage 2", (58, 28, 28), (58, 1, 3, 3), padding=1),
    _convolution("depthwise, stride 1, stage 4", (232, 7, 7), (232, 1, 3, 3), padding=1),
    _convolution("depthwise, stride 2, stage 2", (58, 56, 56), (58, 1, 3, 3), **HALF),
    _batch_norm_relu("BN + ReLU, training, stem", (24, 112, 112)),
    _batch_norm_relu("BN + ReLU, training, stage 3", (116, 14, 14)),
    Workload(
        "split + concat + shuffle, stage 2",
        "split_concat_shuffle",
        ((116, 28, 28), (58, 28, 28)),
        (),
        {"groups": 2},
        _split_concat_shuffle,
    ),
    _pool("max pool 3x3, stride 2", "max_pool2d", (24, 112, 112)),
    _pool("average pool 3x3, stride 2", "avg_pool2d", (240, 28, 28)),
)


def comparisons(
    batches: tuple[int, ...],
) -> Iterator[tuple[str, Callable[[], list[Comparison]]]]:
    """Yield a name, and a function that prepares the comparisons, for each case and batch."""
    for case in CASES:
        for batch in batches:
            yield "operations", partial(comparisons_of, case, batch)


def comparisons_of(case: Workload, batch: int) -> list[Comparison]:
    """Compare forward and backward with PyTorch, in the faster of PyTorch's two memory formats."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    rng = np.random.default_rng(0)
    images = [rng.normal(size=(batch, *shape)).astype(np.float32) for shape in case.images]
    weights = [rng.normal(size=shape).astype(np.float32) for shape in case.weights]
    inputs = [backend.channel_major(x) for x in images]
    forward, backward = _ours(case, inputs, weights)
    y, cache = forward()
    dy = rng.normal(size=y.shape).astype(np.float32)

    def tensors_in(memory_format: Any) -> tuple[list[Any], list[Any]]:
        own = [torch.from_numpy(w).clone() for w in weights]
        return (
            [torch.from_numpy(x).to(memory_format=memory_format) for x in images],
            [w.to(memory_format=memory_format) if w.ndim == 4 else w for w in own],
        )

    memory_formats = (torch.contiguous_format, torch.channels_last)
    # Rounding can put the input of a ReLU below 0 in one library and above 0 in the other. The
    # gradients would then differ, so we set the upstream gradient to 0 at these entries.
    for memory_format in memory_formats:
        with torch.inference_mode():
            theirs = case.peer(F, *tensors_in(memory_format))
        dy[(y > 0) != (theirs.numpy() > 0)] = 0
    our_dy = backend.channel_major(dy)

    def prepared(memory_format: Any) -> tuple[Any, Any]:
        inputs, own = tensors_in(memory_format)
        needed = [tensor.requires_grad_(True) for tensor in (*inputs, *own)]
        gradient = torch.from_numpy(dy).to(memory_format=memory_format)

        def run() -> Any:
            with torch.inference_mode():
                return case.peer(F, inputs, own)

        def run_both() -> Any:
            out = case.peer(F, inputs, own)
            return torch.autograd.grad(out, needed, gradient, allow_unused=True)

        return run, run_both

    run, run_both = map(fastest, zip(*map(prepared, memory_formats), strict=True))

    def both() -> Any:
        _, cache = forward()
        return backward(our_dy, cache)

    def outputs() -> tuple[list[Any], list[Any]]:
        return [y], [run().numpy()]

    def gradients() -> tuple[list[Any], list[Any]]:
        ours = [g for g in backward(our_dy, cache) if g is not None]
        theirs = [g.detach().numpy() for g in run_both() if g is not None]
        return ours, theirs

    def against_torch(direction: str, ours: Any, theirs: Any, results: Any) -> Comparison:
        work = f"{case.work}: {direction}"
        return Comparison("operation", work, batch, "PyTorch", ours, theirs, results, 1.0)

    return [
        against_torch("forward", forward, run, outputs),
        against_torch("forward + backward", both, run_both, gradients),
    ]


def fastest(runs: Iterable[Callable[[], Any]]) -> Callable[[], Any]:
    """Return the fastest function, so that PyTorch runs in its faster memory format."""
    return min(runs, key=lambda run: min(timeit.repeat(run, number=1, repeat=4)[1:]))


def _ours(
    case: Workload, inputs: list[Array], weights: list[Array]
) -> tuple[Callable[[], Any], Callable[..., tuple[Any, ...]]]:
    """Return forward() -> (y, cache) and backward(dy, cache) -> gradients."""
    if case.operation == "split_concat_shuffle":
        return _split_concat_shuffle_pair(*inputs)
    operation = find(case.operation)
    bias = (None,) if case.operation.endswith("conv2d") else ()
    run, run_back = operation.forward("kernels"), operation.backward("kernels")

    def forward() -> Any:
        return run(*inputs, *weights, *bias, **case.hyperparameters)

    def backward(dy: Array, cache: Any) -> tuple[Any, ...]:
        gradients = run_back(dy, cache)
        return gradients if isinstance(gradients, tuple) else (gradients,)

    return forward, backward


def _split_concat_shuffle_pair(x: Array, branch: Array) -> tuple[Any, Any]:
    """Return forward and backward of a V2 unit without its branch: split, concat and shuffle."""
    from numpy_shufflenet import kernels

    half = x.shape[1] // 2
    dright = np.zeros_like(x[:, half:])  # stands for the gradient that the branch would return

    def forward() -> Any:
        (left, _), split = kernels.channel_split_forward(x, (half, half))
        y, join = kernels.channel_concat_shuffle_forward(left, branch, groups=2)
        return y, (split, join)

    def backward(dy: Array, cache: Any) -> tuple[Any, ...]:
        split, join = cache
        dleft, dbranch = kernels.channel_concat_shuffle_backward(dy, join)
        return kernels.channel_split_backward((dleft, dright), split), dbranch

    return forward, backward
