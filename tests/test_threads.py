"""Threads of our own: what they are given, where they run, and that nobody waits in vain."""

import os
import threading
import time
from functools import partial

import numpy as np
import pytest

from numpy_shufflenet import _threads
from numpy_shufflenet.nn import BatchNorm2d, Conv2d, GlobalAvgPool, Linear, Sequential

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can't be chosen")


barrier = pytest.importorskip("numpy_shufflenet.kernels._barrier")
TrainingProgram = pytest.importorskip("numpy_shufflenet.engine").TrainingProgram
InferencePlan = pytest.importorskip("numpy_shufflenet.plan").InferencePlan


@pytest.fixture(autouse=True)
def as_before():
    before = _threads.num_threads()
    yield
    _threads.set_num_threads(before)


@pytest.fixture(autouse=True)
def always_together(monkeypatch):
    """However busy the machine is, threads don't leave the work to one."""
    monkeypatch.setattr(_threads._Pace, "alone", lambda self: False)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 17])
def test_shares_cover_everything_once(threads, count):
    _threads.set_num_threads(threads)
    done = np.zeros(count, int)

    def run(first, last):
        done[first:last] += 1

    _threads.share_range(count, run, work=1 << 30)
    assert (done == 1).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 17, 20000])
def test_turns_are_taken_once_each(threads, count):
    _threads.set_num_threads(threads)
    for turns_of in (barrier.each_turn, all_turns):
        done = np.zeros(count, int)

        def run(job, done=done, turns_of=turns_of):
            for turn in turns_of(job):
                done[turn] += 1

        _threads.take_turns(count, run, work=1 << 30)
        assert (done == 1).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 17])
def test_for_each_calls_once_for_each(threads, count):
    _threads.set_num_threads(threads)
    numbers = []
    _threads.share_each(count, numbers.append)
    assert sorted(numbers) == list(range(count))


@barrier.compiled
def all_turns(job):
    return list(barrier.each_turn(job))


@barrier.compiled
def met(job, caller, rounds):
    """Return this thread's number and how many are together; all wait for all, again and again."""
    thread, threads = barrier.start_together(job, caller)
    for i in range(rounds if threads else 0):
        barrier.meet(job, (i + 1) * threads)
    return thread, threads


def test_turns_go_to_whoever_is_free():
    _threads.set_num_threads(2)
    taken, all_taken = [], threading.Event()

    def run(job):
        for turn in barrier.each_turn(job):
            taken.append((turn, threading.get_ident()))
            if len(taken) == 20:
                all_taken.set()
            if turn == 0:
                assert all_taken.wait(120)

    _threads.take_turns(20, run, work=1 << 30)
    by_first = [turn for turn, thread in taken if thread == dict(taken)[0]]
    assert len(taken) == 20
    assert by_first == [0]


def test_what_plain_python_does():
    job = _threads.counters(3)
    assert [barrier.next_turn.py_func(job) for _ in range(4)] == [0, 1, 2, -1]
    assert barrier.start_together(job, True) == (0, 1)
    barrier.meet(job, 1)
    barrier.close_job.py_func(job)
    assert not barrier.enter_job.py_func(job)


def test_plain_counters_are_atomic_and_wake():
    """Without compiled code, too, several threads may share a job."""
    job, counter = _threads.counters(), np.zeros(1, np.int64)

    def add():
        for _ in range(2000):
            barrier.fetch_add(job, barrier.TURN, 1)
            barrier.wake(counter.ctypes.data)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert job[barrier.TURN] == counter[0] == 8000
    barrier.wake(0)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_who_runs_together_can_meet(threads):
    _threads.set_num_threads(threads)
    for _ in range(20):
        found = []

        def run(job, caller, found=found):
            found.append(met(job, caller, 50))

        _threads.run_together(run)
        there = sorted(pair for pair in found if pair != (0, 0))
        assert there == [(i, len(there)) for i in range(len(there))]
        assert 1 <= len(there) <= threads


