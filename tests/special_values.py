"""What operations do with NaN, infinity, -0.0 and denormals: writes the table of the page.

    PYTHONPATH=. python tests/special_values.py

prints the rows of numpy_shufflenet/course/site/numbers.md; `test_special_values` compares them.
"""

import copy

import numpy as np
from strategies import as_tuple, run

from numpy_shufflenet.operations import OPERATIONS, Example

DENORMAL = np.float32(1e-40)
SPECIAL = {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf, "-0.0": -0.0, "denormal": DENORMAL}
FUSED = ("add_relu", "batch_norm_relu", "conv2d_relu", "pointwise_conv2d_relu")
ROWS = tuple(name for name in OPERATIONS if name not in (*FUSED, "channel_concat_shuffle"))
MOVING = (
    "channel_shuffle", "channel_unshuffle", "channel_split", "channel_concat", "max_pool2d",
    "upsample_nearest", "relu", "dropout", "add", "add_relu", "channel_concat_shuffle",
)  # fmt: skip
"""What copies numbers, picks or leaves them out: 0 keeps its sign."""
HEADER = (
    "| operation | x: " + " | x: ".join(SPECIAL) + " | dy: NaN | dy: inf | dy: -0.0 | PyTorch |",
    "|---" * (len(SPECIAL) + 5) + "|",
)


def row(name, implementation="ops", peer=None):
    """The cells of an operation: what becomes of a special value in x, and of one in dy."""
    with np.errstate(all="ignore"):
        cells = [forward_cell(name, value, implementation, peer) for value in SPECIAL.values()]
        return cells + [
            backward_cell(name, v, implementation, peer) for v in (np.nan, np.inf, -0.0)
        ]


def forward_cell(name, value, implementation, peer):
    ys = [
        as_tuple(outputs(name, put(case_of(name), 0, v), implementation, peer))
        for v in (1.0, value)
    ]
    return kinds_of_changes(name, *ys)


def backward_cell(name, value, implementation, peer):
    if name == "softmax_cross_entropy":
        return ""  # its dy is one number for all
    found = (gradients(name, case_of(name), v, implementation, peer) for v in (1.0, value))
    return kinds_of_changes(name, *found)


def case_of(name):
    """An example of positive numbers in x, so that a ReLU lets them through."""
    example = OPERATIONS[name].example(0, np.float32)
    return put(
        Example((abs(example.arrays[0]), *example.arrays[1:]), example.hyperparameters), 0, 1
    )


def put(case, i, value):
    """The case with one special value: in an entry that is neither dropped nor at an edge."""
    array = case.arrays[i].copy()
    array[place_in(array)] = value
    return Example((*case.arrays[:i], array, *case.arrays[i + 1 :]), case.hyperparameters)


def place_in(array):
    return tuple(min(1, size - 1) for size in array.shape)


def outputs(name, case, implementation, peer):
    return run(OPERATIONS[name], case, implementation)[0] if peer is None else peer(name, case)[0]


def gradients(name, case, value, implementation, peer):
    """All gradients that belong to x, or to parts of it, for a dy with one special value."""
    y = outputs(name, case, "ops", None)
    dy = tuple(np.ones_like(part) for part in as_tuple(y))
    dy[-1][place_in(dy[-1])] = value
    if peer is not None:
        return peer(name, case, dy)[1]
    cache = run(OPERATIONS[name], case, implementation)[1]
    found = OPERATIONS[name].backward(implementation)(dy if isinstance(y, tuple) else dy[0], cache)
    return as_tuple(found) if name == "channel_concat" else as_tuple(found)[:1]


def kinds_of_changes(name, before, after):
    kinds = set()
    for a, b in zip(before, after, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        changed = ~np.isclose(a, b, rtol=1e-4, atol=1e-5) | (np.signbit(a) != np.signbit(b))
        kinds |= {kind(v) for v in b[changed].flat}
    if name not in MOVING:  # the sign of a sum that is 0 depends on what it started from
        kinds = {k.replace("-0.0", "0").replace("0.0", "0") for k in kinds}
    found = [
        k for k in ("NaN", "inf", "-inf", "0", "0.0", "-0.0", "denormal", "number") if k in kinds
    ]
    return ", ".join(found).replace("inf, -inf", "±inf") or "no change"


def kind(value):
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "-0.0" if np.signbit(value) else "0.0"
    return "denormal" if abs(value) < np.finfo(np.float32).tiny else "number"


def torch_peer(name, case, dy=None):
    """y and the gradients of x, or of all that are concatenated, in PyTorch."""
    import torch
    from ops.test_all_torch import PEERS

    tensors = [None if a is None else torch.tensor(a.copy()) for a in case.arrays]
    leaves = [t.requires_grad_() for t in (tensors if name == "channel_concat" else tensors[:1])]
    y = as_tuple(PEERS[name](*tensors, **copy.deepcopy(case.hyperparameters)))
    if dy is not None:
        torch.autograd.backward(y, [torch.tensor(part) for part in dy])
    found = () if dy is None else tuple(leaf.grad.numpy() for leaf in leaves)
    return tuple(part.detach().numpy() for part in y), found


def torch_cell(name, cells):
    """Where PyTorch's answer is another one."""
    columns = [f"x: {key}" for key in SPECIAL] + ["dy: NaN", "dy: inf", "dy: -0.0"]
    peers = row(name, peer=torch_peer)
    other = [
        f"{column} gives {peer}"
        for column, own, peer in zip(columns, cells, peers, strict=True)
        if own != peer
    ]
    return "; ".join(other) or "the same"


def lines(torch_cells):
    """The rows; torch_cells(name, cells) fills the last column."""
    table = []
    for name in ROWS:
        cells = row(name)
        table.append(f"| `{name}` | {' | '.join(cells)} | {torch_cells(name, cells)} |")
    return [*HEADER, *table]


if __name__ == "__main__":
    print("\n".join(lines(torch_cell)))
