"""ONNX files: reads the message of a file, and its initialisers, which are arrays by name."""

from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet._optional import need
from numpy_shufflenet._typing import Array
from numpy_shufflenet.weights._arrays import Allowance, check_count

READ = (
    *("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "BOOL"),
    *("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8"),
)


def read_onnx(path: Path) -> dict[str, Array]:
    """Return the initialisers. float16 and bfloat16 become float32.

    Initialisers may be in files beside this one, as PyTorch's exporter writes them.
    """
    model = parse(path)
    if not model.graph.initializer:
        raise ValueError("it is not an ONNX file, or its graph has no initialisers")
    return {str(tensor.name): as_array(tensor, path.parent) for tensor in model.graph.initializer}


def parse(path: Path) -> Any:
    """Return the message that an ONNX file holds, a ModelProto."""
    onnx = need("onnx", "an ONNX file")
    protobuf = need("google.protobuf.message", "an ONNX file")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except protobuf.DecodeError as error:
        raise ValueError(f"it is truncated, or not an ONNX file: {error}") from error
    _check_claims(model.graph.initializer, path)
    return model


def _check_claims(tensors: Any, path: Path) -> None:
    """Raise if tensors claim far more numbers than the file and the files beside it can hold."""
    check_count(len(tensors))
    entries = (entry for tensor in tensors for entry in tensor.external_data)
    beside = {path.parent / str(entry.value) for entry in entries if entry.key == "location"}
    allowance = Allowance(sum(file.stat().st_size for file in {path, *beside} if file.is_file()))
    for tensor in tensors:
        allowance.spend(tensor.name, [abs(size) for size in tensor.dims], 8)


def as_array(tensor: Any, folder: Path) -> Array:
    """Return the array of a TensorProto, whose numbers may be in another file of this folder.

    float16 and bfloat16 become float32.
    """
    onnx = need("onnx", "an ONNX file")
    names = {number: name for name, number in onnx.TensorProto.DataType.items()}
    kind = names.get(tensor.data_type, str(tensor.data_type))
    if kind not in READ:
        raise ValueError(f"{tensor.name} has dtype {kind}; {', '.join(READ)} are read")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _load_external(onnx, tensor, folder)
    if any(size < 0 for size in tensor.dims):
        raise ValueError(f"{tensor.name} is damaged: its shape is {list(tensor.dims)}")
    try:
        array = np.asarray(onnx.numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{tensor.name} is damaged: {error}") from error
    return array.astype(np.float32 if kind in ("FLOAT16", "BFLOAT16") else array.dtype)


def _load_external(onnx: Any, tensor: Any, folder: Path) -> None:
    """Read the bytes of a tensor that are in another file of the same folder."""
    # protobuf returns text that isn't UTF-8 as bytes.
    entries = {str(entry.key): str(entry.value) for entry in tensor.external_data}
    name = entries.get("location", "")
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise ValueError(f"{tensor.name} is in the file {name!r}, which is not beside it")
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", path.stat().st_size - offset))
    except ValueError as error:
        raise ValueError(f"{tensor.name} is damaged: {error}") from error
    if not 0 <= offset <= offset + length <= path.stat().st_size:
        raise ValueError(f"{tensor.name} reaches beyond the end of {name}")
    with path.open("rb") as file:
        file.seek(offset)
        tensor.raw_data = file.read(length)
    tensor.data_location = onnx.TensorProto.DEFAULT
