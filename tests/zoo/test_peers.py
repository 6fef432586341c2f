"""Ours is first or equal among gradient checkers, in every column of correctness."""

from dataclasses import replace

import pytest
from peers import need

from numpy_shufflenet.zoo.peers import CHECKERS, Row, compare


def test_no_other_checker_is_more_right():
    need("torch")
    rows = compare(1, every=10)
    assert [row.name for row in rows] == list(CHECKERS)
    ours, per_entry, *others = rows
    for row in (ours, per_entry):
        assert row.caught == row.bugs > 8
        assert row.blamed == 0 < row.right
        assert row.named == row.located > 0
        assert row.kinks == row.kinked > 0
        assert row.first_or_equal(others)
    assert all(row.bugs == ours.bugs and row.right == ours.right for row in others)
    # The others do work: each catches most.
    assert all(row.caught > row.bugs / 2 for row in others)


@pytest.mark.parametrize("field", ["caught", "named", "kinks"])
def test_being_second_in_one_column_is_not_first(field):
    ours, other = Row("ours", 5, 9, 0, 9, 2, 2, 1, 1), Row("other", 5, 9, 0, 9, 2, 2, 1, 1)
    assert ours.first_or_equal([other])
    better = replace(other, **{field: getattr(other, field) + 1})
    assert not ours.first_or_equal([better])