def test_a_worker_that_comes_too_late_is_left_out():
    """Its queue is busy with somebody else's job; the caller doesn't wait for that."""
    _threads.set_num_threads(2)
    busy, go_on = threading.Event(), threading.Event()

    def long(job):
        for _ in barrier.each_turn(job):
            if threading.current_thread() is other:
                assert busy.wait(120)
            else:
                busy.set()
                assert go_on.wait(120)

    other = threading.Thread(target=_threads.take_turns, args=(2, long, 1 << 30))
    other.start()
    assert busy.wait(120)
    found, done = [], []
    _threads.run_together(lambda job, caller: found.append(met(job, caller, 3)))
    _threads.share_range(9, lambda i, j: done.extend(range(i, j)), work=1 << 30)
    assert not go_on.is_set()
    go_on.set()
    other.join(120)
    assert found == [(0, 1)]
    assert sorted(done) == list(range(9))


def test_a_job_within_a_job_has_one_thread():
    _threads.set_num_threads(2)
    seen = []

    def within(job, caller):
        seen.append((caller, *met(job, caller, 1)))

    _threads.share_range(2, lambda *_: _threads.run_together(within), work=1 << 30)
    assert seen == [(True, 0, 1)] * 2


@pytest.mark.parametrize("interrupted", [True, False])
def test_whoever_is_interrupted_is_not_waited_for_at_a_barrier(interrupted):
    _threads.set_num_threads(2)
    for _ in range(20):
        found, raised = [], []

        def run(job, caller, found=found, raised=raised):
            time.sleep(0.002 * caller)  # the other one waits by then, if it has come
            if caller == interrupted:
                raised.append(caller)
                raise KeyboardInterrupt
            found.append(met(job, caller, 3))

        try:
            _threads.run_together(run)
        except KeyboardInterrupt:
            assert raised
        else:
            assert not raised
        assert set(found) <= ({(0, 0)} if interrupted else {(0, 1)})


def test_an_error_ends_the_turns():
    _threads.set_num_threads(2)
    taken = []

    def run(job):
        for turn in barrier.each_turn(job):
            taken.append(turn)
            if turn == 3:
                raise KeyError("of turn 3")
            time.sleep(0.001)

    with pytest.raises(KeyError, match="of turn 3"):
        _threads.take_turns(1000, run, work=1 << 30)
    if taken[-1] < 900:  # it was the caller's own, which ends everything
        assert len(taken) < 900


def test_an_error_of_a_worker_reaches_the_caller():
    _threads.set_num_threads(2)
    caller = threading.get_ident()

    def run(job):
        for _ in barrier.each_turn(job):
            if threading.get_ident() != caller:
                raise KeyError("of a worker")
            time.sleep(0.01)

    with pytest.raises(KeyError, match="of a worker"):
        _threads.take_turns(1000, run, work=1 << 30)
    _threads.share_range(2, lambda first, last: None, work=1 << 30)


def test_nobody_is_in_a_job_that_is_over():
    """Whatever ends it: an interrupt of the caller while a worker is in the middle of a turn."""
    _threads.set_num_threads(2)
    inside, left = threading.Event(), []
    caller = threading.get_ident()

    def run(job):
        for _ in barrier.each_turn(job):
            if threading.get_ident() == caller:
                inside.wait(120)
                raise KeyboardInterrupt
            inside.set()
            time.sleep(0.1)
            left.append(True)

    with pytest.raises(KeyboardInterrupt):
        _threads.take_turns(100, run, work=1 << 30)
    assert left == [True]


@linux
def test_workers_leave_the_callers_core_to_it():
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("there is one core only")
    _threads.set_num_threads(2)
    caller = threading.get_ident()
    try:
        for core in sorted(allowed)[:2]:
            os.sched_setaffinity(0, {core})
            os.sched_setaffinity(0, allowed)
            found, came = set(), threading.Event()

            def run(job, found=found, came=came):
                for _ in barrier.each_turn(job):
                    if threading.get_ident() == caller:
                        assert came.wait(120)
                    else:
                        found.add(len(os.sched_getaffinity(0)))
                        came.set()

            _threads.take_turns(50, run, work=1 << 30)
            assert found == {len(allowed) - 1}
            assert os.sched_getaffinity(0) == allowed
    finally:
        os.sched_setaffinity(0, allowed)


