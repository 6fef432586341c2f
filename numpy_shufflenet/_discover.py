"""A package's public names, collected from the `__all__` of its files."""

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any


def public_names(package: str, path: Sequence[str], namespace: dict[str, Any]) -> list[str]:
    """Import every public file of a package and put the names in its `__all__` into namespace.

    So no list has to name a new file. Files without `__all__`, and files whose name starts with an
    underscore, are skipped. Returns the names.
    """
    names: list[str] = []
    for file in pkgutil.iter_modules(path):
        if not file.name.startswith("_"):
            module = importlib.import_module(f"{package}.{file.name}")
            for name in getattr(module, "__all__", ()):
                namespace[name] = getattr(module, name)
                names.append(name)
    return sorted(names)
