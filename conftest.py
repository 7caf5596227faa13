"""For the whole session: an empty store of Runs, shared by all workers, and nothing of what the user has set."""

import itertools
import os
import random
import shutil
import tempfile

import joblib
import nbval.kernel
import pytest
from execution import sockets_in
from jupyter_client.manager import KernelManager


class LocalKernelManager(KernelManager):
    """A kernel with sockets of its own, as in the build: of a free port another process may take hold before it."""

    def __init__(self, **options):
        folder = tempfile.mkdtemp(prefix="kernel-", dir=os.environ["LABCODE_CACHE"])
        super().__init__(transport="ipc", ip=sockets_in(folder), **options)

    def start_kernel(self, **options):
        """Let pytest report what a kernel says that ends at once; nbval would drop it."""
        super().start_kernel(**{**options, "stderr": None})


def pytest_configure(config):
    """Prepare the environment, which workers and kernels inherit.

    A notebook that finds a stored Run proves nothing, so the store is empty; a relative MNIST_DIR would point
    elsewhere from a kernel, which starts in the notebook's folder; two kernels that write one IPython history at the
    same moment disturb each other, so each worker has its own. As many tests run at once as there are cores, so a
    training takes one thread, unless more are asked for: they would only wait for each other.
    """
    worker = getattr(config, "workerinput", {}).get("workerid")
    if worker is None:
        config.session_folder = os.environ["LABCODE_CACHE"] = tempfile.mkdtemp(prefix="labcode-tests-")
        for name in ("LABCODE_CACHE_GB", "LABCODE_DATASET", "LABCODE_PROGRESS", "LABCODE_PUBLISH"):
            os.environ.pop(name, None)
        if "MNIST_DIR" in os.environ:
            os.environ["MNIST_DIR"] = os.path.abspath(os.environ["MNIST_DIR"])
        for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
            os.environ.setdefault(threads, "1")
    os.environ["IPYTHONDIR"] = os.path.join(os.environ["LABCODE_CACHE"], "ipython", worker or "alone")
    os.makedirs(os.environ["IPYTHONDIR"])
    nbval.kernel.KernelManager = LocalKernelManager  # it has no option for this


# The files that are handed out first, in this order, then all others: the long ones, so that no worker is left with one
# at the end; those that want a training which another one does meanwhile, only after it, for they would wait.
FIRST = (
    *("03_overfitting", "06_custom_loop", "09_speed", "01_introduction", "02_fully_connected"),
    *("04_cnn", "05_predictions", "07_conclusion", "08_uncertainty", "10_draw", "index"),
    *("test_draw", "test_axe", "test_pdf", "test_extension", "test_build", "test_cells"),
    *("test_nbval_bites", "test_training", "test_sprint", "test_measurements", "test_scoreboard", "test_downloads"),
    *("test_study", "test_stored_runs", "test_fast", "test_backprop"),
)


def pytest_addoption(parser):
    """``--shuffle SEED``, which shows whether a test leans on one before it."""
    text = "take the files, and the tests of each, in a random order; a notebook's cells stay in theirs"
    parser.addoption("--shuffle", type=int, metavar="SEED", help=text)


@pytest.hookimpl(tryfirst=True)  # before what a mark selects is selected
def pytest_collection_modifyitems(config, items):
    """Mark what needs a browser. Put the files in order, or in a random one; a file's tests stay together."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):  # a notebook's cells have none
            item.add_marker("browser")
    order = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    seed = config.getoption("shuffle")
    if seed is not None:  # every worker of xdist must come to the same order
        chance = random.Random(seed)  # noqa: S311
        files = [list(tests) for _, tests in itertools.groupby(items, key=lambda item: item.path)]
        for tests in files:
            if tests[0].path.suffix == ".py":
                chance.shuffle(tests)
        chance.shuffle(files)
        items[:] = itertools.chain.from_iterable(files)


def pytest_unconfigure(config):
    """Leave nothing behind."""
    if hasattr(config, "session_folder"):
        shutil.rmtree(config.session_folder, ignore_errors=True)


def pytest_xdist_auto_num_workers(config):
    """``-n auto``: as many workers as there are cores for this process, be they limited by a container."""
    return joblib.cpu_count()
