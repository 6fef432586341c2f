"""Settings of Hypothesis for all tests; another profile: `pytest --hypothesis-profile=NAME`."""

import os

from hypothesis import HealthCheck, settings

# No deadlines: the time of a case depends on what else the machine does.
common = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow],
}
settings.register_profile("default", max_examples=30, **common)
# In CI the same cases on every run: a red run is about the change, never about luck.
settings.register_profile("ci", max_examples=50, derandomize=True, **common)
settings.register_profile("thorough", max_examples=1000, **common)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_addoption(parser):
    parser.addoption(
        "--interrupts", type=int, default=20, help="interrupts of each kind in test_interrupts.py"
    )
