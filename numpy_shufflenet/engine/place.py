"""Static memory: arrays with known lifetimes get their positions before the program runs."""

from dataclasses import dataclass


@dataclass(eq=False)
class Allocation:
    """An array in memory.

    Attributes
    ----------
    size : int
        How many numbers it has.
    first, last : int
        The first and the last step that uses it.
    place : int
        Position of its first number, which `place_blocks` sets; -1 before.
    """

    size: int
    first: int
    last: int
    place: int = -1


def place_blocks(blocks: list[Allocation], start: int) -> int:
    """Set the position of each block, from `start` on; return where memory ends.

    Blocks that are in use at the same time don't overlap. The largest blocks are placed first, each
    at the lowest position that is free from its first step to its last.
    """
    placed: list[Allocation] = []
    end = start
    for block in sorted(blocks, key=lambda b: -b.size):
        at = start
        for other in placed:  # in the order of their positions
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
