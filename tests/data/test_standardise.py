import json

import numpy as np
import pytest

from numpy_shufflenet.data import Standardise, channel_statistics, load_embedded, to_float

IMAGES = np.random.default_rng(0).integers(0, 256, (2103, 3, 5, 4), np.uint8)
IMAGES[:, 1] //= 3  # so that no two channels are alike


def test_statistics_are_those_of_numpy():
    mean, std = channel_statistics(IMAGES)
    scaled = IMAGES / 255
    np.testing.assert_allclose(mean, scaled.mean(axis=(0, 2, 3)), rtol=1e-7)
    np.testing.assert_allclose(std, scaled.std(axis=(0, 2, 3)), rtol=1e-7)


def test_statistics_do_not_depend_on_order_or_layout():
    turned = np.asfortranarray(IMAGES[::-1])
    assert channel_statistics(turned) == channel_statistics(IMAGES)


def test_statistics_survive_json_bit_for_bit():
    mean, std = statistics = channel_statistics(IMAGES)
    assert all(type(value) is float for value in mean + std)
    assert all(value == float(np.float32(value)) for value in mean + std)
    stored = json.loads(json.dumps(statistics._asdict()))
    np.testing.assert_array_equal(Standardise(**stored)(IMAGES), statistics(IMAGES), strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_channel_gets_mean_0_and_variance_1(dtype):
    before = IMAGES.copy()
    x = channel_statistics(IMAGES)(IMAGES, dtype)
    assert x.dtype == dtype
    assert x.shape == IMAGES.shape
    np.testing.assert_allclose(x.mean(axis=(0, 2, 3), dtype=np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=(0, 2, 3), dtype=np.float64), 1, atol=1e-6)
    np.testing.assert_array_equal(IMAGES, before)


def test_to_float_is_the_formula():
    images = np.array([0, 51, 255], np.uint8).reshape(1, 1, 1, 3)
    x = to_float(images, (0.2,), (0.5,), np.float64)
    np.testing.assert_allclose(x.ravel(), [-0.4, 0.0, 1.6], atol=1e-15)


def test_a_constant_channel_becomes_0():
    images = np.full((3, 2, 4, 4), 77, np.uint8)
    images[0, 1] = 5
    statistics = channel_statistics(images)
    assert statistics.std[0] == 1.0
    assert abs(statistics(images)[:, 0]).max() < 1e-6


def test_the_embedded_training_images():
    """The values that others publish for the full set: mean 0.2860, std 0.3530."""
    mean, std = channel_statistics(load_embedded()[0].images)
    assert mean == pytest.approx([0.2860], abs=2e-3)
    assert std == pytest.approx([0.3530], abs=2e-3)


@pytest.mark.parametrize(
    ("mean", "std", "dtype", "message"),
    [
        ((0.5,), (1.0, 1.0, 1.0), np.float32, r"mean=\(0\.5,\) is not one number for each of 3"),
        ((0.5,) * 3, (1.0,) * 2, np.float32, r"std=\(1\.0, 1\.0\) is not one number for each of 3"),
        ((0.5,) * 3, (1.0, 0.0, 1.0), np.float32, r"std=\(1\.0, 0\.0, 1\.0\) has a value that"),
        ((np.nan,) * 3, (1.0,) * 3, np.float32, r"mean=\(nan, nan, nan\) is not one number"),
        ((0.5,) * 3, (1.0,) * 3, np.int64, "dtype=.*int64.* is neither float32 nor float64"),
    ],
)
def test_wrong_arguments_are_named(mean, std, dtype, message):
    with pytest.raises(ValueError, match=message):
        to_float(IMAGES, mean, std, dtype)


def test_wrong_images_are_named():
    with pytest.raises(ValueError, match=r"images has shape \(0, 1, 2, 2\); at least one image"):
        channel_statistics(np.zeros((0, 1, 2, 2), np.uint8))
    with pytest.raises(ValueError, match="images has dtype float64; uint8 is needed"):
        channel_statistics(np.zeros((1, 1, 2, 2)))
    with pytest.raises(ValueError, match="images has dtype float64; uint8 is needed"):
        to_float(np.zeros((1, 1, 2, 2)), (0.5,), (1.0,))
