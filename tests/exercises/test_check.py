"""Exercises: right answers pass however they are declared, wrong ones get their cause named."""

import json
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

from numpy_shufflenet import exercises, ops, zoo
from numpy_shufflenet.exercises import NotYet, check, sandbox, table


def wrong(name, function, **options):
    with pytest.raises(NotYet) as caught:
        check(name, function, **options)
    result = caught.value.result
    assert not result.passed
    assert result.points == 0
    return result


FORWARDS = [f"{name}_forward" for name in table.OPERATIONS]
BACKWARDS = [f"{name}_backward" for name in table.OPERATIONS]


@pytest.mark.parametrize("name", FORWARDS)
def test_the_librarys_forwards_pass(name):
    """They return a cache behind y, which is no mistake."""
    function = getattr(ops, name)
    if name == "channel_split_forward":  # y is a tuple itself
        check(name, lambda x, sizes: function(x, sizes)[0])
    else:
        check(name, function)


@pytest.mark.parametrize("name", BACKWARDS)
def test_the_librarys_backwards_pass_with_their_cache(name):
    check(name, getattr(ops, name))


def my_conv(x, w):
    n, _, h, width = x.shape
    o, _, kh, kw = w.shape
    y = np.zeros((n, o, h - kh + 1, width - kw + 1))
    for i, j in np.ndindex(kh, kw):
        view = x[:, :, i : i + y.shape[2], j : j + y.shape[3]]
        y += np.einsum("nchw,oc->nohw", view, w[:, :, i, j])
    return y


def test_what_a_function_does_not_take_is_not_tried():
    result = check("conv2d_forward", my_conv)
    assert "doesn't take it: b, stride, padding, dilation, groups" in result.message


def test_a_function_that_takes_a_stride_must_use_it():
    result = wrong("conv2d_forward", lambda x, w, stride: my_conv(x, w))
    assert "the result for stride=1" in result.cause
    assert result.case[1]["stride"] > 1


@pytest.mark.parametrize("name", ["avg_pool2d_backward", "max_pool2d_backward"])
def test_a_function_need_not_take_a_stride_of_none_or_a_pair(name):
    operation = name.removesuffix("_backward")

    def with_whole_numbers(dy, x, kernel_size, stride, padding):
        assert {type(kernel_size), type(stride), type(padding)} == {int}
        _, cache = getattr(ops, f"{operation}_forward")(
            x, kernel_size, stride=stride, padding=padding
        )
        return getattr(ops, name)(dy, cache)

    check(name, with_whole_numbers)


def test_one_gradient_alone_can_be_checked():
    def dw(dy, x, w):
        return ops.conv2d_backward(dy, ops.conv2d_forward(x, w)[1])[1]

    check("conv2d_backward", dw, wrt="w")
    assert "db" in wrong("conv2d_backward", dw, wrt="b").message
    with pytest.raises(ValueError, match="wrt='z' is not an array of conv2d_backward"):
        check("conv2d_backward", dw, wrt="z")


def test_arguments_may_have_names_of_their_own_in_the_librarys_order():
    check("relu_backward", lambda gradient, array: gradient * (array > 0))


def test_a_backward_may_have_a_forward_of_its_own():
    def forward(x):
        return np.maximum(x, 0), x > 0

    check("relu_backward", lambda dy, cache: dy * cache, forward=forward)


def test_a_list_of_arrays_is_passed_one_by_one():
    check("channel_concat_forward", lambda *arrays: np.concatenate(arrays, axis=1))


def test_an_unknown_exercise_is_refused_with_all_names():
    with pytest.raises(
        ValueError, match=r"there is no exercise 'conv3d'; there are im2col, .*relu"
    ):
        check("conv3d", my_conv)


# Wrong answers: published mistakes, and those that students make


def shuffled_onwards(dy, groups):
    return ops.channel_shuffle_forward(dy, groups)[0]


def flipped_dx(dy, x, w):
    return ops.conv2d_backward(dy, ops.conv2d_forward(x, w[:, :, ::-1, ::-1].copy())[1])[0]


def of_last_image(dy, cache):
    dx, dw, db = ops.conv2d_backward(dy, cache)
    one = np.zeros_like(dy)
    one[-1] = dy[-1]
    _, dw, db = ops.conv2d_backward(one, cache)
    return dx, dw, db


