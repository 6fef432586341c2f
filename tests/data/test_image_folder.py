import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from numpy_shufflenet.data import load_dataset, load_image, load_image_folder

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def paint(path, *columns, height=4, width=2, mode="RGB"):
    """Write an image of upright stripes, `width` pixels each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    row = [colour for colour in columns for _ in range(width)]
    image = Image.new(mode, (len(row), height))
    image.putdata(row * height)
    image.save(path)


def png(values: np.ndarray) -> bytes:
    """A grey PNG of 16 bits, written out by hand."""
    h, w = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    data = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", w, h, 16, 0, 0, 0, 0)
    for kind, body in ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body
        data += struct.pack(">I", zlib.crc32(kind + body))
    return data


def test_pixels_arrive_in_their_places(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), np.uint8)  # h w c
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png", size=5)
    np.testing.assert_array_equal(image, pixels.transpose(2, 0, 1), strict=True)
    image[:] = 0  # the caller's own memory


def test_the_middle_of_the_longer_side_is_kept(tmp_path):
    paint(tmp_path / "wide.png", BLUE, RED, RED, BLUE, height=4)
    wide = load_image(str(tmp_path / "wide.png"), size=4)
    assert (wide == np.array(RED)[:, None, None]).all()
    Image.open(tmp_path / "wide.png").transpose(Image.Transpose.ROTATE_90).save(tmp_path / "t.png")
    np.testing.assert_array_equal(load_image(tmp_path / "t.png", size=4), wide)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_shorter_side_is_resized(tmp_path, size):
    paint(tmp_path / "a.png", GREEN, RED, height=4, width=8)
    image = load_image(tmp_path / "a.png", size=size)
    assert image.shape == (3, size, size)
    assert image.dtype == np.uint8
    if size > 1:
        assert (image[:2, :, 0] == [[0], [255]]).all()  # green at the left
        assert (image[:2, :, -1] == [[255], [0]]).all()  # red at the right


def test_grey_is_one_channel(tmp_path):
    paint(tmp_path / "a.png", 10, 200, mode="L", height=4)
    grey = load_image(tmp_path / "a.png", size=4, channels=1)
    assert grey.tolist() == [[[10, 10, 200, 200]] * 4]
    np.testing.assert_array_equal(load_image(tmp_path / "a.png", size=4), np.repeat(grey, 3, 0))


def test_transparent_parts_become_white(tmp_path):
    paint(tmp_path / "rgba.png", (0, 0, 255, 0), (*RED, 255), mode="RGBA")
    paint(tmp_path / "la.png", (0, 0), (7, 255), mode="LA")
    image = load_image(tmp_path / "rgba.png", size=4)
    assert (image[:, :, :2] == 255).all()
    assert (image[:, :, 2:] == np.array(RED)[:, None, None]).all()
    assert load_image(tmp_path / "la.png", size=4, channels=1)[0, 0].tolist() == [255, 255, 7, 7]


def test_palettes_become_colours_before_they_are_mixed(tmp_path):
    paint(tmp_path / "rgb.png", RED, GREEN, height=4)
    with Image.open(tmp_path / "rgb.png") as image:
        image.quantize(4).save(tmp_path / "palette.png")
    got = load_image(tmp_path / "palette.png", size=2)
    np.testing.assert_array_equal(got, load_image(tmp_path / "rgb.png", size=2))


def test_16_bits_of_grey_keep_their_upper_8(tmp_path):
    values = np.array([[0, 0x1234], [0x8000, 0xFFFF]])
    (tmp_path / "deep.png").write_bytes(png(values))
    image = load_image(tmp_path / "deep.png", size=2, channels=1)
    assert image.tolist() == [[[0, 0x12], [0x80, 0xFF]]]


def test_a_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image = Image.new("RGB", (4, 4), RED)
    image.paste(BLUE, (0, 0, 4, 2))
    image.save(tmp_path / "a.png", exif=exif)
    turned = load_image(tmp_path / "a.png", size=4)
    assert (turned[0, :2] == 255).all()
    assert (turned[2, 2:] == 255).all()


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_truncated_image_is_named(tmp_path, kind, share):
    path = tmp_path / f"noise.{kind}"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=rf"path='.*noise\.{kind}' is not an image that Pillow"):
        load_image(path, size=8)


def test_wrong_arguments_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"path='.*text\.png' is not an image that Pillow can"):
        load_image(tmp_path / "text.png", size=8)
    with pytest.raises(FileNotFoundError, match=r"path='.*nowhere\.png' does not exist"):
        load_image(tmp_path / "nowhere.png", size=8)
    with pytest.raises(ValueError, match="is a directory; an image file is needed"):
        load_image(tmp_path, size=8)
    with pytest.raises(ValueError, match="channels=2 is neither 1 nor 3"):
        load_image(tmp_path / "text.png", size=8, channels=2)
    with pytest.raises(ValueError, match="size=0 is not a whole number of at least 1"):
        load_image(tmp_path / "text.png", size=0)
    Image.new("F", (4, 4)).save(tmp_path / "float.tiff")
    with pytest.raises(ValueError, match=r"floating-point numbers .mode F. of unknown range"):
        load_image(tmp_path / "float.tiff", size=4)


def test_without_pillow_the_error_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "from numpy_shufflenet.data import load_image\n"
        "load_image('a.png', size=4)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert (
        'ImportError: reading image files needs Pillow: pip install "numpy_shufflenet[demo]"'
        in (result.stderr)
    )


def write_classes(folder, *, images=3):
    for i in range(images):
        paint(folder / "green" / f"{i}.png", (0, 200 + i, 0))
        paint(folder / "a red" / f"{i}.jpg", (200 + i, 0, 0))
    (folder / "green" / ".DS_Store").write_text("ignored")
    (folder / "green" / "Thumbs.db").write_text("ignored")
    (folder / ".hidden").mkdir()
    (folder / "readme.txt").write_text("beside the class folders")


def test_a_folder_holds_a_class(tmp_path):
    write_classes(tmp_path)
    dataset = load_image_folder(tmp_path, size=4)
    assert dataset.classes == ("a red", "green")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.images.shape == (6, 3, 4, 4)
    assert dataset.images[3:, 1, 0, 0].tolist() == [200, 201, 202]
    assert (dataset.images[:3, 0] > 190).all()
    assert load_image_folder(tmp_path, size=2, channels=1).images.shape == (6, 1, 2, 2)


def test_a_folder_that_does_not_fit_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"directory='.*nowhere' does not exist"):
        load_image_folder(tmp_path / "nowhere", size=4)
    with pytest.raises(ValueError, match=r"directory='.*' has no folders; one a class"):
        load_image_folder(tmp_path, size=4)
    write_classes(tmp_path)
    with pytest.raises(ValueError, match=r"directory='.*' is a file; a directory is needed"):
        load_image_folder(tmp_path / "readme.txt", size=4)
    (tmp_path / "blue").mkdir()
    with pytest.raises(ValueError, match=r"class folder '.*blue' holds no image files"):
        load_image_folder(tmp_path, size=4)
    (tmp_path / "blue" / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match=r"path='.*notes\.txt' is not an image"):
        load_image_folder(tmp_path, size=4)


def test_images_that_would_have_no_class_are_named(tmp_path):
    write_classes(tmp_path)
    paint(tmp_path / "stray.PNG", RED)
    with pytest.raises(ValueError, match=r"has 1 images beside the class folders, 'stray\.PNG'"):
        load_image_folder(tmp_path, size=4)
    (tmp_path / "stray.PNG").unlink()
    paint(tmp_path / "green" / "old" / "a.png", GREEN)
    with pytest.raises(ValueError, match=r"class folder '.*green' holds the folder 'old'"):
        load_image_folder(tmp_path, size=4)
    (tmp_path / "green" / "old").rename(tmp_path / "green" / ".old")
    assert len(load_image_folder(tmp_path, size=4)) == 6


def test_a_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_classes(tmp_path / "photos", images=5)
    assert len(load_dataset("folder:~/photos", size=4)[0]) == 8
    assert load_image("~/photos/green/1.png", size=4)[1, 0, 0] == 201


def test_load_dataset_splits_a_folder_by_seed(tmp_path):
    write_classes(tmp_path, images=10)
    train, test = load_dataset(f"folder:{tmp_path}", size=4, test_fraction=0.3, seed=1)
    assert np.bincount(train.labels).tolist() == [7, 7]
    assert np.bincount(test.labels).tolist() == [3, 3]
    _, again = load_dataset(f"folder:{tmp_path}", size=4, test_fraction=0.3, seed=1)
    np.testing.assert_array_equal(test.images, again.images)
    _, other = load_dataset(f"folder:{tmp_path}", size=4, test_fraction=0.3, seed=2)
    assert (test.images != other.images).any()


def test_load_dataset_takes_train_and_test_folders(tmp_path):
    write_classes(tmp_path / "train", images=4)
    write_classes(tmp_path / "test", images=1)
    train, test = load_dataset(f"folder:{tmp_path}", size=4, channels=1)
    assert (len(train), len(test)) == (8, 2)
    assert train.images.shape[1:] == (1, 4, 4)
    assert train.classes == test.classes == ("a red", "green")
    paint(tmp_path / "train" / "blue" / "a.png", BLUE)
    with pytest.raises(ValueError, match="train and test differ in classes blue"):
        load_dataset(f"folder:{tmp_path}", size=4)
