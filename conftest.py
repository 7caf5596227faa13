"""For the whole session: an empty store of Runs, shared by all workers, and nothing of what the user has set."""

import os
import shutil
import tempfile

import joblib


def pytest_configure(config):
    """Prepare the environment, which workers and kernels inherit.

    A notebook that finds a stored Run proves nothing, so the store is empty; a relative MNIST_DIR would point
    elsewhere from a kernel, which starts in the notebook's folder; two kernels that write one IPython history at the
    same moment disturb each other, so each worker has its own.
    """
    worker = getattr(config, "workerinput", {}).get("workerid")
    if worker is None:
        config.session_folder = os.environ["LABCODE_CACHE"] = tempfile.mkdtemp(prefix="labcode-tests-")
        for name in ("LABCODE_CACHE_GB", "LABCODE_DATASET", "LABCODE_PROGRESS", "LABCODE_PUBLISH"):
            os.environ.pop(name, None)
        if "MNIST_DIR" in os.environ:
            os.environ["MNIST_DIR"] = os.path.abspath(os.environ["MNIST_DIR"])
    os.environ["IPYTHONDIR"] = os.path.join(os.environ["LABCODE_CACHE"], "ipython", worker or "alone")
    os.makedirs(os.environ["IPYTHONDIR"])


def pytest_unconfigure(config):
    """Leave nothing behind."""
    if hasattr(config, "session_folder"):
        shutil.rmtree(config.session_folder, ignore_errors=True)


def pytest_xdist_auto_num_workers(config):
    """``-n auto``: as many workers as there are cores for this process, be they limited by a container."""
    return joblib.cpu_count()
