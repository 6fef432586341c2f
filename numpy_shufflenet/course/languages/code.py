"""Comments and strings of a code cell that a reader sees: where they are, and how to replace them.

A string is seen if it has two words or more, or if a call shows it: `print("right")`,
`axes.set(xlabel="channel")`. Strings for the machine, such as colours and names of operations, are
single words elsewhere.
"""

import ast
import inspect
import io
import json
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from typing import Any

Part = tuple[int, int, str, str, Callable[[str], str]]  # the fields of `pieces.Piece`

SHOWING = {  # functions whose arguments a reader sees
    *("print", "display", "Markdown", "text", "annotate", "title", "suptitle", "supxlabel"),
    *("supylabel", "set_title", "set_xlabel", "set_ylabel", "set_label", "set_xticklabels"),
    *("set_yticklabels", "xlabel", "ylabel", "legend", "figtext", "clabel", "bar_label", "table"),
}
SHOWN = {  # keywords whose values a reader sees
    *("title", "label", "labels", "xlabel", "ylabel", "zlabel", "suptitle", "caption", "summary"),
    *("xticklabels", "yticklabels", "tick_labels", "display_label", "header", "colLabels"),
}
UNSEEN = {  # keywords whose values are for the machine
    *("color", "colour", "c", "cmap", "ha", "va", "style", "linestyle", "ls", "marker", "fontsize"),
    *("layout", "arrowstyle", "weight", "fontweight", "family", "edgecolor", "facecolor", "end"),
    *("transform", "xycoords", "textcoords", "loc", "mode", "dtype", "ecolor", "hatch", "axis"),
}
PASSING = {"join", "format", "ljust", "rjust", "center", "strip", "replace", "items", "zip"}
WORDS = re.compile(r"[A-Za-z]{2,}'?[a-z]*[^A-Za-z\n]*\s+[^A-Za-z]*[A-Za-z]{2,}")
WORD = re.compile(r"[A-Za-z]{3,}")
POWER = re.compile(r"\b1(0{3,})\.0\b")  # `ast` writes 1e6 as 1000000.0
PROGRAM = re.compile(r"^import \w+", re.MULTILINE)  # a string that another Python runs
FOR_TOOLS = re.compile(r"#\s*(?:noqa|type:|fmt:|%%|!)")


def parts(source: str) -> list[Part]:
    """Return the parts of a cell to translate."""
    tree = ast.parse(source)
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    lines = source.splitlines()

    def offset(line: int, column: int) -> int:
        return starts[line - 1] + len(lines[line - 1].encode()[:column].decode())

    found = list(_comments(source, starts))
    strings = _Strings()
    strings.visit(tree)
    for node, kind in strings.found:
        span = (
            offset(node.lineno, node.col_offset),
            offset(node.end_lineno or node.lineno, node.end_col_offset or 0),
        )
        found.append((*span, message_of(node, kind), kind, _writer(kind, node.col_offset)))
    return found


def _comments(source: str, starts: list[int]) -> Iterator[Part]:
    """Yield comments; lines that hold nothing but a comment, one below the other, are one."""
    block: list[Any] = []
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    for token in [*tokens, None]:
        if token is not None and token.type in (tokenize.NL, tokenize.NEWLINE):
            continue
        row, column = token.start if token else (-1, 0)
        is_comment = token is not None and token.type == tokenize.COMMENT
        alone = is_comment and not token.line[:column].strip()  # type: ignore[union-attr]
        if block and not (alone and block[-1].start == (row - 1, column) and not block[-1].inline):
            yield from _comment(block, starts)
            block = []
        if is_comment and not FOR_TOOLS.match(token.string):  # type: ignore[union-attr]
            block.append(_Comment(token.string, token.start, not alone))  # type: ignore[union-attr]


class _Comment:
    def __init__(self, text: str, start: tuple[int, int], inline: bool):
        self.text, self.start, self.inline = text, start, inline


def _comment(block: list[_Comment], starts: list[int]) -> Iterator[Part]:
    message = " ".join(line.text.lstrip("#").strip() for line in block)
    if WORD.search(message):
        (first, column), (last, end) = block[0].start, block[-1].start
        span = starts[first - 1] + column, starts[last - 1] + end + len(block[-1].text)
        yield *span, message, "comment", "# {}".format


