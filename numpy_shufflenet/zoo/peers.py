"""Gradient checkers of other packages, compared with ours on the same functions and bugs.

Each checker receives f and vjp in the form that it needs:

    torch.autograd.gradcheck      a torch.autograd.Function
    jax.test_util.check_grads     a jax.custom_vjp around a callback
    scipy.optimize.check_grad     a loss <dy, y> of one vector, with a random dy, and its gradient

All checkers run in float64 with their default settings. SciPy returns an error and no verdict, so
the comparison sets a tolerance of 1e-5.
"""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet import gradcheck
from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import Array
from numpy_shufflenet.gradcheck.pair import functions_of
from numpy_shufflenet.operations import Draw, Example
from numpy_shufflenet.zoo.catalogue import Bug, without_mistake
from numpy_shufflenet.zoo.score import part, rights

Report = tuple[str, str]  # "right", "wrong" or "kink"; the full text of the checker
Run = Callable[[Callable[..., Any], Callable[..., Any], list[Array]], Report]
SCIPY_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Row:
    """The scores of one checker."""

    name: str
    #: Number of the `bugs` that the checker catches.
    caught: int
    bugs: int
    #: Number of the `right` gradients that the checker calls wrong.
    blamed: int
    right: int
    #: Number of the `located` bugs in a single entry for which the checker names this entry.
    named: int
    located: int
    #: Number of the `kinked` right functions at a kink for which the checker reports a kink.
    kinks: int
    kinked: int
    #: Duration of the check of each right gradient.
    seconds: Sequence[float] = ()

    def cells(self) -> list[str]:
        """Return the row of the table as text."""
        return [
            self.name,
            f"{self.caught} of {self.bugs}",
            f"{self.blamed} of {self.right}",
            f"{self.named} of {self.located}",
            f"{self.kinks} of {self.kinked}",
            f"{1000 * float(np.mean(self.seconds)):.1f}",
        ]

    def first_or_equal(self, others: Sequence["Row"]) -> bool:
        """Whether no other checker is better in a column of correctness."""
        return all(
            self.caught >= other.caught
            and self.blamed <= other.blamed
            and self.named >= other.named
            and self.kinks >= other.kinks
            for other in others
        )


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _ours(
    f: Callable[..., Any], vjp: Callable[..., Any], arrays: list[Array], *, per_entry: bool
) -> Report:
    verdict = gradcheck.check(f, vjp, *arrays, per_entry=per_entry)
    if verdict.kinks and verdict.status in ("pass", "kink"):
        return "kink", str(verdict)
    return ("right" if verdict.passed else "wrong"), str(verdict)


def _torch(
    f: Callable[..., Any], vjp: Callable[..., Any], arrays: list[Array], *, fast_mode: bool
) -> Report:
    need("torch", "PyTorch's checker")
    import torch

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            ctx.save_for_backward(*tensors)
            y = f(*(t.detach().numpy() for t in tensors))
            if isinstance(y, tuple):
                return tuple(torch.from_numpy(np.array(part)) for part in y)
            return torch.from_numpy(np.array(y))

        @staticmethod
        def backward(ctx: Any, *dys: Any) -> Any:
            point = [t.detach().numpy() for t in ctx.saved_tensors]
            parts = tuple(dy.numpy() for dy in dys)
            found = vjp(parts if len(parts) > 1 else parts[0][()], *point)
            return tuple(torch.from_numpy(np.array(g)) for g in _as_tuple(found))

    tensors = tuple(torch.from_numpy(a.copy()).requires_grad_() for a in arrays)
    try:
        torch.autograd.gradcheck(Wrapped.apply, tensors, fast_mode=fast_mode)
    except Exception as error:
        return "wrong", str(error)
    return "right", ""


def _jax(f: Callable[..., Any], vjp: Callable[..., Any], arrays: list[Array]) -> Report:
    need("jax", "JAX's checker")
    import jax
    from jax.test_util import check_grads  # type: ignore[attr-defined,unused-ignore]

    struct: Any = jax.ShapeDtypeStruct
    y = f(*arrays)
    several = isinstance(y, tuple)
    shapes = tuple(struct(np.shape(p), np.float64) for p in _as_tuple(y))
    inputs = tuple(struct(a.shape, np.float64) for a in arrays)

    def run(*point: Any) -> Any:
        return _as_tuple(f(*map(np.asarray, point)))

    def run_back(dy: Any, *point: Any) -> Any:
        parts = tuple(np.asarray(part)[()] for part in dy)
        return _as_tuple(vjp(parts if several else parts[0], *map(np.asarray, point)))

    @jax.custom_vjp
    def wrapped(*point: Any) -> Any:
        return jax.pure_callback(run, shapes, *point)

    wrapped.defvjp(
        lambda *point: (wrapped(*point), point),
        lambda point, dy: jax.pure_callback(run_back, inputs, dy, *point),
    )
    with jax.enable_x64(True):
        point = tuple(jax.numpy.asarray(a) for a in arrays)
        try:
            compare: Any = check_grads
            compare(wrapped, point, order=1, modes=["rev"])
        except Exception as error:
            return "wrong", str(error)
    return "right", ""


