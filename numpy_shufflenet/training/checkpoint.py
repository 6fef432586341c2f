"""Checkpoints: a safetensors file with everything needed to resume a training or to predict.

The names of weights and running statistics have the prefix "model.", and the names of the
optimiser's velocities have the prefix "velocity.". If the training averages the weights, "model."
is the average, and "latest." has the weights after the last step, from which the training resumes.
Everything else is JSON in the file's metadata.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from numpy_shufflenet import models
from numpy_shufflenet._files import PathLike
from numpy_shufflenet._typing import Array
from numpy_shufflenet.data import Standardise
from numpy_shufflenet.nn.initialise import without_weights
from numpy_shufflenet.nn.layer import Buffer, Layer, Parameter
from numpy_shufflenet.training import _schema
from numpy_shufflenet.weights.safetensors import read_safetensors, write_safetensors

FORMAT = "numpy_shufflenet checkpoint 1"
PREFIXES = ("model.", "velocity.", "latest.")
KNOWN = "model.*, velocity.* and latest.*"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two epochs."""

    #: `model.state_dict()`, or the average of a `WeightAverage`: what to predict with.
    model: dict[str, Array]
    #: `model.config`, from which the model can be built again; None if the model has none.
    architecture: dict[str, Any] | None
    #: `SGD.state_dict()`
    optimiser: dict[str, Any]
    #: `Schedule.to_dict()`
    schedule: dict[str, Any] | None
    #: The other arguments of the Trainer.
    settings: dict[str, Any]
    #: Converts images to the input of the model.
    standardise: Standardise
    #: A checksum of the training set; the training can resume only with the same set.
    fingerprint: int
    #: (c, h, w) of the training images.
    image_shape: tuple[int, ...]
    #: Names of the classes, in the order of the logits.
    classes: tuple[str, ...]
    #: Number of finished epochs and steps.
    epoch: int
    step: int
    #: `History.to_dict()`
    history: dict[str, Any]
    #: States of the random generators: "trainer", and "model.NAME" for layers that have one.
    rng: dict[str, Any]
    #: Names of the frozen layers; see `Layer.frozen_layers`.
    frozen: tuple[str, ...] = ()
    #: `model.state_dict()` after the last step if `model` is an average, else empty.
    latest: dict[str, Array] = field(default_factory=dict)
    #: The name of the file, for messages.
    source: str = field(default="this checkpoint", compare=False)

    def build_model(self) -> Layer:
        """Build the network again, with its weights and running statistics.

        Raises
        ------
        ValueError
            If there is no architecture, or the weights don't fit the architecture. The message
            names the file.
        """
        if self.architecture is None:
            raise ValueError(
                f"{self.source} has architecture=None: "
                "this model can't be built from its checkpoint"
            )
        try:
            with without_weights():
                model: Layer = models.build(self.architecture)
            double = any(array.dtype == np.float64 for array in self.model.values())
            # Check that the weights fit before the model allocates memory.
            shapes = {name: array.shape for name, array in self.model.items()}
            if double and all(shapes.get(n) == p.shape for n, p in model.parameters().items()):
                model = model.astype(np.float64)
            self.fill(model)
        except ValueError as error:
            raise ValueError(f"{self.source} is a damaged checkpoint: {error}") from error
        return model

    def fill(self, model: Layer) -> None:
        """Copy the weights and running statistics into a model.

        Raises
        ------
        ValueError
            If the arrays don't fit the model. Then nothing changes.
        """
        _check_kinds(model, self.model)
        model.load_state_dict(self.model)


def save_checkpoint(path: PathLike, checkpoint: Checkpoint) -> None:
    """Write a checkpoint. The old file stays until the new one is complete.

    Raises
    ------
    OSError
        If the file can't be written.
    ValueError
        If a value in the checkpoint is neither an array nor valid JSON, such as NaN.
    """
    rest = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint) if f.name != "source"}
    arrays = {f"model.{name}": array for name, array in rest.pop("model").items()}
    rest["optimiser"] = dict(rest["optimiser"])
    velocity = rest["optimiser"].pop("velocity")
    arrays |= {f"velocity.{name}": array for name, array in velocity.items()}
    arrays |= {f"latest.{name}": array for name, array in rest.pop("latest").items()}
    text = json.dumps(rest, allow_nan=False, default=_to_json)
    write_safetensors(path, arrays, {"format": FORMAT, "checkpoint": text})


def load_checkpoint(path: PathLike) -> Checkpoint:
    """Read a checkpoint that `save_checkpoint` has written.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, isn't a checkpoint, or has a field with an impossible value. The
        message names the file, the field, its value and what would fit.
    """
    arrays, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} holds arrays, but is not a checkpoint of this version of numpy_shufflenet; "
            "load_weights reads weights alone"
        )
    try:
        if "checkpoint" not in metadata:
            raise ValueError("it lacks its description")
        rest = json.loads(metadata["checkpoint"])
        if isinstance(rest, dict):
            rest.setdefault("frozen", [])  # which older files lack
            if isinstance(rest.get("settings"), dict):
                rest["settings"].setdefault("average", 0.0)  # which older files lack, too
        odd = [name for name in arrays if not name.startswith(PREFIXES)]
        if odd:
            raise ValueError(f"it has the tensor {odd[0]}; only {KNOWN} are known")
        weights, velocity, latest = (_within(arrays, prefix) for prefix in PREFIXES)
        _schema.check_description(rest, weights, velocity, latest)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is a damaged checkpoint: {error}") from error
    rest["optimiser"]["velocity"] = {name: np.array(v) for name, v in velocity.items()}
    mean, std = rest["standardise"]
    rest["standardise"] = Standardise(tuple(mean), tuple(std))
    rest["image_shape"] = tuple(rest["image_shape"])
    rest["classes"] = tuple(rest["classes"])
    rest["frozen"] = tuple(rest["frozen"])
    model, latest = ({name: np.array(w) for name, w in of.items()} for of in (weights, latest))
    return Checkpoint(model=model, latest=latest, source=str(path), **rest)


def save_weights(model: Layer, path: PathLike) -> None:
    """Write only the weights and running statistics, by name, to a safetensors file.

    Raises
    ------
    OSError
        If the file can't be written. Then the old file stays.
    """
    write_safetensors(path, model.state_dict(), {})


def load_weights(model: Layer, path: PathLike) -> None:
    """Copy the weights in a safetensors file, which may be a checkpoint, into a model.

    float16 and bfloat16 are read as float32.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, isn't a safetensors file, or doesn't fit the model, or a tensor
        has an unknown dtype. The message names the file and the tensor. The model doesn't change.
    """
    arrays, metadata = read_safetensors(path)
    if metadata.get("format") == FORMAT:
        arrays = _within(arrays, "model.")
    try:
        _check_kinds(model, arrays)
        model.load_state_dict(arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _within(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _to_json(value: Any) -> Any:
    """Return an array as a list, because the states of some random generators have arrays."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise ValueError(f"{value!r} in a checkpoint is neither an array nor JSON")


def _check_kinds(model: Layer, arrays: Mapping[str, Array]) -> None:
    """Raise if a tensor has a wrong kind of numbers, such as integers for weights."""
    for name, stored in model._named(Parameter, Buffer):
        kinds = ("iu", "f")[stored.value.dtype.kind == "f"]
        if name in arrays and arrays[name].dtype.kind not in kinds:
            raise ValueError(
                f"{name} has dtype {arrays[name].dtype}, but the model has {stored.value.dtype}"
            )
