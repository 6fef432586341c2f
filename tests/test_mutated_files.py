"""A few cases of the campaign in `mutations.py`: MUTATIONS=10000 pytest ... runs more of them."""

import os
import pickle
import warnings

import mutations
import pytest

COUNT = int(os.environ.get("MUTATIONS", "200"))
SEED = int(os.environ.get("MUTATIONS_SEED", "0"))
CHUNK = 100


@pytest.mark.parametrize("start", range(0, COUNT, CHUNK))
def test_a_mutated_file_is_read_or_refused_by_name_in_bounded_memory(start):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # of tags that are damaged
        for number in range(start, min(start + CHUNK, COUNT)):
            reader, outcome, megabytes, _ = mutations.case(SEED, number)
            assert outcome in ("read", "refused"), f"case {number} of seed {SEED}, {reader}"
            assert megabytes < 200, f"case {number} of seed {SEED}, {reader}"


WEIGHTS = ("torch_file", "paddle_file", "safetensors_file", "numpy_archive", "onnx_file")


@pytest.mark.parametrize("reader", WEIGHTS)
def test_mutated_weights_of_other_libraries(reader):
    for number in range(min(COUNT, 2000)):
        _, outcome, megabytes, seconds = mutations.case(SEED, number, reader)
        assert outcome in ("read", "refused"), f"case {number} of seed {SEED}, {reader}"
        assert megabytes < 50, f"case {number} of seed {SEED}, {reader}"
        assert seconds < 5, f"case {number} of seed {SEED}, {reader}"


def test_a_marker_shows_where_code_ran(tmp_path):
    """Python's own reader runs what the campaign puts into files."""
    pickled = mutations.with_code(pickle.dumps({"a": 1}, 2), tmp_path)
    pickle.loads(pickled)["code"].close()
    assert (tmp_path / mutations.MARKER).exists()
