"""Settings of Sphinx for the site of the course; `build` writes the sources."""

import re
import sys
from functools import partial
from typing import Any

from sphinx.application import Sphinx

from numpy_shufflenet import __version__
from numpy_shufflenet.course.site import chinese
from numpy_shufflenet.course.site.api import PACKAGE
from numpy_shufflenet.course.site.docstrings import to_rst

project = "numpy_shufflenet"
version = release = __version__
copyright = "the authors of numpy_shufflenet, MIT licence"
language = "en"
locale_dirs = ["locale"]  # of the sources; the words of the theme

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["notebooks"]

nb_execution_mode = "off"
nb_number_source_lines = False
nb_code_prompt_show = "Code"
nb_code_prompt_hide = "Code"
myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
toc_object_entries = False
add_module_names = False

smartquotes = False  # the text contains programs and equations

copybutton_selector = "div:not(.output) > div.highlight pre"  # code, but not what it prints

html_theme = "furo"
html_title = "ShuffleNet, taken apart"
html_static_path = ["static"]
templates_path = ["templates"]
html_sidebars = {
    "**": [
        *("sidebar/brand.html", "languages.html", "sidebar/search.html"),
        *("sidebar/scroll-start.html", "sidebar/navigation.html", "sidebar/scroll-end.html"),
    ]
}
html_favicon = "static/icon.svg"
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "navigation_with_keys": False,
    "top_of_page_buttons": [],
    "light_css_variables": {"color-code-background": "#f3f4f6"},
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

# Browsers load no modules from files, so exercises are live only if a server sends the page.
_START = """
addEventListener("DOMContentLoaded", () => {
  const { lang, dataset } = document.documentElement;
  const root = new URL(dataset.content_root + (lang === "en" ? "" : "../"), location);
  const live = document.querySelector("div.cell.tag_exercise") && root.protocol !== "file:";
  if (live) import(new URL("_static/live.js", root));
});
"""

_ARRAY = re.compile(r"~?(numpy\.)?ndarray\[tuple\[[^]]*\], ~?(numpy\.)?dtype\[[^]]*\]\]")


def _docstring(
    app: Sphinx, what: str, name: str, item: object, options: Any, lines: list[str]
) -> None:
    inside = name.removeprefix(f"{PACKAGE}.").rpartition(".")[0]
    lines[:] = to_rst(list(lines), partial(app.config.reference.link, module=inside))


def _signature(
    app: Sphinx,
    what: str,
    name: str,
    item: object,
    options: Any,
    arguments: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    return arguments and _ARRAY.sub("Array", arguments), returns and _ARRAY.sub("Array", returns)


def _skip(app: Sphinx, what: str, name: str, item: object, skip: bool, options: Any) -> bool | None:
    """Skip the fields of named tuples, because Python documents only their index."""
    return True if str(getattr(item, "__doc__", "")).startswith("Alias for field") else None


def _source(app: Sphinx, module: str, name: str) -> str:
    """Return the module that documents an object; for a constant, not the module of its type."""
    item: Any = sys.modules[module]
    for part in name.split("."):
        item = getattr(item, part, item)  # a class has no attribute for a field without default
    home = getattr(item, "__module__", None) or ""
    return home if home.startswith(PACKAGE) else module


def setup(app: Sphinx) -> None:
    """Connect our functions; `build` passes the reference and the languages as settings."""
    app.add_config_value("reference", None, "")
    app.add_js_file(None, body=_START)
    app.add_config_value("languages", (), "")
    app.add_search_language(chinese.SearchChinese)
    app.connect("config-inited", chinese.translate_settings)
    app.connect("html-page-context", chinese.link_languages)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    app.connect("viewcode-follow-imported", _source)
