"""Activations are drawn as they are; an occlusion map finds what an answer depends on."""

import numpy as np
import pytest

from numpy_shufflenet import plots


def test_every_channel_is_drawn_on_one_scale():
    maps = np.random.default_rng(0).normal(size=(10, 4, 3))
    drawn = [axes.images[0] for axes in plots.activations(maps).axes if axes.images]
    assert len(drawn) == 10
    for image, channel in zip(drawn, maps, strict=True):
        np.testing.assert_array_equal(image.get_array(), channel)
        assert image.get_clim() == (-np.abs(maps).max(), np.abs(maps).max())


def test_activations_after_a_relu_start_at_zero():
    figure = plots.activations(np.full((2, 3, 3), 0.5))
    assert figure.axes[0].images[0].get_clim() == (0, 0.5)


def test_covering_the_pixel_that_matters_takes_the_answer_away():
    image = np.full((1, 6, 5), 0.1)
    image[0, 3, 2] = 1.0
    fallen = plots.occlusion_map(lambda x: x[:, 0, 3, 2], image, size=1, batch_size=7)
    expected = np.zeros((6, 5))
    expected[3, 2] = 1.0
    np.testing.assert_allclose(fallen, expected)


def test_a_pixel_gets_the_mean_over_the_squares_that_cover_it():
    """The answer is the sum of all pixels, so each square takes its own sum away."""
    image = np.random.default_rng(0).uniform(size=(2, 5, 6))
    fallen = plots.occlusion_map(lambda x: x.sum(axis=(1, 2, 3)), image, size=3, stride=2, fill=0.5)
    squares = {(r, s): (image[:, r : r + 3, s : s + 3] - 0.5).sum() for r in (0, 2) for s in (0, 2)}
    assert fallen[0, 0] == pytest.approx(squares[0, 0])
    assert fallen[2, 2] == pytest.approx(np.mean(list(squares.values())))
    assert np.isnan(fallen[0, 5])  # the last column is under no square


@pytest.mark.parametrize("channels", [1, 3])
def test_an_occlusion_map_is_drawn_beside_its_image(channels):
    image, fallen = np.random.default_rng(0).normal(size=(channels, 4, 4)), np.eye(4)
    left, right, _ = plots.occlusion(image, fallen, title="a coat").axes
    np.testing.assert_array_equal(right.images[0].get_array(), fallen)
    assert left.images[0].get_array().min() == 0


def test_occlusion_maps_of_several_networks_share_a_scale():
    maps = {"V1": np.eye(4), "V2": -3 * np.eye(4)}
    _, *drawn, _ = plots.occlusion(np.ones((1, 4, 4)), maps).axes
    assert [axes.get_title() for axes in drawn] == ["V1", "V2"]
    assert [axes.images[0].get_clim() for axes in drawn] == [(-3, 3), (-3, 3)]
    np.testing.assert_array_equal(drawn[1].images[0].get_array(), maps["V2"])


def test_the_strongest_images_of_a_channel_come_first():
    images = np.arange(5, dtype=np.uint8).repeat(4).reshape(5, 1, 2, 2)
    responses = np.array([[0, 5], [3, 4], [1, 0], [2, 0], [9, 0]], float)
    figure = plots.strongest_images(images, responses, [0, 1], columns=3)
    drawn = [int(axes.images[0].get_array()[0, 0]) for axes in figure.axes]
    assert drawn == [4, 1, 3, 0, 1, 2]  # of equals the first
    assert figure.axes[3].get_ylabel() == "channel 1"


@pytest.mark.parametrize("maps", [np.ones((3, 2, 2)), -np.ones((3, 2, 2))])
def test_pictures_say_what_they_show(maps):
    assert "each of 3 channels" in plots.activations(maps, title="stage 2").alt
    fallen = np.array([[0.0, np.nan], [0.5, 0.1]])
    assert (
        "most at row 1, column 0; a coat" in plots.occlusion(maps[:1], fallen, title="a coat").alt
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"responses has shape \(2, 3\); \(4, channels\)"):
        plots.strongest_images(np.zeros((4, 1, 2, 2), np.uint8), np.zeros((2, 3)), [0])
    with pytest.raises(ValueError, match=r"maps has shape \(1, 2, 3, 3\)"):
        plots.activations(np.zeros((1, 2, 3, 3)))
    with pytest.raises(ValueError, match="size=5 is larger than the image of 4 x 6 pixels"):
        plots.occlusion_map(lambda x: x[:, 0, 0, 0], np.zeros((1, 4, 6)), size=5)
    with pytest.raises(ValueError, match=r"image has shape \(2, 4, 4\)"):
        plots.occlusion(np.zeros((2, 4, 4)), np.zeros((4, 4)))
