"""The papers' equations for the costs of a 1x1 convolution and of the units of several networks."""

import math
from collections.abc import Callable
from typing import NamedTuple

from numpy_shufflenet.ops.checks import check_divides, check_positive


def pointwise_multiply_adds(h: int, w: int, c1: int, c2: int, groups: int = 1) -> int:
    """Return the multiply-adds B = h w c1 c2 / g of a 1x1 convolution from c1 to c2 channels.

    Source: ShuffleNet V2, section 2, G1 and G2.
    """
    _check_pointwise(h, w, c1, c2, groups)
    return h * w * c1 * c2 // groups


def pointwise_memory_access(h: int, w: int, c1: int, c2: int, groups: int = 1) -> int:
    """Return MAC = h w (c1 + c2) + c1 c2 / g, which counts input, output and weights once each.

    Source: ShuffleNet V2, section 2, equations 1 and 2.
    """
    _check_pointwise(h, w, c1, c2, groups)
    return h * w * (c1 + c2) + c1 * c2 // groups


def lower_bound(h: int, w: int, multiply_adds: float, groups: int = 1) -> float:
    """Return the smallest MAC of a 1x1 convolution with this cost B and this number of groups.

    The result is 2 sqrt(h w g B) + B / (h w). A convolution with c1 = c2 has this MAC.

    Source: ShuffleNet V2, section 2, equation 1, from the inequality of arithmetic and geometric
    means.
    """
    pixels = h * w
    return 2 * math.sqrt(pixels * groups * multiply_adds) + multiply_adds / pixels


def resnet_unit(h: int, w: int, c: int, m: int) -> int:
    """Return the multiply-adds h w (2 c m + 9 m^2) of a 1x1, a full 3x3 and a 1x1 convolution.

    The input has c channels of h x w pixels, and the bottleneck has m channels.

    Source: ShuffleNet V1, section 3.2, also for the next two functions.
    """
    return h * w * (2 * c * m + 9 * m * m)


def resnext_unit(h: int, w: int, c: int, m: int, groups: int) -> int:
    """Return h w (2 c m + 9 m^2 / g): only the 3x3 convolution has groups."""
    check_divides(groups, m, of="m")
    return h * w * (2 * c * m + 9 * m * m // groups)


def shufflenet_unit(h: int, w: int, c: int, m: int, groups: int) -> int:
    """Return h w (2 c m / g + 9 m): the 1x1 convolutions have groups, and the 3x3 is depthwise."""
    check_divides(groups, m, of="m")
    return h * w * (2 * c * m // groups + 9 * m)


def separable_ratio(out_channels: int, kernel_size: int) -> float:
    """Return 1/N + 1/D_K^2: the cost of a depthwise separable convolution / the cost of a full one.

    Source: MobileNets, section 3.1.
    """
    return 1 / out_channels + 1 / kernel_size**2


def widest(budget: float, cost: Callable[[int], float], *, step: int = 1) -> int:
    """Return the largest multiple of `step` whose cost is within `budget`; `cost` must increase.

    Raises
    ------
    ValueError
        If `step` channels already cost more than the budget.
    """
    if cost(step) > budget:
        raise ValueError(f"budget={budget:g} is below {cost(step):g}, the cost of {step} channels")
    low, high = 1, 2
    while cost(step * high) <= budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(step * middle) <= budget else (low, middle)
    return step * low


class Width(NamedTuple):
    """The numbers of channels of a unit's output and of its 3x3 convolution."""

    channels: int
    inner: int


def channels_at_budget(
    budget: float, h: int = 28, w: int = 28, *, groups: int = 8
) -> dict[str, Width]:
    """Return how wide a unit of each network can be, for a budget of multiply-adds.

    Groups allow the most channels, but they raise the memory access (G2), as narrow bottlenecks do
    (G1). V2's unit has neither groups nor a bottleneck. It computes on half of its channels, with
    equal widths, and passes the other half on. So V2's unit has more channels than a dense
    bottleneck or a separable convolution of the same cost, and its 3x3 convolution is wider than
    the 3x3 convolution of any bottleneck.

    Source: ShuffleNet V1, section 3.2; V2, section 3.
    """

    def quarter(cost: Callable[[int], int], step: int) -> Width:
        channels = widest(budget, cost, step=step)
        return Width(channels, channels // 4)

    separable = widest(budget, lambda c: h * w * (c * c + 9 * c))
    v2 = widest(budget, lambda c: h * w * (2 * (c // 2) ** 2 + 9 * (c // 2)), step=2)
    return {
        "ResNet": quarter(lambda c: resnet_unit(h, w, c, c // 4), 4),
        f"ResNeXt, g={groups}": quarter(
            lambda c: resnext_unit(h, w, c, c // 4, groups), 4 * groups
        ),
        "MobileNet V1": Width(separable, separable),
        "ShuffleNet V1, g=3": quarter(lambda c: shufflenet_unit(h, w, c, c // 4, 3), 12),
        f"ShuffleNet V1, g={groups}": quarter(
            lambda c: shufflenet_unit(h, w, c, c // 4, groups), 4 * groups
        ),
        "ShuffleNet V2": Width(v2, v2 // 2),
    }


def _check_pointwise(h: int, w: int, c1: int, c2: int, groups: int) -> None:
    for name, value in (("h", h), ("w", w), ("c1", c1), ("c2", c2)):
        check_positive(name, value)
    check_divides(groups, c1, of="c1")
    check_divides(groups, c2, of="c2")
