"""Test set-up: eight simulated CPU devices, float32 kept exact, a compile cache, and shape checks at run time."""

import gc
import os
import pathlib
import random

QUICK_COMPILATION = ["--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false"]

# All of this must stand before jax is imported, here and in the processes that tests start.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_force_host_platform_device_count=8",
        # A busy machine must not trip the rendezvous time-out of simulated devices.
        "--xla_cpu_collective_call_terminate_timeout_seconds=600",
        "--xla_cpu_collective_call_warn_stuck_timeout_seconds=120",
        # Most of the suite's time is compilation, which takes a quarter as long unoptimised by LLVM and with XLA's
        # older code generator for fusions. `make test-slow` tests the programs that users run.
        *([] if "MTJAX_OPTIMIZED" in os.environ else QUICK_COMPILATION),
    ]
)
CACHE = pathlib.Path(__file__).parent.parent / ".cache" / "jax"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)
# Tests compile the same small programs again and again, in one process (each test its own lambda) and in many.
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["XDG_CACHE_HOME"] = str(CACHE.parent / "home")  # not the cache of the user
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every process that a test starts compiles mtjax's sources again

from beartype._check.code import codemain  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

# A check of a list looks at a random item of it, also in the threads that assemble batches and ask servers. It draws
# from a generator of its own: Hypothesis refuses a test if another thread moves the global one while the test draws.
codemain.getrandbits = random.Random().getrandbits

# Where arrays are. On every function of text it would cost a fifth of the suite's time.
ARRAYS = [
    "model",
    "objectives",
    "optim",
    "training",
    "sampling",
    "evaluation",
    "inspection",
    "data.packing",
    "data.order",
    "data.curriculum",
]
ARRAYS += ["data.batches", "data.index", "distributed.placement", "reporting.intervals", "types"]
install_import_hook([f"mtjax.{name}" for name in ARRAYS], "beartype.beartype")

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("mtjax", max_examples=25, deadline=None, derandomize=True)
settings.load_profile("mtjax")

# Classes that a config file of your own registers get the contract tests too: `make contracts CONFIG=my.py`.
if "MTJAX_CONFIG" in os.environ:
    from mtjax.config import read_module

    read_module(os.environ["MTJAX_CONFIG"])

SHARED = pathlib.Path(__file__).parent.parent.parent / "shared"


# Files whose few tests take minutes: they go first, so that no worker is left with one of them at the end.
LONG = ["distributed/test_two_hosts", "distributed/test_faults", "experiments/test_compare", "experiments/test_demo"]
LONG += ["test_every_objective_trains", "test_notebook", "training/test_step", "test_resume", "test_damaged_runs"]
LONG += ["experiments/test_coverage", "test_bad_input", "test_examples", "test_mesh_trains", "test_old_files"]


def pytest_collection_modifyitems(items):
    """Long files first; xdist keeps this order with `--no-loadscope-reorder`, and would else begin with many tests."""
    gc.freeze()  # what has been imported stays: the collector need not go through it again and again
    gc.set_threshold(20_000, 20, 20)
    files = {f"tests/{name}.py": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: files.get(item.nodeid.partition("::")[0], len(files)))


MAPS = 30_000  # memory maps of a process, of the 65,530 that Linux allows; every compiled program has several


@pytest.fixture(scope="module", autouse=True)
def leave_nothing_behind():
    """After a file, the registries are as before, and a process with many compiled programs drops them.

    A process that passes the limit of maps ends with a segmentation fault in XLA.
    """
    from mtjax.registry import _ANNOTATIONS, REGISTRIES

    before = {kind: dict(registry._entries) for kind, registry in REGISTRIES.items()}
    yield
    for kind, entries in before.items():
        own = REGISTRIES[kind]._entries
        for name in [name for name, entry in own.items() if entry.__module__.partition(".")[0] != "mtjax"]:
            if name not in entries:
                del own[name]
                _ANNOTATIONS.clear()
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > MAPS:
        import jax

        jax.clear_caches()
        gc.collect()


@pytest.fixture
def one_device():
    """The test sees one device."""
    from tests.devices import only_one_device

    with only_one_device():
        yield


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real data beside the project; skips where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real data (../shared/data) is not on this machine")
    return SHARED / "data"
