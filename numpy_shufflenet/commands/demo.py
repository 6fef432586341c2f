"""Check the gradients of a ShuffleNet, train it on real images, and draw its predictions.

examples:
  numpy-shufflenet demo
  numpy-shufflenet demo --model shufflenet_v1 --out runs/v1
  numpy-shufflenet demo --quick

The demo prints the network layer by layer and checks the gradients of this network. It trains the
network on the 10,000 embedded training images and tests it on the 2,000 test images. It draws
pictures, and writes everything into one report.html.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from numpy_shufflenet import models
from numpy_shufflenet._files import expanded, write_bytes
from numpy_shufflenet._optional import need
from numpy_shufflenet._text import shown
from numpy_shufflenet.commands import train
from numpy_shufflenet.commands._common import (
    make_folder,
    observers,
    positive_int,
    progress,
    sample,
    show_table,
)

MODELS = {
    "shufflenet_v1": {"scale": 0.25, "groups": 3},
    "shufflenet_v2": {"scale": 0.5},
}
CHECKED_IMAGES = 3
SHOWN_IMAGES = 32
QUICK: dict[str, Any] = {
    **{"epochs": 2, "train_images": 1000, "test_images": 500},
    **{"batch_size": 20, "learning_rate": 0.05},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--out", type=expanded, default=Path("runs/demo"), help="folder for the results")
    add("--model", choices=MODELS, default="shufflenet_v2")
    add("--epochs", type=positive_int, default=4)
    add("--train-images", type=positive_int, help="number of training images (default: 10,000)")
    add("--test-images", type=positive_int, help="number of test images (default: 2,000)")
    add("--entries", type=positive_int, default=3, help="gradients to check in each tensor")
    add("--learning-rate", type=float, default=0.3, help="peak of the learning rate")
    add("--batch-size", type=positive_int, default=64)
    add("--seed", type=int, default=0, help="seed of the weights and of the order of images")
    add("--quick", action="store_true", help="train on fewer images, for 2 epochs")


def run(arguments: argparse.Namespace) -> int:
    """Run all steps."""
    from numpy_shufflenet import gradcheck, plots
    from numpy_shufflenet.commands._report import HtmlReport
    from numpy_shufflenet.data import Dataset, load_embedded
    from numpy_shufflenet.training import evaluate

    for module in ("safetensors", "rich", "matplotlib"):
        need(module, "the demo")
    start = time.perf_counter()
    if arguments.quick:
        vars(arguments).update(QUICK)
    train_set, test_set = (
        Dataset(*sample(dataset.images, dataset.labels, count or len(dataset)), dataset.classes)
        for dataset, count in zip(
            load_embedded(), (arguments.train_images, arguments.test_images), strict=True
        )
    )
    out = make_folder(arguments.out)
    trainer = train.new_trainer(_train_arguments(arguments), train_set, test_set)
    model = trainer.model

    table = models.summary(model, train_set.images.shape[1:])
    print(table)

    print(f"\nChecking the gradients of this network on {CHECKED_IMAGES} images, in float64")
    images, labels = sample(train_set.images, train_set.labels, CHECKED_IMAGES)
    verdict = _check_gradients(gradcheck, trainer, images, labels, arguments.entries)
    show_table(
        "Analytic and numeric gradients: worst entry of each tensor",
        ["tensor", "entries", "kinks", "difference", "allowed", "verdict"],
        [
            [
                row.name,
                str(row.entries),
                str(row.kinks),
                f"{row.difference:.1e}",
                f"{row.allowed:.1e}",
                row.status,
            ]
            for row in verdict.rows
        ],
    )
    summary = (
        f"gradient check: {verdict.status}; {len(verdict.rows)} tensors, "
        f"{verdict.entries} entries, {verdict.kinks} on kinks, {verdict.seconds:.0f} s"
    )
    print(summary)
    if verdict.status != "pass":
        print(verdict)
        return 1

    print(f"\nTraining on {len(train_set):,} images for {trainer.epochs} epochs", flush=True)
    history = trainer.run(observers())
    found = evaluate(model, test_set, trainer.standardise)

    chosen = np.sort(_choose_images(found, test_set.labels))
    pictures = {
        "learning_curves.png": plots.learning_curves(history),
        "confusion_matrix.png": plots.confusion_matrix(found.confusion, test_set.classes),
        "filters.png": plots.filters(model.parameters()["conv1.0.weight"]),
        "predictions.png": plots.predictions(
            test_set.images[chosen],
            found.predictions[chosen],
            found.probabilities[chosen],
            test_set.classes,
            test_set.labels[chosen],
        ),
    }
    report = HtmlReport(f"{arguments.model} on {len(train_set):,} images of Fashion-MNIST")
    result = f"test accuracy {found.accuracy:.2%} on {len(test_set):,} images"
    report.paragraph(f"{result}. {summary}.")
    for name, figure in pictures.items():
        report.picture(name.removesuffix(".png").replace("_", " "), plots.save(figure, out / name))
    schedule = {"schedule": trainer.schedule.describe()}
    report.settings({**model.config, **trainer.state().settings, **schedule})
    report.text("The network", str(table))
    report.text("The gradient check", str(verdict))
    write_bytes(out / "report.html", report.html().encode())
    write_bytes(out / "history.json", json.dumps(history.to_dict(), indent=1).encode())
    print(
        f"\n{result}, after {time.perf_counter() - start:.0f} s; open {shown(out / 'report.html')}"
    )
    return 0


def _train_arguments(arguments: argparse.Namespace) -> argparse.Namespace:
    """Return arguments for `train`, with default values for those that the demo does not have."""
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    filled = train.filled(parser.parse_args([]))
    vars(filled).update(vars(arguments))
    vars(filled).update(MODELS[arguments.model])
    return filled


def _check_gradients(gradcheck: Any, trainer: Any, images: Any, labels: Any, entries: int) -> Any:
    """Check the network in training mode, on real images, with the loss of the training."""
    from numpy_shufflenet import ops

    def loss(logits: Any) -> tuple[float, Any]:
        value, cache = ops.softmax_cross_entropy_forward(
            logits, labels, label_smoothing=trainer.label_smoothing
        )
        return float(value), ops.softmax_cross_entropy_backward(1.0, cache)

    with progress(len(trainer.model.parameters()), "gradient check") as update:
        return gradcheck.check_model(
            trainer.model,
            trainer.standardise(images, np.float64),
            loss=loss,
            entries=entries,
            on_tensor=lambda row: update(),
        )


def _choose_images(found: Any, labels: Any) -> Any:
    """Return indices of test images: one quarter confident mistakes, three quarters right."""
    wrong = np.flatnonzero(found.predictions != labels)
    confidence = found.probabilities.max(axis=1)
    mistakes = wrong[np.argsort(-confidence[wrong], kind="stable")][: SHOWN_IMAGES // 4]
    right = np.flatnonzero(found.predictions == labels)
    return np.concatenate([mistakes, right])[:SHOWN_IMAGES]