def _scipy(f: Callable[..., Any], vjp: Callable[..., Any], arrays: list[Array]) -> Report:
    check_grad = need("scipy.optimize", "SciPy's checker").check_grad

    rng = np.random.default_rng(0)
    y = f(*arrays)
    dys = tuple(np.asarray(rng.normal(size=np.shape(p)))[()] for p in _as_tuple(y))
    dy = dys if isinstance(y, tuple) else dys[0]
    ends = np.cumsum([a.size for a in arrays])[:-1]

    def point(vector: Array) -> list[Array]:
        pieces = np.split(vector, ends)
        return [p.reshape(a.shape) for p, a in zip(pieces, arrays, strict=True)]

    def loss(vector: Array) -> float:
        values = _as_tuple(f(*point(vector)))
        return float(sum((d * v).sum() for d, v in zip(dys, values, strict=True)))

    def gradient(vector: Array) -> Array:
        return np.concatenate([g.ravel() for g in _as_tuple(vjp(dy, *point(vector)))])

    start = np.concatenate([a.ravel() for a in arrays])
    try:
        error = check_grad(loss, gradient, start)
    except Exception as problem:
        return "wrong", str(problem)
    size = float(np.linalg.norm(gradient(start)))
    return ("right" if error <= SCIPY_TOLERANCE * max(size, 1.0) else "wrong"), f"{error}"


CHECKERS: dict[str, Run] = {
    "ours": functools.partial(_ours, per_entry=False),
    "ours, every entry": functools.partial(_ours, per_entry=True),
    "torch gradcheck": functools.partial(_torch, fast_mode=False),
    "torch gradcheck, fast": functools.partial(_torch, fast_mode=True),
    "jax check_grads": _jax,
    "scipy check_grad": _scipy,
}
ONE_ENTRY = {"conv2d/one_weight_too_large": "[1, 2, 0, 1]", "pointwise_conv2d/off_by_one": "[0, 0"}


def compare(seeds: int, *, every: int = 1) -> list[Row]:
    """Run every checker on wrong backwards and on right gradients of operations, without units.

    Parameters
    ----------
    seeds : int
        Number of examples of each bug and of each right gradient.
    every : int
        Only every `every`-th bug and right gradient is used, and all bugs in a single entry.
    """
    bugs = [b for b in part("a", "held out") if not b.operation.startswith("unit")]
    right = [b for b in rights() if not b.operation.startswith("unit")][::every]
    bugs = [b for n, b in enumerate(bugs) if n % every == 0 or b.name in ONE_ENTRY]
    return [_row(name, run, bugs, right, seeds) for name, run in CHECKERS.items()]


def _row(name: str, run: Run, bugs: list[Bug], right: list[Bug], seeds: int) -> Row:
    for warm_up in right[:2]:  # so that imports and compilation aren't timed
        run(*_case(warm_up, 0))
    wrong = [(bug, *run(*_case(bug, seed))) for seed in range(seeds) for bug in bugs]
    found = [ONE_ENTRY[bug.name] in text for bug, _, text in wrong if bug.name in ONE_ENTRY]
    timed = [_timed(run, bug, seed) for seed in range(seeds) for bug in right]
    kinks = [_kinked(operation) for operation in ("relu", "max_pool2d")]
    kinked = [run(*_case(bug, seed))[0] for seed in range(seeds) for bug in kinks]
    of_right = [says for says, _ in timed] + kinked
    return Row(
        name,
        caught=[says for _, says, _ in wrong].count("wrong"),
        bugs=len(wrong),
        blamed=of_right.count("wrong"),
        right=len(of_right),
        named=sum(found),
        located=len(found),
        kinks=kinked.count("kink"),
        kinked=len(kinked),
        seconds=[seconds for _, seconds in timed],
    )


def _timed(run: Run, bug: Bug, seed: int) -> tuple[str, float]:
    case = _case(bug, seed)
    start = time.perf_counter()
    says, _ = run(*case)
    return says, time.perf_counter() - start


def _case(bug: Bug, seed: int) -> tuple[Callable[..., Any], Callable[..., Any], list[Array]]:
    example: Example = bug.example(seed)
    f, vjp, _ = functions_of(bug.forward, bug.backward, example.hyperparameters)
    return f, vjp, [a for a in example.arrays if a is not None]


def _kinked(name: str) -> Bug:
    """Return a right operation at a kink: x = 0 for ReLU, or equal pixels for the max pool."""
    right = next(b for b in rights() if b.name == name)

    def draw(source: Draw) -> tuple[tuple[Any, ...], dict[str, Any]]:
        (x,), hyperparameters = right.draw(source)
        x = x.copy()
        if name == "relu":
            x[0, 1, 2, 3] = 0
        else:
            x[0, 0, 2, 2] = x[0, 0, 2, 3] = x.max() + 1
        return (x,), hyperparameters

    return without_mistake(name, right.right, draw)