def zero_padded(x, kernel_size, stride, padding):
    sides = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    return ops.max_pool2d_forward(np.pad(x, sides), kernel_size, stride=stride)


def assigned(dy, x, kernel_size, stride):
    dx = np.zeros_like(x)
    for n, c, p, q in np.ndindex(dy.shape):
        window = x[n, c, p * stride :, q * stride :][:kernel_size, :kernel_size]
        i, j = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, p * stride + i, q * stride + j] = dy[n, c, p, q]
    return dx


def norm(x, gamma, beta, eps, *, axis=(0, 2, 3), ddof=0):
    mean, var = x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True, ddof=ddof)
    return gamma[:, None, None] * (x - mean) / np.sqrt(var + eps) + beta[:, None, None]


def norm_backward(dy, x, gamma, *, with_gamma=True, with_mean=True, with_var=True):
    mean, var = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
    inv_std = 1 / np.sqrt(var + 1e-5)
    x_hat = (x - mean) * inv_std
    g = dy * (gamma[:, None, None] if with_gamma else 1)
    dx = g - (g.mean(axis=(0, 2, 3), keepdims=True) if with_mean else 0)
    dx = dx - (x_hat * (g * x_hat).mean(axis=(0, 2, 3), keepdims=True) if with_var else 0)
    return inv_std * dx, (dy * x_hat).sum(axis=(0, 2, 3)), dy.sum(axis=(0, 2, 3))


def averaged(dy, x, kernel_size):
    """Every pixel of a window gets the whole gradient."""
    _, cache = ops.avg_pool2d_forward(x, kernel_size)
    return kernel_size * kernel_size * ops.avg_pool2d_backward(dy, cache)


def naive_softmax(logits, labels):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels]).mean()


def summed_loss(logits, labels):
    return len(logits) * ops.softmax_cross_entropy_forward(logits, labels)[0]


