"""Mistakes of students in the units of ShuffleNet, and in counting; see `answers`."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo.answers.windows import RIGHT, Wrong
from numpy_shufflenet.zoo.catalogue import variants


class UnitStep(NamedTuple):
    """One operation of a unit."""

    name: str  # in the names of mistakes
    operation: str
    arrays: tuple[Array, ...]
    settings: dict[str, Any]


def _steps(p: dict[str, Any], groups: int) -> Iterator[UnitStep]:
    """Yield the operations of a branch; only V1 has groups, and a shuffle between them."""
    many = {"groups": groups} if groups > 1 else {}
    norms = [(p[f"gamma{i}"], p[f"beta{i}"]) for i in (1, 2, 3)]
    yield UnitStep("first pointwise convolution", "pointwise_conv2d", (p["w1"],), many)
    yield UnitStep("first batch normalisation", "batch_norm", norms[0], {})
    yield UnitStep("ReLU of the branch", "relu", (), {})
    if many:
        yield UnitStep("channel shuffle", "channel_shuffle", (), many)
    yield UnitStep("depthwise convolution", "depthwise_conv2d", (p["w2"],), {"padding": 1})
    yield UnitStep("second batch normalisation", "batch_norm", norms[1], {})
    yield UnitStep("second pointwise convolution", "pointwise_conv2d", (p["w3"],), many)
    yield UnitStep("third batch normalisation", "batch_norm", norms[2], {})
    if not many:
        yield UnitStep("last ReLU", "relu", (), {})


def _forward(steps: list[UnitStep], x: Array) -> tuple[Array, list[Any]]:
    caches = []
    for step in steps:
        x, cache = getattr(ops, f"{step.operation}_forward")(x, *step.arrays, **step.settings)
        caches.append(cache)
    return x, caches


def _key(name: str) -> str:
    return name.lower().replace(" ", "_")


def _branch_backward(steps: list[UnitStep], caches: list[Any], dy: Array, wrong: Wrong) -> Array:
    """Run the backwards in reverse order; leave out, repeat or swap those that are wrong."""
    order = list(range(len(steps)))[::-1]
    for a, b in itertools.pairwise(range(len(steps))):
        if f"{_key(steps[a].name)}_too_early" in wrong:
            i = order.index(b)
            order[i], order[i + 1] = a, b
    if "batch_normalisations_swapped" in wrong:
        first, second, _ = (i for i, s in enumerate(steps) if s.operation == "batch_norm")
        caches = list(caches)
        caches[first], caches[second] = caches[second], caches[first]
    for number in order:
        step, cache = steps[number], caches[number]
        if f"{_key(step.name)}_forgotten" in wrong:
            continue
        if step.operation == "channel_shuffle" and "shuffle_repeated" in wrong:
            dy = ops.channel_shuffle_forward(dy, **step.settings)[0]
            continue
        if step.operation == "batch_norm" and "statistics_constant" in wrong:
            dy = dy * (cache.gamma / np.sqrt(cache.var + cache.eps))[:, None, None]
            continue
        found = getattr(ops, f"{step.operation}_backward")(dy, cache)
        dy = found[0] if isinstance(found, tuple) else found
    return dy


def _mistakes(groups: int, *others: str) -> dict[str, tuple[str, str]]:
    """Return the mistakes that are possible with each operation of a branch."""
    none = {key: np.zeros(0) for key in ("w1", "w2", "w3")} | {
        f"{name}{i}": np.zeros(0) for name in ("gamma", "beta") for i in (1, 2, 3)
    }
    names = [step.name for step in _steps(none, groups)]

    def possible(*some: str) -> bool:
        """Whether shapes still fit: in V1 a pointwise convolution changes them."""
        return groups == 1 or not any("pointwise" in name for name in some)

    found = {
        f"{_key(name)}_forgotten": ("dropped", f"your backward leaves out the {name}")
        for name in (*names, *others)
        if possible(name)
    }
    for a, b in filter(lambda pair: possible(*pair), itertools.pairwise(names)):
        found[f"{_key(a)}_too_early"] = (
            "permutation",
            f"the backwards of the {b} and of the {a} are in the order of the forward; "
            "the backward goes in reverse order",
        )
    return found


COMMON = {
    "batch_normalisations_swapped": (
        "swapped",
        "the caches of the first and the second batch normalisation are swapped",
    ),
    "shuffle_repeated": (
        "permutation",
        "you shuffle the gradient as the forward shuffles; the backward undoes the shuffle",
    ),
    "statistics_constant": (
        "term",
        "you treat mean and variance of the batch as constants, as in inference",
    ),
}


def v1_unit(x: Array, p: dict[str, Any]) -> tuple[Array, Any]:
    """Return y and a cache of the unit of V1 with stride 1; p has the weights and `groups`."""
    steps = list(_steps(p, p["groups"]))
    y, caches = _forward(steps, x)
    y, last = ops.relu_forward(x + y)
    return y, (steps, caches, last)


@variants(
    "v1_unit_backward",
    **_mistakes(2, "last ReLU"),
    **COMMON,
    shortcut_forgotten=(
        "term",
        "the shortcut is missing: x is used twice, so add the gradient that arrives there",
    ),
    raw_dy_on_the_shortcut=(
        "mask",
        "the shortcut gets dy as it is; it needs the gradient below the last ReLU",
    ),
    shortcut_counted_twice=("factor", "the gradient of the shortcut is added twice"),
    branch_forgotten=("dropped", "this is the gradient of the shortcut; the branch's is missing"),
    shortcut_subtracted=("sign", "you subtract the gradient of the shortcut; add it"),
    shortcut_at_the_end_of_the_branch=(
        "term",
        "you send the gradient of the shortcut through the branch, too; add it at the end only",
    ),
)
def v1_unit_backward(dy: Array, x: Array, *, p: dict[str, Any], wrong: Wrong = RIGHT) -> Array:
    """Undo the ReLU, the addition, the branch."""
    _, (steps, caches, last) = v1_unit(x, p)
    masked = dy if "last_relu_forgotten" in wrong else ops.relu_backward(dy, last)
    shortcut = dy if "raw_dy_on_the_shortcut" in wrong else masked
    start = 2 * masked if "shortcut_at_the_end_of_the_branch" in wrong else masked
    dx = _branch_backward(steps, caches, start, wrong)
    if "branch_forgotten" in wrong:
        dx = np.zeros_like(dx)
    uses = 1 - ("shortcut_forgotten" in wrong) + ("shortcut_counted_twice" in wrong)
    return dx + (-1 if "shortcut_subtracted" in wrong else uses) * shortcut


def v2_unit(x: Array, p: dict[str, Any]) -> tuple[Array, Any]:
    """Return y and a cache of the unit of V2 with stride 1; p has the weights."""
    half = x.shape[1] // 2
    (left, right), split = ops.channel_split_forward(x, (half, half))
    steps = list(_steps(p, 1))
    right, caches = _forward(steps, right)
    y, concat = ops.channel_concat_forward(left, right)
    y, shuffle = ops.channel_shuffle_forward(y, 2)
    return y, (steps, caches, split, concat, shuffle)


@variants(
    "v2_unit_backward",
    **_mistakes(1, "channel shuffle"),
    **COMMON,
    halves_swapped=("swapped", "the gradients of the two halves are swapped at the concatenation"),
    halves_swapped_at_the_end=(
        "swapped",
        "the gradients of the two halves are swapped at the split",
    ),
    left_half_dropped=("dropped", "the gradient of the half that passes unchanged is missing"),
    branch_forgotten=("dropped", "the branch's half gets its dy as it is; it must go through it"),
    halves_added=("sum", "you add the gradients of the halves up; put one after the other"),
    shuffle_last=("permutation", "you undo the shuffle at the end; it is the first to be undone"),
)
def v2_unit_backward(dy: Array, x: Array, *, p: dict[str, Any], wrong: Wrong = RIGHT) -> Array:
    """Undo the shuffle, the concatenation, the branch, the split."""
    _, (steps, caches, split, concat, shuffle) = v2_unit(x, p)
    if "shuffle_repeated" in wrong:
        dy = ops.channel_shuffle_forward(dy, 2)[0]
    elif not wrong & {"channel_shuffle_forgotten", "shuffle_last"}:
        dy = ops.channel_shuffle_backward(dy, shuffle)
    left, right = ops.channel_concat_backward(dy, concat)
    if "halves_swapped" in wrong:
        left, right = right, left
    if "branch_forgotten" not in wrong:
        right = _branch_backward(steps, caches, right, wrong)
    if "halves_swapped_at_the_end" in wrong:
        left, right = right, left
    if "left_half_dropped" in wrong:
        left = np.zeros_like(left)
    if "halves_added" in wrong:
        return left + right
    dx = ops.channel_split_backward((left, right), split)
    return ops.channel_shuffle_backward(dx, shuffle) if "shuffle_last" in wrong else dx


# Counting


@variants(
    "conv2d_multiply_adds",
    groups_forgotten=(
        "factor",
        "groups are missing: an output reads only the c/g channels of its own group",
    ),
    groups_twice=("factor", "you divide by g twice: each of the o outputs reads c/g channels"),
    groups_multiplied=("factor", "you multiply by g; an output reads c/g channels"),
    additions_counted=("factor", "a multiplication and the addition that follows count as one"),
    outputs_forgotten=("factor", "the o output channels are missing"),
    inputs_forgotten=("factor", "the c/g input channels of each output are missing"),
    pixels_forgotten=("factor", "the oh ow pixels of the output are missing"),
    rows_forgotten=("factor", "the rows oh of the output are missing"),
    columns_forgotten=("factor", "the columns ow of the output are missing"),
    one_k_forgotten=("factor", "one k is missing: a kernel has k k weights"),
    kernel_forgotten=("factor", "the k k weights of the kernel are missing"),
    bias_counted=("term", "you count the bias; an addition alone is no multiply-add"),
    last_addition_left_out=("term", "you count one addition less in each sum; count products"),
    inputs_for_outputs=("swapped", "you use c twice; one of them should be o"),
    outputs_for_inputs=("swapped", "you use o twice; one of them should be c"),
)
def conv2d_multiply_adds(
    *, c: int, o: int, k: int, g: int, oh: int, ow: int, wrong: Wrong = RIGHT
) -> Any:
    """Count outputs times products."""
    if "inputs_for_outputs" in wrong:
        o = c
    elif "outputs_for_inputs" in wrong:
        c = o
    rows, columns = ("rows_forgotten" not in wrong, "columns_forgotten" not in wrong)
    pixels = 1 if "pixels_forgotten" in wrong else oh**rows * ow**columns
    outputs = pixels * (1 if "outputs_forgotten" in wrong else o)
    kernel = k ** (0 if "kernel_forgotten" in wrong else 2 - ("one_k_forgotten" in wrong))
    divided = 1 - ("groups_forgotten" in wrong) + ("groups_twice" in wrong)
    products = kernel * (1 if "inputs_forgotten" in wrong else c)
    products = products * g if "groups_multiplied" in wrong else products / g**divided
    products += ("bias_counted" in wrong) - ("last_addition_left_out" in wrong)
    return outputs * products * (1 + ("additions_counted" in wrong))


@variants(
    "v1_unit_multiply_adds",
    groups_forgotten=("factor", "groups are missing in both pointwise convolutions: divide by g"),
    groups_in_one_only=("factor", "groups are missing in one of the pointwise convolutions"),
    depthwise_grouped=("factor", "you divide the depthwise convolution by g; it costs 9 m a pixel"),
    depthwise_full=("factor", "your 3 x 3 convolution reads all m channels; it is depthwise"),
    depthwise_forgotten=("dropped", "the depthwise convolution is missing"),
    depthwise_of_c=("swapped", "your depthwise convolution has c channels; it has m"),
    one_k_forgotten=("factor", "one 3 is missing: a kernel has 3 x 3 = 9 weights"),
    kernel_forgotten=("factor", "the 9 weights of the depthwise kernel are missing"),
    one_pointwise_forgotten=("dropped", "one of the two pointwise convolutions is missing"),
    pixels_forgotten=("factor", "the h w pixels are missing"),
    additions_counted=("factor", "a multiplication and the addition that follows count as one"),
    shortcut_counted=("term", "you count the addition of the shortcut; it is no multiply-add"),
    pointwise_of_c=("swapped", "your pointwise convolutions go from c to c channels; m is one end"),
    pointwise_inputs_alone=("factor", "a pointwise convolution costs c m / g a pixel, not c / g"),
)
def v1_unit_multiply_adds(*, c: int, m: int, g: int, h: int, w: int, wrong: Wrong = RIGHT) -> Any:
    """Add up two pointwise convolutions and a depthwise one."""
    one = c * c if "pointwise_of_c" in wrong else c if "pointwise_inputs_alone" in wrong else c * m
    first = one / (1 if "groups_forgotten" in wrong else g)
    second = one / (1 if wrong & {"groups_forgotten", "groups_in_one_only"} else g)
    if "one_pointwise_forgotten" in wrong:
        second = 0
    channels = c if "depthwise_of_c" in wrong else m
    kernel = 1 if "kernel_forgotten" in wrong else 3 if "one_k_forgotten" in wrong else 9
    depthwise: float = 0 if "depthwise_forgotten" in wrong else kernel * channels
    depthwise = depthwise * m if "depthwise_full" in wrong else depthwise
    depthwise = depthwise / g if "depthwise_grouped" in wrong else depthwise
    total = first + second + depthwise + ("shortcut_counted" in wrong) * c
    total = total * 2 if "additions_counted" in wrong else total
    return total if "pixels_forgotten" in wrong else h * w * total
