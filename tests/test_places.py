"""Parts that are computed where concatenation wants them: the same numbers, and nobody's loss."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import randomised

from numpy_shufflenet import _places, _threads, backend, kernels
from numpy_shufflenet._places import Place, placed
from numpy_shufflenet.models import shufflenet_v1, shufflenet_v2
from numpy_shufflenet.nn import Sequential, ShuffleNetV1Unit, ShuffleNetV2Unit

pytestmark = pytest.mark.skipif(backend.current() != "numba", reason="kernels are not in use")


def v1(**options):
    return ShuffleNetV1Unit(8, 20, groups=4, stride=2, **options)


def splitting(**options):
    return ShuffleNetV2Unit(8, 8, stride=1, **options)


def branching(channels=12, **options):
    return ShuffleNetV2Unit(8, channels, stride=2, **options)


UNITS = {  # channels that are copied, forward and backward, and outputs that are in their place
    "splits": (splitting, 4, 4, 2),
    "splits, se": (lambda: splitting(se=True), 4 + 8, 4, 2),  # the shuffle runs alone
    "splits, residual": (lambda: splitting(residual=True), 8, 8, 0),
    "splits, extra depthwise": (lambda: splitting(extra_depthwise=True), 4, 8, 1),
    "branches": (branching, 0, 0, 2),
    "branches, se": (lambda: branching(se=True), 0 + 12, 0, 2),
    "unequal branches": (lambda: branching(20, branch1_channels=8), 12, 0, 1),
    "unequal branches, se": (lambda: branching(20, branch1_channels=8, se=True), 0 + 20, 0, 2),
    "v1": (v1, 8, 0, 1),
    "v1, se": (lambda: v1(se=True), 8, 0, 1),
}
NETWORKS = {
    "v1": lambda: shufflenet_v1(scale=0.25, stem="small", num_classes=4, in_channels=8),
    "v2": lambda: shufflenet_v2(scale=0.5, stem="small", num_classes=4, in_channels=8),
}
MAKERS = {**NETWORKS, **{f"unit, {name}": make for name, (make, *_) in UNITS.items()}}


def elsewhere(layer):
    """The layer, with all its branches writing to memory of their own."""
    for _, within in layer.named_layers():
        if isinstance(within, Sequential):
            within.write_to()
    return layer


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def step(layer, x):
    """What a training step gives, and the bytes that forward keeps."""
    before = backend.bytes_in_use()
    y = layer.forward(backend.channel_major(x), training=True)
    kept = backend.bytes_in_use() - before
    dx = layer.backward(normal(*y.shape, dtype=x.dtype, seed=1))
    return [y, dx, *layer.gradients().values(), *layer.state_dict().values()], kept


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_results_are_the_same_bits_and_no_more_is_kept(make, dtype):
    layer = randomised(make(), seed=1).astype(dtype)
    plain = elsewhere(layer.astype(dtype))
    x = normal(6, 8, 18, 16, dtype=dtype)
    held = []
    for _ in range(2):
        (got, kept), (expected, kept_elsewhere) = step(layer, x), step(plain, x)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(got, expected, strict=True))
        assert kept == kept_elsewhere
        held += [(a, a.copy()) for a in got[:2]]
    for array, copy in held:
        np.testing.assert_array_equal(array, copy)


@pytest.fixture(scope="module", autouse=True)
def all_work_is_shared():
    """However small it is, by two threads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_threads, "WORTH_SHARING", 0)
        patch.setattr(_threads, "_num_threads", 2)
        yield


@pytest.fixture(autouse=True)
def no_image_is_begun(monkeypatch):
    """Not even one that another test began, and that something still refers to."""
    monkeypatch.setattr(_places._here, "image", None)


@pytest.fixture
def copied(monkeypatch):
    """Channels that are copied, one number for each call."""
    numbers = []

    def counting(shape, parts, assembled=kernels.channels.assembled):
        image, missing = assembled(shape, parts)
        numbers.append(sum(len(places) for _, _, places in missing))
        return image, missing

    monkeypatch.setattr(kernels.channels, "assembled", counting)
    return numbers


@pytest.fixture
def in_place(monkeypatch):
    """The images that outputs are part of."""
    images = []

    def noting(*arguments, take=_places.take_reserved, **options):
        if taken := take(*arguments, **options):
            images.append(taken[0].base)
        return taken

    monkeypatch.setattr(kernels._layout, "take_reserved", noting)
    return images


@pytest.mark.parametrize(("make", "forward", "backward", "placed"), UNITS.values(), ids=UNITS)
def test_what_is_in_its_place_is_not_copied(make, forward, backward, placed, copied, in_place):
    unit = make()
    y = unit.forward(backend.channel_major(normal(6, 8, 18, 16)), training=True)
    assert sum(copied) == forward
    unit.backward(y)
    assert sum(copied) == forward + backward
    assert len(in_place) == placed


HALVES = [Place(8, 0, 2), Place(8, 1, 2), Place(8, 0), Place(8, 4), Place(12, 4), Place(6, 5)]
CUTS = [slice(0, 4), slice(4, 8), slice(0, 8, 2), slice(1, 8, 2)]
SHAPE = (4, 4, 9, 8)  # n c h w: more than a page


def normalised(x, _):
    return kernels.batch_norm_relu_forward(x, *normal(2, 4))[0]


