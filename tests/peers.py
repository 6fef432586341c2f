"""Peers to compare with: skipped where they are not installed, but never in CI."""

import importlib
import os
from types import ModuleType

import pytest


def need(name: str) -> ModuleType:
    """Return the module, or skip the whole test file; in CI, where it must be there, fail."""
    if os.environ.get("CI"):
        return importlib.import_module(name)
    return pytest.importorskip(name)
