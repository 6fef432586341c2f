"""Find where a network departs from the four guidelines of ShuffleNet V2, and what that costs.

examples:
  numpy-shufflenet audit
  numpy-shufflenet audit shufflenet_v1 --groups 8
  numpy-shufflenet audit mobilenet_v1 --layers --json runs/audit.json

without a MODEL: ShuffleNet V1 and V2, MobileNet V1 and ResNet-50 side by side, and four networks
that break one guideline each
"""

import argparse
import json

from numpy_shufflenet import cost, models
from numpy_shufflenet._files import expanded, write_bytes
from numpy_shufflenet.commands._common import (
    add_model_arguments,
    build_model,
    positive_int,
    show_table,
)
from numpy_shufflenet.cost.audit import LIMITS, MEASURES
from numpy_shufflenet.cost.stacks import PIXELS, one_fault_each


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="MODEL",
        choices=[*models.MODELS, None],
        help=f"one of {', '.join(models.MODELS)}",
    )
    parser.add_argument("--size", type=positive_int, help="height and width of images in pixels")
    parser.add_argument("--layers", action="store_true", help="show each layer")
    parser.add_argument("--json", type=expanded, help="file for all numbers")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Audit, and print what was found."""
    audits = _one(arguments) if arguments.name else _side_by_side()
    show_table(
        "Means over the network, weighted by memory access; * is beyond the limit",
        ["guideline", "what", "limit", *audits],
        [
            [line, what, f"{LIMITS[line]:g}", *(_cell(audit, line) for audit in audits.values())]
            for line, what in MEASURES.items()
        ],
        left=2,
    )
    for name, audit in audits.items():
        for line, suggestion in audit.suggestions().items():
            print(f"{name}, {line}: {suggestion}")
    if arguments.layers:
        for audit in audits.values():
            _show_layers(audit)
    if arguments.json:
        found = {name: audit.to_dict() for name, audit in audits.items()}
        write_bytes(arguments.json, json.dumps(found, indent=1).encode())
    return 0


def _one(arguments: argparse.Namespace) -> dict[str, cost.Audit]:
    model = build_model(arguments.name, arguments, seed=0)
    size = arguments.size or model.default_size
    return {arguments.name: cost.audit(model, (model.in_channels, size, size))}


def _side_by_side() -> dict[str, cost.Audit]:
    networks = (
        models.shufflenet_v1(),
        models.shufflenet_v2(),
        models.mobilenet_v1(),
        models.resnet_50(),
    )
    audits = {model.config["name"]: cost.audit(model) for model in networks}
    for line, (model, channels) in one_fault_each().items():
        name = "breaks none" if line == "none" else f"breaks {line}"
        audits[name] = cost.audit(model, (channels, PIXELS, PIXELS))
    return audits


def _cell(audit: cost.Audit, line: str) -> str:
    mean = audit.means()[line]
    text = f"{mean:.1%}" if line == "G4" else f"{mean:.2f}"
    return f"{text} *" if line in audit.departures() else text


def _show_layers(audit: cost.Audit) -> None:
    def shown(factor: float | None) -> str:
        return "" if factor is None else f"{factor:.2f}"

    show_table(
        audit.title,
        ["layer", "what", "multiply-adds", "MAC", "G1", "G2", "G3", "G4"],
        [
            [
                row.name,
                row.text,
                f"{row.multiply_adds:,}",
                f"{row.memory_access:,}",
                shown(row.channels),
                shown(row.groups),
                str(row.fragments or ""),
                "element-wise" if row.element_wise else "",
            ]
            for row in audit.rows
        ],
        left=2,
    )
