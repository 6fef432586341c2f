"""Every mode of Pillow is read rightly, or refused by its name.

The expected values are worked out here, pixel by pixel, from the values that went into the file.
"""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from numpy_shufflenet.data import load_image
from numpy_shufflenet.data.image_folder import _plain_colours

GREY = np.random.default_rng(0).integers(0, 256, (6, 6), np.uint8)  # h w
RGB = np.random.default_rng(1).integers(0, 256, (6, 6, 3), np.uint8)  # h w c
ALPHA = np.random.default_rng(2).integers(0, 256, (6, 6), np.uint8)
DEEP = np.random.default_rng(3).integers(0, 65536, (6, 6), np.uint16)


def on_white(colours, alpha):
    """The same over white, in exact arithmetic: it is rounded, so it may be off by one."""
    share = alpha / 255
    if colours.ndim == 3:
        share = share[..., None]
    return colours * share + 255 * (1 - share)


def read(path, channels=3):
    """The image as it lies in its file (h, w, c) or (h, w)."""
    got = load_image(path, size=6, channels=channels).transpose(1, 2, 0)
    return got if channels == 3 else got[..., 0]


def saved(tmp_path, image, name, **how):
    image.save(tmp_path / name, **how)
    return tmp_path / name


def tiff(values, *, bits, sample_format=1, photometric=1, order="<"):
    """A grey TIFF of one strip, written out by hand."""
    h, w = values.shape
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    if bits == 12:  # two values in three bytes
        pairs = values.reshape(-1, 2).astype(int)
        packed = (pairs[:, 0] << 12) | pairs[:, 1]
        data = b"".join(int(value).to_bytes(3, "big") for value in packed)
    entries = [(256, w), (257, h), (258, bits), (259, 1), (262, photometric), (273, 8)]
    entries += [(277, 1), (278, h), (279, len(data)), (339, sample_format)]
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8 + len(data))
    fields = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in entries)
    return head + data + struct.pack(order + "H", len(entries)) + fields + bytes(4)


def png(depth, kind, rows, *, transparency=None):
    """A PNG without filters, written out by hand."""
    head = struct.pack(">IIBBBBB", 6, len(rows), depth, kind, 0, 0, 0)
    chunks = [(b"IHDR", head)]
    if transparency is not None:
        chunks.append((b"tRNS", transparency))
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "tga", "webp", "ppm", "jp2"])
def test_rgb_is_as_it_was(tmp_path, suffix):
    how = {"lossless": True, "exact": True} if suffix == "webp" else {}
    how |= {"irreversible": False} if suffix == "jp2" else {}
    path = saved(tmp_path, Image.fromarray(RGB), f"a.{suffix}", **how)
    np.testing.assert_array_equal(read(path), RGB)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "tga", "pgm", "gif", "jp2"])
def test_grey_is_as_it_was(tmp_path, suffix):
    path = saved(tmp_path, Image.fromarray(GREY), f"a.{suffix}")
    np.testing.assert_array_equal(read(path, 1), GREY)
    np.testing.assert_array_equal(read(path), np.repeat(GREY[..., None], 3, 2))


