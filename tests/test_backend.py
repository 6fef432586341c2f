"""The backend: which implementation runs, on how many threads, and what it leaves alone."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from networks import randomised
from threadpoolctl import threadpool_info, threadpool_limits

from numpy_shufflenet import backend
from numpy_shufflenet._threads import num_threads, single_threaded_blas
from numpy_shufflenet.models import shufflenet_v1, shufflenet_v2

X = np.random.default_rng(0).normal(size=(3, 1, 20, 18)).astype(np.float32)


def small(function=shufflenet_v2, scale=0.5):
    model = function(scale=scale, num_classes=4, in_channels=1, stem="small", seed=0)
    return randomised(model).astype(np.float32)


def step(model, x=X):
    """One forward and backward: logits, dx and all gradients."""
    model.zero_gradients()
    logits = model.forward(x, training=True)
    dx = model.backward(np.random.default_rng(1).normal(size=logits.shape).astype(x.dtype))
    return [logits, dx, *model.gradients().values()]


@pytest.fixture(autouse=True)
def _restored():
    before, threads = backend.current(), num_threads()
    yield
    backend.use(before)
    backend.set_num_threads(threads)


def test_numba_is_the_default_where_it_is_installed():
    assert backend.current() == "numba"


def test_a_block_ends_and_a_call_stays():
    with backend.use("numpy"):
        assert backend.current() == "numpy"
        with backend.use("numba"):
            assert backend.current() == "numba"
        assert backend.current() == "numpy"
    assert backend.current() == "numba"
    backend.use("numpy")
    assert backend.current() == "numpy"


@pytest.mark.parametrize("function", [shufflenet_v1, shufflenet_v2])
@pytest.mark.parametrize("training", [True, False])
def test_both_backends_give_the_same(function, training):
    model = small(function).astype(np.float64)
    x = X.astype(np.float64)
    found = {}
    for name in backend.BACKENDS:
        copy = model.astype(np.float64)
        with backend.use(name):
            copy.zero_gradients()
            logits = copy.forward(x, training=training)
            dx = copy.backward(np.ones_like(logits))
            found[name] = [logits, dx, *copy.gradients().values(), *copy.state_dict().values()]
    for a, b in zip(*found.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * max(1.0, np.abs(a).max()))


def test_a_backward_runs_on_the_floor_of_its_forward():
    model = small()
    expected = step(model)
    model.zero_gradients()
    logits = model.forward(X, training=True)
    with backend.use("numpy"):
        dx = model.backward(np.random.default_rng(1).normal(size=logits.shape).astype(X.dtype))
    np.testing.assert_array_equal(dx, expected[1])


def test_results_do_not_depend_on_the_number_of_threads():
    x = np.random.default_rng(0).normal(size=(9, 1, 40, 38)).astype(np.float32)
    found = []
    for n in (1, 2, 5):
        model = small(scale=1.0)
        backend.set_num_threads(n)
        found.append([a.tobytes() for a in (*step(model, x), model.infer(x))])
    assert found[0] == found[1] == found[2]


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="backend='torch' is not one of numpy, numba"):
        backend.use("torch")
    for wrong in (0, -1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="is not a whole number of at least 1"):
            backend.set_num_threads(wrong)


def test_what_the_caller_has_is_never_overwritten():
    model = small()
    kept = [*step(model), model.infer(X)]
    copies = [a.copy() for a in kept]
    trace = model.trace(X)
    model.release()
    for seed in range(3):
        step(model, np.random.default_rng(seed).normal(size=X.shape).astype(np.float32))
        model.infer(X[:2])
    for a, b in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(a, b)
    again = model.trace(X)
    model.release()
    assert not np.shares_memory(trace.activations["output"], again.activations["output"])


def run_in_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


NETWORK = """
import numpy as np
from numpy_shufflenet.models import shufflenet_v2
from numpy_shufflenet import backend
model = shufflenet_v2(scale=0.5, num_classes=4, in_channels=1, stem="small", seed=0)
x = np.random.default_rng(0).normal(size=(3, 1, 20, 18)).astype(np.float32)
"""


def test_the_environment_chooses():
    code = f"{NETWORK}\nprint(backend.current(), backend.num_threads())"
    settings = {"NUMPY_SHUFFLENET_BACKEND": "numpy", "NUMPY_SHUFFLENET_NUM_THREADS": "3"}
    assert run_in_python(code, **settings).stdout.split() == ["numpy", "3"]
    wrong = run_in_python(f"{NETWORK}\nmodel.infer(x)", NUMPY_SHUFFLENET_BACKEND="fast")
    assert "backend='fast' is not one of numpy, numba" in wrong.stderr
    wrong = run_in_python(NETWORK, NUMPY_SHUFFLENET_NUM_THREADS="many")
    assert "NUMPY_SHUFFLENET_NUM_THREADS='many' is not a whole number" in wrong.stderr


def test_everything_runs_without_numba():
    code = f"""
