"""Steps through any operation of the package, forward from inputs and backward from gradients."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from numpy_shufflenet import operations, steps
from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import as_padding
from numpy_shufflenet.plots.moving.grids import Grid, short_number
from numpy_shufflenet.plots.moving.picture import MovingPicture, PictureStep, Scene
from numpy_shufflenet.plots.moving.sums import batch_norm_terms, write_out
from numpy_shufflenet.steps import Output, Step
from numpy_shufflenet.steps.pooling import winner

MOST_ENTRIES = 1500  # sum over all arrays; a reader and a browser cannot handle more


def step_through(
    name: str, *arrays: Any, dy: Any = None, title: str = "", **hyperparameters: Any
) -> MovingPicture:
    """Draw an operation, forward and backward, one entry at a time.

    In the forward scene, hover over an output to see its inputs, or over an input to see the
    outputs that read it. In the backward scene, hover over an input or its gradient to see the
    entries of dy that flow into the gradient, and over a weight to see the products in its
    gradient. Hover over an entry of dy to see the gradients that it flows into.

    Parameters
    ----------
    name : str
        The name of an operation; the numbers come from its loop implementation.
    *arrays : array or None
        Small arrays.
    dy : array, optional
        Upstream gradient; by default, random multiples of 0.1 from a fixed seed.
    **hyperparameters

    Raises
    ------
    ValueError
        If there is no such operation, the arrays do not fit it, or they have too many entries.
    """
    operation = operations.find(name)
    y, _ = operation.forward()(*arrays, **copy.deepcopy(hyperparameters))  # checks the arguments
    parts = y if isinstance(y, tuple) else (y,)
    if dy is None:
        rng = np.random.default_rng(1)
        drawn = tuple(np.round(rng.uniform(-1, 1, np.shape(part)), 1)[()] for part in parts)
        dy = drawn if isinstance(y, tuple) else drawn[0]
    named = operation.named(arrays).items()
    inputs = {key: array for key, array in named if array is not None}
    total = 2 * sum(np.size(a) for a in inputs.values()) + sum(np.size(part) for part in parts)
    if total > MOST_ENTRIES:
        raise ValueError(
            f"{name} has {total} entries to draw, in inputs, outputs and gradients together; "
            f"use smaller arrays, with at most {MOST_ENTRIES} entries"
        )
    run = _Run(name, arrays, inputs, hyperparameters)
    settings = ", ".join(f"{key}={value}" for key, value in hyperparameters.items() if key != "rng")
    return MovingPicture(
        title or f"{name.replace('_', ' ')}{f' ({settings})' if settings else ''}",
        [run.forward(), run.backward(dy)],
    )


@dataclass
class _Run:
    """One call of an operation, which will be drawn."""

    name: str
    arrays: tuple[Any, ...]
    inputs: dict[str, Array]  # the arrays by name, without those that are None
    hyperparameters: dict[str, Any]

    def forward(self) -> Scene:
        scene = Scene("Forward", "is read by")
        grids = self._input_grids(scene)
        generator = self._generator("forward", *self.arrays)
        unit = None
        if operations.find(self.name).linear_in in (("x",), ("*arrays",)):
            unit = self._generator("forward", *(np.ones_like(array) for array in self.arrays))
        outputs = self._collect(scene, grids, generator, unit)
        for grid in outputs:
            grid.kind = "ky"
        scene.body = _row(scene, [*grids.values()])
        return scene

    def backward(self, dy: Any) -> Scene:
        scene = Scene("Backward", "flows into")
        values = self._input_grids(scene)
        grids = dict(values)
        parts = dy if isinstance(dy, tuple) else (dy,)
        names = [f"dy[{i}]" for i in range(len(parts))] if isinstance(dy, tuple) else ["dy"]
        arriving = [
            Grid.add(scene, part_name, part, "ky")
            for part_name, part in zip(names, parts, strict=True)
        ]
        grids |= {grid.name: grid for grid in arriving}
        generator = self._generator("backward", dy, *self.arrays)
        ones = tuple(np.ones_like(part)[()] for part in parts)
        unit = self._generator("backward", ones if isinstance(dy, tuple) else ones[0], *self.arrays)
        gradients = self._collect(scene, grids, generator, unit)
        scene.body = _row(scene, [*values.values()]) + _row(scene, [*gradients, *arriving])
        return scene

    def _generator(self, direction: str, *arguments: Any) -> Any:
        run = getattr(steps, f"{self.name}_{direction}_steps")
        return run(*arguments, **copy.deepcopy(self.hyperparameters))

    def _input_grids(self, scene: Scene) -> dict[str, Grid]:
        grids = {}
        for position, (name, array) in enumerate(self.inputs.items()):
            settings: dict[str, Any] = {}
            if name == "x" and array.ndim == 4:
                settings["border"] = as_padding(self.hyperparameters.get("padding", 0))
                settings["border_text"] = "−∞" if self.name == "max_pool2d" else "0"
            kind = f"k{min(position, 3)}"
            grids[name] = Grid.add(scene, name, array, kind, **settings)
        return grids

    def _collect(
        self, scene: Scene, grids: dict[str, Grid], generator: Any, unit_generator: Any
    ) -> list[Grid]:
        """Run the loop implementation, and add its outputs and steps to the scene."""
        items = list(generator)
        units = list(unit_generator) if unit_generator is not None else [None] * len(items)
        announced = [item for item in items if isinstance(item, Output) and item.shape is not None]
        filled = {output.name: np.zeros(output.shape or ()) for output in announced}
        for item in items:
            if isinstance(item, Step):
                filled[item.output][item.index] = item.value
        made = []
        for output in announced:
            source = grids.get(output.name.removeprefix("d"))
            kind = source.kind if source is not None and output.name.startswith("d") else "ky"
            made.append(Grid.add(scene, output.name, filled[output.name], kind))
        grids |= {grid.name: grid for grid in made}

        def element(read: tuple[str, Any]) -> int:
            return grids[read[0]].element(read[1])

        for item, unit in zip(items, units, strict=True):
            if isinstance(item, Step):
                scene.steps.append(self._picture_step(item, unit, grids, element))
        counts = [len(step.terms) for step in scene.steps]
        half = len(counts) // 3
        scene.still = half + int(np.argmax(counts[half : 2 * half + 1])) if counts else 0
        return made

    def _picture_step(
        self, step: Step, unit: Any, grids: dict[str, Grid], element: Any
    ) -> PictureStep:
        output = element((step.output, step.index))
        reads = list(dict.fromkeys(element(read) for read in step.reads))
        value = short_number(step.value)
        original = step.output.removeprefix("d")
        also = [element((original, step.index))] if step.output != original else []
        if original not in grids:
            also = []
        if self.name == "max_pool2d" and step.output == "y":
            kept = element(("x", winner(self.inputs["x"], [index for _, index in step.reads])))
            terms: Any = [[read] for read in reads]
            return PictureStep(output, reads, terms, value, "max", winners=[kept])
        if self.name.startswith("batch_norm") and step.output == "y":
            eps = self.hyperparameters.get("eps", 1e-5)
            terms, note = batch_norm_terms(step, self.inputs, eps, element)
            return PictureStep(output, reads, terms, value, note=note)
        terms = write_out(self.name, step, unit, element)
        note = self._note(step)
        if self.name == "max_pool2d":  # the backward reads x only to find the largest entry
            reads = [element(read) for read in step.reads if read[0] == "dy"]
        return PictureStep(output, reads, terms, value, also=also, note=note)

    def _note(self, step: Step) -> str:
        if self.name == "max_pool2d":
            wins = len(step.terms)
            windows = f"{wins} window{'' if wins == 1 else 's'}"
            return f"x is the largest in {windows}; its slope is 1 there, and 0 elsewhere"
        if self.name == "batch_norm" and step.output == "dx":
            return "x changes mean and variance, so every y of the channel has a slope here"
        if not step.terms:
            return "no gradient reaches this entry"
        return ""


def _row(scene: Scene, grids: list[Grid]) -> str:
    return f'<div class="row">{"".join(grid.html(scene) for grid in grids)}</div>'
