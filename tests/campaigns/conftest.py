"""Campaigns: many random cases, outside the normal run of the tests.

    pytest -m campaign tests/campaigns
    pytest -m campaign tests/campaigns/test_networks.py --campaign-size 500 --campaign-seed 7

Each campaign prints how many cases it tried, how many held, and the smallest case that failed. A
case is drawn from the seed and its number, so it can be repeated.
"""

import random
import time
import traceback
from collections.abc import Callable

import pytest

Case = Callable[[random.Random, Callable[[str], None]], str | None]


class Campaign:
    """Runs the cases of a campaign, and reports them."""

    def __init__(self, config: pytest.Config, name: str, show: Callable[[str], None]):
        self.size = config.getoption("campaign_size")
        self.seed = config.getoption("campaign_seed")
        self.name, self.show = name, show

    def run(self, case: Case, *, size: int) -> None:
        """Run `size` cases, or as many as --campaign-size says, and fail if a case failed.

        A case is a function of a random generator and of `say`, by which it describes what it has
        drawn. It returns a problem, or raises an error, if it has failed.
        """
        size, start = self.size or size, time.perf_counter()
        failures = []
        for number in range(size):
            said: list[str] = []
            try:
                problem = case(random.Random(f"{self.seed} {number}"), said.append)
            except Exception:
                problem = traceback.format_exc(limit=-4)
            if problem:
                self.show(f"case {number} failed: {' '.join(said)}: {problem}")
                failures.append((len(" ".join(said)), number, " ".join(said), problem))
        self.report(
            size, size - len(failures), time.perf_counter() - start, min(failures, default=None)
        )

    def report(self, tried, held, seconds, smallest):
        """Print the figures, and fail if a case has failed."""
        text = f"{self.name}: tried {tried:,}, held {held:,}, seed {self.seed}, {seconds:.0f} s"
        if smallest:
            _, number, said, problem = smallest
            text += f"\nsmallest failing case: number {number}: {said}\n{problem}"
        self.show(text)
        assert held == tried, text


@pytest.fixture
def campaign(request, capsys):
    def show(text):
        with capsys.disabled():
            print(f"\n{text}", flush=True)

    return Campaign(request.config, request.node.name.removeprefix("test_"), show)
