"""Show texts that come from files and users, such as names of images, without harm."""

import os
import re

# Characters that steer a terminal, end a line, reverse the direction of what follows, or cannot be
# encoded. (Joiners and variation selectors stay: some languages and emoji need them.)
REST = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
STEERING = re.compile(f"[\x00-\x1f{REST}]")
BUT_LINES = re.compile(f"[\x00-\x08\x0b-\x1f{REST}]")


def shown(text: str | os.PathLike[str], *, lines: bool = False) -> str:
    r"""Return a text in which characters that steer a terminal are escaped, as in "a\nb".

    With `lines`, tabs and ends of lines stay.
    """
    pattern = BUT_LINES if lines else STEERING
    return pattern.sub(lambda found: ascii(found[0])[1:-1], str(text))


def plain_label(text: str) -> str:
    """Return a text as matplotlib shows it; without this, $ would begin a formula."""
    return shown(text).replace("$", r"\$")
