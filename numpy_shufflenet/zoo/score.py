"""How many bugs a checker catches, how many right gradients it blames, how many causes it names."""

import functools
from collections.abc import Iterator
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

CAUGHT = ("fail", "nondeterministic")


@dataclass
class Tally:
    """Of so many tries, how many went as they should; and which did not.

    Attributes
    ----------
    tries, good : int
    others : list of (seed, outcome)
    """

    tries: int = 0
    good: int = 0
    others: list[tuple[int, str]] | None = None

    def add(self, seed: int, good: bool, outcome: str) -> None:
        """Count one try."""
        self.tries += 1
        self.good += good
        if not good:
            self.others = [*(self.others or []), (seed, outcome)]

    def include(self, other: "Tally") -> None:
        """Add the counts of another tally."""
        self.tries, self.good = self.tries + other.tries, self.good + other.good

    @property
    def percent(self) -> str:
        """The share that went as it should."""
        return f"{100 * self.good / self.tries:.1f} %" if self.tries else ""

    @property
    def all_good(self) -> bool:
        """Whether every try went as it should."""
        return self.good == self.tries

    def __str__(self) -> str:
        return f"{self.good} of {self.tries}"


def check(bug: Bug, seed: int, *, right: bool = False, **options: Any) -> Verdict:
    """Check a bug, or what is right in its place, on the example of a seed."""
    forward, backward = bug.right if right else (bug.forward, bug.backward)
    example = bug.example(seed)
    options.setdefault("seed", seed)
    return gradcheck.check_pair(
        forward, backward, *example.arrays, **example.hyperparameters, **options
    )


def catches(bug: Bug, seeds: int) -> Tally:
    """Check a bug on so many seeds with default settings; only "fail" counts as caught.

    "nondeterministic" counts where that is the bug; "kink" and "imprecise" never do.
    """
    tally = Tally()
    wanted = "nondeterministic" if bug.cause == "not repeatable" else "fail"
    for seed in range(seeds):
        status = check(bug, seed).status
        tally.add(seed, status == wanted, status)
    return tally


def names_cause(bug: Bug, seeds: int) -> Tally:
    """Ask `explain` for the family of a bug's cause on so many seeds."""
    tally = Tally()
    for seed in range(seeds):
        family = check(bug, seed).explain().family
        tally.add(seed, family == bug.cause, family or "nothing")
    return tally


def style_catches(checker: Checker, bug: Bug, seeds: int, *, right: bool = False) -> Tally:
    """Let a weaker style look at a bug, or at what is right."""
    tally = Tally()
    for seed in range(seeds):
        calls_right = checker.run(Case(bug, seed, right=right), np.random.default_rng(seed))
        tally.add(seed, calls_right == right, "right" if calls_right else "wrong")
    return tally


def rights() -> Iterator[Bug]:
    """Yield what is right, in the form of a bug without a mistake, once for each example.

    Every operation of the table on its own example, every unit, and each example that a bug brings.
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


def passes(right: Bug, seeds: int) -> Tally:
    """Check what is right on so many seeds."""
    tally = Tally()
    for seed in range(seeds):
        status = check(right, seed).status
        tally.add(seed, status == "pass", status)
    return tally


def part(*names: str) -> list[Bug]:
    """Return the bugs of some parts."""
    return [bug for bug in BUGS.values() if bug.part in names]


def weaker_styles() -> list[Checker]:
    """Return the checkers that compare, and too little."""
    return [checker for checker in CHECKERS.values() if checker.weak]
