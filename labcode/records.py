"""What is kept in ``results/`` of trainings with many seeds: what is expected here.

``results/<data set>.json`` has an entry for each recipe and seed, a line each. An entry is matched by recipe and data,
so that a change of the code around them does not orphan it; ``made`` says when, on what and with which versions, and
``digest`` tells whether somebody edited it. The last line tells whether all entries are there.
"""

import base64
import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from labcode import atomic, data, training

RESULTS = Path(__file__).parent.parent / "results"
TEST_IMAGES = {data.DIGESTS["mnist"]: 10_000, data.DIGESTS["mnist-5k"]: 1_000}
BITS = ("correct", "sure")  # kept of each test image
OF_ALL = "digest of all entries"
FIELDS = {"recipe": dict, "seed": int, "data": str, "made": dict, "history": dict} | dict.fromkeys(BITS, str)
SURE = 0.995  # a confidence from here on is printed as 100 %


class RecordsError(Exception):
    """Records cannot be read, for somebody cut or edited them, or written: which file, where, and what to do."""


@dataclass(frozen=True)
class Record:
    """What is kept of a Run.

    Attributes:
        history: as ``runs.Run`` has it, without ``step_loss``; where it was found in a file also without ``seconds``,
            for a study trains side by side; of a training by the loop with ``loss_tenths``, the means of ten equal
            parts of the smoothed ``step_loss``.
        correct: (n_test,) bool, which test images were classified correctly.
        sure: (n_test,) bool, which of them with a confidence that rounds to 100 %.
        seed: the Run's.
        made: date, processor, threads and versions.
    """

    history: dict
    correct: np.ndarray
    sure: np.ndarray
    seed: int
    made: dict

    @property
    def test_accuracy(self):
        """Accuracy on the test images after the last epoch, in [0, 1]."""
        return self.history["val_accuracy"][-1]


def find(recipe, dataset_name):
    """The ``Record`` of each seed, in the order of the seeds; an empty list where none is recorded.

    Raises:
        RecordsError: the file was cut or edited.
    """
    wanted, digest = dataclasses.asdict(recipe), data.DIGESTS[dataset_name]
    return [
        Record(
            _untimed(entry["history"]),
            *(_unpack(entry[key], TEST_IMAGES[digest]) for key in BITS),
            entry["seed"],
            entry["made"],
        )
        for entry in sorted(_read(_path(dataset_name)), key=lambda entry: entry["seed"])
        if entry["data"] == digest and _whole(entry["recipe"], type(recipe)) == wanted
    ]


def check():
    """Raise RecordsError where one of the files was cut or edited."""
    for name in data.NAMES:
        _read(_path(name))


def _untimed(history):
    return {key: values for key, values in history.items() if key != "seconds"}


def of_run(run, seed, labels):
    """The ``Record`` of a Run, made now, with these labels (n_test,) of the test images."""
    made = {key: run.made_by[key] for key in ("processor", "threads", "versions")}
    made["date"] = datetime.date.today().isoformat()
    history = {key: values for key, values in run.history.items() if key != "step_loss"}
    if run.made_by["recipe"]["method"] == "loop":
        from labcode import evaluation  # imports SciPy, a second that each worker of a study would take

        history["loss_tenths"] = evaluation.tenths(evaluation.smooth(run.history["step_loss"])).tolist()
    correct = run.probabilities.argmax(axis=1) == labels
    return Record(history, correct, run.probabilities.max(axis=1) >= SURE, seed, made)


def correct_bits(found, count):
    """Which of ``count`` test images each ``Record`` found got right: (seeds, count) bool, seeds from 0."""
    return np.array([record.correct for record in found], bool).reshape(-1, count)


def describe(run, recipe, seed, dataset):
    """The entry that is kept of a Run of this recipe, seed and data set: a dict for JSON."""
    record = of_run(run, seed, dataset.test_labels)
    return {
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "data": dataset.digest,
        "made": record.made,
        "history": {key: [round(x, 7) for x in values] for key, values in record.history.items()},
    } | {key: _pack(getattr(record, key)) for key in BITS}