WRONG = {
    "relu passes everything": ("relu_backward", lambda dy, x: dy, "you return dy unchanged"),
    "relu of dy": (
        "relu_backward",
        lambda dy, x: np.maximum(dy, 0),
        "where x is negative, not where dy is",
    ),
    "slope alone": ("relu_backward", lambda dy, x: (x > 0) * 1.0, "you write 1 where dy belongs"),
    "sign": ("relu_backward", lambda dy, x: -dy * (x > 0), "sign"),
    "shuffle onwards": (
        "channel_shuffle_backward",
        shuffled_onwards,
        "move them back by the inverse",
    ),
    "shuffle stays": (
        "channel_shuffle_backward",
        lambda dy, groups: dy.copy(),
        "no gradient has moved",
    ),
    "other shuffle": (
        "channel_shuffle_forward",
        lambda x, groups: ops.channel_unshuffle_forward(x, groups)[0],
        "inverse permutation",
    ),
    "conv flipped": (
        "conv2d_forward",
        lambda x, w: my_conv(x, w[:, :, ::-1, ::-1]),
        "your weights are flipped",
    ),
    "conv dx flipped": ("conv2d_backward", flipped_dx, "weights in the wrong order", "x"),
    "conv dw of one image": ("conv2d_backward", of_last_image, "last image only"),
    "padding forgotten": (
        "conv2d_forward",
        lambda x, w, padding: my_conv(x, w),
        "the result for padding=0",
    ),
    "max pool pads with 0": ("max_pool2d_forward", zero_padded, "the zeros in your padding"),
    "max pool assigns": ("max_pool2d_backward", assigned, "add up the gradients of all these"),
    "average not divided": (
        "avg_pool2d_backward",
        averaged,
        "sum up the pixels of a window; divide",
    ),
    "norm with m - 1": (
        "batch_norm_forward",
        lambda x, gamma, beta, eps: norm(x, gamma, beta, eps, ddof=1),
        "ddof=1",
    ),
    "norm of each entry": (
        "batch_norm_forward",
        lambda x, gamma, beta, eps: norm(x, gamma, beta, eps, axis=0),
        "axis=(0, 2, 3)",
    ),
    "norm of each image": (
        "batch_norm_forward",
        lambda x, gamma, beta, eps: norm(x, gamma, beta, eps, axis=(2, 3)),
        "mean and variance of each image",
    ),
    "norm and ReLU, without the ReLU": (
        "batch_norm_relu_forward",
        lambda x, gamma, beta, eps: norm(x, gamma, beta, eps),
        "the ReLU after the normalisation is missing",
    ),
    "norm and ReLU, the ReLU first": (
        "batch_norm_relu_forward",
        lambda x, gamma, beta, eps: norm(np.maximum(x, 0), gamma, beta, eps),
        "after batch normalisation, not before",
    ),
    "norm and ReLU, with m - 1": (
        "batch_norm_relu_forward",
        lambda x, gamma, beta, eps: np.maximum(norm(x, gamma, beta, eps, ddof=1), 0),
        "ddof=1",
    ),
    "gamma dropped": (
        "batch_norm_backward",
        lambda dy, x, gamma: norm_backward(dy, x, gamma, with_gamma=False),
        "gamma is missing",
    ),
    "mean dropped": (
        "batch_norm_backward",
        lambda dy, x, gamma: norm_backward(dy, x, gamma, with_mean=False),
        "the gradient through the mean",
    ),
    "variance dropped": (
        "batch_norm_backward",
        lambda dy, x, gamma: norm_backward(dy, x, gamma, with_var=False),
        "the gradient through the variance",
    ),
    "inference formula": (
        "batch_norm_backward",
        lambda dy, x, gamma: norm_backward(dy, x, gamma, with_mean=False, with_var=False),
        "formula of inference",
    ),
    "softmax overflows": ("softmax_cross_entropy_forward", naive_softmax, ""),
    "loss is a sum": ("softmax_cross_entropy_forward", summed_loss, "the loss is the mean"),
    "corners": (
        "upsample_bilinear_forward",
        lambda x, scale, align_corners: ops.upsample_bilinear_forward(x, scale)[0],
        "align_corners",
    ),
    "nothing written": ("relu_forward", lambda x: np.zeros_like(x), ""),
    "transposed": (
        "linear_backward",
        lambda dy, x, w: (dy @ w, (dy.T @ x)[:, ::-1], None),
        "the columns of dw are in reverse order",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_answer_gets_its_cause_named(case):
    name, function, cause, *wrt = WRONG[case]
    result = wrong(name, function, wrt=wrt[0] if wrt else None)
    assert cause in result.cause, result
    assert (result.cause != "") == (cause != "")
    if case == "softmax overflows":
        assert "overflow" in result.message
    if case == "nothing written":
        assert "every entry of y is 0" in str(result)


def test_the_smallest_case_is_small():
    result = wrong("conv2d_forward", lambda x, w: my_conv(x, w[:, :, ::-1, ::-1]))
    assert sum(np.size(a) for a in result.case[0].values() if a is not None) <= 4


# Whatever a student returns


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda dy, x: None, "returned None, not dx: is a `return` missing?"),
        (lambda dy, x: "a string", "dx is a str; an array of shape"),
        (lambda dy, x: dy.tolist(), "dx is a list; an array"),
        (lambda dy, x: [dy * (x > 0)], "a list with one result in it: return the result itself"),
        (lambda dy, x: (dy * (x > 0)).astype(np.float32), "dtype float32; float64 is needed"),
        (lambda dy, x: (dy * (x > 0)).astype(int), "dtype int64; float64 is needed"),
        (lambda dy, x: (dy * (x > 0)).astype(complex), "dtype complex128"),
        (lambda dy, x: (dy * (x > 0)).astype(object), "dtype object"),
        (lambda dy, x: np.stack([dy, dy]), "dx has shape (2, 1); an array of shape (1,)"),
        (lambda dy, x: dy.sum(), "dx is the number 6; an array of shape (1,) is needed"),
        (lambda dy, x: dy * np.nan, "is nan"),
        (lambda dy, x: dy / (x - x), "a division by 0"),
        (lambda dy, x: dy @ unknown, "raised NameError, in line"),  # noqa: F821
        (lambda dy, x: [][1], "list index out of range"),
        (lambda dy, x: (_ for _ in ()).throw(NotImplementedError), "nothing is written yet"),
        (lambda dy, x: exit(3), "raised SystemExit"),
        (lambda dy, x: os._exit(3), "Python itself ended"),
        (lambda q: q, "this exercise has no argument q"),
        (lambda x: x, "it must also take dy"),
        (5, "this is of type int; a function is needed"),
    ],
)
def test_nothing_that_comes_back_does_any_harm(function, sentence):
    assert sentence in str(wrong("relu_backward", function))


