"""What is drawn is what was given."""

import base64

import numpy as np
import pytest

from numpy_shufflenet import plots
from numpy_shufflenet.training import EpochRecord, History


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_learning_curves_show_every_step_and_epoch():
    epochs = [EpochRecord(e, 3 * e, 1 / e, 0.5, 0.9 / e, 0.4 + e / 10, 1.0) for e in (1, 2)]
    history = History([3.0, 2.0, 2.5, 1.0, 1.5, 1.0], [0.1] * 6, epochs)
    losses, rates = plots.learning_curves(history).axes
    np.testing.assert_array_equal(losses.lines[0].get_ydata(), history.loss)
    np.testing.assert_allclose(losses.lines[2].get_ydata(), [0.9, 0.45])
    np.testing.assert_allclose(rates.lines[1].get_ydata(), [50, 60])


def test_learning_curves_do_without_test_images():
    history = History([3.0], [0.1], [EpochRecord(1, 1, 3.0, 0.1, None, None, 1.0)])
    losses, rates = plots.learning_curves(history).axes
    assert len(losses.lines) == 2
    assert len(rates.lines) == 1


def history(rates):
    epochs = [
        EpochRecord(e, 3 * e, 1 / e, rate / 2, 0.9 / e, rate, 1.0)
        for e, rate in enumerate(rates, start=1)
    ]
    return History([2.0] * 3 * len(rates), [0.1] * 3 * len(rates), epochs)


def test_learning_curves_of_several_networks_share_a_plot():
    figure = plots.learning_curves({"V1": history([0.4, 0.6]), "V2": history([0.5, 0.75])})
    _, rates = figure.axes
    drawn = {line.get_label(): line for line in rates.lines}
    np.testing.assert_allclose(drawn["V2, test, after the epoch"].get_ydata(), [50, 75])
    np.testing.assert_allclose(drawn["V1, training, during the epoch"].get_ydata(), [20, 30])
    colours = {name: line.get_color() for name, line in drawn.items()}
    assert colours["V1, test, after the epoch"] == colours["V1, training, during the epoch"]
    assert len(set(colours.values())) == 2
    assert drawn["V1, training, during the epoch"].get_linestyle() == "--"
    assert "V1, at the end: training 30.0%, test 60.0%." in figure.alt


@pytest.mark.parametrize("count", [0, 5])
def test_learning_curves_of_too_many_networks_are_refused(count):
    with pytest.raises(ValueError, match=f"history has {count} entries; 1 to 4 are needed"):
        plots.learning_curves({str(i): history([0.5]) for i in range(count)})


def test_the_confusion_matrix_has_labels_down_and_predictions_across():
    figure = plots.confusion_matrix(np.array([[5, 2], [0, 3]]), ["cat", "dog"])
    axes = figure.axes[0]
    found = {text.get_position(): text.get_text() for text in axes.texts}
    assert found == {(0, 0): "5", (1, 0): "2", (1, 1): "3"}  # x: predicted, y: label
    assert axes.get_ylabel() == "label"
    assert "80.0% correct" in axes.get_title()
    assert figure.alt.endswith("80.0% correct. Most frequent error: cat as dog, 2 times")


def test_filters_draw_every_kernel():
    weights = np.random.default_rng(0).normal(size=(10, 1, 3, 3))
    drawn = [axes for axes in plots.filters(weights).axes if axes.images]
    assert len(drawn) == 10
    np.testing.assert_array_equal(drawn[7].images[0].get_array(), weights[7, 0])


def test_filters_refuse_what_is_no_colour():
    with pytest.raises(ValueError, match=r"weights has shape \(4, 2, 3, 3\)"):
        plots.filters(np.zeros((4, 2, 3, 3)))


@pytest.mark.parametrize("channels", [1, 3])
def test_wrong_predictions_say_what_the_image_is(channels):
    images = np.zeros((3, channels, 8, 8), np.uint8)
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    figure = plots.predictions(
        images, np.array([0, 1, 0]), probabilities, ["cat", "dog"], np.array([0, 0, 0])
    )
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["cat\n90%", "dog (80%)\nis cat", "cat\n60%"]


def test_save_writes_the_very_bytes_that_it_returns(tmp_path):
    figure = plots.confusion_matrix(np.eye(2, dtype=int), ["a", "b"])
    data = plots.save(figure, tmp_path / "picture.png")
    assert data.startswith(b"\x89PNG")
    assert (tmp_path / "picture.png").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_a_notebook_shows_a_figure_by_itself():
    figure = plots.confusion_matrix(np.eye(2, dtype=int), ["a", "b"])
    data, metadata = figure._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert metadata == {"image/png": {"alt": "Confusion matrix of 2 classes, 100.0% correct"}}
    figure.alt = ""  # where nobody says what it shows, what is written on it does
    assert "across: predicted" in figure._repr_mimebundle_()[1]["image/png"]["alt"]
