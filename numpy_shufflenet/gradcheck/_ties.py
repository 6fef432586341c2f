"""Which entries on kinks belong together: those whose outputs' slopes jump for one another."""

from collections.abc import Sequence

from ._arrays import Array


def tied(
    entries: Sequence[int], outputs: Sequence[Sequence[int]], values: Array
) -> list[list[int]]:
    """Return groups of two or more entries, flat, that make the same outputs jump.

    `outputs` are those that jump when an entry moves, `values` those of the whole array. Entries of
    a group that are equal (a tie of a maximum) are a group of their own, too.
    """
    root: dict[int, int] = {}

    def find(output: int) -> int:
        while root.setdefault(output, output) != output:
            root[output] = root[root[output]]
            output = root[output]
        return output

    for jumping in outputs:
        for other in jumping[1:]:
            root[find(other)] = find(jumping[0])
    groups: dict[object, list[int]] = {}
    for entry, jumping in zip(entries, outputs, strict=True):
        if jumping:
            whole = find(jumping[0])
            groups.setdefault(whole, []).append(entry)
            groups.setdefault((whole, float(values.ravel()[entry])), []).append(entry)
    unique = {tuple(group) for group in groups.values() if len(group) > 1}
    return [list(group) for group in sorted(unique, key=len)]
