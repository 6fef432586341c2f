"""Threads of our own: what they are given, where they run, and that nobody waits in vain."""

import os
import threading
import time
from functools import partial

import numpy as np
import pytest

from numpy_shufflenet import _threads

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can't be chosen")


@pytest.fixture(autouse=True)
def as_before():
    before = _threads.num_threads()
    yield
    _threads.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_shares_cover_everything_once(threads, count):
    _threads.set_num_threads(threads)
    done = np.zeros(count, int)

    def run(first, last):
        done[first:last] += 1

    _threads.share(count, run, work=1 << 30)
    assert (done == 1).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 17, 20000])
def test_turns_are_taken_once_each(threads, count):
    barrier = pytest.importorskip("numpy_shufflenet.kernels._barrier")
    _threads.set_num_threads(threads)
    for turns_of in (barrier.each_turn_outside, each_turn_compiled(barrier)):
        done = np.zeros(count, int)

        def run(turns, done=done, turns_of=turns_of):
            for turn in turns_of(turns):
                done[turn] += 1

        _threads.take_turns(count, run, work=1 << 30)
        assert (done == 1).all()


def each_turn_compiled(barrier):
    """Return a function that takes turns in a compiled loop, and gives them in a list."""

    def all_turns(turns):
        return list(barrier.each_turn(turns))

    return barrier.compiled(all_turns)


def test_turns_go_to_whoever_is_free():
    barrier = pytest.importorskip("numpy_shufflenet.kernels._barrier")
    _threads.set_num_threads(2)
    taken = []

    def run(turns):
        for turn in barrier.each_turn_outside(turns):
            taken.append((turn, threading.get_ident()))
            time.sleep(0.2 if turn == 0 else 0.001)

    _threads.take_turns(20, run, work=1 << 30)
    by_first = [turn for turn, thread in taken if thread == dict(taken)[0]]
    assert len(taken) == 20
    assert by_first == [0]


def test_all_turns_are_ones_own_while_the_team_is_at_work():
    barrier = pytest.importorskip("numpy_shufflenet.kernels._barrier")
    _threads.set_num_threads(2)
    taken = []

    def within(turns):
        taken.extend((turn, threading.get_ident()) for turn in barrier.each_turn_outside(turns))

    def alone():
        _threads.take_turns(50, within, work=1 << 30)

    def run(number, of):
        if number == 0:
            other = threading.Thread(target=alone)
            other.start()
            other.join(30)

    _threads.together(run)
    assert [turn for turn, _ in taken] == list(range(50))
    assert len({thread for _, thread in taken}) == 1


def test_turns_of_plain_python():
    barrier = pytest.importorskip("numpy_shufflenet.kernels._barrier")
    turns = np.array([0, 3])
    assert list(barrier.each_turn(turns)) == [0, 1, 2]
    assert barrier.next_turn(turns) == -1


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_team_is_there_all_at_once(threads):
    _threads.set_num_threads(threads)
    meeting = threading.Barrier(threads)
    numbers = []

    def run(number, of):
        assert of == threads
        meeting.wait(30)
        numbers.append(number)

    _threads.together(run)
    assert sorted(numbers) == list(range(threads))


def test_who_comes_while_the_team_is_at_work_goes_alone():
    _threads.set_num_threads(3)
    at_work, go_on = threading.Barrier(4), threading.Event()

    def long(number, of):
        at_work.wait(30)
        go_on.wait(30)

    team = threading.Thread(target=_threads.together, args=(long,))
    team.start()
    at_work.wait(30)
    seen = []
    _threads.together(lambda number, of: seen.append((number, of)))
    go_on.set()
    team.join(30)
    assert seen == [(0, 1)]


def test_a_team_within_a_share_is_one_thread():
    _threads.set_num_threads(2)
    seen = []
    _threads.share(2, lambda *_: _threads.together(lambda *who: seen.append(who)), work=1 << 30)
    assert seen == [(0, 1), (0, 1)]


def test_an_error_in_any_thread_reaches_the_caller():
    _threads.set_num_threads(3)

    def run(number, of):
        if number == 2:
            raise KeyError("of the third")

    with pytest.raises(KeyError, match="of the third"):
        _threads.together(run)
    _threads.together(lambda number, of: None)  # and the next team meets as ever


@linux
def test_helpers_leave_the_callers_core_to_it():
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("there is one core only")
    _threads.set_num_threads(2)
    found = {}

    def run(number, of):
        time.sleep(0.01)
        found[number] = os.sched_getaffinity(0)

    try:
        for core in sorted(allowed)[:2]:
            os.sched_setaffinity(0, {core})
            os.sched_setaffinity(0, allowed)
            _threads.together(run)
            assert found[0] == allowed
            assert len(found[1]) == len(allowed) - 1
    finally:
        os.sched_setaffinity(0, allowed)


@linux
def test_one_core_is_enough():
    allowed = os.sched_getaffinity(0)
    _threads.set_num_threads(3)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        numbers = []
        _threads.together(lambda number, of: numbers.append(number))
        assert sorted(numbers) == [0, 1, 2]
    finally:
        os.sched_setaffinity(0, allowed)


def test_whoever_has_nothing_to_do_soon_sleeps():
    pytest.importorskip("numpy_shufflenet.kernels")  # threads look for work in compiled code
    _threads.set_num_threads(2)
    _threads.share(2, lambda first, last: None, work=1 << 30)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1  # seconds that all threads together have worked


def test_many_callers_at_once_each_get_their_own_work_done():
    pytest.importorskip("numpy_shufflenet.kernels")
    _threads.set_num_threads(3)
    totals = np.zeros((4, 300), int)

    def call(caller):
        for i in range(300):
            done = np.zeros(9, int)
            _threads.share(9, partial(count, done), work=1 << 30)
            totals[caller, i] = done.sum()

    def count(done, first, last):
        done[first:last] += 1

    callers = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert (totals == 9).all()


def test_work_that_takes_long_is_waited_for():
    pytest.importorskip("numpy_shufflenet.kernels")
    _threads.set_num_threads(2)
    finished = []

    def run(first, last):
        time.sleep(0.02 * first)
        finished.append(first)

    _threads.share(2, run, work=1 << 30)
    assert sorted(finished) == [0, 1]


def test_as_many_helpers_come_as_are_called_and_stay():
    crew = _threads._Crew()
    three = crew.gather(3)
    assert len(set(three)) == 3
    assert crew.gather(1) == three[:1]
    assert crew.gather(3) == three
