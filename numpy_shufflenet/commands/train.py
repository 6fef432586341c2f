"""Train a network on images, and write a checkpoint after each epoch.

examples:
  numpy-shufflenet train --out runs/first
  numpy-shufflenet train --data cifar10:cifar-10-python.tar.gz --recipe cifar10 --out runs/cifar
  numpy-shufflenet train --data folder:photos --size 64 --model shufflenet_v1 --groups 3
  numpy-shufflenet train --data folder:photos --weights x1_0.pth --freeze conv1,stage2,stage3
  numpy-shufflenet train --resume --out runs/first
  numpy-shufflenet train --resume --out runs/first --epochs 8
  mpiexec -n 4 numpy-shufflenet train --distributed --out runs/first

--data is one of
  embedded               12,000 images of Fashion-MNIST, which are part of the package
  fashion-mnist:FOLDER   the IDX files of Fashion-MNIST, gzipped or not
  cifar10:PATH           the Python or the binary version of CIFAR-10, unpacked or not
  folder:FOLDER          one folder of images for each class, or train/ and test/ with such folders

With --weights, training goes on from a trained network: a checkpoint, or any file that
models.from_weights reads. Images are scaled as for that network, and by default have its size. Its
classifier stays if its classes have the names of the images' classes; otherwise it is replaced.
Layers that --freeze names (conv1, stage2, stage3, stage4, conv5, ...) stay as they are; it saves
most time to freeze all layers from conv1 on.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from numpy_shufflenet import models
from numpy_shufflenet._files import expanded, write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet._text import shown
from numpy_shufflenet.commands import _distributed
from numpy_shufflenet.commands._common import (
    MODEL_ARGUMENTS,
    add_model_arguments,
    build_model,
    check_memory,
    make_folder,
    observers,
    positive_int,
)
from numpy_shufflenet.commands._recipes import RECIPES

CHECKPOINT = "checkpoint.safetensors"
SMALL = 64  # images with at most this height get the small stem

# The settings of a new training. With --resume, the settings of the checkpoint replace them.
DEFAULTS = {
    "model": "shufflenet_v2",
    "size": 64,
    "epochs": 4,
    "batch_size": 64,
    "learning_rate": 0.3,
    "schedule": "cosine",
    "warmup": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "label_smoothing": 0.1,
    "accumulate": 1,
    "crop_padding": 0,
    "cutout": 0,
    "no_flip": False,
    "average": 0.0,
    "seed": 0,
    "freeze": "",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""

    def add(to: Any, name: str, help_text: str = "", **how: Any) -> None:
        default = DEFAULTS[name.removeprefix("--").replace("-", "_")]
        shown = "" if default in (False, "") else f"(default: {default})"
        to.add_argument(name, help=f"{help_text} {shown}".strip(), default=None, **how)

    parser.add_argument("--data", default="embedded", help="the images; see below")
    add(parser, "--size", "height and width of images from a folder", type=positive_int)
    results = "folder for the results"
    parser.add_argument("--out", type=expanded, default=Path("runs/train"), help=results)
    resume = "continue from the checkpoint in --out, with its settings; only --epochs may differ"
    parser.add_argument("--resume", action="store_true", help=resume)
    add(parser, "--model", choices=models.MODELS)
    trained = "start from a trained network; then --learning-rate is 0.05 by default"
    parser.add_argument("--weights", type=expanded, metavar="FILE", help=trained)
    frozen = "layers of this network that stay as they are"
    add(parser, "--freeze", frozen, type=layer_names, metavar="NAMES")
    group = parser.add_argument_group("training")
    group.add_argument("--recipe", choices=RECIPES, help="other defaults than those below")
    add(group, "--epochs", type=positive_int)
    add(group, "--batch-size", type=positive_int)
    add(group, "--learning-rate", "peak of the learning rate", type=float)
    add(group, "--schedule", choices=("cosine", "linear"))
    add(group, "--warmup", "share of the steps in which the rate rises", type=float)
    add(group, "--momentum", "Nesterov momentum", type=float)
    add(group, "--weight-decay", type=float)
    add(group, "--label-smoothing", type=float)
    add(group, "--accumulate", "number of parts that a batch is split into", type=positive_int)
    add(group, "--crop-padding", "padding before a random crop, in pixels", type=int)
    add(group, "--cutout", "side of a square that is blackened at random, in pixels", type=int)
    add(group, "--no-flip", "do not mirror images", action="store_true")
    add(group, "--average", "decay of an average of the weights; 0 for none", type=float)
    add(group, "--seed", type=int)
    add_model_arguments(parser, classes=None)
    _distributed.add_arguments(parser)


def layer_names(text: str) -> str:
    """Return comma-separated names in sorted order, so that two lists can be compared."""
    return ",".join(sorted({name.strip() for name in text.split(",")} - {""}))


def filled(arguments: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments, with values of the recipe or DEFAULTS for those that were not given."""
    given = {key: value for key, value in vars(arguments).items() if value is not None}
    recipe = RECIPES.get(arguments.recipe, {})
    return argparse.Namespace(**{**vars(arguments), **DEFAULTS, **recipe, **given})


