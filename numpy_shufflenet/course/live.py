"""Runs an exercise of a lesson's page. The worker of the page calls this in a browser.

    setup = setup_for(cells, answer)    # the code of the cells above that the answer needs
    run(setup, answer, show)            # calls show(kind, content, description) for each output

An answer runs in a namespace of its own, after the statements above it that give names to what it
uses. So it never depends on what ran before, and the page needn't run the whole lesson.
"""

import ast
import base64
import builtins
import contextlib
import importlib.util
import io
import linecache
import re
import symtable
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from numpy_shufflenet.exercises import NotYet, Result
from numpy_shufflenet.exercises.attempt import UNWRITTEN

#: Receives the kind of an output ("text", "html", "png" or "status"), its content, and a
#: description of a picture.
Show = Callable[[str, str, str], object]

ANSWER = "<your answer>"
MOST_PRINTED = 20_000  # characters of one run; a page with more is slow
_namespaces: dict[str, dict[str, Any]] = {}  # what each setup has defined


def setup_for(cells: Sequence[str], answer: str) -> str:
    """Return the statements of the cells above an answer that define what the answer needs.

    Parameters
    ----------
    cells : sequence of str
        The code of all cells above. Cells with a syntax error are left out.
    answer : str

    Returns
    -------
    str
        Python code; "" if the answer has a syntax error.
    """
    try:
        own = [(answer, statement) for statement in ast.parse(answer).body]
    except (SyntaxError, ValueError):
        return ""
    above = []
    for cell in cells:
        with contextlib.suppress(SyntaxError, ValueError):
            statements = ast.parse(cell).body
            above += [(cell, part) for statement in statements for part in _parts(statement)]
    known = [_Statement.of(source, statement) for source, statement in [*above, *own]]
    late: set[str] = set()  # what functions use may be defined after them
    while True:
        chosen = _chosen(known, len(own), late)
        found = late.union(*(statement.late for statement in chosen))
        if found == late:
            return "\n\n".join(statement.text for statement in chosen[: len(chosen) - len(own)])
        late = found


def _parts(statement: ast.stmt) -> Iterator[ast.stmt]:
    """Yield one import for each name, because an import that isn't needed takes time."""
    if not isinstance(statement, ast.Import | ast.ImportFrom):
        yield statement
        return
    for name in statement.names:
        yield ast.copy_location(type(statement)(**{**vars(statement), "names": [name]}), statement)


