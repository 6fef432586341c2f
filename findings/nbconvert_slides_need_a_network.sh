#!/usr/bin/env bash
# Slides that nbconvert makes with a local reveal.js still load four other scripts from the network.
#
# Versions: nbconvert 7.17.2, nbformat 5.11.1.
#
# SlidesExporter has the option reveal_url_prefix, so that a talk needs no network. With a local
# prefix the page of a notebook of one line of text, without a formula, a diagram or a widget, still
# loads jQuery, require.js, MathJax and mermaid from a CDN. Slides don't start without a network:
# the page starts reveal.js by require(), which is a function of require.js.
#
# Ends with exit code 0 if nbconvert still behaves so, and 1 if it has changed.
set -euo pipefail

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cd "$room"
python3 -m venv venv
venv/bin/pip install --quiet nbconvert==7.17.2 nbformat==5.11.1
venv/bin/python - <<'PYTHON'
import re

import nbformat
from nbconvert import SlidesExporter

cell = nbformat.v4.new_markdown_cell("One line of text.")
notebook = nbformat.v4.new_notebook(cells=[cell])
page, _ = SlidesExporter(reveal_url_prefix="reveal.js").from_notebook_node(notebook)
urls = re.findall(r"""["'(](https?://[^"')\s]+\.m?js)""", page)
found = sorted({url for url in urls if not url.startswith("https://www.w3.org")})
print(*found, sep="\n")
assert "reveal.js/dist/reveal.js" in page
assert re.search(r"^require\(", page, re.MULTILINE), "reveal.js starts without require.js now"
for name in ("jquery", "require", "mathjax", "mermaid"):
    assert any(name in url.lower() for url in found), f"{name} is no longer loaded"
PYTHON
