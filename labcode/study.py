"""Many seeds, recorded in ``results/``: what a recipe gives on a data set, and how far that moves with the seed.

``python -m labcode.study mnist-5k --seeds 5`` trains what is not recorded yet and adds it to ``results/mnist-5k.json``.
A record is matched by recipe and data, so that a change of the code around them does not orphan it.
"""

import argparse
import base64
import dataclasses
import datetime
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from labcode import data, training

RESULTS = Path(__file__).parent.parent / "results"


@dataclass(frozen=True)
class Record:
    """What a study keeps of a Run.

    Attributes:
        history: as ``runs.Run`` has it, without ``step_loss``.
        correct: (n_test,) bool, which test images were classified correctly.
        seed: the Run's.
        made: when, on which processor and with which versions and threads.
    """

    history: dict
    correct: np.ndarray
    seed: int
    made: dict

    @property
    def test_accuracy(self):
        """Accuracy on the test images after the last epoch, in [0, 1]."""
        return self.history["val_accuracy"][-1]


def records(recipe, dataset_name):
    """The ``Record`` of each seed, in the order of the seeds; an empty list where none is recorded."""
    wanted, recorded = dataclasses.asdict(recipe), _read(dataset_name)
    test_count = {"mnist": 10_000, "mnist-5k": 1_000}[dataset_name]
    return [
        Record(entry["history"], _unpack(entry["correct"], test_count), entry["seed"], entry["made"])
        for entry in sorted(recorded, key=lambda entry: entry["seed"])
        if entry["recipe"] == wanted and entry["data"] == data.DIGESTS[dataset_name]
    ]


def record(recipe, dataset, seed):
    """Train by that recipe and seed, or find the Run, and add it to the recorded ones unless it is there."""
    wanted = {"recipe": dataclasses.asdict(recipe), "seed": seed, "data": dataset.digest}
    if any(wanted.items() <= entry.items() for entry in _read(dataset.name)):
        return
    run = training.train(recipe, dataset, seed)
    correct = run.probabilities.argmax(axis=1) == dataset.test_labels
    made = {key: run.made_by[key] for key in ("processor", "threads", "versions")}
    made["date"] = datetime.date.today().isoformat()
    history = {key: [round(x, 7) for x in values] for key, values in run.history.items() if key != "step_loss"}
    _add(dataset.name, wanted | {"made": made, "history": history, "correct": _pack(correct)})


def _add(dataset_name, entry):
    """Add an entry to the recorded ones, a line each, in one move; studies at the same time wait for each other."""
    RESULTS.mkdir(exist_ok=True)
    path, scratch = RESULTS / f"{dataset_name}.json", RESULTS / f"{dataset_name}.json.writing"
    with FileLock(data.cache_folder() / "study.lock"):
        entries = sorted([*_read(dataset_name), entry], key=lambda each: (json.dumps(each["recipe"]), each["seed"]))
        scratch.write_text("[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n", encoding="utf-8")
        scratch.replace(path)


def _read(dataset_name):
    path = RESULTS / f"{dataset_name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _pack(bits):
    return base64.b64encode(np.packbits(bits)).decode("ascii")


def _unpack(text, count):
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(bool)


def main():
    """The command line: see ``python -m labcode.study --help``."""
    parser = argparse.ArgumentParser(description="Train recipes with many seeds and record the results.")
    parser.add_argument("dataset", choices=data.NAMES)
    parser.add_argument("--recipes", nargs="+", choices=training.RECIPES, default=list(training.RECIPES))
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 (default: 5)")
    arguments = parser.parse_args()
    dataset = data.load(arguments.dataset)
    pairs = [(name, seed) for seed in range(arguments.seeds) for name in arguments.recipes]
    bar = tqdm(pairs, unit="run")
    for name, seed in bar:
        bar.set_description(f"{name}, seed {seed}")
        record(training.RECIPES[name], dataset, seed)


if __name__ == "__main__":
    main()