class _Statement(NamedTuple):
    """A statement at the top of a cell."""

    text: str
    #: The names that it defines or changes.
    given: set[str]
    #: Whether an earlier definition of these names doesn't matter.
    surely: bool
    #: The global names that it reads at once, and those that its functions read when called.
    used: set[str]
    late: set[str]

    @classmethod
    def of(cls, source: str, statement: ast.stmt) -> "_Statement":
        imports = isinstance(statement, ast.Import | ast.ImportFrom)
        lines = [statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", ()))]
        text = "\n".join(source.splitlines()[min(lines) - 1 : statement.end_lineno])
        text = ast.unparse(statement) if imports else text
        table = symtable.symtable(text, ANSWER, "exec")
        given = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
        late = set().union(*map(_used, table.get_children()))
        if imports or isinstance(statement, ast.FunctionDef | ast.ClassDef):
            return cls(text, given, True, _used(table), late)
        changed = {
            node.value.id
            for node in ast.walk(statement)
            if isinstance(node, ast.Subscript | ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
        }
        surely = isinstance(statement, ast.Assign) and not changed
        return cls(text, given | changed, surely, _used(table), late)


def _used(table: symtable.SymbolTable) -> set[str]:
    """Return the global names that code reads, in its functions, too."""
    names = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module")
    }
    return names.union(*map(_used, table.get_children())) - vars(builtins).keys()


def _chosen(known: list[_Statement], last: int, late: set[str]) -> list[_Statement]:
    """Return the `last` statements, and those above that define what the chosen ones need."""
    wanted, chosen = set(late), []
    for number, statement in enumerate(reversed(known)):
        if number < last or statement.given & wanted:
            chosen.append(statement)
            wanted = (wanted - statement.given if statement.surely else wanted) | statement.used
    return chosen[::-1]


def run(setup: str, answer: str, show: Show) -> bool:
    """Run an answer with its checks, and show what a notebook would show.

    Parameters
    ----------
    setup : str
        From `setup_for`.
    answer : str
        The code of the cell.
    show : callable
        Receives the outputs. The last has the kind "status": the verdict in a sentence or two.

    Returns
    -------
    bool
        Whether the answer is right: no statement has raised an error.
    """
    printer = _Printer(show)
    linecache.cache[ANSWER] = (len(answer), None, answer.splitlines(keepends=True), ANSWER)
    said: list[str] = []
    try:
        with contextlib.redirect_stdout(printer), contextlib.redirect_stderr(printer):
            namespace = _namespace(setup)
            tree = ast.parse(answer, ANSWER)
            for number, statement in enumerate(tree.body, start=1):
                value = _execute(statement, namespace)
                if isinstance(value, Result):
                    said.append(_in_short(value))
                if isinstance(value, Result) or number == len(tree.body):
                    _display(value, show)
            _show_figures(answer, show)
    except NotYet as error:
        show("html", error.result._repr_html_(), "")
        show("status", _in_short(error.result), "")
        return False
    except BaseException as error:
        _show_figures(answer, show)
        show("status", _explained(error), "")
        return False
    show("status", "\n".join(said), "")
    return True


def _execute(statement: ast.stmt, namespace: dict[str, Any]) -> Any:
    """Run one statement; return the value of an expression."""
    if isinstance(statement, ast.Expr):
        return eval(compile(ast.Expression(statement.value), ANSWER, "eval"), namespace)
    exec(compile(ast.Module([statement], []), ANSWER, "exec"), namespace)
    return None


def _namespace(setup: str) -> dict[str, Any]:
    """Run the setup if it hasn't run yet; return a copy of what it has defined."""
    if setup not in _namespaces:
        if "matplotlib" in setup and importlib.util.find_spec("matplotlib") is None:
            sys.modules.update({"matplotlib": _Nothing(), "matplotlib.pyplot": _Nothing()})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: dict[str, Any] = {"__name__": "__main__"}
            exec(compile(setup, "<the lesson>", "exec"), found)
        _namespaces[setup] = found
    return dict(_namespaces[setup])


class _Nothing(types.ModuleType):
    """Stands for Matplotlib where it is missing: an exercise can be checked without its picture."""

    def __init__(self) -> None:
        super().__init__("matplotlib")
        self.__spec__ = importlib.util.spec_from_loader("matplotlib", None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self

    def __getitem__(self, _: Any) -> Any:
        return self

    def __setitem__(self, *_: Any) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter((self, self))  # figure, axes = plt.subplots()


class _Printer(io.TextIOBase):
    """Passes on what is printed, up to a limit."""

    def __init__(self, show: Show):
        self._show, self._left = show, MOST_PRINTED

    def write(self, text: str) -> int:
        if text and self._left > 0:
            self._show("text", text[: self._left], "")
            self._left -= len(text)
            if self._left <= 0:
                self._show("text", "\n... the rest is not shown\n", "")
        return len(text)


def _display(value: Any, show: Show) -> None:
    """Show the value of an expression as a notebook does."""
    if value is None or isinstance(value, _Nothing):
        return
    to_html = getattr(value, "_repr_html_", None)
    if callable(to_html) and not isinstance(value, type):
        show("html", str(to_html()), "")
    else:
        show("text", f"{value!r}\n", "")


def _show_figures(answer: str, show: Show) -> None:
    """Show Matplotlib's figures, described by the comment that the cell begins with."""
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or isinstance(pyplot, _Nothing):
        return
    comment = re.match(r"# Picture: (.*)", answer)
    for number in pyplot.get_fignums():
        file = io.BytesIO()
        pyplot.figure(number).savefig(file, format="png", dpi=110, bbox_inches="tight")
        show("png", base64.b64encode(file.getvalue()).decode(), comment[1] if comment else "")
    pyplot.close("all")


def _in_short(result: Result) -> str:
    """Return the first two lines of a result: what is wrong, and the cause."""
    return "\n".join(str(result).splitlines()[:2])


def _explained(error: BaseException) -> str:
    """Return an error's type, text and the line of the answer in which it was raised."""
    if isinstance(error, SyntaxError) and error.filename == ANSWER:
        return f"line {error.lineno}: {(error.text or '').strip()}\n{error.msg}"
    if isinstance(error, NotImplementedError):
        return UNWRITTEN
    if isinstance(error, AssertionError):
        return str(error)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == ANSWER]
    place = f"line {frames[-1].lineno}: {frames[-1].line}\n" if frames else ""
    return f"{place}{type(error).__name__}: {error}"
