"""Safetensors files, written out by hand."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy

from numpy_shufflenet import nn
from numpy_shufflenet.training import load_weights
from numpy_shufflenet.weights.safetensors import read_safetensors

WEIGHT = np.array([[1.0, -2.5, 0.15625], [3e-5, -65504.0, 0.0]], np.float32)


def stored(tensors, **metadata):
    """The bytes of a file: tensors are (dtype, shape, bytes) by name."""
    header, data = {"__metadata__": metadata} if metadata else {}, b""
    for name, (dtype, shape, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def upper_half(array):
    return (array.view(np.uint32) >> 16).astype("<u2").tobytes()


def test_what_the_package_writes_is_read(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        f"{dtype} {shape}": np.asarray(rng.normal(size=shape) * 9).astype(dtype)
        for dtype in ("f8", "f4", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")
        for shape in ((), (3,), (2, 0, 3), (2, 3, 4))
    }
    safetensors.numpy.save_file(arrays, tmp_path / "a", metadata={"x": "y"})
    got, metadata = read_safetensors(tmp_path / "a")
    assert metadata == {"x": "y"}
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array, strict=True)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_half_precision_is_widened(tmp_path, dtype):
    # The upper 16 bits of a float32 are a bfloat16: the lower ones are 0 in what it can hold.
    fits = (WEIGHT.view(np.uint32) & 0xFFFF0000).view(np.float32)
    expected = WEIGHT.astype(np.float16).astype(np.float32) if dtype == "F16" else fits
    content = WEIGHT.astype("<f2").tobytes() if dtype == "F16" else upper_half(WEIGHT)
    bias = np.zeros(2, np.float32).tobytes()
    path = tmp_path / "half.safetensors"
    path.write_bytes(stored({"0.weight": (dtype, [2, 3], content), "0.bias": ("F32", [2], bias)}))
    model = nn.Sequential(nn.Linear(3, 2))
    load_weights(model, path)
    np.testing.assert_array_equal(model.parameters()["0.weight"], expected, strict=True)


@pytest.mark.parametrize(
    ("dtype", "size"), [("F8_E4M3", 6), ("F8_E5M2", 6), ("F4", 3), ("C64", 48)]
)
def test_another_dtype_is_named_with_its_tensor(tmp_path, dtype, size):
    path = tmp_path / "eight.safetensors"
    path.write_bytes(stored({"fc.weight": (dtype, [2, 3], bytes(size))}))
    message = rf"eight\.safetensors: tensor 'fc.weight' has dtype {dtype}; F64, .*BF16.* are read"
    with pytest.raises(ValueError, match=message):
        read_safetensors(path)


def test_whole_numbers_are_no_weights(tmp_path):
    path = tmp_path / "whole.safetensors"
    content = np.ones((2, 3), np.int32).tobytes()
    bias = np.zeros(2, np.float32).tobytes()
    path.write_bytes(stored({"0.weight": ("I32", [2, 3], content), "0.bias": ("F32", [2], bias)}))
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match=r"whole\.safetensors: 0\.weight has dtype int32"):
        load_weights(model, path)


GOOD = {"a": ("F32", [2], bytes(8)), "b": ("F32", [1], bytes(4))}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack("<Q", 10**12) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 2) + b"\xff{",
        stored(GOOD) + b"\0",
        stored(GOOD)[:-1],
        stored({"a": ("F32", [10**9, 10**9], bytes(8))}),
        stored({"a": ("F32", [-1, -2], bytes(8))}),
        stored({"a": (["F32"], [2], bytes(8))}),
        stored({"a": ("NEW", [2], bytes(8))}),
        stored(GOOD, x=1),
        stored(GOOD).replace(b"[8, 12]", b"[4,  8]"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, data):
    path = tmp_path / "wrong.safetensors"
    path.write_bytes(data)
    message = r"wrong\.safetensors is truncated, or not a safetensors file: \S"
    with pytest.raises(ValueError, match=message):
        read_safetensors(path)


def test_a_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "a.safetensors").write_bytes(stored(GOOD))
    assert read_safetensors("~/a.safetensors")[0].keys() == GOOD.keys()
