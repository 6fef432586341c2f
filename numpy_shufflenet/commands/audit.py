"""Find where a network departs from the four guidelines of ShuffleNet V2, and what that costs.

examples:
  numpy-shufflenet audit
  numpy-shufflenet audit shufflenet_v1 --groups 8
  numpy-shufflenet audit mobilenet_v1 --layers --json runs/audit.json

Without a MODEL, the command compares ShuffleNet V1 and V2, MobileNet V1, ResNet-50, four networks
that break one guideline each, and one network that breaks none.
"""

import argparse
import json

from numpy_shufflenet import cost, models
from numpy_shufflenet._files import expanded, write_bytes
from numpy_shufflenet.commands._common import (
    add_model_arguments,
    add_name,
    build_model,
    networks_of_the_papers,
    positive_int,
    show_table,
    with_commas,
)
from numpy_shufflenet.cost.audit import LIMITS, MEASURES
from numpy_shufflenet.cost.stacks import PIXELS, one_fault_each


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_name(parser, "MODEL", models.MODELS)
    add = parser.add_argument
    add("--size", type=positive_int, help="height and width of the images in pixels")
    add("--layers", action="store_true", help="show each layer")
    add("--json", type=expanded, help="write all numbers to this file")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Audit the networks and print the results."""
    audits = _one(arguments) if arguments.name else _all()
    show_table(
        "Means over the network, weighted by memory access; * marks a mean above its limit",
        ["guideline", "what", "limit", *audits],
        [
            [key, what, f"{LIMITS[key]:g}", *(_cell(audit, key) for audit in audits.values())]
            for key, what in MEASURES.items()
        ],
        left=2,
    )
    for name, audit in audits.items():
        for key, suggestion in audit.suggestions().items():
            print(f"{name}, {key}: {suggestion}")
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


def _all() -> dict[str, cost.Audit]:
    audits = {name: cost.audit(model) for name, model in networks_of_the_papers().items()}
    for key, (model, channels) in one_fault_each().items():
        audits[f"breaks {key}"] = cost.audit(model, (channels, PIXELS, PIXELS))
    return audits


def _cell(audit: cost.Audit, key: str) -> str:
    mean = audit.means()[key]
    text = f"{mean:.1%}" if key == "G4" else f"{mean:.2f}"
    return f"{text} *" if key in audit.departures() else text


def _show_layers(audit: cost.Audit) -> None:
    rows = [
        [
            *(row.name, row.text),
            *with_commas(row.multiply_adds, row.memory_access),
            *("" if factor is None else f"{factor:.2f}" for factor in (row.channels, row.groups)),
            str(row.fragments or ""),
            "element-wise" if row.element_wise else "",
        ]
        for row in audit.rows
    ]
    header = ["layer", "what", "multiply-adds", "MAC", "G1", "G2", "G3", "G4"]
    show_table(audit.title, header, rows, left=2)