def gradient(x, w):
    _, cache = kernels.pointwise_conv2d_forward(x, w)
    return kernels.pointwise_conv2d_backward(x, cache)[0]


def concatenated(*parts):
    return kernels.channel_concat_forward(*parts)[0]


def shuffled(*parts):
    return kernels.channel_concat_shuffle_forward(*parts, groups=2)[0]


def unsplit(*parts):
    _, cache = kernels.channel_split_forward(np.empty((4, 8, 9, 8), np.float32), (4, 4))
    return kernels.channel_split_backward(parts, cache)


@given(st.data())
def test_what_somebody_holds_is_never_overwritten(data):
    """Random outputs, placed anywhere or not at all, put together in any order, kept or not."""
    w = normal(4, 4, 1, 1)
    held = []

    def hold(array):
        held.append((array, array.copy()))

    def some_part():
        array, _ = data.draw(st.sampled_from(held))
        return array if array.shape[1] == 4 else array[:, data.draw(st.sampled_from(CUTS))]

    hold(backend.channel_major(normal(*SHAPE)))
    for _ in range(data.draw(st.integers(1, 12))):
        action = data.draw(st.sampled_from(["compute", "compute", "join", "join", "drop"]))
        if action == "compute":
            compute = data.draw(st.sampled_from([normalised, gradient]))
            x, place = some_part(), data.draw(st.none() | st.sampled_from(HALVES))
            expected = compute(x, w)
            with placed(place):
                hold(compute(x, w))
            np.testing.assert_array_equal(held[-1][0], expected)
        elif action == "join":
            join = data.draw(st.sampled_from([concatenated, shuffled, unsplit]))
            parts = some_part(), some_part()
            expected = np.concatenate([part.copy() for part in parts], axis=1)
            if join is shuffled:
                expected = expected[:, [0, 4, 1, 5, 2, 6, 3, 7]]
            hold(join(*parts))
            np.testing.assert_array_equal(held[-1][0], expected)
        elif len(held) > 1:
            held.pop(data.draw(st.integers(0, len(held) - 1)))
        for array, copy in held:
            np.testing.assert_array_equal(array, copy)


def placed_part(first, step=2, channels=8, dtype=np.float32):
    x = backend.channel_major(normal(*SHAPE, dtype=dtype))
    with placed(Place(channels, first, step)):
        return kernels.batch_norm_relu_forward(x, *normal(2, 4, dtype=dtype))[0]


def test_parts_of_one_image_share_its_memory(copied):
    left, right = placed_part(0), placed_part(1)
    whole = shuffled(left, right)
    assert left.base is right.base
    assert whole.base is left.base
    assert copied == [0]


def test_a_row_is_given_away_once(copied):
    left, right, other = placed_part(0), placed_part(1), placed_part(1)
    assert right.base is not other.base
    whole = shuffled(left, other)
    assert whole.base is other.base
    left, right = placed_part(0), placed_part(1)
    before = left.copy()
    whole = shuffled(-left, right)
    assert whole.base is not right.base
    np.testing.assert_array_equal(left, before)
    assert copied == [4, 8]


def test_views_of_parts_are_copied(copied):
    """Each of them begins where it should, but goes on with every second row."""
    left, right = placed_part(0), placed_part(1)
    parts = left[:, :2], left[:, 1:3], left[:, 2:], left[:, 3:], right[:, 3:]
    whole = concatenated(*parts)
    assert copied == [8]
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))


def test_parts_of_other_images_are_copied(copied):
    left, right = placed_part(0, 1), placed_part(4, 1, channels=12)
    assert left.base is not right.base
    assert concatenated(left, right).shape[1] == 8
    left, right = placed_part(0, dtype=np.float64), placed_part(1)
    assert left.base is not right.base
    assert copied == [8]


def test_an_image_is_whole_once(copied):
    right, left = placed_part(1), backend.channel_major(normal(*SHAPE, seed=1))
    first = shuffled(left, right)
    second = shuffled(-left, right)
    assert copied == [4, 8]
    np.testing.assert_array_equal(first[:, ::2], left)
    np.testing.assert_array_equal(second[:, ::2], -left)


def test_a_place_is_for_one_output_of_its_block():
    x = backend.channel_major(normal(*SHAPE))
    with placed(Place(8, 1, 2)):
        first, second = normalised(x, None), normalised(x, None)
    with placed(Place(8, 1, 2)):
        pass
    third = normalised(x, None)
    sizes = [len(y.base) for y in (first, second, third)]
    assert sizes == [8, 4, 4]


def test_a_place_that_does_not_fit_is_not_taken():
    x = backend.channel_major(normal(*SHAPE))
    for place in (Place(8, 5), Place(8, 2, 2), Place(3, 0)):
        with placed(place):
            assert len(normalised(x, None).base) == 4
    with placed(Place(8, 0, 2)):  # a product of matrices writes rows without gaps
        assert len(gradient(x, normal(4, 4, 1, 1)).base) == 4


def test_each_thread_has_images_of_its_own(copied):
    found = []
    left = placed_part(0)
    thread = threading.Thread(target=lambda: found.append(placed_part(1)))
    thread.start()
    thread.join()
    (right,) = found
    assert left.base is not right.base
    whole = shuffled(left, right)
    assert whole.base is left.base
    assert copied == [4]
    np.testing.assert_array_equal(whole[:, 1::2], right)