class _Strings(ast.NodeVisitor):
    """Collects the strings that a reader sees."""

    def __init__(self) -> None:
        self.found: list[tuple[ast.Constant | ast.JoinedStr, str]] = []
        self._shown = False

    def _inside(self, node: ast.AST | None, *, shown: bool) -> None:
        before, self._shown = self._shown, shown
        if node is not None:
            self.visit(node)
        self._shown = before

    def visit_shown(self, node: ast.AST) -> None:
        """Visit a node that a reader sees."""
        self._inside(node, shown=True)

    def _body(self, node: Any) -> None:
        if ast.get_docstring(node) is not None:
            self.found.append((node.body[0].value, "docstring"))
            node = type(node)(**{**dict(ast.iter_fields(node)), "body": node.body[1:]})
        self.generic_visit(node)

    visit_FunctionDef = visit_ClassDef = visit_AsyncFunctionDef = _body  # noqa: N815

    def visit_Call(self, node: ast.Call) -> None:
        """Decide whether the arguments are shown."""
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        shown = name in SHOWING or (name in PASSING and self._shown)
        self._inside(node.func, shown=shown and name in PASSING)
        for argument in node.args:
            self._inside(argument, shown=shown)
        for keyword in node.keywords:
            if keyword.arg not in UNSEEN:
                self._inside(keyword.value, shown=shown or keyword.arg in SHOWN)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """A key is shown nowhere, unless it has several words."""
        self.visit(node.value)
        self._inside(node.slice, shown=False)

    def visit_Compare(self, node: ast.Compare) -> None:
        """What is compared is not shown, unless it has several words."""
        for part in (node.left, *node.comparators):
            self._inside(part, shown=False)

    def _display(self, node: Any) -> None:
        """Beside a string of several words, a single word is seen, too."""
        for parts in (node.keys, node.values) if isinstance(node, ast.Dict) else (node.elts,):
            seen = any(_is_text(part, shown=False) for part in parts)
            for part in parts:
                self._inside(part, shown=self._shown or (seen and _is_string(part)))

    visit_Dict = visit_List = visit_Tuple = visit_Set = _display  # noqa: N815

    def visit_Constant(self, node: ast.Constant) -> None:
        """Collect a string."""
        if _is_text(node, shown=self._shown):
            self.found.append((node, "string"))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Collect an f-string; strings in its fields belong to it."""
        if _is_text(node, shown=self._shown):
            self.found.append((node, "f-string"))


def _is_string(node: Any) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _is_text(node: Any, *, shown: bool) -> bool:
    """Whether a node is a string that a reader sees."""
    if not _is_string(node):
        return False
    if isinstance(node, ast.Constant):
        text = str(node.value)
        return not PROGRAM.search(text) and bool((WORD if shown else WORDS).search(text))
    text = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
    if shown:
        within = _Strings()
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                within.visit_shown(part.value)
        if within.found:
            return True
    return bool((WORD if shown else WORDS).search(text))


def message_of(node: ast.Constant | ast.JoinedStr, kind: str) -> str:
    """Return the text of a string; an f-string keeps its fields: "{n} images"."""
    if isinstance(node, ast.Constant):
        return inspect.cleandoc(str(node.value)) if kind == "docstring" else str(node.value)
    return "".join(_template(part) for part in node.values)


def _template(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value).replace("{", "{{").replace("}", "}}")
    assert isinstance(part, ast.FormattedValue)
    field = POWER.sub(lambda found: f"1e{len(found[1])}", ast.unparse(part.value))
    conversion = f"!{chr(part.conversion)}" if part.conversion != -1 else ""
    spec = ""
    if isinstance(part.format_spec, ast.JoinedStr):
        spec = ":" + "".join(_template(inner) for inner in part.format_spec.values)
    return f"{{{' ' if field.startswith('{') else ''}{field}{conversion}{spec}}}"


def _writer(kind: str, column: int) -> Callable[[str], str]:
    if kind == "docstring":
        return lambda text: f'"""{textwrap.indent(text, " " * column).lstrip()}"""'
    if kind == "f-string":
        return lambda text: f"f{_quoted(text)}"
    return _quoted


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def fields_of(template: str) -> list[str]:
    """Return the fields of an f-string's message, sorted, without the strings in them.

    Raises
    ------
    ValueError
        If the message isn't what an f-string may contain.
    """
    try:
        node = ast.parse(f"f{_quoted(template)}", mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"{template!r} has a field that isn't Python: {error.msg}") from None
    assert isinstance(node, ast.JoinedStr)
    return _fields(node)


def _fields(node: ast.JoinedStr) -> list[str]:
    fields = [part for part in node.values if isinstance(part, ast.FormattedValue)]
    return sorted(ast.dump(_Blank().visit(field)) for field in fields)


class _Blank(ast.NodeTransformer):
    """Replaces every string by an empty one; an f-string becomes the tuple of its fields."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        """Replace a string."""
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """Replace an f-string by its fields in a fixed order."""
        return ast.Tuple([ast.Constant(field) for field in _fields(node)], ast.Load())


def require_same_program(source: str, changed: str) -> None:
    """Raise ValueError unless two programs differ in strings and comments only."""
    try:
        new = ast.parse(changed)
    except SyntaxError as error:
        raise ValueError(f"the translated cell isn't Python ({error.msg}):\n{changed}") from None
    if ast.dump(_Blank().visit(ast.parse(source))) != ast.dump(_Blank().visit(new)):
        raise ValueError(f"the translated cell is another program:\n{changed}")
