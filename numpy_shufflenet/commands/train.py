"""Train a network on images, with a checkpoint after each epoch.

examples:
  numpy-shufflenet train --out runs/first
  numpy-shufflenet train --data cifar10:cifar-10-python.tar.gz --epochs 30 --out runs/cifar
  numpy-shufflenet train --data folder:photos --size 64 --model shufflenet_v1 --groups 3
  numpy-shufflenet train --resume --out runs/first

--data is one of
  embedded               12,000 images of Fashion-MNIST, in the package
  fashion-mnist:FOLDER   its IDX files, gzipped or not
  cifar10:PATH           the python or the binary version, unpacked or not
  folder:FOLDER          a folder of images for each class, or such folders in train/ and test/
"""

import argparse
import json
from pathlib import Path
from typing import Any

from numpy_shufflenet import models
from numpy_shufflenet._files import write_bytes
from numpy_shufflenet.commands._common import (
    add_model_arguments,
    build_model,
    make_folder,
    need,
    observers,
    positive_int,
)

CHECKPOINT = "checkpoint.safetensors"
SMALL = 64  # images of up to so many pixels get the small stem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--data", default="embedded", help="the images; see below")
    parser.add_argument("--size", type=positive_int, default=64, help="of images from a folder")
    parser.add_argument("--out", type=Path, default=Path("runs/train"), help="folder for results")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--model", choices=models.MODELS, default="shufflenet_v2")
    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=positive_int, default=4)
    group.add_argument("--batch-size", type=positive_int, default=64)
    group.add_argument("--learning-rate", type=float, default=0.3, help="its peak")
    group.add_argument("--schedule", choices=("cosine", "linear"), default="cosine")
    group.add_argument("--warmup", type=float, default=0.1, help="share of all steps")
    group.add_argument("--momentum", type=float, default=0.9, help="Nesterov's")
    group.add_argument("--weight-decay", type=float, default=5e-4)
    group.add_argument("--label-smoothing", type=float, default=0.1)
    group.add_argument("--accumulate", type=positive_int, default=1, help="parts of a batch")
    group.add_argument("--crop-padding", type=int, default=0, help="of random crops")
    group.add_argument("--no-flip", action="store_true", help="never mirror images")
    group.add_argument("--seed", type=int, default=0)
    add_model_arguments(parser, classes=None)


def run(arguments: argparse.Namespace) -> int:
    """Train, and write checkpoint, history and curves."""
    from numpy_shufflenet import plots
    from numpy_shufflenet.data import load_dataset
    from numpy_shufflenet.training import Trainer

    for module in ("safetensors", "rich", "matplotlib"):
        need(module, "training")
    train_set, test_set = load_dataset(arguments.data, size=arguments.size)
    checkpoint = arguments.out / CHECKPOINT
    if arguments.resume:
        trainer = Trainer.resume(checkpoint, train_set, test_set)
        print(f"going on after epoch {trainer.epoch} of {trainer.epochs}")
    else:
        if checkpoint.exists():
            raise ValueError(f"{checkpoint} exists; use --resume, or another --out")
        trainer = new_trainer(arguments, train_set, test_set)
        make_folder(arguments.out)
    trainer.run(observers())
    history = json.dumps(trainer.history.to_dict(), indent=1).encode()
    write_bytes(arguments.out / "history.json", history)
    plots.save(plots.learning_curves(trainer.history), arguments.out / "learning_curves.png")
    print(f"test accuracy {trainer.history.epochs[-1].test_accuracy:.2%}; see {arguments.out}")
    return 0


def new_trainer(arguments: argparse.Namespace, train_set: Any, test_set: Any) -> Any:
    """Return a Trainer as the command line asks for."""
    from numpy_shufflenet.training import SGD, Schedule, Trainer, steps_per_epoch

    channels, height = train_set.images.shape[1:3]
    stem = arguments.stem or ("small" if height <= SMALL else "imagenet")
    model = build_model(
        arguments.model,
        arguments,
        stem=stem,
        in_channels=channels,
        num_classes=len(train_set.classes),
    )
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
        label_smoothing=arguments.label_smoothing,
        accumulation=arguments.accumulate,
        augmentation={"flip": not arguments.no_flip, "crop_padding": arguments.crop_padding},
        seed=arguments.seed,
        checkpoint=arguments.out / CHECKPOINT,
    )
