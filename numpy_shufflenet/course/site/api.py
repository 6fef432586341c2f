"""Writes the API reference: one page for each module.

An object is on the page of the module that defines it, below the docstring of the module. The page
of a package lists the names that the package exports. A private module has no page, so names that a
package exports from a private module are documented on the page of the package.
"""

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType

from sphinx.pycode import ModuleAnalyzer

import numpy_shufflenet
from numpy_shufflenet.course.site.docstrings import inline, to_rst

PACKAGE = numpy_shufflenet.__name__
PACKAGES = (
    "ops",
    "steps",
    "kernels",
    "backend",
    "operations",
    "registry",
    "strategies",
    "nn",
    "models",
    "gradcheck",
    "zoo",
    "cost",
    "bench",
    "data",
    "training",
    "weights",
    "compare",
    "plots",
    "exercises",
    "course",
)
PEER = "torch"  # if torch is not installed, modules that need torch have no page


@dataclass
class Page:
    """The content of the page of one module."""

    #: The name of the module inside this package: "ops.conv2d".
    module: str
    #: The lines of the module's docstring.
    about: list[str]
    #: For each documented name inside this package, its Sphinx directive.
    members: dict[str, str] = field(default_factory=dict)
    #: For a package: the names that it imports from its modules.
    exports: list[str] = field(default_factory=list)
    #: For a package: its modules, named like `module`.
    below: list[str] = field(default_factory=list)


class Reference:
    """The pages of some or all packages, and the page of each name."""

    def __init__(self, packages: Sequence[str] = PACKAGES) -> None:
        self.packages = tuple(packages)
        self.pages: dict[str, Page] = {}
        self.home: dict[str, str] = {}  # from an importable name to its documented name
        for package in self.packages:
            self._read(package)

    def _read(self, name: str) -> bool:
        """Read a module and its submodules; return False if the module needs a missing package."""
        try:
            module = importlib.import_module(f"{PACKAGE}.{name}")
        except ModuleNotFoundError as error:
            if error.name != PEER:
                raise
            return False
        page = self.pages[name] = Page(name, (inspect.getdoc(module) or "").splitlines())
        if hasattr(module, "__path__"):
            for info in pkgutil.iter_modules(module.__path__):
                if not info.name.startswith("_") and self._read(f"{name}.{info.name}"):
                    page.below.append(f"{name}.{info.name}")
        shown = [key for key in getattr(module, "__all__", ()) if _is_private(module, key)]
        for key in dict.fromkeys([*shown, *_own(module)]):
            page.members[f"{name}.{key}"] = _directive(getattr(module, key))
            self.home[f"{name}.{key}"] = f"{name}.{key}"
        for key in getattr(module, "__all__", ()):
            home = getattr(getattr(module, key), "__module__", "").removeprefix(f"{PACKAGE}.")
            if f"{home}.{key}" in self.home and f"{name}.{key}" not in page.members:
                self.home[f"{name}.{key}"] = f"{home}.{key}"
                page.exports.append(f"{name}.{key}")
        return True

    def link(self, name: str, module: str = "") -> str | None:
        """Return the role that links a name used in a module; None if no page shows the name."""
        path = module.split(".") if module else []
        called = name.removeprefix(f"{PACKAGE}.").removesuffix("()")
        for end in range(len(path), -1, -1):
            full = ".".join([*path[:end], called])
            if full in self.home:
                return f":py:obj:`{name} <{PACKAGE}.{self.home[full]}>`"
            if full in self.pages and (end == 0 or "." in called):
                return f":doc:`{name} </api/{full}>`"
        return None

    def write(self, folder: Path) -> None:
        """Write all pages, and the index."""
        folder.mkdir(parents=True)
        for page in self.pages.values():
            (folder / f"{page.module}.rst").write_text("\n".join(self._rst(page)), "utf-8")
        (folder / "commands.rst").write_text("\n".join(_commands()), "utf-8")
        lines = [
            *_title("API reference"),
            "Each module has a page with its docstring and everything that it defines.",
            "",
            *self._list(self.packages),
            "* :doc:`commands`: the command line, ``numpy-shufflenet``",
            "",
            ".. toctree::",
            "   :hidden:",
            "",
            *(f"   {package}" for package in self.packages),
            "   commands",
            "",
        ]
        (folder / "index.rst").write_text("\n".join(lines), "utf-8")

    def _rst(self, page: Page) -> Iterator[str]:
        package = page.module.rpartition(".")[0]
        if package:
            yield from (":orphan:", "", *_title(page.module), ".. container:: lesson-bar", "")
            yield from (
                f"   :doc:`API reference </api/index>` › :doc:`{package} </api/{package}>`",
                "",
            )
        else:
            yield from _title(page.module)
        yield from to_rst(page.about, partial(self.link, module=page.module))
        yield from self._list(page.below)
        if page.exports:
            links = (self.link(name) or name for name in page.exports)
            yield from (f"Imported from here: {', '.join(links)}.", "")
        for name, directive in page.members.items():
            yield f".. {directive}:: {PACKAGE}.{name}"
            if directive == "autoclass":
                yield "   :members:"
            if directive == "autodata":
                yield "   :no-value:"
            yield ""

    def _list(self, modules: Sequence[str]) -> Iterator[str]:
        """List modules, each with its first sentence."""
        for module in modules:
            about = inline(self.pages[module].about[0], partial(self.link, module=module))
            yield f"* :doc:`{module} </api/{module}>`: {about}"
        yield ""


def _own(module: ModuleType) -> Iterator[str]:
    """Yield the public names that a module defines and documents, in the order of its source."""
    analyzer = ModuleAnalyzer.for_module(module.__name__)
    analyzer.analyze()
    explained = {key for scope, key in analyzer.attr_docs if not scope}
    order = analyzer.tagorder
    for key in sorted(vars(module), key=lambda key: order.get(key, len(order))):
        value = vars(module)[key]
        if key.startswith("_"):
            continue
        is_code = inspect.isclass(value) or inspect.isroutine(value)
        if key in explained or (is_code and value.__module__ == module.__name__ and value.__doc__):
            yield key


def _is_private(module: ModuleType, key: str) -> bool:
    """Whether a package exports this name from a private module, which has no page."""
    home = getattr(getattr(module, key), "__module__", None)
    return home is not None and "._" in home and not inspect.ismodule(getattr(module, key))


def _directive(value: object) -> str:
    if inspect.isclass(value):
        return "autoclass"
    return "autofunction" if inspect.isroutine(value) else "autodata"


def _title(text: str) -> list[str]:
    return [text, "=" * len(text), ""]


def _commands() -> Iterator[str]:
    """Yield the page of the command line: the --help text of each command."""
    yield from _title("Commands")
    files = Path(numpy_shufflenet.__file__).with_name("commands").glob("[a-z]*.py")
    for name in ("", *sorted(file.stem for file in files)):
        command = [sys.executable, "-m", PACKAGE, *filter(None, [name]), "--help"]
        said = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"}
        )
        yield from (name, "-" * len(name), "") if name else ()
        yield from (".. code-block:: text", "")
        yield from (f"   {line}" for line in said.stdout.splitlines())
        yield ""
