"""Checks in which all ranks take part; afterwards, all ranks go on or all raise an error."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from numpy_shufflenet.distributed.communicator import Communicator


class AgreedError(ValueError):
    """An error that all ranks raise at the same time, so one of them may report it for all."""


@contextmanager
def together(ranks: Communicator) -> Iterator[None]:
    """Raise AgreedError on all ranks if a block raises an exception on any rank.

    The block must not communicate. The message names the ranks, unless all have the same error.
    """
    found: Exception | None = None
    try:
        yield
    except Exception as error:
        if ranks.size == 1:
            raise
        found = error
    texts = ranks.exchange(None if found is None else str(found) or type(found).__name__)
    if any(text is not None for text in texts):
        distinct = dict.fromkeys(text for text in texts if text is not None)
        same = len(distinct) == 1 and None not in texts
        lines = [
            text if same else f"{numbered(r for r, t in enumerate(texts) if t == text)}: {text}"
            for text in distinct
        ]
        raise AgreedError("; ".join(lines)) from found


def check_equal(ranks: Communicator, facts: Mapping[str, Any]) -> None:
    """Raise AgreedError on all ranks unless these facts, by name, are the same on all ranks.

    The message names the facts that differ, and shows values that are text.
    """
    everywhere = ranks.exchange(dict(facts))
    problems = []
    for name, value in everywhere[0].items():
        differing = [r for r, other in enumerate(everywhere) if other[name] != value]
        if differing:
            shown = ""
            if isinstance(value, str):
                shown = f" ({everywhere[differing[0]][name]}, not {value})"
            problems.append(f"{name} on {numbered(differing)}{shown}")
    if problems:
        raise AgreedError(f"these differ from rank 0: {'; '.join(problems)}")


def numbered(ranks: Any) -> str:
    """Return "rank 3", or "ranks 1, 2 and 3 others"."""
    numbers = list(ranks)
    if len(numbers) == 1:
        return f"rank {numbers[0]}"
    more = f" and {len(numbers) - 4} others" if len(numbers) > 4 else ""
    return f"ranks {', '.join(map(str, numbers[:4]))}{more}"
