"""Static memory: blocks that live at the same time don't overlap."""

from hypothesis import given
from hypothesis import strategies as st

from numpy_shufflenet.engine.place import Allocation, place_blocks

BLOCKS = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20), st.integers(0, 8)), max_size=25)


@given(BLOCKS, st.integers(0, 9))
def test_blocks_that_live_together_do_not_overlap(drawn, start):
    blocks = [Allocation(size, first, first + length) for size, first, length in drawn]
    end = place_blocks(blocks, start)
    for i, a in enumerate(blocks):
        assert start <= a.place <= end - a.size
        for b in blocks[:i]:
            together = a.first <= b.last and b.first <= a.last
            assert not together or a.place + a.size <= b.place or b.place + b.size <= a.place


@given(st.integers(1, 30), st.integers(1, 9))
def test_memory_is_used_again(count, size):
    blocks = [Allocation(size, i, i) for i in range(count)]
    assert place_blocks(blocks, 0) == size
