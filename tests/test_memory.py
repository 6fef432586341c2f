"""The workspace hands memory out again, but never while somebody looks at it."""

import mmap
import threading
from pathlib import Path

import numpy as np
import pytest

from numpy_shufflenet._memory import HUGE, PAGE, Workspace, zeros


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_when_the_array_is_gone():
    workspace = Workspace()
    a = workspace.empty((100, 100), np.float32)
    place = address(a)
    assert workspace.lent > 0
    assert workspace.kept == 0
    del a
    assert workspace.lent == 0
    assert workspace.kept >= 40_000
    assert address(workspace.empty((100, 100), np.float32)) == place


def test_a_view_holds_the_memory():
    workspace = Workspace()
    a = workspace.empty((100, 100), np.float32)
    views = [a[3:], a.T, a.reshape(10, 1000)[:, ::2], np.asarray(a)[1:2].transpose()]
    place = address(a)
    del a
    while views:
        assert address(workspace.empty((100, 100), np.float32)) != place
        views.pop()
    assert address(workspace.empty((100, 100), np.float32)) == place


def test_two_arrays_never_share_memory():
    workspace = Workspace()
    kept = []
    for size in (1, 7, PAGE, 3 * PAGE):
        for _ in range(3):
            workspace.empty((size,), np.uint8)  # gone at once
            kept.append(workspace.empty((size,), np.uint8))
    for i, a in enumerate(kept):
        a[...] = i
    assert [set(a) for a in kept] == [{i} for i in range(len(kept))]


def test_much_memory_begins_where_a_large_page_does():
    workspace = Workspace()
    arrays = [workspace.empty((size,), np.uint8) for size in (HUGE - PAGE, HUGE, 3 * HUGE + 5)]
    if hasattr(mmap, "MADV_HUGEPAGE"):
        assert [address(a) % HUGE for a in arrays] == [0, 0, 0]
    for i, a in enumerate(arrays):
        a[...] = i  # all of it is there
    assert [set(a[:: PAGE // 2]) for a in arrays] == [{0}, {1}, {2}]
    assert workspace.lent == 5 * HUGE


def test_many_threads_may_borrow():
    workspace = Workspace()
    wrong = []

    def borrow(number):
        for _ in range(300):
            a = workspace.empty((PAGE,), np.uint8)
            a[...] = number
            if (a != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=borrow, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert workspace.lent == 0


def test_what_other_shapes_left_behind_is_given_back():
    workspace = Workspace()
    large = [workspace.empty((1 << 28,), np.uint8) for _ in range(2)]
    large.clear()
    assert workspace.kept == 2 << 28
    for size in range(1, 4):
        kept = workspace.empty(((1 << 28) + size * PAGE,), np.uint8)
    assert workspace.kept < 3 << 28
    del kept
    workspace.clear()
    assert workspace.kept == 0


def resident():
    """Return how many bytes of this process are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_memory_of_a_plan_goes_back_to_the_system():
    size = 20 << 20  # the C library would keep as much, below memory that is still in use
    np.zeros(30 << 20, np.uint8)[...] = 1
    before = resident()
    arrays = [zeros(size, np.uint8) for _ in range(3)]
    for array in arrays:
        array[...] = 1
    in_use = np.ones(100_000, np.uint8)
    assert resident() - before > 2.9 * size
    del array, arrays
    assert resident() - before < size // 2
    assert in_use.all()


def test_zeros_start_at_a_page():
    for count in (0, 1, 1000, 1 << 20):
        array = zeros(count, np.float32)
        assert array.shape == (count,)
        assert not array.any()
        assert address(array) % PAGE == 0