def run(arguments: argparse.Namespace) -> int:
    """Train, and write checkpoint, history and learning curves."""
    for module in ("safetensors", "rich", "matplotlib"):
        need(module, "training")
    if arguments.distributed:
        return _distributed.train(arguments, prepared, observers, report)
    _distributed.check_alone()
    trainer = prepared(arguments)
    with trainer.exclusive():
        if trainer.epoch == 0:  # another training may have ended meanwhile
            _refuse_old(arguments.out / CHECKPOINT)
        trainer.run(observers())
        report(arguments, trainer)
    return 0


def prepared(arguments: argparse.Namespace) -> Any:
    """Return a Trainer that begins or continues."""
    from numpy_shufflenet.commands import _finetune
    from numpy_shufflenet.data import load_dataset

    checkpoint = arguments.out / CHECKPOINT
    if arguments.resume:
        trainer = resumed(arguments, checkpoint)
        print(f"continuing after epoch {trainer.epoch} of {trainer.epochs}")
        if trainer.epoch == trainer.epochs:
            print(f"all epochs are done; --epochs {trainer.epochs + 1} or more continues")
    else:
        full, trained, channels = filled(arguments), _finetune.opened(arguments), 3
        if trained is not None:
            channels = trained.model.in_channels
            full.size = arguments.size or _finetune.image_size(trained)
            if arguments.learning_rate is None and arguments.recipe is None:
                full.learning_rate = _finetune.LEARNING_RATE
        train_set, test_set = load_dataset(full.data, size=full.size, channels=channels)
        _refuse_old(checkpoint)
        trainer = new_trainer(full, train_set, test_set, trained)
        make_folder(arguments.out)
    return trainer


def report(arguments: argparse.Namespace, trainer: Any) -> None:
    """Write the history and the learning curves."""
    from numpy_shufflenet import plots

    history = json.dumps(trainer.history.to_dict(), indent=1).encode()
    write_bytes(arguments.out / "history.json", history)
    plots.save(plots.learning_curves(trainer.history), arguments.out / "learning_curves.png")
    print(
        f"test accuracy {trainer.history.epochs[-1].test_accuracy:.2%}; see {shown(arguments.out)}"
    )


def _refuse_old(checkpoint: Path) -> None:
    if checkpoint.exists():
        raise ValueError(f"{checkpoint} exists; use --resume, or another --out")


def resumed(arguments: argparse.Namespace, path: Path) -> Any:
    """Return the Trainer of a checkpoint, if the command line agrees with its settings.

    Raises
    ------
    ValueError
        If settings other than --epochs differ from the checkpoint (the message names all of them),
        or if --weights or --recipe is given.
    """
    from numpy_shufflenet.data import load_dataset
    from numpy_shufflenet.training import Trainer, load_checkpoint

    for name in ("weights", "recipe"):
        if getattr(arguments, name) is not None:
            raise ValueError(f"--{name} starts a new training; --resume continues one without it")
    checkpoint = load_checkpoint(path)
    kept = settings_of(checkpoint)
    differing = [
        f"--{key.replace('_', '-')} {value}, but the checkpoint has {kept.get(key)}"
        for key, value in vars(arguments).items()
        if value is not None and key in {*DEFAULTS, *MODEL_ARGUMENTS} - {"epochs"}
        if key != "warmup" and value != kept.get(key)
    ]
    if arguments.warmup is not None and kept["warmup"] != int(arguments.warmup * kept["steps"]):
        differing.append(
            f"--warmup {arguments.warmup}, but the checkpoint has {kept['warmup']} "
            f"of {kept['steps']} steps"
        )
    if differing:
        raise ValueError(
            f"{path} has other settings: {'; '.join(differing)}; "
            "leave these arguments out, or start a new training in another --out"
        )
    size = arguments.size or checkpoint.image_shape[1]
    channels = checkpoint.image_shape[0]
    train_set, test_set = load_dataset(arguments.data, size=size, channels=channels)
    return Trainer.resume(path, train_set, test_set, epochs=arguments.epochs)


