"""Where Runs are kept and found again.

A Run is found by what made it, so that two chapters which need one Run train it once, and a changed plot trains
nothing. It lies in ``<cache>/runs/<key>/``: ``arrays.npz`` (read without pickle) and ``manifest.json``.
"""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
from filelock import FileLock, Timeout

from labcode import data, progress

# What a training computes is decided by these sources; editing any other module retrains nothing.
SOURCES = ("data.py", "fitting.py", "loop.py", "models.py", "training.py")


@dataclass(frozen=True)
class Run:
    """What one training left.

    Attributes:
        history: lists of floats by Keras's keys. One value an epoch: ``loss`` and ``accuracy`` (running averages over
            the epoch), ``bar_loss`` and ``bar_accuracy`` (what the progress bar of older Keras 3 showed: the mean over
            the epoch's steps of the running average), ``train_loss`` and ``train_accuracy`` (after the epoch, on the
            first 10,000 training images at most), ``val_loss`` and ``val_accuracy`` (after the epoch, on the test
            images), ``seconds`` (of the epoch's steps, first-call costs included, evaluation left out). One value a
            step: ``step_loss``, the mean loss of its batch before the step. The loop keeps no running averages:
            its ``loss`` is the mean over the steps, and ``accuracy``, ``bar_loss`` and ``bar_accuracy`` are missing.
        weights: the trained arrays, float32, in the order of ``model.get_weights()``.
        probabilities: (n_test, 10) float32, of the test images.
        made_by: what decided the numbers, as ``facts`` returns it.
    """

    history: dict
    weights: list
    probabilities: np.ndarray
    made_by: dict

    @property
    def test_accuracy(self):
        """Accuracy on the test images after the last epoch, in [0, 1]."""
        return self.history["val_accuracy"][-1]

    @property
    def seconds(self):
        """What the steps of all epochs took."""
        return sum(self.history["seconds"])


def facts(recipe, seed, digest):
    """All that decides a Run's numbers, as a dict for JSON: two trainings that agree in it agree bit for bit."""
    here = Path(__file__).parent
    onednn = {key: value for key, value in sorted(os.environ.items()) if "ONEDNN" in key}
    sources = hashlib.sha256(b"\0".join((here / name).read_bytes() for name in SOURCES)).hexdigest()
    return {
        "recipe": recipe,
        "seed": seed,
        "data": digest,
        "sources": sources,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in ("tensorflow", "keras", "numpy")},
        "threads": int(os.environ.get("TF_NUM_INTRAOP_THREADS") or joblib.cpu_count()),
        "processor": processor(),
        "onednn": onednn,
    }


def processor():
    """The processor's name, as the system tells it."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def hardware():
    """The kinds of hardware that this machine is: its processor, and on Google Colab that, with or without a GPU."""
    kinds = {processor()}
    if "COLAB_RELEASE_TAG" in os.environ:  # Colab sets it in every machine
        kinds |= {"a Colab machine"} | ({"a Colab GPU"} if Path("/dev/nvidia0").exists() else set())
    return kinds


def find_or_make(made_by, make):
    """Return the stored Run that these facts made, or make it, store it and return it.

    Args:
        made_by: as ``facts`` returns them; their hash is the key.
        make: called without arguments where no such Run is stored; returns history, weights and probabilities.

    While another process makes the same Run, this one waits and then finds it.
    """
    key = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:32]
    folder = data.cache_folder() / "runs" / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder.with_suffix(".lock")):
        run = _read(folder)
        if run is None:
            run = Run(*make(), made_by)
            _write(folder, run)
    return run


@contextlib.contextmanager
def _lock(path):
    """Hold a lock between processes, and say so where it has to be waited for."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.report("waiting for another process that trains the same Run", waiting=True)
        lock.acquire()
        progress.report("the other process is done")
    try:
        yield
    finally:
        lock.release()


def _write(folder, run):
    """Store a Run: into a folder of another name, which then gets its own in one move."""
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix="writing-"))
    try:
        manifest = {"made_by": run.made_by, "history": run.history}
        arrays = {f"weight_{i}": values for i, values in enumerate(run.weights)} | {"probabilities": run.probabilities}
        np.savez(scratch / "arrays.npz", **arrays)
        manifest["sha256"] = _digest(manifest, scratch / "arrays.npz")
        (scratch / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _digest(manifest, arrays):
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode() + arrays.read_bytes()).hexdigest()


def _read(folder):
    """The Run in that folder; None where there is none. A damaged one is set aside, and counts as none."""
    if not folder.is_dir():
        return None
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest.pop("sha256") != _digest(manifest, folder / "arrays.npz"):
            raise ValueError("what it holds is not what was stored")
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            weights = [arrays[f"weight_{i}"] for i in range(len(arrays.files) - 1)]
            return Run(manifest["history"], weights, arrays["probabilities"], manifest["made_by"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix="damaged-")) / folder.name
        folder.replace(aside)
        warnings.warn(f"{folder}: {error}; set aside as {aside}, the Run is trained anew", stacklevel=2)
        return None
