"""Initialisers of ONNX files, made by the package onnx and by PyTorch's exporter."""

import random

import mutations
import numpy as np
import pytest
from hypothesis import given
from peers import need
from strategies import seeds

from numpy_shufflenet import models, weights

onnx = need("onnx")
TYPES = onnx.TensorProto
RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(2, 3)).astype(np.float32)


def written(path, *tensors):
    graph = onnx.helper.make_graph([], "graph", [], [], initializer=tensors)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return path


@pytest.mark.parametrize("raw", [True, False])
def test_every_dtype(tmp_path, raw):
    kinds = ("FLOAT", "DOUBLE", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT8", "BOOL")
    arrays = {
        kind: (9 * np.abs(VALUES)).astype(
            onnx.helper.tensor_dtype_to_np_dtype(TYPES.DataType.Value(kind))
        )
        for kind in kinds
    }
    tensors = [
        onnx.numpy_helper.from_array(array, kind)
        if raw
        else onnx.helper.make_tensor(
            kind, TYPES.DataType.Value(kind), array.shape, array.ravel().tolist()
        )
        for kind, array in arrays.items()
    ]
    read = weights.load(written(tmp_path / "a.onnx", *tensors))
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)
        assert read[name].flags.writeable


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16"])
def test_half_precision_is_widened(tmp_path, kind):
    fits = (VALUES.view(np.uint32) & 0xFFFF0000).view(np.float32)
    if kind == "FLOAT16":
        fits = VALUES.astype(np.float16).astype(np.float32)
    tensor = onnx.helper.make_tensor("a", TYPES.DataType.Value(kind), (2, 3), fits.ravel().tolist())
    read = weights.load(written(tmp_path / "a.onnx", tensor))
    np.testing.assert_array_equal(read["a"], fits, strict=True)


def external(name, **entries):
    tensor = TYPES(name="a", data_type=TYPES.FLOAT, dims=(2, 3), data_location=TYPES.EXTERNAL)
    for key, value in {"location": name, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def test_numbers_in_a_file_beside_it(tmp_path):
    (tmp_path / "a.data").write_bytes(b"12345678" + VALUES.tobytes() + b"rest")
    path = written(tmp_path / "a.onnx", external("a.data", offset=8, length=24))
    np.testing.assert_array_equal(weights.load(path)["a"], VALUES, strict=True)


@pytest.mark.parametrize(
    ("name", "entries", "message"),
    [
        ("b.data", {}, r"a is in the file 'b\.data', which is not beside it"),
        ("../a.data", {}, r"a is in the file '\.\./a\.data', which is not beside it"),
        ("/etc/passwd", {}, "which is not beside it"),
        ("", {}, "which is not beside it"),
        ("a.data", {"offset": 4, "length": 24}, r"a reaches beyond the end of a\.data"),
        ("a.data", {"length": 10**12}, r"a reaches beyond the end of a\.data"),
        ("a.data", {"offset": -4, "length": 4}, r"a reaches beyond the end of a\.data"),
        ("a.data", {"length": 20}, "a is damaged"),
        ("a.data", {"length": "x"}, "a is damaged"),
    ],
)
def test_wrong_files_beside_it(tmp_path, name, entries, message):
    folder = tmp_path / "inner"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "a.data").write_bytes(VALUES.tobytes())
    path = written(folder / "a.onnx", external(name, **entries))
    with pytest.raises(ValueError, match=rf"a\.onnx: .*{message}"):
        weights.load(path)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            TYPES(name="a", data_type=TYPES.FLOAT, dims=(10**12,), raw_data=b"1234"),
            "a claims shape",
        ),
        (TYPES(name="a", data_type=TYPES.FLOAT, dims=(3,), raw_data=b"1234"), "a is damaged"),
        (TYPES(name="a", data_type=TYPES.FLOAT, dims=(-4,), raw_data=bytes(4)), "a is damaged"),
        (TYPES(name="a", data_type=TYPES.STRING, dims=(1,), string_data=[b"x"]), "dtype STRING"),
        (TYPES(name="a", data_type=TYPES.FLOAT8E4M3FN, dims=(1,), raw_data=b"x"), "FLOAT8E4M3FN"),
        (TYPES(name="a", data_type=999, dims=(1,), raw_data=b"x"), "a has dtype 999"),
    ],
)
def test_a_wrong_initialiser_is_named(tmp_path, tensor, message):
    with pytest.raises(ValueError, match=rf"a\.onnx: .*{message}"):
        weights.load(written(tmp_path / "a.onnx", tensor))


@pytest.mark.parametrize("data", [b"\x08", b"hello", b"\x08\x07", b"\xff" * 50])
def test_a_wrong_file_is_named(tmp_path, data):
    (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.onnx: it is (truncated, or )?not an ONNX file"):
        weights.load(tmp_path / "a.onnx")


def test_many_tensors_that_share_a_file_beside_it_are_refused(tmp_path):
    (tmp_path / "a.data").write_bytes(bytes(10**5))
    tensors = [external("a.data", length=10**5) for _ in range(40)]
    for tensor in tensors:
        tensor.dims[:] = (25_000,)
    assert weights.load(written(tmp_path / "a.onnx", *tensors[:5]))["a"].shape == (25_000,)
    with pytest.raises(ValueError, match=r"a\.onnx: a claims shape .* the file is too small"):
        weights.load(written(tmp_path / "a.onnx", *tensors))


def test_a_network_whose_initialisers_have_torchvisions_names(tmp_path):
    model = models.shufflenet_v2(scale=0.5, layout="torchvision", num_classes=3, seed=0)
    state = model.state_dict()
    tensors = [onnx.numpy_helper.from_array(a, f"model.{name}") for name, a in state.items()]
    found = models.from_weights(written(tmp_path / "a.onnx", *tensors)).state_dict()
    assert found.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_folded_batch_normalisation_is_refused(tmp_path):
    tensor = onnx.numpy_helper.from_array(VALUES, "onnx::Conv_565")
    with pytest.raises(ValueError, match=r"a\.onnx: no ShuffleNet .*: it has onnx::Conv_565"):
        models.from_weights(written(tmp_path / "a.onnx", tensor))


@given(seeds())
def test_mutated_files_are_read_or_refused_by_name(tmp_path_factory, seed):
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("mutated")
    (folder / "a.data").write_bytes(VALUES.tobytes())
    tensors = [onnx.numpy_helper.from_array(VALUES, "b"), external("a.data", length=24)]
    path = written(folder / "a.onnx", *tensors)
    path.write_bytes(mutations.mutate_bytes(rng, path.read_bytes()))
    try:
        weights.load(path)
    except ValueError as error:
        message = str(error)
    else:
        message = str(path)
    assert str(path) in message
