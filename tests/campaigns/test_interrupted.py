"""Ctrl-C at random moments, 1, 2 and 4 threads: no harm, none lost, the same bits afterwards."""

import json
import subprocess
import sys
from pathlib import Path

import interrupting
import pytest

pytestmark = pytest.mark.campaign
pytest.importorskip("numba")


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("work", [work.__name__ for work in interrupting.WORKS])
def test_interrupts(work, threads, campaign):
    size = campaign.size or 1000
    arguments = work, str(size), str(threads), "--seed", str(campaign.seed)
    command = [sys.executable, Path(interrupting.__file__), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    problems = found["problems"]
    smallest = (0, "?", work, problems[0]) if problems else None
    campaign.report(found["interrupts"], found["interrupts"] - len(problems), 0, smallest)