def test_too_few_results_are_counted():
    assert "; (dx, dw) is needed, 2" in wrong("conv2d_backward", lambda dy, x, w: dy).message
    assert "returned 1 result;" in wrong("conv2d_backward", lambda dy, x, w: (dy,)).message
    with_bias = wrong("conv2d_backward", lambda dy, x, w, b: (dy,)).message
    assert "(dx, dw, db) is needed, 3 results" in with_bias


def test_without_a_bias_two_gradients_will_do():
    check(
        "conv2d_backward", lambda dy, x, w: ops.conv2d_backward(dy, ops.conv2d_forward(x, w)[1])[:2]
    )


def test_writing_into_an_argument_is_seen():
    def writes(dy, x):
        dy[x < 0] = 0
        return dy

    assert "writes into dy" in wrong("relu_backward", writes).message


def test_an_endless_loop_ends():
    def endless(dy, x):
        while True:
            pass

    result = wrong("relu_backward", endless, seconds=0.5)
    assert "not done after 0.5 s" in result.message
    assert result.case is not None


@pytest.mark.parametrize("seen", [True, False])
def test_an_answer_that_sleeps_ends(seen, monkeypatch):
    monkeypatch.setattr(sandbox, "PATIENCE", 100 if seen else 2)
    if not seen:  # where there is no /proc, an answer that sleeps ends later
        monkeypatch.setattr(sandbox, "_sleep_of", lambda pid: "")

    def sleeps(dy, x):
        time.sleep(600)

    result = wrong("relu_backward", sleeps, seconds=2)  # to draw the case takes some of it
    assert "it computed for less than 2 s: does it sleep" in result.message
    assert result.case is not None


def test_endless_recursion_ends():
    def again(dy, x):
        return again(dy, x)

    assert "calls itself without end" in wrong("relu_backward", again).message


def test_endless_growth_ends():
    def grow(dy, x):
        rows = []
        while True:
            rows.append(np.ones(10**6))

    assert "memory" in wrong("relu_backward", grow, megabytes=200).message


def test_what_is_printed_is_shown_once():
    def prints(dy, x):
        print("x is", x.shape)
        return None

    assert wrong("relu_backward", prints).printed == "x is (1,)\n"


def test_a_function_with_moods_is_wrong():
    rng = np.random.default_rng(0)
    wrong("relu_backward", lambda dy, x: dy * (x > 0) * rng.integers(1, 3))


def test_without_processes_a_loop_is_stopped_too(monkeypatch):
    monkeypatch.delattr(os, "fork")

    def endless(dy, x):
        while True:
            pass

    assert "not done" in wrong("relu_backward", endless, seconds=0.3).message
    check("relu_backward", lambda dy, x: dy * (x > 0))


def test_a_sandbox_returns_values_and_what_is_printed():
    def add(a, b):
        print("a is", a)
        a += b
        return a.sum(), {"a": 1}, 1 + 2j, np.float32(0.1), "text", None, [True, 2**70]

    a = np.zeros(3)
    with sandbox.open_sandbox(add, seconds=5, megabytes=100) as run:
        total, strange, number, single, *others = run(a, b=np.ones(3))
    np.testing.assert_array_equal(a, 1)  # what is written there is written here
    assert (total, single, others) == (3, np.float32(0.1), ["text", None, [True, 2**70]])
    assert (type(strange).__name__, type(number).__name__) == ("dict", "complex")
    assert run.printed == "a is [0. 0. 0.]\n"
    with pytest.raises(sandbox.EndedError, match="ended"):
        run(a, a)


@pytest.mark.parametrize(
    "error", [KeyError("k"), NotImplementedError(), UnicodeDecodeError("a", b"", 0, 1, "b"),
              ExceptionGroup("g", [ValueError()]), SystemExit(3), NotYet.__mro__[1]("c")]
)  # fmt: skip
def test_an_error_is_raised_here_by_its_name_and_text(error):
    def fail():
        raise error

    with (
        sandbox.open_sandbox(fail, seconds=5, megabytes=100) as run,
        pytest.raises(Exception) as caught,  # noqa: PT011
    ):
        run()
    assert type(caught.value).__name__ == type(error).__name__
    assert str(caught.value) == str(error)
    assert 'raise error"' in caught.value.line


