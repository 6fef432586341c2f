"""Preprocessing beside torchvision's transforms, and beside PyTorch's interpolation."""

import numpy as np
import published_networks
import pytest
from PIL import Image

from numpy_shufflenet.data import PREPROCESSINGS, imagenet_classes, resize_bilinear
from numpy_shufflenet.data.image_folder import open_image

torchvision = published_networks.torchvision()
torch = published_networks.torch
SIZES = [  # width, height
    *((256, 256), (224, 224), (225, 300), (301, 227), (640, 427), (333, 500), (500, 375)),
    *((231, 233), (257, 1021), (1021, 257), (97, 61), (61, 97), (32, 32), (33, 31), (7, 5)),
    *((1, 9), (9, 1), (1, 1), (511, 512), (719, 403), (400, 1199), (255, 256)),
]


def picture(width, height, mode="RGB"):
    """Smooth colours with noise: there is something to interpolate, and to average."""
    rng = np.random.default_rng(width * 1000 + height)
    row, column = np.mgrid[:height, :width] / 40
    waves = [np.sin(row + k) * np.cos(column * (k + 1)) for k in range(3)]
    pixels = 127 + 80 * np.stack(waves, axis=2) + rng.normal(0, 25, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)


def largest_difference(left, right):
    return int(np.abs(np.asarray(left, int) - np.asarray(right, int)).max())


@pytest.mark.parametrize("resize", [256, 232])
def test_every_grey_level_is_torchvisions(resize):
    preset = torchvision.transforms._presets.ImageClassification(crop_size=224, resize_size=resize)
    transforms = torchvision.transforms
    peer = transforms.Compose([transforms.Resize(resize), transforms.CenterCrop(224)])
    preprocessing = PREPROCESSINGS[f"imagenet-{resize}"]
    assert len(SIZES) >= 20
    for width, height in SIZES:
        image = picture(width, height)
        pixels = preprocessing.pixels(image)
        expected = np.asarray(peer(image)).transpose(2, 0, 1)
        assert largest_difference(pixels, expected) <= 1, (width, height)
    x = preprocessing(pixels[None])
    np.testing.assert_allclose(x[0], preset(image), atol=1e-5)


def test_the_small_networks_of_cifar():
    transforms = torchvision.transforms
    for name, mean, std in (
        ("cifar10", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("cifar100", (0.5070, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761)),
    ):
        steps = [transforms.Resize(32), transforms.CenterCrop(32), transforms.ToTensor()]
        peer = transforms.Compose([*steps, transforms.Normalize(mean, std)])
        for width, height in ((32, 32), (77, 45), (20, 31)):
            image = picture(width, height)
            x = PREPROCESSINGS[name](PREPROCESSINGS[name].pixels(image)[None])
            np.testing.assert_allclose(x[0], peer(image), atol=1e-5)


def interpolated(image, height, width):
    """The same without antialiasing, by PyTorch."""
    pixels = torch.tensor(np.asarray(image)).permute(2, 0, 1)[None].double()
    how = {"mode": "bilinear", "align_corners": False, "antialias": False}
    return torch.nn.functional.interpolate(pixels, (height, width), **how)[0].round()


def test_the_authors_and_paddlepaddle():
    for width, height in SIZES:
        image = picture(width, height)
        short, long = sorted((width, height))
        for name, new in (
            ("authors", int(256 / short * long + 0.5)),
            ("paddlepaddle", round(long * (256 / short))),
        ):
            sides = (new, 256) if height > width else (256, new)
            expected = interpolated(image, *sides)
            if name == "authors":
                expected = torchvision.transforms.CenterCrop(224)(expected).flip(0)
            else:
                top, left = ((side - 224) // 2 for side in sides)
                expected = expected[:, top : top + 224, left : left + 224]
            pixels = PREPROCESSINGS[name].pixels(image)
            x = PREPROCESSINGS[name](pixels[None])[0]
            if name == "authors":  # blue comes first, and numbers are grey levels
                assert largest_difference(x.round(), expected) <= 1, (width, height)
                np.testing.assert_array_equal(x, pixels[::-1])
            else:
                assert largest_difference(pixels, expected) <= 1, (width, height)


def test_resizing_alone():
    rng = np.random.default_rng(0)
    for old, new in (((5, 8), (11, 3)), ((40, 31), (9, 64)), ((1, 6), (4, 1)), ((7, 7), (7, 7))):
        image = rng.integers(0, 256, (*old, 3), np.uint8)
        resized = resize_bilinear(image, new)
        expected = interpolated(image, *new).permute(1, 2, 0)
        assert largest_difference(resized, expected) <= 1
        np.testing.assert_array_equal(resize_bilinear(image[..., 0], new), resized[..., 0])
    with pytest.raises(ValueError, match=r"image has shape \(2, 3\) and dtype float64; uint8"):
        resize_bilinear(np.zeros((2, 3)), (4, 4))
    with pytest.raises(ValueError, match=r"size\[1\]=0"):
        resize_bilinear(image, (4, 0))


@pytest.mark.parametrize("name", ["imagenet-256", "authors"])
def test_any_kind_of_file(tmp_path, name):
    preprocessing = PREPROCESSINGS[name]
    image = picture(300, 260)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
    files = {
        "rgb.png": (image, {}),
        "grey.png": (image.convert("L"), {}),
        "palette.gif": (image.quantize(64), {}),
        "clear.png": (image.convert("RGBA"), {}),
        "deep.png": (Image.fromarray(deep), {}),
        "turned.png": (image.rotate(90, expand=True), {"exif": exif}),
    }
    for file, (saved, how) in files.items():
        saved.save(tmp_path / file, **how)
        pixels = preprocessing.load(tmp_path / file)
        assert (pixels.shape, pixels.dtype) == ((3, 224, 224), np.uint8)
        np.testing.assert_array_equal(pixels, preprocessing.pixels(open_image(tmp_path / file)))
        if file in ("rgb.png", "clear.png", "turned.png"):
            np.testing.assert_array_equal(pixels, preprocessing.pixels(image), err_msg=file)
    grey = preprocessing.load(tmp_path / "grey.png")
    np.testing.assert_array_equal(grey, preprocessing.load(tmp_path / "deep.png"))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png' does not exist"):
        preprocessing.load(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="the image has 1 x 101 pixels; one side may be at most"):
        preprocessing.pixels(picture(1, 101))


def test_other_sizes_and_words():
    small = PREPROCESSINGS["imagenet-232"].at(112)
    assert (small.resize, small.crop) == (116, 112)
    with pytest.raises(ValueError, match="size=0"):
        small.at(0)
    assert str(PREPROCESSINGS["imagenet-256"]) == (
        "imagenet-256: short side 256 (bilinear, antialiased), centre 224 x 224, RGB, "
        "(x / 255 - mean) / std, mean 0.485, 0.456, 0.406, std 0.229, 0.224, 0.225"
    )
    assert str(PREPROCESSINGS["authors"]).endswith(
        "not antialiased), centre 224 x 224, BGR, 0 to 255"
    )


def test_the_names_of_imagenet():
    from torchvision.models._meta import _IMAGENET_CATEGORIES as THEIRS

    assert list(imagenet_classes()) == THEIRS
    assert len(imagenet_classes()) == 1000
