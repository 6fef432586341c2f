import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_shufflenet.data import Dataset, batches, split


def numbered(n: int, classes: int = 3) -> Dataset:
    """A set in which every image shows its own number."""
    images = np.arange(n, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 2, 3), np.uint8)
    return Dataset(images, np.arange(n) % classes, tuple("abcdefghij"[:classes]))


IMAGES = np.zeros((2, 1, 4, 5), np.uint8)
LABELS = np.array([0, 1])


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        ([[1]], LABELS, ("a", "b"), "images is a list; a NumPy array is needed"),
        (IMAGES.astype(float), LABELS, ("a", "b"), "images has dtype float64; uint8 is needed"),
        (IMAGES[0], LABELS, ("a", "b"), r"images has shape \(1, 4, 5\); \(n, c, h, w\) is needed"),
        (IMAGES[:, :0], LABELS, ("a", "b"), r"images has shape \(2, 0, 4, 5\)"),
        (
            np.zeros((2, 8, 9, 3), np.uint8),
            LABELS,
            ("a", "b"),
            r"shape \(2, 8, 9, 3\), which looks like \(n, h, w, c\); .*transpose\(0, 3, 1, 2\)",
        ),
        (np.zeros((2, 28, 28, 1), np.uint8), LABELS, ("a", "b"), r"looks like \(n, h, w, c\)"),
        (IMAGES, [0, 1], ("a", "b"), "labels is of type list; an int64 array is needed"),
        (IMAGES, LABELS.astype(np.uint8), ("a", "b"), "labels is of type uint8; an int64"),
        (IMAGES, LABELS[:1], ("a", "b"), r"labels has shape \(1,\), but there are 2 images"),
        (IMAGES, LABELS, ("a",), "labels: label 1 at index 1 is out of range; 0 to 0 fit"),
        (IMAGES, -LABELS, ("a", "b"), "labels: label -1 at index 1 is out of range"),
        (IMAGES, LABELS, ["a", "b"], r"classes=\['a', 'b'\] is not a tuple of names"),
        (IMAGES, LABELS, (1, 2), r"classes=\(1, 2\) is not a tuple of names"),
    ],
)
def test_what_does_not_fit_is_named(images, labels, classes, message):
    with pytest.raises(ValueError, match=message):
        Dataset(images, labels, classes)


def test_a_set_says_what_it_is():
    assert repr(numbered(4)) == "Dataset(4 images of 1 x 2 x 3, 3 classes)"
    assert len(numbered(4)) == 4


@given(st.integers(0, 40), st.integers(1, 15), st.booleans(), st.none() | st.integers(0, 99))
def test_batches_hold_every_image_once_with_its_label(n, batch_size, drop_last, seed):
    dataset = numbered(n)
    rng = None if seed is None else np.random.default_rng(seed)
    pairs = list(batches(dataset, batch_size, rng, drop_last))
    sizes = [len(images) for images, _ in pairs]
    rest = [n % batch_size] if n % batch_size and not drop_last else []
    assert sizes == [batch_size] * (n // batch_size) + rest
    seen = [int(i) for images, _ in pairs for i in images[:, 0, 0, 0]]
    assert len(set(seen)) == len(seen)
    if seed is None:
        assert seen == list(range(sum(sizes)))
    for images, labels in pairs:
        np.testing.assert_array_equal(labels, images[:, 0, 0, 0] % 3)


def test_batches_come_in_the_order_of_the_generator():
    def order(seed):
        rng = np.random.default_rng(seed)
        return [images.tobytes() for images, _ in batches(numbered(40), 7, rng)]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_writing_to_a_batch_leaves_the_set_alone():
    dataset = numbered(6)
    for images, labels in batches(dataset, 4):
        images[:] = 99
        labels[:] = 2
    np.testing.assert_array_equal(dataset.images, numbered(6).images)
    np.testing.assert_array_equal(dataset.labels, numbered(6).labels)


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True, "4"])
def test_a_wrong_batch_size_is_refused_at_the_call(batch_size):
    with pytest.raises(ValueError, match=f"batch_size={batch_size!r} is not a whole number"):
        batches(numbered(4), batch_size)


def test_a_wrong_generator_is_refused_at_the_call():
    with pytest.raises(ValueError, match=r"rng=7 is not a numpy\.random\.Generator"):
        batches(numbered(4), 2, 7)


@given(st.integers(6, 60), st.floats(0.01, 0.99), st.integers(0, 9))
def test_a_split_parts_every_class_alike(n, fraction, seed):
    dataset = numbered(n)
    first, second = split(dataset, fraction=fraction, seed=seed)
    ids = [part.images[:, 0, 0, 0].tolist() for part in (first, second)]
    assert sorted(ids[0] + ids[1]) == list(range(n))
    assert ids == [sorted(ids[0]), sorted(ids[1])]
    for part in (first, second):
        np.testing.assert_array_equal(part.labels, part.images[:, 0, 0, 0] % 3)
    for label in range(3):
        count = np.sum(second.labels == label)
        wanted = fraction * np.sum(dataset.labels == label)
        assert abs(count - wanted) <= 1
        assert count >= 1
        assert np.sum(first.labels == label) >= 1


def test_a_split_depends_on_its_seed_alone():
    def ids(seed):
        return split(numbered(60), fraction=0.5, seed=seed)[1].images[:, 0, 0, 0].tolist()

    assert ids(3) == ids(3)
    assert ids(3) != ids(4)


def test_a_wrong_split_is_named():
    with pytest.raises(ValueError, match=r"fraction=1\.5 is not between 0 and 1"):
        split(numbered(6), fraction=1.5, seed=0)
    with pytest.raises(ValueError, match="seed=-1 is not a whole number"):
        split(numbered(6), fraction=0.5, seed=-1)
    with pytest.raises(ValueError, match="one image of class 'b'; a split needs two"):
        split(numbered(4), fraction=0.5, seed=0)