def settings_of(checkpoint: Any) -> dict[str, Any]:
    """Return the settings of a checkpoint in a dict; the keys are names on the command line."""
    architecture = checkpoint.architecture or {}
    schedule = checkpoint.schedule or {}
    augmentation = checkpoint.settings["augmentation"]
    return {
        **{key: value for key, value in architecture.items() if key != "name"},
        "model": architecture.get("name"),
        "size": checkpoint.image_shape[1],
        "batch_size": checkpoint.settings["batch_size"],
        "learning_rate": schedule.get("peak", checkpoint.optimiser["learning_rate"]),
        "schedule": schedule.get("shape"),
        "warmup": schedule.get("warmup", 0),
        "steps": schedule.get("steps", 0),
        "momentum": checkpoint.optimiser["momentum"],
        "weight_decay": checkpoint.optimiser["weight_decay"],
        "label_smoothing": checkpoint.settings["label_smoothing"],
        "accumulate": checkpoint.settings["accumulation"],
        "crop_padding": (augmentation or {"crop_padding": 0}).get("crop_padding", 2),
        "cutout": (augmentation or {}).get("cutout", 0),
        "no_flip": augmentation is None or not augmentation.get("flip", True),
        "average": checkpoint.settings["average"],
        "freeze": ",".join(sorted(checkpoint.frozen)),
    }


def new_trainer(
    arguments: argparse.Namespace, train_set: Any, test_set: Any, trained: Any = None
) -> Any:
    """Return a Trainer with the settings of the command line; it trains `trained` if given."""
    from numpy_shufflenet.commands._finetune import adapted
    from numpy_shufflenet.training import SGD, Schedule, Trainer, steps_per_epoch

    standardise = None
    channels, height = train_set.images.shape[1:3]
    if trained is not None:
        model, standardise = adapted(trained, train_set, arguments)
    else:
        stem = arguments.stem or ("small" if height <= SMALL else "imagenet")
        model = build_model(
            arguments.model,
            arguments,
            stem=stem,
            in_channels=channels,
            num_classes=len(train_set.classes),
        )
    augmentation = {"crop_padding": arguments.crop_padding, "cutout": arguments.cutout}
    for name, pixels in augmentation.items():
        if pixels >= (2 * height if name == "cutout" else height):
            raise ValueError(
                f"--{name.replace('_', '-')} {pixels} could hide whole images, which are {height} "
                "pixels high"
            )
    part = -(-min(arguments.batch_size, len(train_set)) // arguments.accumulate)
    check_memory(model, max(train_set.images.shape[2:]), part, training=True)
    optimiser = SGD(
        model,
        learning_rate=arguments.learning_rate,
        momentum=arguments.momentum,
        nesterov=arguments.momentum > 0,
        weight_decay=arguments.weight_decay,
    )
    if not 0 <= arguments.warmup < 1:
        raise ValueError(f"--warmup={arguments.warmup} is not a number from 0 to below 1")
    steps = arguments.epochs * steps_per_epoch(len(train_set), arguments.batch_size)
    warmup = int(arguments.warmup * steps)
    return Trainer(
        model,
        optimiser,
        train_set,
        test_set,
        epochs=arguments.epochs,
        batch_size=arguments.batch_size,
        schedule=Schedule(arguments.schedule, arguments.learning_rate, steps, warmup),
        standardise=standardise,
        label_smoothing=arguments.label_smoothing,
        accumulation=arguments.accumulate,
        augmentation={"flip": not arguments.no_flip, **augmentation},
        average=arguments.average,
        seed=arguments.seed,
        checkpoint=arguments.out / CHECKPOINT,
    )
