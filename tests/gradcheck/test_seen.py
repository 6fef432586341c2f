"""A pass means that an error of the claimed size would have been seen: shown by injection.

After a pass, the gradient is made wrong by what is claimed, entry by entry, and the same check must
fail. `python tests/gradcheck/test_seen.py 10000` does it for that many random functions.
"""

import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from strategies import seeds

from numpy_shufflenet import zoo
from numpy_shufflenet.gradcheck import check, check_operation
from numpy_shufflenet.operations import OPERATIONS

CURVES = {
    "sin": (np.sin, np.cos),
    "exp": (np.exp, np.exp),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "square": (np.square, lambda x: 2 * x),
    "line": (lambda x: 1 * x, np.ones_like),
    "softplus": (lambda x: np.log1p(np.exp(x)), lambda x: 1 / (1 + np.exp(-x))),
}
KINDS = ("entries", "sum", "mean", "matrix", "cancelled", "single", "log-likelihood")
FACTORS = (2.0, -1.0, 1.01, 0.0)


def random_function(seed):
    """A function of known noise and its right gradient, at a random point."""
    rng = np.random.default_rng(seed)
    kind = KINDS[rng.integers(len(KINDS))]
    curve, slope = CURVES[list(CURVES)[rng.integers(len(CURVES))]]
    n = int(rng.integers(1, 9))
    spread = rng.choice([0.0, 2.0, 8.0])  # entries over 16 orders of magnitude
    amplitude = 10.0 ** (rng.uniform(-9, 6) + rng.uniform(-spread, spread, n))
    offset = rng.choice([0.0, 1.0]) * 10.0 ** rng.uniform(0, 16)
    x = rng.normal(size=n) * 10.0 ** rng.uniform(-1, 0.5)
    mix = rng.normal(size=(int(rng.integers(1, 6)), n))

    def f(x):
        y = amplitude * curve(x)
        if kind == "entries":
            return offset + y
        if kind == "sum":
            return offset + y.sum()
        if kind == "mean":
            return (offset + y).mean()
        if kind == "matrix":
            return offset + mix @ y
        if kind == "cancelled":
            return (offset + y) - offset
        if kind == "single":
            return (offset + y).astype(np.float32).astype(np.float64)
        return offset - np.log(np.exp(-np.square(curve(x)) / 2) + 1e-3)

    def vjp(dy, x):
        g = amplitude * slope(x)
        if kind == "mean":
            return dy * g / n
        if kind == "matrix":
            return (mix.T @ dy) * g
        if kind == "log-likelihood":
            density = np.exp(-np.square(curve(x)) / 2)
            return dy * density / (density + 1e-3) * curve(x) * slope(x)
        return dy * g

    return kind, f, vjp, x


def times(vjp, index, factor):
    """The gradient with one entry wrong."""

    def wrong(dy, x):
        gradient = np.array(vjp(dy, x))
        gradient[index] *= factor
        return gradient

    return wrong


def problems(seed):
    """Check a random function, and what injection shows; return the status and all that is bad."""
    kind, f, vjp, x = random_function(seed)
    options = {"skip": ("float32", "layout", "batch", "dtype", "linear"), "seed": seed}
    with np.errstate(all="ignore"):
        verdict = check(f, vjp, x, **options)
        (report,) = verdict.arrays
        bad = [f"{seed} {kind}: a right gradient fails"] if verdict.status == "fail" else []
        rng = np.random.default_rng(seed)
        index = (int(rng.integers(x.size)),)
        parts = np.abs(vjp(np.ones(f(x).shape), x) * x)
        for factor in FACTORS:
            wrong = check(f, times(vjp, index, factor), x, **options)
            # Of 0 it is claimed that it is little beside y's slopes, or that y keeps every bit.
            little = factor == 0 and (
                parts[index] <= 1e-3 * np.linalg.norm(parts)
                or np.array_equal(f(x * (1 + (np.arange(x.size) == index[0]) / 256)), f(x))
            )
            seen = index not in wrong.arrays[0].unseen
            if wrong.status == "pass" and seen and not little and parts[index] > 0:
                bad.append(f"{seed} {kind}: {factor} times entry {index} passes")
        if verdict.status == "pass":
            for index in map(tuple, np.argwhere(report.seen)):
                for sign in (1, -1) if parts[index] > 0 else ():
                    factor = 1 + sign * report.visible[index]
                    if check(f, times(vjp, index, factor), x, **options).status != "fail":
                        bad.append(f"{seed} {kind}: {factor - 1:.1e} of {index} is not seen")
    return verdict.status, bad


if __name__ == "__main__":
    found, all_bad = Counter(), []
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for seed in range(first, first + int(sys.argv[1])):
        status, bad = problems(seed)
        found[status] += 1
        all_bad += bad
    print(dict(found), len(all_bad), "problems", *all_bad[:60], sep="\n")