def endless():
    while True:
        pass


@pytest.mark.parametrize(
    ("task", "said"), [(endless, "a loop never end"), (lambda: time.sleep(600), "does it sleep")]
)
def test_computing_counts_and_waiting_hardly(task, said):
    begin = time.monotonic()
    with (
        sandbox.open_sandbox(task, seconds=0.2, megabytes=100) as run,
        pytest.raises(sandbox.EndedError, match=said),
    ):
        run()
    assert time.monotonic() - begin > (0.2 if task is endless else 2)


def test_all_calls_together_have_the_time(monkeypatch):
    monkeypatch.setattr(sandbox, "PATIENCE", 1000)  # others may have the processor for long

    def busy():
        begin = time.process_time()
        while time.process_time() - begin < 0.1:
            pass

    def often(times):
        for _ in range(times):
            run()

    with sandbox.open_sandbox(busy, seconds=0.6, megabytes=100) as run:
        often(3)  # the calls themselves take some of the time, on a busy machine more
        with pytest.raises(sandbox.EndedError, match=r"not done after 0\.6 s"):
            often(4)


def test_nobody_is_blamed_for_a_busy_machine():
    """The child stands still for longer than it may compute, as if others had the processor."""
    reader, writer = os.pipe()

    def wake():
        pid = int(os.read(reader, 20))
        time.sleep(1)
        os.kill(pid, signal.SIGCONT)

    def task():
        begin = time.monotonic()
        os.write(writer, str(os.getpid()).encode())
        os.kill(os.getpid(), signal.SIGSTOP)
        return time.monotonic() - begin

    waker = threading.Thread(target=wake)
    waker.start()
    with sandbox.open_sandbox(task, seconds=0.5, megabytes=100) as run:
        assert run() > 0.9
    waker.join()
    os.close(reader)
    os.close(writer)


def test_an_interrupt_ends_the_process(request):
    """As by Ctrl-C: nothing goes on in the background, and no late reply is taken for another."""
    # A process that was started in the background ignores this signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    def interrupt():
        time.sleep(0.3)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with sandbox.open_sandbox(lambda: time.sleep(60), seconds=60, megabytes=100) as run:
        waker = threading.Thread(target=interrupt)
        waker.start()
        with pytest.raises(KeyboardInterrupt):
            run()
        waker.join()
        with pytest.raises(sandbox.EndedError):
            run()


# Points and pictures


def test_the_best_result_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["numpy_shufflenet.exercises.check"], "_points", {})
    wrong("relu_backward", lambda dy, x: dy, points=2)
    assert exercises.earned()["points"] == 0
    check("relu_backward", lambda dy, x: dy * (x > 0), points=2)
    wrong("relu_backward", lambda dy, x: dy, points=2)
    exercises.save_points(tmp_path / "points.json")
    saved = json.loads((tmp_path / "points.json").read_text())
    assert (saved["points"], saved["of"]) == (2, 2)
    assert saved["exercises"][0]["exercise"] == "relu_backward"


def test_a_failure_draws_yours_beside_the_target():
    result = wrong("relu_backward", lambda dy, x: dy)
    page = result._repr_html_()
    assert "dx, the target" in page
    assert "dx, yours" in page
    assert page.count('class="c bad"') == 1
    assert "Likely cause:" in page
    assert "<script" not in page


def test_text_from_a_student_is_escaped():
    def prints(dy, x):
        print("<script>alert(1)</script>")
        raise ValueError("<b>")

    page = wrong("relu_backward", prints)._repr_html_()
    assert "<script>alert" not in page
    assert "&lt;b&gt;" in page


def test_in_a_notebook_one_line_is_left_of_the_exception():
    error = NotYet(wrong("relu_backward", lambda dy, x: dy))
    assert len(error._render_traceback_()) == 1


def test_the_case_that_is_shown_can_be_run():
    result = wrong("conv2d_forward", lambda x, w, stride: my_conv(x, w))
    code = str(result).partition("fails:\n")[2].partition("target:")[0]
    found = {}
    exec("\n".join(line.strip() for line in code.splitlines()), {"np": np}, found)
    np.testing.assert_array_equal(found["x"], result.case[0]["x"])
    assert found["stride"] == result.case[1]["stride"]
    assert "groups" not in found  # 1, as if there were none


