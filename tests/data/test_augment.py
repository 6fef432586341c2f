import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_shufflenet.data import augment, random_crop, random_cutout, random_flip


@st.composite
def byte_images(draw, max_n: int = 5) -> np.ndarray:
    shape = tuple(
        draw(st.integers(low, high)) for low, high in ((0, max_n), (1, 3), (1, 6), (1, 7))
    )
    images = np.random.default_rng(draw(st.integers(0, 999))).integers(1, 256, shape, np.uint8)
    return images[:, :, ::-1] if draw(st.booleans()) else images


seeds = st.integers(0, 2**32 - 1)


@given(byte_images(), seeds)
def test_a_flip_mirrors_whole_images(images, seed):
    before = images.copy()
    flipped = random_flip(images, np.random.default_rng(seed))
    assert flipped.dtype == np.uint8
    assert flipped.shape == images.shape
    for image, original in zip(flipped, before, strict=True):
        rows = [[row[::-1].tolist() for row in channel] for channel in original]
        assert image.tolist() in (original.tolist(), rows)
    np.testing.assert_array_equal(images, before)


def test_half_of_the_images_are_flipped():
    images = np.zeros((10_000, 1, 1, 2), np.uint8)
    images[..., 0] = 1
    flipped = random_flip(images, np.random.default_rng(0))[:, 0, 0, 1].sum()
    assert 4800 < flipped < 5200  # 4 standard deviations


@given(byte_images(), seeds, st.integers(0, 3))
def test_a_crop_shifts_each_image_and_fills_with_black(images, seed, padding):
    before = images.copy()
    cropped = random_crop(images, np.random.default_rng(seed), padding)
    assert cropped.dtype == np.uint8
    assert cropped.shape == images.shape
    _, _, h, w = images.shape
    for image, original in zip(cropped, before, strict=True):
        shifted = []
        for down in range(-padding, padding + 1):
            for right in range(-padding, padding + 1):
                moved = np.zeros_like(original)
                for i in range(h):
                    for j in range(w):
                        if 0 <= i - down < h and 0 <= j - right < w:
                            moved[:, i, j] = original[:, i - down, j - right]
                shifted.append(moved.tolist())
        assert image.tolist() in shifted
    np.testing.assert_array_equal(images, before)


def test_every_shift_is_as_likely():
    images = np.zeros((25_000, 1, 5, 5), np.uint8)
    images[:, :, 2, 2] = 1
    cropped = random_crop(images, np.random.default_rng(0), 2)
    counts = cropped.sum(axis=(0, 1), dtype=int)  # 5 5, where the one pixel went
    assert counts.sum() == 25_000
    assert abs(counts - 1000).max() < 4 * np.sqrt(1000)


@given(byte_images(), seeds, st.integers(0, 9))
def test_a_cutout_blackens_a_square_whose_centre_is_in_the_image(images, seed, side):
    before = images.copy()
    cut = random_cutout(images, np.random.default_rng(seed), side)
    assert cut.dtype == np.uint8
    assert cut.shape == images.shape
    _, _, h, w = images.shape
    for image, original in zip(cut, before, strict=True):
        squares = []
        for i in range(h):
            for j in range(w):
                top, left = i - side // 2, j - side // 2
                square = original.copy()
                for y in range(max(0, top), min(h, top + side)):
                    for x in range(max(0, left), min(w, left + side)):
                        square[:, y, x] = 0
                squares.append(square.tolist())
        assert image.tolist() in squares
    np.testing.assert_array_equal(images, before)


def test_every_centre_is_as_likely():
    cut = random_cutout(np.ones((20_000, 1, 4, 5), np.uint8), np.random.default_rng(0), 1)
    counts = (1 - cut).sum(axis=(0, 1), dtype=int)  # 4 5
    assert counts.sum() == 20_000
    assert abs(counts - 1000).max() < 4 * np.sqrt(1000)


@given(byte_images(), seeds)
def test_augment_is_flip_then_crop_then_cutout(images, seed):
    for cutout in (0, 2):
        got = augment(images, np.random.default_rng(seed), crop_padding=1, cutout=cutout)
        rng = np.random.default_rng(seed)
        expected = random_crop(random_flip(images, rng), rng, 1)
        if cutout:
            expected = random_cutout(expected, rng, cutout)
        np.testing.assert_array_equal(got, expected, strict=True)


@given(byte_images(), seeds)
def test_augment_without_anything_is_a_copy(images, seed):
    got = augment(images, np.random.default_rng(seed), flip=False, crop_padding=0)
    np.testing.assert_array_equal(got, images, strict=True)
    assert not np.shares_memory(got, images)


@given(seeds)
def test_what_happens_depends_on_the_generator_and_not_on_the_images(seed):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 3, 6, 5), np.uint8)
    got = augment(images, np.random.default_rng(seed))
    np.testing.assert_array_equal(got, augment(images, np.random.default_rng(seed)))
    inverted = augment(255 - images, np.random.default_rng(seed))
    inside = (got != 0) & (inverted != 0)
    np.testing.assert_array_equal(inverted[inside], 255 - got[inside])
    assert inside.mean() > 0.2


def test_images_of_a_batch_are_moved_apart():
    images = np.tile(np.arange(1, 37, dtype=np.uint8).reshape(1, 1, 6, 6), (20, 1, 1, 1))
    got = augment(images, np.random.default_rng(0))
    assert len({image.tobytes() for image in got}) > 10


IMAGES = np.zeros((2, 1, 4, 4), np.uint8)


FUNCTIONS = [
    random_flip,
    lambda x, rng: random_crop(x, rng, 1),
    lambda x, rng: random_cutout(x, rng, 1),
    augment,
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_wrong_arguments_are_named(function):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="images has dtype float32; uint8 is needed"):
        function(IMAGES.astype(np.float32), rng)
    with pytest.raises(ValueError, match=r"images has shape \(1, 4, 4\)"):
        function(IMAGES[0], rng)
    with pytest.raises(ValueError, match=r"rng=0 is not a numpy\.random\.Generator"):
        function(IMAGES, 0)


@pytest.mark.parametrize("padding", [-1, 1.0, True, (1, 2)])
def test_a_wrong_padding_is_named(padding):
    with pytest.raises(ValueError, match=r"padding=.* is not a whole number of at least 0"):
        random_crop(IMAGES, np.random.default_rng(0), padding)
    with pytest.raises(ValueError, match=r"cutout=.* is not a whole number of at least 0"):
        augment(IMAGES, np.random.default_rng(0), cutout=padding)
