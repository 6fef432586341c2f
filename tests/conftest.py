"""What holds for all tests: settings of Hypothesis and of JAX, and an option.

Another profile of Hypothesis: `pytest --hypothesis-profile=NAME`. The same cases again:
`pytest --hypothesis-seed=SEED`, or the environment variable HYPOTHESIS_SEED, which reaches
commands that have no place for an option. `.ci/run` sets and prints it.
"""

import gc
import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from numpy_shufflenet import backend
from numpy_shufflenet.kernels._cache import say
from numpy_shufflenet.kernels._compile import COMPILING

# JAX is an oracle here, and no fault of its compiler may end the tests: jaxlib 0.10.2's algebraic
# simplifier aborts the process while it compiles the input gradients of some float64 convolutions,
# about 1 in 600. Without this optimisation the results are the same. Set before JAX starts; flags
# of the same name add up, so other flags stay in force.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_disable_hlo_passes=algsimp"

# No deadlines: the time of a case depends on what else the machine does.
common = {
    "deadline": None,
    "derandomize": False,  # in CI, too, where Hypothesis's own default is to repeat its cases
    "print_blob": True,
    # Shrinking may take 5 minutes for each way to fail, so one way at a time; and no explaining.
    "phases": [phase for phase in Phase if phase is not Phase.explain],
    "report_multiple_bugs": False,
    "suppress_health_check": [HealthCheck.too_slow],
}
settings.register_profile("few", max_examples=10, **common)  # where all ran already, elsewhere
settings.register_profile("default", max_examples=30, **common)
settings.register_profile("thorough", max_examples=1000, **common)
settings.load_profile("default")


def pytest_addoption(parser):
    parser.addoption(
        "--interrupts", type=int, default=20, help="interrupts of each kind in test_interrupts.py"
    )
    help_text = "cases of each campaign (default: each campaign's own number)"
    parser.addoption("--campaign-size", type=int, default=0, help=help_text)
    parser.addoption("--campaign-seed", type=int, default=0, help="seed of the campaigns' cases")


def pytest_collection_finish():
    """Let later searches for garbage skip the millions of objects of the imported libraries."""
    gc.collect()
    gc.freeze()


def pytest_sessionstart():
    """Say now what is said once, or it would be an error message's second line in some test."""
    say(COMPILING)


@pytest.hookimpl(tryfirst=True)  # before Hypothesis's own reads the option
def pytest_configure(config):
    # `pytest -n 2` on two cores: threads of one test would only take the core of another.
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    backend.set_num_threads(max(1, backend.num_threads() // workers))
    seed = os.environ.get("HYPOTHESIS_SEED")
    if seed and config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = seed
