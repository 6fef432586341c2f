"""The API reference: a page a module, written from what the modules hold.

An object stands on the page of the module that defines it, below that module's own text; a package
lists what it exports. What a package exports from a private module stands on the package's page.
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
    "plots",
    "exercises",
    "course",
)
PEER = "torch"  # what needs it is shown where it is installed


@dataclass
class Page:
    """What is shown of one module.

    Attributes
    ----------
    module : str
        Its name below the package: "ops.conv2d".
    about : list of str
        The lines of its docstring.
    members : dict of str to str
        Name below the package, and the directive that documents it.
    exports : list of str
        Of a package: names that are imported from modules below it.
    below : list of str
        Modules of a package, as `module`.
    """

    module: str
    about: list[str]
    members: dict[str, str] = field(default_factory=dict)
    exports: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)


class Reference:
    """All pages, and where each name leads; of some packages only, if they are named."""

    def __init__(self, packages: Sequence[str] = PACKAGES) -> None:
        self.packages = tuple(packages)
        self.pages: dict[str, Page] = {}
        self.home: dict[str, str] = {}  # name by which it can be imported -> where it is explained
        for package in self.packages:
            self._read(package)

    def _read(self, name: str) -> bool:
        """Read a module and those below it; False if it needs a peer that isn't installed."""
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
        """Return the role that links a name as it is used in a module; None if it isn't shown."""
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
        """Write all pages, and the list of them."""
        folder.mkdir(parents=True)
        for page in self.pages.values():
            (folder / f"{page.module}.rst").write_text("\n".join(self._rst(page)), "utf-8")
        (folder / "commands.rst").write_text("\n".join(_commands()), "utf-8")
        lines = [
            *_title("API reference"),
            "A page a module: its own text, and all that it defines.",
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
        """List modules with their first sentence."""
        for module in modules:
            about = inline(self.pages[module].about[0], partial(self.link, module=module))
            yield f"* :doc:`{module} </api/{module}>`: {about}"
        yield ""


def _own(module: ModuleType) -> Iterator[str]:
    """Yield the public members that a module defines and explains, in the order of its text."""
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
    """Whether what a package exports is defined where no page shows it."""
    home = getattr(getattr(module, key), "__module__", None)
    return home is not None and "._" in home and not inspect.ismodule(getattr(module, key))


def _directive(value: object) -> str:
    if inspect.isclass(value):
        return "autoclass"
    return "autofunction" if inspect.isroutine(value) else "autodata"


def _title(text: str) -> list[str]:
    return [text, "=" * len(text), ""]


def _commands() -> Iterator[str]:
    """Yield the page of the command line: what each command says with --help."""
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
