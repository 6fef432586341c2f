"""A report in one HTML file that contains its pictures and loads no other file."""

import base64
import html
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_shufflenet import __version__
from numpy_shufflenet._text import shown

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
img { max-width: 100%; height: auto; background: white; border-radius: 6px; }
figure { margin: 0 0 2rem; }
pre { font-size: 12px; overflow-x: auto; background: var(--soft); padding: 1rem; }
table { border-collapse: collapse; }
td, th { text-align: left; padding: 0.15rem 1rem 0.15rem 0; border-bottom: 1px solid var(--line); }
summary { cursor: pointer; font-weight: 600; }
"""


def _escaped(text: str) -> str:
    """Return a text for HTML, in which right-to-left marks and the like are shown as escapes."""
    return html.escape(shown(text, lines=True))


class HtmlReport:
    """A page; each method adds one part at its end."""

    def __init__(self, title: str):
        self.title = title
        self._parts: list[str] = []

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{_escaped(text)}</p>")

    def picture(self, caption: str, png: bytes) -> None:
        """Add a PNG picture."""
        data = base64.b64encode(png).decode()
        caption = _escaped(caption[:1].upper() + caption[1:])
        self._parts.append(
            f"<figure><h2>{caption}</h2>"
            f'<img alt="{caption}" src="data:image/png;base64,{data}"></figure>'
        )

    def settings(self, values: Mapping[str, Any]) -> None:
        """Add a table of settings, followed by the versions and the machine."""
        environment = {
            "numpy_shufflenet": __version__,
            "NumPy": np.__version__,
            "Python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
        }
        rows = "".join(
            f"<tr><th>{_escaped(str(name))}</th><td>{_escaped(str(value))}</td></tr>"
            for name, value in {**values, **environment}.items()
        )
        self._parts.append(f"<h2>Settings</h2><table>{rows}</table>")

    def table(self, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Add a table with a title."""
        head = "".join(f'<th scope="col">{_escaped(name)}</th>' for name in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{_escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )
        self._parts.append(
            f"<h2>{_escaped(title)}</h2><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )

    def text(self, title: str, text: str) -> None:
        """Add a long text that the reader can unfold."""
        self._parts.append(
            f"<details><summary>{_escaped(title)}</summary><pre>{_escaped(text)}</pre></details>"
        )

    def html(self) -> str:
        """Return the page."""
        title = _escaped(self.title)
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{STYLE}</style></head>"
            f"<body><h1>{title}</h1>{''.join(self._parts)}</body></html>\n"
        )
