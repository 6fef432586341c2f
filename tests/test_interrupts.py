"""Ctrl-C at any moment: no crash, no hang, none lost, and the next call gives the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from interrupting import WORKS

pytest.importorskip("numba")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a timer that interrupts")


@pytest.mark.parametrize("work", [work.__name__ for work in WORKS])
def test_interrupts_do_no_harm(work, pytestconfig):
    """With 1, 2 and 4 threads, one after another in the same process, which takes long to start."""
    count = pytestconfig.getoption("interrupts")
    arguments = work, str(count), "1", "2", "4", "--seed", str(count)
    result = subprocess.run(
        [sys.executable, Path(__file__).with_name("interrupting.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=1200 + 3 * count,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [run["threads"] for run in found] == [1, 2, 4]
    for run in found:
        assert run["problems"] == [], run
        assert run["interrupts"] >= count
