"""Read images from files: one image for a prediction, or a dataset from folders of images."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from numpy_shufflenet._files import PathLike
from numpy_shufflenet._optional import need
from numpy_shufflenet._room import check_room
from numpy_shufflenet._typing import Array
from numpy_shufflenet.data._check import existing, existing_directory
from numpy_shufflenet.data.dataset import Dataset
from numpy_shufflenet.ops.checks import check_positive

if TYPE_CHECKING:
    from PIL import Image

IGNORED = {"thumbs.db", "desktop.ini"}  # file managers create them
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
# The modes of Pillow with a known range of values.
MODES = (
    *("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"),
    *("I", "I;16", "I;16L", "I;16B", "I;16N"),
)
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # tags of TIFF
# A file may have up to PIXELS pixels, whatever its size. They take 32 MiB when decoded, and a copy
# takes another 32 MiB. With more bytes, a file may have more pixels: up to PIXELS_PER_BYTE for each
# byte (photographs have fewer than 20), and up to MOST_PIXELS.
PIXELS = 2**23
MOST_PIXELS = 2**26
PIXELS_PER_BYTE = 100


def load_image(path: PathLike, *, size: int, channels: int = 3) -> Array:
    """Read an image file as a square image: resize the shorter side to `size`, and crop the centre.

    Parameters
    ----------
    path : path
        A file of any format that Pillow reads, except EPS. Of an animation only the first frame
        is read.
    size : int
        Height and width of the result.
    channels : 1 or 3
        Grey, or red, green and blue. Transparent pixels become white. A photograph is rotated
        according to its EXIF data.

    Returns
    -------
    image : array, shape (channels, size, size), uint8

    Raises
    ------
    FileNotFoundError
        If `path` doesn't exist.
    ValueError
        If size or channels doesn't fit; if the file is no image, or a damaged image; if its pixels
        are floating-point, 32-bit or signed numbers, or LAB, because the value of white is unknown;
        or if it claims to have far more pixels than its bytes can hold.
    ImportError
        If Pillow is not installed.
    MemoryError
        If an image of this size doesn't fit into memory.
    """
    size = check_positive("size", size)
    check_room(2 * 3 * size**2, f"an image of {size} x {size} pixels")
    return fitted(open_image(path, channels=channels), size)


def fitted(image: "Image.Image", size: int) -> Array:
    """Return the pixels (c, size, size) of an image of mode L or RGB, resized and cropped."""
    from PIL import Image, ImageOps

    square = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    return np.array(square).reshape(size, size, -1).transpose(2, 0, 1).copy()


def open_image(path: PathLike, *, channels: int = 3) -> "Image.Image":
    """Read an image file as it is, upright, as an image of mode L or RGB; see `load_image`."""
    if channels not in (1, 3):
        raise ValueError(f"channels={channels!r} is neither 1 nor 3")
    need("PIL", "reading image files")
    from PIL import Image, ImageOps

    file_path = existing("path", path)
    if file_path.is_dir():
        raise ValueError(f"path={str(path)!r} is a directory; an image file is needed")
    if not file_path.is_file():
        raise ValueError(f"path={str(path)!r} is not a regular file; an image file is needed")
    with file_path.open("rb") as file:
        try:
            with Image.open(file) as opened:
                _check_size(opened, file_path.stat().st_size)
                ImageOps.exif_transpose(opened, in_place=True)
                # Convert before resizing: resizing averages pixels, so they must be colour values,
                # not indices into a palette.
                return _plain_colours(opened, channels)
        except Exception as error:  # decoders of Pillow raise almost any kind of error
            raise ValueError(
                f"path={str(path)!r} is not an image that Pillow can read: {error}"
            ) from error


def _check_size(image: "Image.Image", size: int) -> None:
    """Raise if decoding would need too much memory for a file of `size` bytes."""
    if image.format == "EPS":
        raise ValueError("EPS is a program that only another program can run")
    sizes = [image.size]
    if image.format == "ICO":  # the picture inside the icon may have another size
        icons = image.ico  # type: ignore[attr-defined]
        sizes.append(icons.frame(icons.getentryindex(image.size)).size)
    for width, height in sizes:
        pixels = width * height
        if pixels > PIXELS and (pixels > MOST_PIXELS or pixels > PIXELS_PER_BYTE * size):
            raise ValueError(
                f"it claims {width} x {height} pixels in a file of {size:,} bytes; up to "
                f"{PIXELS:,} pixels are read from any file, and up to {MOST_PIXELS:,} if the file "
                f"has a byte for every {PIXELS_PER_BYTE} pixels"
            )


def _plain_colours(image: "Image.Image", channels: int) -> "Image.Image":
    """Return the image as 8-bit grey (mode L) or RGB."""
    from PIL import Image

    mode = image.mode
    if mode == "F":
        raise ValueError("its pixels are floating-point numbers (mode F) of unknown range")
    if mode == "I" and image.format not in ("PNG", "PPM"):
        raise ValueError("its pixels are 32-bit or signed numbers (mode I) of unknown range")
    if mode not in MODES:
        raise ValueError(f"its pixels are of mode {mode}; {', '.join(MODES)} are read")
    if mode.startswith("I"):  # `convert` would clip values above 255
        image = _grey_of_16_bits(image)
    # In these modes, colours are multiplied by opacity. Pillow can convert La only to LA.
    if mode in ("La", "RGBa"):
        image = image.convert(mode[:-1] + "A")
    if image.mode.endswith("A") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    wanted = "L" if channels == 1 else "RGB"
    if image.mode in ("CMYK", "YCbCr", "HSV"):
        image = image.convert("RGB")
    return image if image.mode == wanted else image.convert(wanted)


def _grey_of_16_bits(image: "Image.Image") -> "Image.Image":
    """Return the upper 8 bits as mode L. In a PNG, one value may mean "transparent"."""
    from PIL import Image

    values = np.asarray(image)  # h w
    bits = 16
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        bits = tags.get(BITS_PER_SAMPLE, (16,))[0]
        if tags.get(PHOTOMETRIC) == 0:  # 0 is white
            values = (2**bits - 1) - values
    upper = (values.clip(0, 65535) >> (bits - 8)).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        upper[values == transparent] = 255  # white, like all transparent pixels
    return Image.fromarray(upper)


def load_image_folder(directory: PathLike, *, size: int, channels: int = 3) -> Dataset:
    """Read a directory with one folder of images for each class.

    Parameters
    ----------
    directory : path
        It has one folder for each class; the names of the folders are the classes, in alphabetical
        order. The folders contain images and no folders. Names that begin with a dot are ignored.
    size, channels : int
        As in `load_image`.

    Returns
    -------
    dataset : Dataset
        images (n, channels, size, size), in the order of the classes, then of the file names.

    Raises
    ------
    FileNotFoundError
        If the directory is missing.
    ValueError
        If the directory has no folders, or has images, because these have no class; if a folder has
        no files or contains folders; or if a file is no image.
    ImportError
        If Pillow is not installed.
    MemoryError
        If the images don't fit into memory.
    """
    folder = existing_directory("directory", directory)
    classes = _visible(folder, folders=True)
    if not classes:
        raise ValueError(f"directory={str(directory)!r} has no folders; one a class is needed")
    beside = [p for p in _visible(folder, folders=False) if p.suffix.lower() in SUFFIXES]
    if beside:
        raise ValueError(
            f"directory={str(directory)!r} has {len(beside)} images beside the class folders, "
            f"{beside[0].name!r} for one; they have no class"
        )
    paths, labels = [], []
    for label, class_folder in enumerate(classes):
        nested = _visible(class_folder, folders=True)
        if nested:
            raise ValueError(
                f"class folder {str(class_folder)!r} holds the folder {nested[0].name!r}; "
                "images must lie in the class folder itself"
            )
        files = _visible(class_folder, folders=False)
        if not files:
            raise ValueError(f"class folder {str(class_folder)!r} holds no image files")
        paths += files
        labels += [label] * len(files)
    room = channels * check_positive("size", size) ** 2 * len(paths)
    check_room(room, f"{len(paths):,} images of {size} x {size} pixels")
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