# im2col and col2im as the lessons write them


def my_im2col(x, kernel_size, stride, padding):
    kh, kw = kernel_size
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride]  # n c oh ow kh kw
    n, c, oh, ow = windows.shape[:4]
    return windows.transpose(0, 1, 4, 5, 2, 3).reshape(n, c * kh * kw, oh * ow)


def test_im2col_and_its_transpose():
    check("im2col", my_im2col)

    def my_col2im(columns, shape, kernel_size):
        n, c, h, w = shape
        kh, kw = kernel_size
        x = np.zeros(shape)
        blocks = columns.reshape(n, c, kh, kw, h - kh + 1, w - kw + 1)
        for i, j in np.ndindex(kh, kw):
            x[:, :, i : i + h - kh + 1, j : j + w - kw + 1] += blocks[:, :, i, j]
        return x

    check("col2im", my_col2im)


def test_as_many_digits_are_printed_as_differ():
    result = wrong("batch_norm_forward", lambda x, gamma, beta, eps: norm(x, gamma, beta, 0))
    yours, right = result.message.partition(" is ")[2].partition(";")[0].split(", not ")
    assert yours != right
    assert "eps" in result.cause


def ties(dy, x, kernel_size, stride, choose):
    dx = np.zeros_like(x)
    for n, c, p, q in np.ndindex(dy.shape):
        window = x[n, c, p * stride :, q * stride :][:kernel_size, :kernel_size]
        for i, j in choose(np.argwhere(window == window.max())):
            dx[n, c, p * stride + i, q * stride + j] += dy[n, c, p, q]
    return dx


def test_the_first_of_a_tie_gets_the_gradient():
    def attempt(choose):
        return lambda dy, x, kernel_size, stride: ties(dy, x, kernel_size, stride, choose)

    check("max_pool2d_backward", attempt(lambda found: found[:1]))
    last = wrong("max_pool2d_backward", attempt(lambda found: found[-1:]))
    assert "you give dy to the last one" in last.cause
    every = wrong("max_pool2d_backward", attempt(lambda found: found))
    assert "you give dy to all of them" in every.cause


def test_a_factor_that_is_named_holds_in_the_case_that_is_shown():
    def by_kernel_size(dy, x, kernel_size):
        return kernel_size * ops.avg_pool2d_backward(dy, ops.avg_pool2d_forward(x, kernel_size)[1])

    result = wrong("avg_pool2d_backward", by_kernel_size)
    assert "you divide by kernel_size" in result.cause
    strange = wrong("relu_forward", lambda x: 1.25 * np.maximum(x, 0))
    assert strange.cause == ""
    assert "every entry of y is 1.25 times the right one" in str(strange)
    np.testing.assert_allclose(strange.problem.yours, 1.25 * strange.problem.target)


def test_without_a_cause_it_is_said_what_is_right():
    def strange(dy, x, w, b, padding):
        dx, dw, db = ops.conv2d_backward(dy, ops.conv2d_forward(x, w, b, padding=padding)[1])
        return dx, np.sin(dw) if padding else dw, db

    result = wrong("conv2d_backward", strange)
    assert result.cause == ""
    assert "dx and db are right; your function is right with padding=0" in result.so_far
    assert "the shape of dw is right" in result._repr_html_()


def test_units_and_their_costs_are_exercises():
    forward = zoo.answers.networks.v1_unit

    def backward(dy, caches):
        steps, branch, last = caches
        dy = ops.relu_backward(dy, last)
        below = dy
        for step, cache in list(zip(steps, branch, strict=True))[::-1]:
            found = getattr(ops, f"{step.operation}_backward")(below, cache)
            below = found[0] if isinstance(found, tuple) else found
        return dy + below

    check("v1_unit_backward", backward, forward=forward)
    check("v1_unit_multiply_adds", lambda c, m, g, h, w: h * w * (2 * c * m // g + 9 * m))
    cost = wrong("conv2d_multiply_adds", lambda c, o, k, g, oh, ow: oh * ow * c * o * k * k)
    assert "groups are missing" in cost.cause
    assert "returned None" in wrong("v1_unit_multiply_adds", lambda c, m, g, h, w: None).message