def other_than_asked(entry, recipe, seed, dataset_name):
    """In what an entry is another than that of this recipe, seed and data set, with what was asked for: text or ""."""
    asked = {"recipe": dataclasses.asdict(recipe), "seed": seed, "data": data.DIGESTS[dataset_name]}
    return "; ".join(f"{key} {entry[key]}, asked for {asked[key]}" for key in asked if entry[key] != asked[key])


@contextlib.contextmanager
def writing():
    """What is done in its block writes to ``results/``, which is there from now on.

    Raises:
        RecordsError: that cannot be done.
    """
    try:
        RESULTS.mkdir(exist_ok=True)
        yield
    except OSError as error:
        what_to_do = "make room, or make it a folder that you may write to"
        raise RecordsError(f"{RESULTS}: cannot be written ({error}); {what_to_do}") from error


def check_writable():
    """Raise RecordsError where ``results/`` cannot be written."""
    with writing(), tempfile.TemporaryFile(dir=RESULTS):
        pass


def add(entry, dataset_name):
    """Keep an entry, unless its recipe and seed have one; in one move, so that nobody sees half of it.

    Raises:
        RecordsError: the file was cut or edited, or cannot be written.
    """
    path = _path(dataset_name)
    with writing(), FileLock(f"{path}.lock"):
        entries = _read(path)
        if any(_key(each) == _key(entry) for each in entries):
            return
        entries.append(entry | {"digest": _digest(entry)})
        entries.sort(key=lambda each: (json.dumps(each["recipe"]), each["seed"]))
        lines = map(json.dumps, [*entries, {OF_ALL: _digest_of_all(entries)}])
        atomic.write(path, ("[\n" + ",\n".join(lines) + "\n]\n").encode())


def _path(dataset_name):
    return RESULTS / f"{dataset_name}.json"


def _key(entry):
    return _whole(entry["recipe"]), entry["data"], entry["seed"]


def _whole(recipe, kind=training.Recipe):
    """The fields of a recipe as it was recorded, and of fields that are newer than that the defaults."""
    return {field.name: field.default for field in dataclasses.fields(kind)} | recipe


def _digest(entry):
    """SHA-256 of an entry's JSON without its digest, in one order of the keys."""
    bare = {key: value for key, value in entry.items() if key != "digest"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True).encode()).hexdigest()


def _digest_of_all(entries):
    return hashlib.sha256(" ".join(entry["digest"] for entry in entries).encode()).hexdigest()


def _read(path):
    """The entries of that file, all of them and each as it was written."""
    if not os.path.lexists(path):
        return []
    restore = "restore the file from version control, or remove it and run the study anew"
    try:
        lines = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(lines, list) and lines and all(isinstance(line, dict) for line in lines)):
            raise ValueError("expected a list of objects")
    except (OSError, ValueError, RecursionError) as error:
        raise RecordsError(f"{path}: cut or edited ({error}); {restore}") from error
    *entries, last = lines
    seen = []
    for number, entry in enumerate(entries, 1):
        fault = _fault(entry, seen)
        if fault:
            which = f"entry {number}, recipe {entry.get('recipe')}, seed {entry.get('seed')}"
            raise RecordsError(f"{path}: {which}: {fault}; {restore}")
    if last != {OF_ALL: _digest_of_all(entries)}:
        raise RecordsError(f"{path}: cut or edited ({OF_ALL}: expected another, so some are missing); {restore}")
    return entries


def _fault(entry, seen):
    """What is wrong with an entry, or None; the list of the keys before it gains its own."""
    if entry.get("digest") != _digest(entry):
        return "its digest says that it was edited"
    wrong = [field for field, kind in FIELDS.items() if not isinstance(entry.get(field), kind)]
    if wrong:
        return f"{', '.join(wrong)} missing or of the wrong type"
    if not all(isinstance(values, list) for values in entry["history"].values()):
        return "its history holds something else than lists"
    count = TEST_IMAGES.get(entry["data"])
    if count and any(len(entry[field]) != len(_pack(np.zeros(count, bool))) for field in BITS):
        return f"{' or '.join(BITS)} is not of {count:,} test images"
    key = _key(entry)
    if key in seen:
        return "it is there twice"
    seen.append(key)
    return None


def _pack(bits):
    return base64.b64encode(np.packbits(bits)).decode("ascii")


def _unpack(text, count):
    """The first ``count`` bits of a text of base64, (count,) bool."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(bool)