def test_one_bit_is_black_and_white(tmp_path):
    bits = GREY > 127
    for suffix in ("png", "bmp", "tiff", "pbm"):
        path = saved(tmp_path, Image.fromarray(bits), f"a.{suffix}")
        np.testing.assert_array_equal(read(path, 1), np.where(bits, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("suffix", ["png", "tiff", "tga"])
def test_opacity_is_over_white(tmp_path, mode, suffix):
    colours = RGB if mode == "RGBA" else GREY
    image = Image.fromarray(np.dstack([colours, ALPHA]))
    path = saved(tmp_path, image, f"a.{suffix}")
    got = read(path, 3 if mode == "RGBA" else 1)
    assert np.abs(got - on_white(colours, ALPHA)).max() <= 1


def test_modes_that_only_some_files_have():
    """Pillow writes no file of these modes, but reads some: from TIFF, and from palettes."""
    opaque = ALPHA.clip(200)
    multiplied = Image.fromarray(np.dstack([RGB, opaque])).convert("RGBa")
    got = np.asarray(_plain_colours(multiplied, 3))
    assert np.abs(got - on_white(RGB, opaque)).max() <= 2
    multiplied = Image.fromarray(np.dstack([GREY, opaque])).convert("La")
    got = np.asarray(_plain_colours(multiplied, 1))
    assert np.abs(got - on_white(GREY, opaque)).max() <= 2
    palette = Image.fromarray(np.dstack([GREY, ALPHA]))
    palette.putpalette(bytes(np.repeat(np.arange(256, dtype=np.uint8), 3)))
    assert palette.mode == "PA"
    got = np.asarray(_plain_colours(palette, 1))
    assert np.abs(got - on_white(GREY, ALPHA)).max() <= 1
    pure = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [9, 9, 9]]], np.uint8))
    np.testing.assert_array_equal(_plain_colours(pure.convert("HSV"), 3), pure)


def test_palettes(tmp_path):
    image = Image.fromarray(GREY % 7)
    palette = np.arange(21, dtype=np.uint8) * 12
    image.putpalette(palette.tobytes())
    expected = palette.reshape(7, 3)[GREY % 7]
    for suffix in ("png", "gif", "bmp", "tiff"):
        np.testing.assert_array_equal(read(saved(tmp_path, image, f"a.{suffix}")), expected)
    # One entry transparent, and an opacity for each entry.
    path = saved(tmp_path, image, "one.png", transparency=2)
    clear = (GREY % 7 == 2)[..., None]
    np.testing.assert_array_equal(read(path), np.where(clear, 255, expected))
    path = saved(tmp_path, image, "one.gif", transparency=2)
    np.testing.assert_array_equal(read(path), np.where(clear, 255, expected))
    opacity = np.array([255, 10, 0, 100, 200, 255, 77], np.uint8)
    path = saved(tmp_path, image, "each.png", transparency=opacity.tobytes())
    assert np.abs(read(path) - on_white(expected, opacity[GREY % 7])).max() <= 1


@pytest.mark.parametrize("order", "<>")
def test_16_bits_of_grey_keep_the_upper_8(tmp_path, order):
    (tmp_path / "a.tiff").write_bytes(tiff(DEEP, bits=16, order=order))
    np.testing.assert_array_equal(read(tmp_path / "a.tiff", 1), DEEP >> 8)
    (tmp_path / "a.pgm").write_bytes(b"P5 6 6 65535\n" + DEEP.astype(">u2").tobytes())
    np.testing.assert_array_equal(read(tmp_path / "a.pgm", 1), DEEP >> 8)
    rows = [row.astype(">u2").tobytes() for row in DEEP]
    (tmp_path / "a.png").write_bytes(png(16, 0, rows))
    np.testing.assert_array_equal(read(tmp_path / "a.png", 1), DEEP >> 8)


def test_a_grey_of_16_bits_may_stand_for_transparency(tmp_path):
    rows = [row.astype(">u2").tobytes() for row in DEEP]
    value = struct.pack(">H", DEEP[1, 2])
    (tmp_path / "a.png").write_bytes(png(16, 0, rows, transparency=value))
    expected = np.where(DEEP[1, 2] == DEEP, 255, DEEP >> 8)
    np.testing.assert_array_equal(read(tmp_path / "a.png", 1), expected)


