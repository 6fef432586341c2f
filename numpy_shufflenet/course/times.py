"""How long a lesson takes, estimated from its source: the one place that says so."""

import re

WORDS_A_MINUTE = 130  # reading to learn
CELL_MINUTES = 1  # to run a code cell, and to look at what it shows
POINT_MINUTES = 8  # for each point of an exercise, with hints and corrections
CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)
MARKUP = re.compile(r"<[^>]*>|&#?\w+;")
WORD = re.compile(r"\w[\w'-]*")
POINT = "&#9679;"
HOW = (
    f"an estimate: {WORDS_A_MINUTE} words a minute, {CELL_MINUTES} minute for each code cell, "
    f"{POINT_MINUTES} for each point of an exercise"
)


def minutes(source: str) -> int:
    """Return the minutes of a lesson, rounded to 5, from its English jupytext script.

    The cells of exercises don't count, because their points do; solutions don't count.
    """
    _, *parts = CELL.split(source)
    words = cells = points = 0
    for header, text in zip(parts[::2], parts[1::2], strict=True):
        if "[markdown]" in header:
            points += text.count(POINT)
            words += len(WORD.findall(MARKUP.sub(" ", text)))
        else:
            cells += not re.search("exercise|solution", header)
    total = words / WORDS_A_MINUTE + cells * CELL_MINUTES + points * POINT_MINUTES
    return 5 * round(total / 5)
