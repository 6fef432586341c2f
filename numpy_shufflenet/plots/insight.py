"""Figures of activations, and of the parts of an image that a prediction depends on."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from numpy_shufflenet._text import plain_label
from numpy_shufflenet._typing import Array
from numpy_shufflenet.ops.checks import check_positive
from numpy_shufflenet.plots.figures import Figure, new_figure, new_grid, show_image


def activations(maps: Array, *, columns: int = 8, title: str = "") -> Figure:
    """Draw the activations of every channel of a layer for one image, all with one colour scale.

    Parameters
    ----------
    maps : array, shape (c, h, w)
        The entry of one image in an array of `model.trace(x).activations`.

    Raises
    ------
    ValueError
        If `maps` is not 3-dimensional.
    """
    if maps.ndim != 3:
        raise ValueError(f"maps has shape {maps.shape}; (c, h, w) of one image is needed")
    figure, grid = new_grid(len(maps), columns, (1.1, 1.25), 0.6)
    largest = float(np.abs(maps).max()) or 1.0
    negative = bool((maps < 0).any())
    style = {"cmap": "RdBu_r", "vmin": -largest} if negative else {"cmap": "Blues", "vmin": 0}
    for number, axes in enumerate(grid):
        axes.axis("off")
        image = axes.imshow(maps[number], vmax=largest, **style)
        axes.set_title(str(number), size=8)
    figure.suptitle(title or f"Activations of {len(maps)} channels", size=11)
    if grid:
        figure.colorbar(image, ax=grid, fraction=0.02)
    figure.alt = f"Activations of each of {len(maps)} channels; {title}".rstrip("; ")
    return figure


def strongest_images(
    images: Array,
    responses: Array,
    channels: Sequence[int],
    *,
    columns: int = 8,
    title: str = "",
) -> Figure:
    """Draw the images with the strongest responses of some channels, one row for each channel.

    Parameters
    ----------
    images : uint8 array, shape (n, c, h, w)
        c is 1 or 3.
    responses : array, shape (n, k)
        The response of each of k channels to each image: the channel's mean or maximum.
    channels : sequence of int
        Indices of the channels to draw.
    columns : int
        Number of images for each channel; the strongest comes first.

    Raises
    ------
    ValueError
        If responses does not have one row for each image.
    """
    if responses.ndim != 2 or len(responses) != len(images):
        raise ValueError(
            f"responses has shape {responses.shape}; ({len(images)}, channels) is needed"
        )
    figure = new_figure(0.95 * columns + 0.9, 0.95 * len(channels) + 0.4)
    grid = figure.subplots(len(channels), columns, squeeze=False)
    for row, channel in zip(grid, channels, strict=True):
        order = np.argsort(-responses[:, channel], kind="stable")
        for axes, number in zip(row, order, strict=False):
            show_image(axes, images[number])
        for axes in row:
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"channel {channel}", size=8)
    figure.suptitle(title or "Images with the strongest response of a channel", size=11)
    figure.alt = f"The {columns} strongest images of {len(channels)} channels; {title}".rstrip("; ")
    return figure


def occlusion_map(
    probability: Callable[[Array], Array],
    image: Array,
    *,
    size: int,
    stride: int = 1,
    fill: float = 0.0,
    batch_size: int = 64,
) -> Array:
    """Measure how much a network's prediction depends on each part of an image.

    A square covers one place of the image after another. The value of a pixel is the decrease of
    the probability, averaged over all squares that cover this pixel.

    Parameters
    ----------
    probability : callable
        Maps images (n, c, h, w) to the probability of one class for each image, (n,).
    image : array, shape (c, h, w)
    size, stride : int
        Side of the square, and distance between squares, in pixels.
    fill : float
        Value inside the square; 0 is the mean of standardised images.

    Returns
    -------
    array, shape (h, w), float64
        NaN at pixels that no square covers.

    Raises
    ------
    ValueError
        If the square is larger than the image, or `size`, `stride` or `batch_size` is not positive.

    Source: Zeiler, Fergus, Visualizing and understanding convolutional networks, 2014, section 4.2.
    """
    for name, value in (("size", size), ("stride", stride), ("batch_size", batch_size)):
        check_positive(name, value)
    if image.ndim != 3:
        raise ValueError(f"image has shape {image.shape}; (c, h, w) is needed")
    h, w = image.shape[1:]
    if size > min(h, w):
        raise ValueError(f"size={size} is larger than the image of {h} x {w} pixels")
    places = [
        (r, s) for r in range(0, h - size + 1, stride) for s in range(0, w - size + 1, stride)
    ]
    whole = float(probability(image[None])[0])
    fallen = np.zeros((h, w))
    covered = np.zeros((h, w))
    for start in range(0, len(places), batch_size):
        batch = places[start : start + batch_size]
        images = np.repeat(image[None], len(batch), axis=0)  # n c h w
        for occluded, (r, s) in zip(images, batch, strict=True):
            occluded[:, r : r + size, s : s + size] = fill
        for found, (r, s) in zip(probability(images), batch, strict=True):
            fallen[r : r + size, s : s + size] += whole - float(found)
            covered[r : r + size, s : s + size] += 1
    with np.errstate(invalid="ignore"):
        return fallen / covered


def occlusion(
    image: Array,
    fallen: "Array | Mapping[str, Array]",
    *,
    title: str = "",
    overlay: bool = False,
) -> Figure:
    """Draw an image and its occlusion map: red where covering lowers the probability.

    Parameters
    ----------
    image : array, shape (c, h, w)
        An image with 1 or 3 channels; it is scaled so that its values use the whole range.
    fallen : array, shape (h, w), or mapping of str to array
        A result of `occlusion_map`, or the results of several networks by name. All are drawn with
        one colour scale.
    overlay : bool
        Whether the maps lie over the image, in grey.

    Raises
    ------
    ValueError
        If the image has neither 1 nor 3 channels.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"image has shape {image.shape}; (1, h, w) or (3, h, w) is needed")
    meaning = "decrease of the probability"
    maps = fallen if isinstance(fallen, Mapping) else {meaning: fallen}
    figure = new_figure(3.4 * (1 + len(maps)) + 0.8, 3.4)
    left, *others = figure.subplots(1, 1 + len(maps))
    low, high = float(image.min()), float(image.max())
    scaled = (image - low) / ((high - low) or 1.0)
    show_image(left, scaled, 1)
    left.set_title("image")
    largest = max(float(np.nanmax(np.abs(one))) for one in maps.values()) or 1.0
    places = []
    for axes, (name, one) in zip(others, maps.items(), strict=True):
        if overlay:
            show_image(axes, scaled.mean(axis=0, keepdims=True), 1)
        alpha = 0.6 if overlay else 1
        drawn = axes.imshow(one, cmap="RdBu_r", vmin=-largest, vmax=largest, alpha=alpha)
        axes.set_title(plain_label(name), size=10)
        row, column = np.unravel_index(np.nanargmax(one), one.shape)
        places.append(f"{name}: most at row {row}, column {column}")
    figure.colorbar(drawn, ax=others[-1], fraction=0.046, label=meaning if len(maps) > 1 else "")
    for axes in (left, *others):
        axes.axis("off")
    if title:
        figure.suptitle(title, size=11)
    about = ["An image, and where covering lowers the probability", *places, title]
    figure.alt = "; ".join(filter(None, about))
    return figure
