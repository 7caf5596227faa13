"""What is kept in ``results/`` of trainings with many seeds: what is expected here.

``results/<data set>.json`` has an entry for each recipe and seed, a line each. An entry is matched by recipe and data,
so that a change of the code around them does not orphan it; ``made`` says when, on what and with which versions.
"""

import base64
import dataclasses
import datetime
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from labcode import data, evaluation

RESULTS = Path(__file__).parent.parent / "results"


@dataclass(frozen=True)
class Record:
    """What is kept of a Run.

    Attributes:
        history: as ``runs.Run`` has it, without ``step_loss``; of a training by the loop also ``loss_tenths``, the
            means of ten equal parts of the smoothed ``step_loss``.
        correct: (n_test,) bool, which test images were classified correctly.
        seed: the Run's.
        made: date, processor, threads and versions.
    """

    history: dict
    correct: np.ndarray
    seed: int
    made: dict

    @property
    def test_accuracy(self):
        """Accuracy on the test images after the last epoch, in [0, 1]."""
        return self.history["val_accuracy"][-1]


def find(recipe, dataset_name):
    """The ``Record`` of each seed, in the order of the seeds; an empty list where none is recorded."""
    wanted = _key(recipe, dataset_name)
    test_count = {"mnist": 10_000, "mnist-5k": 1_000}[dataset_name]
    return [
        Record(entry["history"], _unpack(entry["correct"], test_count), entry["seed"], entry["made"])
        for entry in sorted(_read(dataset_name), key=lambda entry: entry["seed"])
        if wanted.items() <= entry.items()
    ]


def correct_bits(found, count):
    """Which of ``count`` test images each ``Record`` found got right: (seeds, count) bool, seeds from 0."""
    return np.array([record.correct for record in found], bool).reshape(-1, count)


def describe(run, recipe, seed, dataset):
    """The entry that is kept of a Run of this recipe, seed and data set: a dict for JSON."""
    made = {key: run.made_by[key] for key in ("processor", "threads", "versions")}
    made["date"] = datetime.date.today().isoformat()
    history = {key: values for key, values in run.history.items() if key != "step_loss"}
    if recipe.method == "loop":
        history["loss_tenths"] = evaluation.tenths(evaluation.smooth(run.history["step_loss"])).tolist()
    history = {key: [round(x, 7) for x in values] for key, values in history.items()}
    correct = run.probabilities.argmax(axis=1) == dataset.test_labels
    key = _key(recipe, dataset.name) | {"seed": seed}
    return key | {"made": made, "history": history, "correct": base64.b64encode(np.packbits(correct)).decode("ascii")}


def add(entry, dataset_name):
    """Keep an entry, unless its recipe and seed have one; in one move, so that nobody sees half of it."""
    RESULTS.mkdir(exist_ok=True)
    path, scratch = RESULTS / f"{dataset_name}.json", RESULTS / f"{dataset_name}.json.writing"
    data.cache_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(data.cache_folder() / "results.lock"):
        entries = _read(dataset_name)
        key = {name: entry[name] for name in ("recipe", "data", "seed")}
        if any(key.items() <= each.items() for each in entries):
            return
        entries = sorted([*entries, entry], key=lambda each: (json.dumps(each["recipe"]), each["seed"]))
        scratch.write_text("[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n", encoding="utf-8")
        scratch.replace(path)


def _key(recipe, dataset_name):
    return {"recipe": dataclasses.asdict(recipe), "data": data.DIGESTS[dataset_name]}


def _read(dataset_name):
    path = RESULTS / f"{dataset_name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _unpack(text, count):
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(bool)
