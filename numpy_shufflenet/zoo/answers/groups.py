"""Mistakes of students in convolutions with groups; see `answers`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_shufflenet import ops
from numpy_shufflenet._typing import Array
from numpy_shufflenet.zoo.answers.windows import RIGHT, Wrong
from numpy_shufflenet.zoo.catalogue import variants

GROUPS = {
    "joined_on_axis_0": ("transpose", "you join the parts along axis 0; join channels: axis 1"),
    "groups_summed": ("sum", "you add the results of the groups up; join them along axis 1"),
    "groups_backwards": ("permutation", "you join the groups in reverse order"),
    "inputs_interleaved": (
        "permutation",
        "you give every groups-th channel to a group (interleaved); a group has neighbouring "
        "channels: x[:, k c/g : (k + 1) c/g]",
    ),
    "outputs_interleaved": (
        "permutation",
        "you join the groups interleaved, channel by channel; put the groups one after the other",
    ),
    "first_inputs_for_all": ("dropped", "every group reads the channels of the first group of x"),
    "first_kernels_for_all": ("dropped", "every group uses the kernels of the first group"),
}


def _grouped(
    conv: Callable[..., Any], x: Array, w: Array, b: Any, groups: int, wrong: Wrong, settings: Any
) -> Array:
    size = x.shape[1] // groups
    parts = []
    for k, kernels in enumerate(np.split(w, groups)):
        inputs = x[:, k * size : (k + 1) * size]
        if "inputs_interleaved" in wrong:
            inputs = x[:, k::groups]
        if "first_inputs_for_all" in wrong:
            inputs = x[:, :size]
        if "first_kernels_for_all" in wrong:
            kernels = w[: len(w) // groups]
        parts.append(conv(inputs.copy(), kernels, **settings)[0])
    if "groups_backwards" in wrong:
        parts.reverse()
    y: Array = np.concatenate(parts, axis=int("joined_on_axis_0" not in wrong))
    if "groups_summed" in wrong:
        y = np.sum(parts, axis=0)
    if "outputs_interleaved" in wrong:
        y = np.stack(parts, axis=2).reshape(y.shape)
    return y if b is None else y + b[:, None, None]


@variants("group_conv2d_forward", **GROUPS)
def group_conv2d_forward(
    x: Array, w: Array, b: Any, *, groups: int, wrong: Wrong = RIGHT, **settings: Any
) -> Any:
    """Convolve group by group."""
    return _grouped(ops.conv2d_forward, x, w, b, groups, wrong, settings)


@variants("pointwise_conv2d_forward", **GROUPS)
def pointwise_conv2d_forward(
    x: Array, w: Array, b: Any, *, groups: int, wrong: Wrong = RIGHT
) -> Any:
    """Convolve group by group."""
    return _grouped(ops.pointwise_conv2d_forward, x, w, b, groups, wrong, {})


@variants(
    "group_conv2d_backward",
    dx_joined_on_axis_0=("transpose", "you join dx along axis 0; x was cut along axis 1"),
    dw_joined_on_axis_1=("transpose", "you join dw along axis 1; w was cut along axis 0"),
    dx_summed=("sum", "you add dx of the groups up; join them along axis 1"),
    dx_backwards=("permutation", "you join dx of the groups in reverse order"),
    dw_backwards=("permutation", "you join dw of the groups in reverse order"),
    last_cache_for_all=("dropped", "every group uses the cache of the last forward: keep each one"),
    first_dy_for_all=("dropped", "every group uses the dy of the first group: split dy, too"),
    inputs_interleaved=GROUPS["inputs_interleaved"],
)
def group_conv2d_backward(
    dy: Array, x: Array, w: Array, b: Any, *, groups: int, wrong: Wrong = RIGHT, **settings: Any
) -> Any:
    """Run the backward of each group."""
    inputs = np.split(x, groups, axis=1)
    if "inputs_interleaved" in wrong:
        inputs = [x[:, k::groups].copy() for k in range(groups)]
    parts = zip(inputs, np.split(w, groups), strict=True)
    caches = [ops.conv2d_forward(part, kernels, **settings)[1] for part, kernels in parts]
    if "last_cache_for_all" in wrong:
        caches = [caches[-1]] * groups
    dys = np.split(dy, groups, axis=1)
    if "first_dy_for_all" in wrong:
        dys = [dys[0]] * groups
    dxs, dws, _ = zip(*map(ops.conv2d_backward, dys, caches), strict=True)
    dxs, dws = (
        dxs[:: -1 if "dx_backwards" in wrong else 1],
        dws[:: -1 if "dw_backwards" in wrong else 1],
    )
    dx = np.concatenate(dxs, axis=int("dx_joined_on_axis_0" not in wrong))
    dx = sum(dxs) if "dx_summed" in wrong else dx
    dw = np.concatenate(dws, axis=int("dw_joined_on_axis_1" in wrong))
    return dx, dw, None if b is None else dy.sum(axis=(0, 2, 3))
