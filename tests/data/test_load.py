import numpy as np
import pytest

from numpy_shufflenet.data import load_cifar10, load_dataset, load_embedded, load_fashion_mnist


def test_embedded():
    for got, expected in zip(load_dataset("embedded"), load_embedded(), strict=True):
        np.testing.assert_array_equal(got.images, expected.images)


@pytest.mark.parametrize(
    ("kind", "reader"), [("fashion-mnist", load_fashion_mnist), ("cifar10", load_cifar10)]
)
def test_the_reader_of_the_kind_is_asked(tmp_path, kind, reader):
    path = tmp_path / "with:colon"
    with pytest.raises(FileNotFoundError) as expected:
        reader(path)
    with pytest.raises(FileNotFoundError) as got:
        load_dataset(f"{kind}:{path}")
    assert str(got.value) == str(expected.value)
    path.mkdir()
    with pytest.raises((ValueError, FileNotFoundError)) as expected_empty:
        reader(path)
    with pytest.raises((ValueError, FileNotFoundError)) as got_empty:
        load_dataset(f"{kind}:{path}")
    assert str(got_empty.value) == str(expected_empty.value)


@pytest.mark.parametrize("name", ["", "mnist", "embedded:", "cifar10", "folder:", "mnist:/tmp"])
def test_an_unknown_name_is_quoted(name):
    with pytest.raises(ValueError, match=rf"name='{name}' is none of embedded, fashion-mnist:DIR"):
        load_dataset(name)
