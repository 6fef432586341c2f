"""Static memory: arrays whose life times are known get their places before anything runs."""

from dataclasses import dataclass


@dataclass(eq=False)
class Allocation:
    """An array in memory.

    Attributes
    ----------
    size : int
        Numbers.
    first, last : int
        The first and the last step that uses it.
    place : int
        Where it begins, once `place_blocks` has decided.
    """

    size: int
    first: int
    last: int
    place: int = -1


def place_blocks(blocks: list[Allocation], start: int) -> int:
    """Give each block a place from `start` on; return where memory ends.

    Blocks whose life times overlap don't overlap. The largest blocks are placed first, each at the
    first place that is free for as long as it lives.
    """
    placed: list[Allocation] = []
    end = start
    for block in sorted(blocks, key=lambda b: -b.size):
        at = start
        for other in placed:  # in the order of their places
            if other.last < block.first or other.first > block.last:
                continue
            if at + block.size <= other.place:
                break
            at = max(at, other.place + other.size)
        block.place = at
        end = max(end, at + block.size)
        placed.append(block)
        placed.sort(key=lambda b: b.place)
    return end
