"""Every operation of V1 and V2 at the shapes that the 1x networks have for 224 pixels."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet import backend
from numpy_shufflenet._typing import Array
from numpy_shufflenet.bench.timing import Comparison
from numpy_shufflenet.operations import find


class Workload(NamedTuple):
    """An operation at one shape, and how PyTorch says it."""

    work: str
    operation: str
    images: tuple[tuple[int, int, int], ...]  # (c, h, w) of each image argument
    weights: tuple[tuple[int, ...], ...]
    hyperparameters: dict[str, Any]
    peer: Callable[..., Any]  # (torch.nn.functional, images, weights) -> output

    def work_in_numbers(self, batch: int) -> tuple[int, int] | None:
        """Return the FLOPs of a forward and the bytes that it must move; None if no convolution."""
        if not self.operation.endswith("conv2d"):
            return None
        shapes = {"x": (batch, *self.images[0]), "w": self.weights[0]}
        counts = find(self.operation).cost(shapes, self.hyperparameters).forward
        return 2 * counts.multiply_adds, 4 * counts.memory_access


HALF = {"stride": 2, "padding": 1}


def _conv(**settings: Any) -> Callable[..., Any]:
    return lambda f, x, w: f.conv2d(*x, *w, **settings)


def _batch_norm_relu(f: Any, x: Any, w: Any) -> Any:
    return f.relu(f.batch_norm(x[0], None, None, *w, training=True), inplace=True)


def _split_concat_shuffle(f: Any, x: Any, w: Any) -> Any:
    import torch

    left, _ = x[0].chunk(2, dim=1)
    y = torch.cat([left, x[1]], 1)
    n, c, h, width = y.shape
    return y.view(n, 2, c // 2, h, width).transpose(1, 2).reshape(n, c, h, width)


CASES = (
    Workload(
        "stem 3x3, stride 2", "conv2d", ((3, 224, 224),), ((24, 3, 3, 3),), HALF, _conv(**HALF)
    ),
    Workload(
        "pointwise, stage 2", "pointwise_conv2d", ((58, 28, 28),), ((58, 58, 1, 1),), {}, _conv()
    ),
    Workload(
        "pointwise, stage 3", "pointwise_conv2d", ((116, 14, 14),), ((116, 116, 1, 1),), {}, _conv()
    ),
    Workload(
        "pointwise, stage 4", "pointwise_conv2d", ((232, 7, 7),), ((232, 232, 1, 1),), {}, _conv()
    ),
    Workload(
        "pointwise, conv5", "pointwise_conv2d", ((464, 7, 7),), ((1024, 464, 1, 1),), {}, _conv()
    ),
    Workload(
        "group pointwise, g=3, stage 2",
        "pointwise_conv2d",
        ((240, 28, 28),),
        ((60, 80, 1, 1),),
        {"groups": 3},
        _conv(groups=3),
    ),
    Workload(
        "group pointwise, g=8, stage 3",
        "pointwise_conv2d",
        ((768, 14, 14),),
        ((192, 96, 1, 1),),
        {"groups": 8},
        _conv(groups=8),
    ),
    Workload(
        "depthwise, stride 1, stage 2",
        "depthwise_conv2d",
        ((58, 28, 28),),
        ((58, 1, 3, 3),),
        {"padding": 1},
        _conv(padding=1, groups=58),
    ),
    Workload(
        "depthwise, stride 1, stage 4",
        "depthwise_conv2d",
        ((232, 7, 7),),
        ((232, 1, 3, 3),),
        {"padding": 1},
        _conv(padding=1, groups=232),
    ),
    Workload(
        "depthwise, stride 2, stage 2",
        "depthwise_conv2d",
        ((58, 56, 56),),
        ((58, 1, 3, 3),),
        HALF,
        _conv(**HALF, groups=58),
    ),
    Workload(
        "BN + ReLU, training, stem",
        "batch_norm_relu",
        ((24, 112, 112),),
        ((24,), (24,)),
        {},
        _batch_norm_relu,
    ),
    Workload(
        "BN + ReLU, training, stage 3",
        "batch_norm_relu",
        ((116, 14, 14),),
        ((116,), (116,)),
        {},
        _batch_norm_relu,
    ),
    Workload(
        "split + concat + shuffle, stage 2",
        "split_concat_shuffle",
        ((116, 28, 28), (58, 28, 28)),
        (),
        {"groups": 2},
        _split_concat_shuffle,
    ),
    Workload(
        "max pool 3x3, stride 2",
        "max_pool2d",
        ((24, 112, 112),),
        (),
        {"kernel_size": 3, **HALF},
        lambda f, x, w: f.max_pool2d(x[0], 3, **HALF),
    ),
    Workload(
        "average pool 3x3, stride 2",
        "avg_pool2d",
        ((240, 28, 28),),
        (),
        {"kernel_size": 3, **HALF},
        lambda f, x, w: f.avg_pool2d(x[0], 3, **HALF),
    ),
)


def comparisons(batches: tuple[int, ...]) -> Iterator[Callable[[], list[Comparison]]]:
    """Yield, for each case and batch, a function that prepares forward and backward."""
    for case in CASES:
        for batch in batches:
            yield lambda case=case, batch=batch: comparisons_of(case, batch)  # type: ignore[misc]


def comparisons_of(case: Workload, batch: int) -> list[Comparison]:
    """Forward and backward beside PyTorch, in the better of its two memory formats."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    rng = np.random.default_rng(0)
    images = [rng.normal(size=(batch, *shape)).astype(np.float32) for shape in case.images]
    weights = [rng.normal(size=shape).astype(np.float32) for shape in case.weights]
    inputs = [backend.channel_major(x) for x in images]
    forward, backward = _ours(case, inputs, weights)
    y, cache = forward()
    dy = rng.normal(size=y.shape).astype(np.float32)

    def leaves_in(memory_format: Any) -> tuple[list[Any], list[Any]]:
        own = [torch.from_numpy(w).clone() for w in weights]
        return (
            [torch.from_numpy(x).to(memory_format=memory_format) for x in images],
            [w.to(memory_format=memory_format) if w.ndim == 4 else w for w in own],
        )

    memory_formats = (torch.contiguous_format, torch.channels_last)
    # By rounding, a ReLU may be at 0 for one and above it for the other: no gradient goes there.
    for memory_format in memory_formats:
        with torch.inference_mode():
            theirs = case.peer(F, *leaves_in(memory_format))
        dy[(y > 0) != (theirs.numpy() > 0)] = 0
    our_dy = backend.channel_major(dy)

    def prepared(memory_format: Any) -> tuple[Any, Any]:
        leaves, own = leaves_in(memory_format)
        needed = [leaf.requires_grad_(True) for leaf in (*leaves, *own)]
        gradient = torch.from_numpy(dy).to(memory_format=memory_format)

        def run() -> Any:
            with torch.inference_mode():
                return case.peer(F, leaves, own)

        def run_both() -> Any:
            out = case.peer(F, leaves, own)
            return torch.autograd.grad(out, needed, gradient, allow_unused=True)

        return run, run_both

    formats = [prepared(f) for f in memory_formats]
    run = fastest(pair[0] for pair in formats)
    run_both = fastest(pair[1] for pair in formats)

    def both() -> Any:
        _, cache = forward()
        return backward(our_dy, cache)

    def gradients() -> tuple[list[Any], list[Any]]:
        ours = [g for g in backward(our_dy, cache) if g is not None]
        theirs = [g.detach().numpy() for g in run_both() if g is not None]
        return ours, theirs

    def outputs() -> tuple[list[Any], list[Any]]:
        return [y], [run().numpy()]

    return [
        Comparison(
            "operation", f"{case.work}: forward", batch, "PyTorch", forward, run, outputs, 1.0
        ),
        Comparison(
            "operation",
            f"{case.work}: forward + backward",
            batch,
            "PyTorch",
            both,
            run_both,
            gradients,
            1.0,
        ),
    ]


def fastest(runs: Iterable[Callable[[], Any]]) -> Callable[[], Any]:
    """Return the one of which a few calls are the fastest: a peer may choose its memory format."""
    return min(runs, key=_seconds)


def _seconds(run: Callable[[], Any]) -> float:
    run()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


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
    """What surrounds the branch of a V2 unit: split, and then concatenation and shuffle as one."""
    from numpy_shufflenet import kernels

    half = x.shape[1] // 2
    dright = np.zeros_like(x[:, half:])  # the branch, which is left out here, would send it

    def forward() -> Any:
        (left, _), split = kernels.channel_split_forward(x, (half, half))
        y, join = kernels.channel_concat_shuffle_forward(left, branch, groups=2)
        return y, (split, join)

    def backward(dy: Array, cache: Any) -> tuple[Any, ...]:
        split, join = cache
        dleft, dbranch = kernels.channel_concat_shuffle_backward(dy, join)
        return kernels.channel_split_backward((dleft, dright), split), dbranch

    return forward, backward