@linux
def test_one_core_is_enough():
    allowed = os.sched_getaffinity(0)
    _threads.set_num_threads(3)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        done = []
        _threads.share_range(9, lambda i, j: done.extend(range(i, j)), work=1 << 30)
        assert sorted(done) == list(range(9))
        found = []
        _threads.run_together(lambda job, caller: found.append(met(job, caller, 20)))
        assert 0 in [thread for thread, threads in found if threads]
    finally:
        os.sched_setaffinity(0, allowed)


def test_whoever_has_nothing_to_do_soon_sleeps():
    _threads.set_num_threads(2)
    _threads.share_range(2, lambda first, last: None, work=1 << 30)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1  # seconds that all threads together have worked


def test_many_callers_at_once_each_get_their_own_work_done():
    _threads.set_num_threads(3)
    totals = np.zeros((4, 300), int)

    def call(caller):
        for i in range(300):
            done = np.zeros(9, int)
            _threads.share_range(9, partial(count, done), work=1 << 30)
            totals[caller, i] = done.sum()

    def count(done, first, last):
        done[first:last] += 1

    callers = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(120)
    assert (totals == 9).all()


def test_as_many_workers_come_as_are_called_and_stay():
    pool = _threads._Pool()
    three = pool.gather(3)
    assert len(set(three)) == 3
    assert pool.gather(1) == three[:1]
    assert pool.gather(3) == three


def test_who_is_disturbed_works_alone_for_a_while_and_longer_if_it_goes_on(monkeypatch):
    monkeypatch.undo()
    clock = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    pace = _threads._Pace()

    def note(worked=0.001, stopped=0.0, waited=0.0, missing=0):
        pace.note(worked, stopped=stopped, waited=waited, missing=missing)
        return pace.until - clock[0] if pace.alone() else 0

    assert note(worked=0.01, waited=0.009) == 0  # a last turn may take so long
    alone = []
    for _ in range(10):
        alone.append(note(waited=0.004))
        clock[0] = pace.until + 0.001
        assert not pace.alone()
    assert alone == pytest.approx([*(0.002 * 2**i for i in range(8)), 0.3, 0.3])
    clock[0] += 1
    assert note(stopped=0.0005) == pytest.approx(0.002)
    clock[0] += 1
    assert [note(missing=k) for k in (1, 1, 0, 2, 1)] == [0] * 5  # waking up takes a moment
    assert note(missing=1) == pytest.approx(0.002)
    clock[0] += 1
    assert note(worked=0.2, stopped=0.04) == 0  # a long job is always stopped for a moment
    alone = []
    for _ in range(5):
        alone.append(note(worked=0.2, stopped=0.06))
        clock[0] = pace.until + 0.2
    assert alone == pytest.approx([0.2, 0.4, 0.8, 1.6, 1.6])


def test_a_caller_waits_longer_for_workers_if_its_job_takes_long(monkeypatch):
    waits = [_threads._Job(print, expected=seconds).patience for seconds in (0, 1e-3, 0.02, 10)]
    assert waits == pytest.approx([25e-6, 30e-6, 600e-6, 1e-3])
    model = Sequential(Conv2d(3, 4, 1), BatchNorm2d(4), GlobalAvgPool(), Linear(4, 2))
    x = np.zeros((2, 3, 8, 8), np.float32)
    plan, program = InferencePlan(model), TrainingProgram(model, x.shape)
    expected, original = [], _threads._pool.spread

    def spread(job, count):
        expected.append(job.patience)
        return original(job, count) + 1

    monkeypatch.setattr(_threads._pool, "spread", spread)
    _threads.set_num_threads(2)
    for _ in range(2):
        plan(x[:1])
        program.backward(program.forward(x))
    assert expected[0] == 25e-6
    assert expected[len(expected) // 2 :] == [1e-3] * (len(expected) // 2)


@pytest.mark.parametrize("n", [np.int64(2), np.uint8(2), 2])
def test_any_whole_number_is_a_number_of_threads(n):
    _threads.set_num_threads(n)
    assert _threads.num_threads() == 2
    assert type(_threads.num_threads()) is int


@pytest.mark.parametrize("n", [0, -1, True, 2.0, "2", None, np.float64(2), np.bool_(True)])
def test_anything_else_is_none(n):
    with pytest.raises(ValueError, match="is not a whole number of at least 1"):
        _threads.set_num_threads(n)
