"""Images from files: one for a prediction, or a folder of them for each class."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from numpy_shufflenet._typing import Array
from numpy_shufflenet.data._check import PathLike, existing, existing_directory
from numpy_shufflenet.data.dataset import Dataset
from numpy_shufflenet.ops._check import check_positive

if TYPE_CHECKING:
    from PIL import Image

IGNORED = {"thumbs.db", "desktop.ini"}  # left behind by file managers, as are names with a dot


def load_image(path: PathLike, *, size: int, channels: int = 3) -> Array:
    """Read an image file as a square: the shorter side resized to `size`, the middle cut out.

    Parameters
    ----------
    path : path
        A file of any format that Pillow reads; of an animation, the first picture.
    size : int
        Height and width of the result.
    channels : 1 or 3
        Grey or red, green, blue. Transparent parts become white; a photograph is turned upright,
        as its EXIF data says.

    Returns
    -------
    image : array, shape (channels, size, size), uint8

    Raises
    ------
    FileNotFoundError
        If there is no file at `path`.
    ValueError
        If it is no image, or a damaged one, or size or channels don't fit.
    ImportError
        If Pillow is not installed.
    """
    size = check_positive("size", size)
    if channels not in (1, 3):
        raise ValueError(f"channels={channels!r} is neither 1 nor 3")
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError(
            'reading image files needs Pillow: pip install "numpy_shufflenet[demo]"'
        ) from error
    file_path = existing("path", path)
    if file_path.is_dir():
        raise ValueError(f"path={str(path)!r} is a directory; an image file is needed")
    with file_path.open("rb") as file:
        try:
            with Image.open(file) as opened:
                # The colours first: resizing mixes neighbours, so they must be values by then.
                image = _plain_colours(ImageOps.exif_transpose(opened), channels)
        except Exception as error:  # Pillow's decoders raise errors of almost any kind
            raise ValueError(
                f"path={str(path)!r} is not an image that Pillow can read: {error}"
            ) from error
    square = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    return np.array(square).reshape(size, size, channels).transpose(2, 0, 1).copy()


def _plain_colours(image: "Image.Image", channels: int) -> "Image.Image":
    """Return the image as 8-bit grey (mode L) or RGB."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):  # 16 bits of grey; `convert` would cut off what exceeds 255
        values = np.asarray(image).clip(0, 65535)
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode.endswith("A") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")


def load_image_folder(directory: PathLike, *, size: int, channels: int = 3) -> Dataset:
    """Read a directory with one folder of images for each class.

    Parameters
    ----------
    directory : path
        Its folders name the classes, in alphabetical order. Every file in them must be an image,
        save those whose name begins with a dot.
    size, channels : int
        As in `load_image`.

    Returns
    -------
    dataset : Dataset
        images (n, channels, size, size); class after class, the files in alphabetical order.

    Raises
    ------
    FileNotFoundError
        If the directory is missing.
    ValueError
        If it has no folders, one of them has no files, or a file is no image.
    ImportError
        If Pillow is not installed.
    """
    folder = existing_directory("directory", directory)
    classes = _visible(folder, folders=True)
    if not classes:
        raise ValueError(f"directory={str(directory)!r} has no folders; one a class is needed")
    paths, labels = [], []
    for label, class_folder in enumerate(classes):
        files = _visible(class_folder, folders=False)
        if not files:
            raise ValueError(f"class folder {str(class_folder)!r} holds no image files")
        paths += files
        labels += [label] * len(files)
    images = np.stack([load_image(path, size=size, channels=channels) for path in paths])  # n c h w
    return Dataset(images, np.array(labels, dtype=np.int64), tuple(path.name for path in classes))


def _visible(folder: Path, *, folders: bool) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() == folders
        and not path.name.startswith(".")
        and path.name.lower() not in IGNORED
    )
