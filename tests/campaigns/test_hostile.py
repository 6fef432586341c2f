"""Hostile answers: no points, and the next notebook is graded as ever."""

import itertools
import random
import tempfile
from pathlib import Path

import pytest
from course import hostile
from course.test_grading import grade_hostile

pytestmark = pytest.mark.campaign
NAMES = [*hostile.BEFORE, *hostile.ANSWERS]


def test_hostile(campaign):
    names = itertools.cycle(NAMES)

    def case(rng: random.Random, say):
        say(name := next(names))
        with tempfile.TemporaryDirectory() as folder:
            found = grade_hostile(Path(folder), name)
        return None if found == (0, 1) else f"points {found}"

    campaign.run(case, size=len(NAMES))
