"""Counts the bugs that a checker catches, its false alarms, and the causes that it names."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet import gradcheck
from numpy_shufflenet.gradcheck import Verdict
from numpy_shufflenet.operations import OPERATIONS
from numpy_shufflenet.zoo import BUGS
from numpy_shufflenet.zoo.catalogue import Bug, differentiable_first, without_mistake
from numpy_shufflenet.zoo.checkers import CHECKERS, Case, Checker
from numpy_shufflenet.zoo.units import UNITS, draw_unit, unit_pair


@dataclass(frozen=True)
class Tally:
    """A number of tries, and the tries with an unwanted outcome."""

    tries: int = 0
    #: The seed and the outcome of each try with an unwanted outcome.
    others: tuple[tuple[int, str], ...] = ()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.tries + other.tries, self.others + other.others)

    def __str__(self) -> str:
        return f"{self.good} of {self.tries}"

    @property
    def good(self) -> int:
        """How many tries had the wanted outcome."""
        return self.tries - len(self.others)

    @property
    def percent(self) -> str:
        """The share of tries with the wanted outcome."""
        return f"{100 * self.good / self.tries:.1f} %" if self.tries else ""

    @property
    def all_good(self) -> bool:
        """Whether every try had the wanted outcome."""
        return not self.others


def _tally(seeds: int, outcome: Callable[[int], str], wanted: str) -> Tally:
    """Try the seeds from 0 to `seeds` - 1, and count the tries with the wanted outcome."""
    outcomes = [(seed, outcome(seed)) for seed in range(seeds)]
    return Tally(seeds, tuple(pair for pair in outcomes if pair[1] != wanted))


def check(bug: Bug, seed: int, *, right: bool = False, **options: Any) -> Verdict:
    """Check a bug, or the right functions in its place, on the example of a seed."""
    forward, backward = bug.right if right else (bug.forward, bug.backward)
    example = bug.example(seed)
    options.setdefault("seed", seed)
    return gradcheck.check_pair(
        forward, backward, *example.arrays, **example.hyperparameters, **options
    )


def catches(bug: Bug, seeds: int) -> Tally:
    """Check a bug on `seeds` seeds with default settings. Only "fail" counts as caught.

    For a bug that isn't repeatable, "nondeterministic" counts instead.
    """
    wanted = "nondeterministic" if bug.cause == "not repeatable" else "fail"
    return _tally(seeds, lambda seed: check(bug, seed).status, wanted)


def names_cause(bug: Bug, seeds: int) -> Tally:
    """Count the seeds on which `explain` names the family of a bug's cause."""
    return _tally(seeds, lambda seed: check(bug, seed).explain().family or "nothing", bug.cause)


def style_catches(checker: Checker, bug: Bug, seeds: int, *, right: bool = False) -> Tally:
    """Run a weak checker on a bug, or on the right functions in its place."""

    def says(seed: int) -> str:
        passed = checker.run(Case(bug, seed, right=right), np.random.default_rng(seed))
        return "right" if passed else "wrong"

    return _tally(seeds, says, "right" if right else "wrong")


def passes(right: Bug, seeds: int) -> Tally:
    """Count the seeds on which right functions pass."""
    return _tally(seeds, lambda seed: check(right, seed).status, "pass")


def rights() -> Iterator[Bug]:
    """Yield right functions, each in the form of a bug without a mistake.

    They are every operation of the table, on the example of the table; every unit; and, for each
    bug that has its own example, the right operation on this example.
    """
    for name, operation in OPERATIONS.items():
        pair = operation.forward(), operation.backward()
        yield without_mistake(name, pair, differentiable_first(operation, operation.draw))
    for name in UNITS:
        yield without_mistake(name, unit_pair(name), functools.partial(draw_unit, name))
    seen: set[object] = set()
    for bug in BUGS.values():
        if bug.own_example is not None and bug.own_example not in seen:
            seen.add(bug.own_example)
            yield without_mistake(f"{bug.operation}, as in {bug.name}", bug.right, bug.draw)


def part(*names: str) -> list[Bug]:
    """Return the bugs of these parts of the catalogue, such as "a"."""
    return [bug for bug in BUGS.values() if bug.part in names]


def weaker_styles() -> list[Checker]:
    """Return the checkers that compare gradients, but not closely enough."""
    return [checker for checker in CHECKERS.values() if checker.weak]
