"""What a network becomes: which operations remain, where rows lie, and how the machine runs it."""

import threading

import numba
import numpy as np
import pytest
from networks import randomised

from numpy_shufflenet import _threads, ops
from numpy_shufflenet.kernels._barrier import ARRIVED, meet
from numpy_shufflenet.models import shufflenet_v1, shufflenet_v2
from numpy_shufflenet.nn import ChannelShuffle, Conv2d, GlobalAvgPool, Linear, ReLU, Sequential
from numpy_shufflenet.plan import layout, machine, record
from numpy_shufflenet.plan.fuse import fuse
from numpy_shufflenet.plan.planes import PlaneAllocator, batched_nodes
from numpy_shufflenet.plan.program import assemble


def recorded(model, shape=(3, 32, 32)):
    return record(model.fold(), shape)


@pytest.mark.parametrize(
    "model", [shufflenet_v1(scale=0.25, seed=0), shufflenet_v2(scale=0.5, seed=0)]
)
def test_moving_channels_leaves_no_instruction(model):
    kinds = {node.kind for node in recorded(model)}
    assert kinds <= {
        "input",
        "convolution",
        "pool",
        "product",
        "depthwise",
        "add",
        "relu",
        "mean",
        "linear",
    }


@pytest.mark.parametrize("groups", [2, 3, 4, 6])
def test_names_are_shuffled_as_numbers_are(groups):
    model = Sequential(Conv2d(3, 12, 1), ChannelShuffle(groups), GlobalAvgPool(), Linear(12, 2))
    mean = record(model, (3, 4, 4))[-2]
    shuffled, _ = ops.channel_shuffle_forward(np.arange(12.0).reshape(1, 12, 1, 1), groups)
    assert [row.channel for row in mean.inputs] == shuffled.ravel().tolist()


def test_what_is_left_of_v2_is_two_instructions_a_unit():
    nodes = fuse(recorded(shufflenet_v2(scale=0.5, seed=0)))
    units = 16
    one_branch, two_branches = units - 3, 3
    products = [node for node in nodes if node.kind == "product"]
    pairs = [node for node in nodes if node.before]
    assert len(products) == one_branch + 2 * two_branches + 1  # and the last convolution
    assert len(pairs) == units
    assert not any(node.kind in ("relu", "add") for node in nodes)
    assert all(node.relu for node in products)


def test_what_is_left_of_v1_adds_its_shortcuts_in_products():
    nodes = fuse(recorded(shufflenet_v1(scale=0.25, seed=0)))
    assert sum(bool(node.shortcut) for node in nodes) == 13  # units of stride 1
    assert not any(node.kind in ("relu", "add") for node in nodes)


def test_no_plane_is_written_while_somebody_may_still_read_it():
    program = assemble(fuse(recorded(shufflenet_v2(scale=0.5, seed=0))))
    nodes = program.nodes
    last = {row: i for i, node in enumerate(nodes) for row in node.reads()}
    # Replay the instructions on names: each plane must hold the row that its reader means.
    blocks = _places(program)
    held = {}
    for i, node in enumerate(nodes):
        for row, place in zip(node.reads(), blocks[i]["reads"], strict=True):
            assert held[place] == row
        for row, place in zip(node.rows().rows, blocks[i]["writes"], strict=True):
            assert held.get(place) is None or last[held[place]] < i
            held[place] = row


def test_small_planes_at_the_end_hold_several_images():
    program = assemble(fuse(recorded(shufflenet_v2(scale=0.5, seed=0), (3, 224, 224))))
    alone, rest = program.nodes[: program.each], program.nodes[program.each :]
    assert all(row.node.h == 7 or row.node.kind == "mean" for node in rest for row in node.reads())
    assert [node.kind for node in rest[-3:]] == ["product", "mean", "linear"]
    assert {node.h for node in alone} == {224, 112, 56, 28, 14, 7}
    assert program.images == layout.IMAGES


def test_an_excitation_of_a_large_plane_runs_for_each_image():
    model = shufflenet_v2(scale=0.5, se=True, seed=0)
    nodes = fuse(recorded(model, (3, 224, 224)))
    waiting = batched_nodes(nodes)
    for node in nodes:
        makers = {row.node for row in node.reads()}
        assert not makers & waiting or makers | {node} <= waiting
    scales = [node for node in nodes if node.kind == "scale"]
    assert {node.h: node in waiting for node in scales} == {28: False, 14: False, 7: True}


def _places(program):
    """Where each instruction reads and writes, in the order of the node's rows."""
    memory = PlaneAllocator(list(program.nodes), batched_nodes(list(program.nodes)), 0)
    found = []
    for i, node in enumerate(program.nodes):
        reads = [memory.place.get(row, row) for row in node.reads()]
        memory.make(node)
        writes = [memory.place.get(row, row) for row in node.rows().rows]
        found.append({"reads": reads, "writes": writes})
        memory.give_back(i)
    return found


def test_the_machine_runs_as_plain_python():
    model = Sequential(
        Conv2d(2, 5, 3, stride=2, padding=1),
        ReLU(),
        Conv2d(5, 7, 1, bias=True),
        Conv2d(7, 7, 3, stride=1, padding=1, groups=7),
        ReLU(),
        GlobalAvgPool(),
        Linear(7, 3),
    )
    model, rng = randomised(model).astype(np.float32), np.random.default_rng(0)
    program = assemble(fuse(record(model, (2, 9, 8))))
    images = rng.normal(size=(3, 2 * 9 * 8)).astype(np.float32)
    results = []
    for run in (machine.run_program.py_func, machine.run_program):
        memory = np.zeros(program.memory, np.float32)
        scratch = np.zeros((1, program.scratch), np.float32)
        run(
            program.instructions, program.each, program.tables, program.parameters, memory, scratch,
            images, _threads.counters(), True,
        )  # fmt: skip
        results.append(memory[program.logits :][: 3 * program.pitch])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)
    assert np.count_nonzero(results[0]) == 3 * program.outputs


def test_a_program_lists_its_instructions():
    text = str(assemble(fuse(recorded(shufflenet_v2(scale=0.5, seed=0)))))
    assert "product ReLU depthwise" in text
    assert "linear" in text
    assert len(text.splitlines()) == 44 + 5


@pytest.mark.parametrize("threads", [2, 3])
def test_nobody_leaves_a_meeting_before_all_have_come(threads):
    @numba.njit(nogil=True)
    def rounds(number, threads, count, counts, job, wrong):
        for i in range(count):
            counts[number] = i + 1
            meet(job, (2 * i + 1) * threads)
            for other in range(threads):
                if counts[other] != i + 1:
                    wrong[number] += 1
            meet(job, (2 * i + 2) * threads)

    counts, wrong = np.zeros(threads, np.int64), np.zeros(threads, np.int64)
    job = _threads.counters()
    rounds(0, 1, 1, counts, _threads.counters(), wrong)  # compiles
    crew = [
        threading.Thread(target=rounds, args=(i, threads, 300, counts, job, wrong))
        for i in range(threads)
    ]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join(60)
    assert job[ARRIVED] == 600 * threads
    assert not wrong.any()
