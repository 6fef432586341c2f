"""Mutated files of all readers: read or refused by name, within 200 MB and 2 seconds."""

import random

import mutations
import pytest

pytestmark = pytest.mark.campaign


def test_mutated_files(campaign):
    mutations.good_file("weights")

    def case(rng: random.Random, say):
        reader, outcome, megabytes, seconds = mutations.case(campaign.seed, number := next(numbers))
        say(f"python tests/mutations.py: {reader}, seed {campaign.seed}, case {number}")
        if outcome not in ("read", "refused"):
            return outcome
        if megabytes > 200 or seconds > 2:
            return f"{megabytes:.0f} MB, {seconds:.2f} s"
        return None

    numbers = iter(range(10**9))
    campaign.run(case, size=2000)
