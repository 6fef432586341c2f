"""Checkpoints: one safetensors file with all that is needed to train on, or to use the network.

The arrays are the model's (weights and running statistics) under "model." and the optimiser's
under "velocity."; everything else is JSON in the file's metadata.
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


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two epochs.

    Attributes
    ----------
    model : dict of str to array
        `model.state_dict()`.
    architecture : dict or None
        `model.config`, from which the model is built again; None if it has none.
    optimiser : dict
        `SGD.state_dict()`.
    schedule : dict or None
        `Schedule.to_dict()`.
    settings : dict
        The other arguments of the Trainer.
    standardise : Standardise
        How images become what the model expects.
    fingerprint : int
        Of the training set; another one would not continue this training.
    image_shape : tuple of int
        (c, h, w) of the training images.
    classes : tuple of str
        Their names, in the order of the logits.
    epoch, step : int
        How many are done.
    history : dict
        `History.to_dict()`.
    rng : dict
        States of the random generators: "trainer", and "model.NAME" of layers that draw.
    source : str
        The file that it was read from, for messages.
    """

    model: dict[str, Array]
    architecture: dict[str, Any] | None
    optimiser: dict[str, Any]
    schedule: dict[str, Any] | None
    settings: dict[str, Any]
    standardise: Standardise
    fingerprint: int
    image_shape: tuple[int, ...]
    classes: tuple[str, ...]
    epoch: int
    step: int
    history: dict[str, Any]
    rng: dict[str, Any]
    source: str = field(default="this checkpoint", compare=False)

    def build_model(self) -> Layer:
        """Return the network, built anew, with its weights and running statistics.

        Raises
        ------
        ValueError
            If there is no architecture, or it and the weights don't fit together; the message
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
            # A model that the weights don't fit takes no memory: nothing is written to it.
            shapes = {name: array.shape for name, array in self.model.items()}
            if double and all(shapes.get(n) == p.shape for n, p in model.parameters().items()):
                model = model.astype(np.float64)
            self.fill(model)
        except ValueError as error:
            raise ValueError(f"{self.source} is a damaged checkpoint: {error}") from error
        return model

    def fill(self, model: Layer) -> None:
        """Give a model the weights and running statistics.

        Raises
        ------
        ValueError
            If they don't fit. Nothing is changed then.
        """
        _check_kinds(model, self.model)
        model.load_state_dict(self.model)


def save_checkpoint(path: PathLike, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; path holds the old file until the new one is whole.

    Raises
    ------
    OSError
        If the file can't be written.
    ValueError
        If something in the checkpoint is neither an array nor JSON: a NaN, for one.
    """
    rest = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint) if f.name != "source"}
    arrays = {f"model.{name}": array for name, array in rest.pop("model").items()}
    rest["optimiser"] = dict(rest["optimiser"])
    velocity = rest["optimiser"].pop("velocity")
    arrays |= {f"velocity.{name}": array for name, array in velocity.items()}
    text = json.dumps(rest, allow_nan=False, default=_to_json)
    write_safetensors(path, arrays, {"format": FORMAT, "checkpoint": text})


def load_checkpoint(path: PathLike) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, isn't a checkpoint, or says what can't be; the message names the
        file, the field, what it holds and what would fit.
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
        odd = [name for name in arrays if not name.startswith(("model.", "velocity."))]
        if odd:
            raise ValueError(f"it has the tensor {odd[0]}; only model.* and velocity.* are known")
        weights, velocity = _within(arrays, "model."), _within(arrays, "velocity.")
        _schema.check_description(rest, weights, velocity)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is a damaged checkpoint: {error}") from error
    rest["optimiser"]["velocity"] = {name: np.array(v) for name, v in velocity.items()}
    mean, std = rest["standardise"]
    rest["standardise"] = Standardise(tuple(mean), tuple(std))
    rest["image_shape"] = tuple(rest["image_shape"])
    rest["classes"] = tuple(rest["classes"])
    model = {name: np.array(w) for name, w in weights.items()}
    return Checkpoint(model=model, source=str(path), **rest)


def save_weights(model: Layer, path: PathLike) -> None:
    """Write weights and running statistics by name, and nothing else: a plain safetensors file.

    Raises
    ------
    OSError
        If the file can't be written; path is then as it was.
    """
    write_safetensors(path, model.state_dict(), {})


def load_weights(model: Layer, path: PathLike) -> None:
    """Give a model the weights of a safetensors file; from a checkpoint it takes the weights.

    float16 and bfloat16 are widened.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated or isn't a safetensors file, holds a tensor of an unknown dtype,
        or its arrays don't fit the model; the message names the file and the tensor. The model is
        unchanged then.
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
    """Some generators keep their state in arrays."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise ValueError(f"{value!r} in a checkpoint is neither an array nor JSON")


def _check_kinds(model: Layer, arrays: Mapping[str, Array]) -> None:
    """Raise if numbers of one kind would silently become another: integers weights, for one."""
    for name, stored in model._named(Parameter, Buffer):
        kinds = ("iu", "f")[stored.value.dtype.kind == "f"]
        if name in arrays and arrays[name].dtype.kind not in kinds:
            raise ValueError(
                f"{name} has dtype {arrays[name].dtype}, but the model has {stored.value.dtype}"
            )
