"""Runs: what a training left, found again by what made it.

A Run is found by what made it, so that two chapters which need one Run train it once, and a changed plot trains
nothing. It lies in ``<cache>/runs/<key>/``, as ``store`` keeps it.
"""

import hashlib
import json
import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np

from labcode import data, store

# What a training computes is decided by these sources; editing any other module retrains nothing.
SOURCES = ("data.py", "fitting.py", "idx.py", "loop.py", "models.py", "training.py")

COLAB = ("a Colab machine", "a Colab GPU")  # kinds of hardware beside processors


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
        kinds |= set(COLAB if Path("/dev/nvidia0").exists() else COLAB[:1])
    return kinds


def find_or_make(made_by, make):
    """Return the stored Run that these facts made, or make it, store it and return it.

    Args:
        made_by: as ``facts`` returns them; their hash is the key.
        make: called without arguments where no such Run is stored; returns history, weights and probabilities.

    While another process makes the same Run, this one waits and then finds it. Where the store cannot be written, the
    Run is made, returned and not kept, with a warning.

    Raises:
        ValueError: ``$LABCODE_CACHE_GB`` is not a number of gigabytes.
    """
    key = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:32]
    folder, limit = data.cache_folder() / "runs" / key, store.limit()
    with store.hold(folder) as fault:
        found = store.read(folder, made_by, lambda *parts: _of_parts(*parts, made_by))
        if found:
            return found
        run = Run(*make(), made_by)
        if fault:
            store.warn_not_kept(folder, fault)
        else:
            arrays = {f"weight_{i}": values for i, values in enumerate(run.weights)}
            store.write(folder, made_by, run.history, arrays | {"probabilities": run.probabilities})
            store.tidy(folder.parent, limit)
    return run


def _of_parts(history, arrays, made_by):
    weights = [arrays[f"weight_{i}"] for i in range(len(arrays) - 1)]
    return Run(history, weights, arrays["probabilities"], made_by)