import sys
sys.modules["numba"] = None  # as if it weren't installed
{NETWORK}
assert backend.current() == "numpy"
logits = model.forward(x, training=True)
assert model.backward(np.ones_like(logits)).shape == x.shape
assert model.fold().infer(x).shape == (3, 4)
try:
    backend.use("numba")
except ImportError as error:
    print(error)
"""
    result = run_in_python(code)
    assert result.returncode == 0, result.stderr
    assert "pip install numba" in result.stdout


def test_numba_is_imported_when_the_first_kernel_is_needed():
    code = f"""
import sys
{NETWORK}
from numpy_shufflenet import gradcheck, ops, training, data
assert "numba" not in sys.modules
model.infer(x)
assert "numba" in sys.modules
"""
    result = run_in_python(code)
    assert result.returncode == 0, result.stderr


def test_numba_num_threads_and_forks_and_threads_do_no_harm():
    """The same result in a forked process, in several threads, and with Numba's own pool of one."""
    code = f"""
import os, threading
{NETWORK}
backend.set_num_threads(2)
expected = model.infer(x).tobytes()
found = []
threads = [
    threading.Thread(target=lambda: found.append(model.infer(x).tobytes())) for _ in range(4)
]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert found == [expected] * 4
large = np.random.default_rng(0).normal(size=(32, 1, 40, 40)).astype(np.float32)
before = model.infer(large).tobytes()
plan = model.plan()
planned = plan(large[:3]).tobytes()
child = os.fork()
if child == 0:
    same = model.infer(large).tobytes() == before and plan(large[:3]).tobytes() == planned
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
assert status == 0
assert model.infer(large).tobytes() == before
assert plan(large[:3]).tobytes() == planned
print("all well")
"""
    code = f"import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n{code}"
    result = run_in_python(code, NUMBA_NUM_THREADS="1")
    assert result.stdout == "all well\n", result.stderr
    assert "Exception ignored" not in result.stderr


def test_a_fork_while_others_compute_plan_and_compile_does_no_harm():
    """The child has none of the other threads, and waits for nothing that they would have done."""
    code = f"""
import os, signal, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forks and threads
{NETWORK}
import numba
backend.set_num_threads(2)
plan = model.plan()
expected = plan(x).tobytes(), model.infer(x).tobytes()
stop = False

def compute():
    while not stop:
        plan(x)
        plan(x[:, :, :9])
        model.infer(x)

def plan_anew():
    while not stop:
        model.plan()(x)

def compile_anew():
    while not stop:
        numba.njit(lambda a: 2 * a)(1.0)

runs = compute, plan_anew, compile_anew
threads = [threading.Thread(target=run, daemon=True) for run in runs]
for thread in threads:
    thread.start()
for i in range(6):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        found = plan(x).tobytes(), model.infer(x).tobytes()
        new = model.plan()(x).tobytes()
        three = numba.njit(lambda a: 3 * a)(1.0)
        os._exit(0 if found == expected and new == expected[0] and three == 3 else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0, (i, status)
stop = True
for thread in threads:
    thread.join()
print("all well")
"""
    result = run_in_python(code)
    assert result.stdout == "all well\n", result.stderr
    assert "Exception ignored" not in result.stderr


def blas_threads():
    return [
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    ]


def test_blas_has_its_own_threads_again_afterwards():
    model = small()
    step(model)  # compiling may load another library, with threads of its own
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        model.infer(X)
        step(model)
        with pytest.raises(ValueError, match="x has shape"):
            model.infer(X[0])
        assert blas_threads() == before


def test_blas_is_held_at_one_thread_until_the_last_user_has_gone():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        inside, leave = threading.Event(), threading.Event()

        def hold():
            with single_threaded_blas():
                inside.set()
                leave.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        inside.wait()
        with single_threaded_blas():
            pass
        ours = [n for n in blas_threads() if n == 1]
        leave.set()
        thread.join()
        assert ours
        assert blas_threads() == before


@pytest.mark.skipif(backend.current() != "numba", reason="kernels are not in use")
def test_bytes_in_use_are_those_that_forward_keeps():
    model = small()
    before = backend.bytes_in_use()
    model.forward(X, training=True)
    stem = 3 * 24 * 20 * 18 * 4  # bytes of the output of the first convolution, which BN needs
    assert backend.bytes_in_use() - before > stem
    model.release()
    assert backend.bytes_in_use() == before