def test_tiff_of_12_bits_and_where_0_is_white(tmp_path):
    twelve = DEEP >> 4
    (tmp_path / "a.tiff").write_bytes(tiff(twelve, bits=12))
    np.testing.assert_array_equal(read(tmp_path / "a.tiff", 1), twelve >> 4)
    (tmp_path / "b.tiff").write_bytes(tiff(DEEP, bits=16, photometric=0))
    np.testing.assert_array_equal(read(tmp_path / "b.tiff", 1), 255 - (DEEP >> 8))
    (tmp_path / "c.tiff").write_bytes(tiff(GREY, bits=8, photometric=0))
    np.testing.assert_array_equal(read(tmp_path / "c.tiff", 1), 255 - GREY)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("values", "sample_format", "mode"),
    [
        (GREY.astype(np.int32), 2, "mode I"),
        (GREY.astype(np.uint32), 1, "mode I"),
        (GREY.astype(np.int16), 2, "mode I"),
        (GREY.astype(np.float32), 3, "mode F"),
    ],
)
def test_numbers_of_unknown_range_are_refused(tmp_path, values, sample_format, mode, order):
    path = tmp_path / "a.tiff"
    bits = 8 * values.dtype.itemsize
    path.write_bytes(tiff(values, bits=bits, sample_format=sample_format, order=order))
    with pytest.raises(
        ValueError, match=r"a\.tiff' is not an image that Pillow can read"
    ) as caught:
        load_image(path, size=6)
    if order == "<":  # Pillow has no mode for some of the others
        assert mode in str(caught.value)


def test_the_other_modes_are_colours_or_refused(tmp_path):
    image = Image.fromarray(RGB)
    for mode in ("CMYK", "YCbCr"):
        path = saved(tmp_path, image.convert(mode), f"{mode}.tiff")
        assert np.abs(read(path).astype(int) - RGB).max() <= 3  # Y, Cb and Cr are rounded
    path = saved(tmp_path, image.convert("CMYK"), "a.jpg", quality=100, subsampling=0)
    assert np.abs(read(path).astype(int) - RGB).max() <= 40  # JPEG keeps no pixel of such noise
    lab = Image.frombytes("LAB", (6, 6), RGB.tobytes())
    with pytest.raises(ValueError, match=r"its pixels are of mode LAB; 1, L, .* are read"):
        load_image(saved(tmp_path, lab, "lab.tiff"), size=6)


@pytest.mark.parametrize("suffix", ["gif", "png", "tiff", "webp"])
def test_of_an_animation_the_first_picture_is_read(tmp_path, suffix):
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    how = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path, first, f"a.{suffix}", save_all=True, append_images=[second], **how)
    np.testing.assert_array_equal(read(path, 1), GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp", "jpg"])
def test_every_orientation_is_turned_upright(tmp_path, orientation, suffix):
    corners = np.full((6, 6), 128, np.uint8)
    corners[:3, :3], corners[:3, 3:], corners[3:, :3] = 0, 80, 255
    stored = {  # how a camera stores what should look like `corners`
        1: corners,
        2: corners[:, ::-1],
        3: corners[::-1, ::-1],
        4: corners[::-1],
        5: corners.T,
        6: np.rot90(corners),
        7: np.rot90(corners, 2).T,
        8: np.rot90(corners, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored)).resize((48, 48), Image.Resampling.NEAREST)
    path = saved(
        tmp_path, image, f"a.{suffix}", exif=exif, **({"quality": 95} if suffix == "jpg" else {})
    )
    got = load_image(path, size=48, channels=1)[0][4::8, 4::8]
    assert np.abs(got.astype(int) - corners).max() <= 3


@pytest.mark.parametrize("side", [7000, 30_000, 100_000])
def test_a_small_file_that_claims_many_pixels_is_refused_undecoded(tmp_path, side):
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    good = png(8, 2, [row.tobytes() for row in RGB])
    bomb = good[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + good[33:]
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(ValueError, match=r"bomb\.png' is not .*(claims|exceeds|could be)"):
        load_image(tmp_path / "bomb.png", size=6)
    # An icon says one size, and the PNG inside another.
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(bomb), 22) + bomb
    (tmp_path / "bomb.ico").write_bytes(icon)
    with pytest.raises(ValueError, match=r"bomb\.ico' is not"):
        load_image(tmp_path / "bomb.ico", size=6)


def test_eps_is_refused_for_it_would_start_a_program(tmp_path):
    path = tmp_path / "a.eps"
    Image.fromarray(RGB).save(path)
    with pytest.raises(ValueError, match="EPS is a program"):
        load_image(path, size=6)
