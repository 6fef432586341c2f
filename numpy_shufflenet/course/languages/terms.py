"""Terms of a translation: the glossary has the Chinese names of each English term.

A term with `strict = true` in the glossary has no other translation than the names listed there.
"""

import functools
import re
from collections.abc import Iterator

from numpy_shufflenet.course.site import glossary


@functools.cache
def _strict() -> list[tuple[re.Pattern[str], str, tuple[str, ...]]]:
    """Return for each strict term its pattern, its name, and the accepted Chinese names."""
    return [
        (
            re.compile(rf"\b{re.escape(term.english)}(?:s|es)?\b", re.IGNORECASE),
            term.english,
            (term.chinese, *term.also, term.english),
        )
        for term in glossary.terms()
        if term.strict
    ]


def warnings_of(message: str, text: str) -> Iterator[str]:
    """Yield a sentence for each strict term of a message whose Chinese names are missing.

    A translation that has the English term keeps a name of the code, such as `stride`.
    """
    message = re.sub(r"`[^`]*`|\{[^}]*\}", "", message)
    for pattern, english, accepted in _strict():
        if pattern.search(message) and not any(name.lower() in text.lower() for name in accepted):
            yield f"{english!r} is {accepted[0]}"
