"""Train a ShuffleNet on real images, from its gradient check to its predictions.

examples:
  numpy-shufflenet demo
  numpy-shufflenet demo --model shufflenet_v1 --out runs/v1
  numpy-shufflenet demo --quick

steps: print the network layer by layer; verify the gradients of this very network; train it on the
embedded 10,000 images; test it on 2,000 others; draw pictures, and one report.html with all of it
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
from numpy_shufflenet.commands import train
from numpy_shufflenet.commands._common import (
    make_folder,
    observers,
    positive_int,
    sample,
    show_table,
)

MODELS = {
    "shufflenet_v1": {"scale": 0.25, "groups": 3},
    "shufflenet_v2": {"scale": 0.5},
}
CHECKED_IMAGES = 3
SHOWN_IMAGES = 32
QUICK = {
    "epochs": 2,
    "train_images": 1000,
    "test_images": 500,
    "batch_size": 20,
    "learning_rate": 0.05,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument(
        "--out", type=expanded, default=Path("runs/demo"), help="folder for results"
    )
    parser.add_argument("--model", choices=MODELS, default="shufflenet_v2")
    parser.add_argument("--epochs", type=positive_int, default=4)
    parser.add_argument("--train-images", type=positive_int, help="fewer than all 10,000")
    parser.add_argument("--test-images", type=positive_int, help="fewer than all 2,000")
    parser.add_argument("--learning-rate", type=float, default=0.3, help="its peak")
    parser.add_argument("--batch-size", type=positive_int, default=64)
    parser.add_argument("--seed", type=int, default=0, help="of weights and order of images")
    parser.add_argument("--quick", action="store_true", help="a little of everything")


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

    print(f"\nVerifying the gradients of this network on {CHECKED_IMAGES} images, in float64")
    images, labels = sample(train_set.images, train_set.labels, CHECKED_IMAGES)
    verdict = _check_gradients(gradcheck, trainer, images, labels)
    show_table(
        "Gradients: analytic against numeric, worst entry of each tensor",
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
    said = (
        f"gradient check: {verdict.status}; {len(verdict.rows)} tensors, "
        f"{verdict.entries} entries, {verdict.kinks} on kinks, {verdict.seconds:.0f} s"
    )
    print(said)
    if verdict.status != "pass":
        print(verdict)
        return 1

    print(f"\nTraining on {len(train_set):,} images for {trainer.epochs} epochs", flush=True)
    history = trainer.run(observers())
    found = evaluate(model, test_set, trainer.standardise)

    shown = np.flatnonzero(np.isin(np.arange(len(test_set)), _shown(found, test_set.labels)))
    pictures = {
        "learning_curves.png": plots.learning_curves(history),
        "confusion_matrix.png": plots.confusion_matrix(found.confusion, test_set.classes),
        "filters.png": plots.filters(model.parameters()["conv1.0.weight"]),
        "predictions.png": plots.predictions(
            test_set.images[shown],
            found.predictions[shown],
            found.probabilities[shown],
            test_set.classes,
            test_set.labels[shown],
        ),
    }
    report = HtmlReport(f"{arguments.model} on {len(train_set):,} images of Fashion-MNIST")
    result = f"test accuracy {found.accuracy:.2%} on {len(test_set):,} images"
    report.paragraph(f"{result}. {said}.")
    for name, figure in pictures.items():
        report.picture(name.removesuffix(".png").replace("_", " "), plots.save(figure, out / name))
    schedule = {"schedule": trainer.schedule.describe()}
    report.settings({**model.config, **trainer.state().settings, **schedule})
    report.text("The network", str(table))
    report.text("The gradient check", str(verdict))
    write_bytes(out / "report.html", report.html().encode())
    write_bytes(out / "history.json", json.dumps(history.to_dict(), indent=1).encode())
    print(f"\n{result}, after {time.perf_counter() - start:.0f} s; open {out / 'report.html'}")
    return 0


def _train_arguments(arguments: argparse.Namespace) -> argparse.Namespace:
    """Fill in what `train` takes and the demo doesn't ask for."""
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    filled = train.filled(parser.parse_args([]))
    vars(filled).update(vars(arguments))
    vars(filled).update(MODELS[arguments.model])
    return filled


def _check_gradients(gradcheck: Any, trainer: Any, images: Any, labels: Any) -> Any:
    """Check the network that is trained: training mode, real images, the training loss."""
    from rich.progress import Progress

    from numpy_shufflenet import ops

    def loss(logits: Any) -> tuple[float, Any]:
        value, cache = ops.softmax_cross_entropy_forward(
            logits, labels, label_smoothing=trainer.label_smoothing
        )
        return float(value), ops.softmax_cross_entropy_backward(1.0, cache)

    with Progress(transient=True) as progress:
        task = progress.add_task("gradient check", total=len(trainer.model.parameters()))
        return gradcheck.check_model(
            trainer.model,
            trainer.standardise(images, np.float64),
            loss=loss,
            on_tensor=lambda row: progress.advance(task),
        )


def _shown(found: Any, labels: Any) -> Any:
    """Choose test images for the picture: the most surprising mistakes, and as many others."""
    wrong = np.flatnonzero(found.predictions != labels)
    confidence = found.probabilities.max(axis=1)
    mistakes = wrong[np.argsort(-confidence[wrong], kind="stable")][: SHOWN_IMAGES // 4]
    right = np.flatnonzero(found.predictions == labels)
    return np.concatenate([mistakes, right])[:SHOWN_IMAGES]
