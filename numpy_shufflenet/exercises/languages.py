"""The language in which exercises answer, and a font for it in figures."""

from numpy_shufflenet import locale
from numpy_shufflenet.plots import fonts


def language(name: str) -> None:
    """Let exercises answer in a language, and let figures show its characters.

    The first cell of a notebook in another language calls this. If no font on this machine has the
    characters, a sentence says which one to install.

    Parameters
    ----------
    name : str
        "en" or "zh_CN".

    Raises
    ------
    ValueError
        If there is no such language.
    """
    locale.set_language(name)
    if said := fonts.use_font_for(name):
        print(said)
