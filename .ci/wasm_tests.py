"""Runs pytest in WebAssembly: the arguments are pytest's."""

import sys

import pytest


class FewExamples:
    """The setting of tests/conftest.py that matters here; the file itself needs Numba."""

    def pytest_configure(self) -> None:
        """Set it when Hypothesis's own plugin is there."""
        from hypothesis import HealthCheck, settings

        slow = [HealthCheck.too_slow]
        settings.register_profile("few", max_examples=10, deadline=None, suppress_health_check=slow)
        settings.load_profile("few")


# Pyodide has no files for pytest to capture output in, and no processes for its workers.
OPTIONS = ["--noconftest", "--capture=no", "--quiet", "--tb=short", "-o", "addopts="]
OPTIONS += ["-p", "no:cacheprovider"]
raise SystemExit(pytest.main([*OPTIONS, *sys.argv[1:]], [FewExamples()]))
