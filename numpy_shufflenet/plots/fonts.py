"""Fonts of figures whose labels aren't English."""

import contextlib
import logging
from collections.abc import Sequence
from typing import Any

from numpy_shufflenet import locale
from numpy_shufflenet._optional import need
from numpy_shufflenet.locale import _

LATIN = "DejaVu Sans"  # comes with matplotlib
FONTS = {
    "zh_CN": (
        *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN"),
        *("PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "Songti SC"),
        *("Microsoft YaHei", "SimHei", "SimSun", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
        *("Noto Sans CJK JP", "Noto Sans CJK TC", "AR PL UMing CN", "Arial Unicode MS"),
        "Droid Sans Fallback",
    )
}
"""For each language, fonts that have its characters, the preferred ones first."""


def use_font_for(language: str) -> str:
    """Let matplotlib use a font that has the characters of a language.

    Without matplotlib, nothing happens: there are no figures.

    Returns
    -------
    str
        "" if such a font is installed, otherwise a sentence that says what to install.
    """
    if language == locale.ENGLISH:
        return ""
    try:
        manager = need("matplotlib.font_manager", "a figure")
    except ImportError:
        return ""
    name = _installed(manager.fontManager, FONTS[language])
    if not name:
        _add_new_fonts(manager)
        name = _installed(manager.fontManager, FONTS[language])
    if not name:
        return _(
            "No font on this machine has Chinese characters, so figures show boxes instead. "
            "Install one, such as Noto Sans CJK SC (on Debian and Ubuntu: sudo apt install "
            "fonts-noto-cjk), and run the notebook again from the beginning."
        )
    # Some of these fonts have no normal weight; matplotlib would say so below each figure.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    settings = need("matplotlib", "a figure").rcParams
    settings["font.family"] = [LATIN, name]  # the second font has what the first lacks
    settings["font.sans-serif"] = [name, LATIN]  # of a generic family, only one font is used
    settings["axes.unicode_minus"] = False
    return ""


def _installed(known: Any, names: Sequence[str]) -> str:
    """Return the first of these fonts that matplotlib knows, or ""."""
    there = {font.name for font in known.ttflist}
    return next((name for name in names if name in there), "")


def _add_new_fonts(manager: Any) -> None:
    """Tell matplotlib of fonts that were installed after it made its list, which it keeps."""
    known = {font.fname for font in manager.fontManager.ttflist}
    for path in sorted({*manager.findSystemFonts()} - known):
        with contextlib.suppress(OSError, RuntimeError):  # a file that it can't read
            manager.fontManager.addfont(path)
