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


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("work", [work.__name__ for work in WORKS])
def test_interrupts_do_no_harm(work, threads, pytestconfig):
    count = pytestconfig.getoption("interrupts")
    arguments = work, str(threads), str(count), str(count + threads)  # the last is a seed
    result = subprocess.run(
        [sys.executable, Path(__file__).with_name("interrupting.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=120 + count,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["problems"] == []
    assert found["interrupts"] >= count
