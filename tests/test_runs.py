"""A Run is trained once, found again by what made it, and never half or damaged."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from labcode import data, runs, store, training

MADE_BY = {"recipe": "a test", "seed": 0}
HISTORY = {"val_accuracy": [0.5, 0.75], "seconds": [1.0, 2.0], "step_loss": [2.3, 1.1]}
PATIENCE = 60  # seconds until a test that waits for another process gives up


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("LABCODE_CACHE", str(tmp_path / "cache"))


class Trainer:
    """Makes a Run and counts how often."""

    def __init__(self):
        self.trainings = 0

    def __call__(self):
        self.trainings += 1
        weights = [np.arange(6, dtype=np.float32).reshape(2, 3) + i for i in range(12)]  # more than ten: 10 before 2?
        return HISTORY, weights, np.full((4, 10), 0.1, np.float32)


def stored():
    """The folder of the one Run in the store."""
    (folder,) = [path for path in (data.cache_folder() / "runs").iterdir() if (path / "manifest.json").exists()]
    return folder


def assert_is_what_was_made(run):
    history, weights, probabilities = Trainer()()
    assert run.history == history and run.made_by == MADE_BY
    assert [w.tolist() for w in run.weights] == [w.tolist() for w in weights]
    assert all(w.dtype == np.float32 for w in run.weights)
    assert np.array_equal(run.probabilities, probabilities)
    assert run.test_accuracy == 0.75 and run.seconds == 3


# Found again


def test_a_run_is_trained_once_and_found_again():
    make = Trainer()
    assert_is_what_was_made(runs.find_or_make(MADE_BY, make))
    assert_is_what_was_made(runs.find_or_make(dict(reversed(MADE_BY.items())), make))
    assert make.trainings == 1


def test_a_run_made_by_anything_else_is_another_run():
    make = Trainer()
    runs.find_or_make(MADE_BY, make)
    runs.find_or_make(MADE_BY | {"seed": 1}, make)
    assert make.trainings == 2


def test_a_training_that_fails_leaves_nothing_and_may_be_tried_again():
    def fail():
        raise MemoryError("too little")

    with pytest.raises(MemoryError, match="too little"):
        runs.find_or_make(MADE_BY, fail)
    assert list((data.cache_folder() / "runs").iterdir()) == []
    assert_is_what_was_made(runs.find_or_make(MADE_BY, Trainer()))


def test_a_run_that_cannot_be_stored_leaves_no_half_of_it():
    with pytest.raises(TypeError):
        runs.find_or_make(MADE_BY, lambda: ({"loss": [np.float32(1)]}, [], np.zeros(1)))
    assert list((data.cache_folder() / "runs").iterdir()) == []


# Damaged


def change_a_byte(folder):
    content = bytearray((folder / "arrays.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "arrays.npz").write_bytes(content)


def drop_from_manifest(folder, key):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest[key]
    (folder / "manifest.json").write_text(json.dumps(manifest))


DAMAGES = {
    "a byte of the arrays changed": change_a_byte,
    "the arrays cut short": lambda folder: os.truncate(folder / "arrays.npz", 100),
    "the arrays gone": lambda folder: (folder / "arrays.npz").unlink(),
    "the manifest cut short": lambda folder: os.truncate(folder / "manifest.json", 30),
    "the manifest empty": lambda folder: os.truncate(folder / "manifest.json", 0),
    "the manifest gone": lambda folder: (folder / "manifest.json").unlink(),
    "the manifest no text": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe\0"),
    "the manifest a list": lambda folder: (folder / "manifest.json").write_text("[]"),
    "the history gone": lambda folder: drop_from_manifest(folder, "history"),
    "the hash gone": lambda folder: drop_from_manifest(folder, "sha256"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_set_aside_with_a_warning_and_trained_anew(damage):
    make = Trainer()
    runs.find_or_make(MADE_BY, make)
    folder = stored()
    DAMAGES[damage](folder)
    with pytest.warns(UserWarning, match="set aside as .*[.]damaged, the Run is trained anew"):
        assert_is_what_was_made(runs.find_or_make(MADE_BY, make))
    assert make.trainings == 2
    assert len(list(folder.parent.glob("*.damaged"))) == 1
    assert_is_what_was_made(runs.find_or_make(MADE_BY, make))
    assert make.trainings == 2


class Payload:
    """Would leave a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_an_array_of_pickled_objects_is_refused_unopened(tmp_path):
    make = Trainer()
    runs.find_or_make(MADE_BY, make)
    folder = stored()
    arrays = {"weight_0": np.array([Payload(tmp_path / "executed")], object), "probabilities": np.zeros(1)}
    np.savez(folder / "arrays.npz", **arrays)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]
    manifest["sha256"] = store._digest(manifest, folder / "arrays.npz")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(UserWarning, match="allow_pickle=False.*set aside"):
        assert_is_what_was_made(runs.find_or_make(MADE_BY, make))
    assert make.trainings == 2 and not (tmp_path / "executed").exists()


# What decides a Run


def facts(seed=0):
    return runs.facts({"model": "fc"}, seed, "digest")


def test_facts_say_all_that_decides_a_run_and_are_json():
    assert json.loads(json.dumps(facts())) == facts() == facts()
    assert facts()["versions"].keys() == {"python", "tensorflow", "keras", "numpy"}
    assert facts()["versions"]["numpy"] == np.__version__ and facts()["versions"]["python"] in sys.version
    assert facts()["versions"]["tensorflow"] == importlib.metadata.version("tensorflow")
    assert facts(seed=1) != facts() and facts()["processor"] == runs.processor()


@pytest.mark.parametrize("variable", ["TF_NUM_INTRAOP_THREADS", "ONEDNN_MAX_CPU_ISA", "TF_ENABLE_ONEDNN_OPTS"])
def test_what_moves_last_digits_decides_a_run(monkeypatch, variable):
    before = facts()
    monkeypatch.setenv(variable, "7")
    assert facts() != before


@pytest.mark.parametrize(
    ("release", "gpu", "colab"),
    [
        (None, False, set()),
        (None, True, set()),
        ("release-colab", False, {"a Colab machine"}),
        ("release-colab", True, {"a Colab machine", "a Colab GPU"}),
    ],
)
def test_hardware_is_the_processor_and_what_colab_gives(monkeypatch, release, gpu, colab):
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: gpu if path == Path("/dev/nvidia0") else exists(path))
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    if release:
        monkeypatch.setenv("COLAB_RELEASE_TAG", release)
    assert runs.hardware() == {runs.processor()} | colab


EDIT = """
import json, sys
from pathlib import Path
from labcode import runs
here = Path(runs.__file__).parent
assert here == Path(sys.argv[1]), "not the copy"
facts = lambda: runs.facts({}, 0, "")["sources"]
before, changed = facts(), {}
for path in sorted(here.glob("*.py")):
    source = path.read_bytes()
    path.write_bytes(source + b"# edited\\n")
    changed[path.name] = facts() != before
    path.write_bytes(source)
print(json.dumps(changed))
"""


def test_editing_what_trains_changes_the_key_and_editing_anything_else_does_not(tmp_path):
    copy = tmp_path / "labcode"
    shutil.copytree(Path(runs.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "plots.py").touch()
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", EDIT, str(copy)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    changed = json.loads(done.stdout)
    assert {name for name, is_changed in changed.items() if is_changed} == set(runs.SOURCES)
    assert all(changed[f"{name}.py"] for name in ("data", "fitting", "idx", "loop", "models", "training"))
    assert not changed["plots.py"] and not changed["claims.py"] and not changed["evaluation.py"]


# Several processes at once

WORKER = """
import json, os, sys, time
from pathlib import Path
import numpy as np
from labcode import progress, runs
log, go_on = map(Path, sys.argv[1:])

def make():
    progress.report("training")
    while not go_on.exists():
        time.sleep(0.01)
    with open(log, "a") as file:
        file.write(f"{os.getpid()}\\n")
    return {"val_accuracy": [float(os.getpid())], "seconds": []}, [], np.zeros((1, 10), np.float32)

print(runs.find_or_make({"recipe": "shared"}, make).test_accuracy)
"""


class Workers:
    """Processes that want the same Run; one that trains it goes on only when told to."""

    def __init__(self, folder):
        self.folder, self.started = folder, []
        self.log, self.go_on = folder / "trainings", folder / "go on"

    def start(self):
        environment = os.environ | {"LABCODE_PROGRESS": str(self.folder / f"progress {len(self.started)}")}
        command = [sys.executable, "-c", WORKER, str(self.log), str(self.go_on)]
        self.started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))

    def events(self, number):
        path = self.folder / f"progress {number}"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_until_reported(self, number, event):
        end = time.monotonic() + PATIENCE
        while event not in self.events(number):
            assert self.started[number].poll() is None, "the process ended before"
            assert time.monotonic() < end, f"{event} was not reported: {self.events(number)}"
            time.sleep(0.01)

    def result(self, number):
        output, _ = self.started[number].communicate(timeout=PATIENCE)
        return float(output)

    def trainings(self):
        return [float(line) for line in self.log.read_text().splitlines()]


TRAINING = {"waiting": False, "text": "training"}
WAITING = {"waiting": True, "text": "waiting for another process that trains the same Run"}
NO_LONGER = {"waiting": False, "text": "the other process is done"}


@pytest.fixture
def workers(tmp_path):
    started = Workers(tmp_path)
    yield started
    for worker in started.started:
        worker.kill()
        worker.communicate()


def test_processes_that_want_one_run_train_it_once_and_the_others_say_that_they_wait(workers):
    workers.start()
    workers.wait_until_reported(0, TRAINING)
    workers.start()
    workers.start()
    for waiting in (1, 2):
        workers.wait_until_reported(waiting, WAITING)
    workers.go_on.touch()
    results = [workers.result(number) for number in range(3)]
    assert results == 3 * workers.trainings() and len(workers.trainings()) == 1
    assert workers.events(0) == [TRAINING]
    assert workers.events(1) == workers.events(2) == [WAITING, NO_LONGER]


def test_where_the_process_that_trains_is_killed_one_that_waits_trains(workers):
    workers.start()
    workers.wait_until_reported(0, TRAINING)
    workers.start()
    workers.wait_until_reported(1, WAITING)
    workers.started[0].kill()
    workers.go_on.touch()
    assert [workers.result(1)] == workers.trainings()
    assert workers.events(1) == [WAITING, NO_LONGER, TRAINING]


# A real training


def test_train_finds_the_run_of_its_recipe_seed_and_data(monkeypatch, tmp_path):
    monkeypatch.setenv("LABCODE_PROGRESS", str(tmp_path / "progress"))
    recipe = training.Recipe("fc", "sgd", 0.1, batch_size=64, epochs=2, train_images=64)
    digits = data.load("mnist-5k")
    trained, found = training.train(recipe, digits), training.train(recipe, digits)
    assert found.history == trained.history and found.made_by == trained.made_by
    assert all(map(np.array_equal, found.weights, trained.weights))
    assert found.made_by["data"] == digits.digest and found.made_by["seed"] == 0
    texts = [json.loads(line)["text"] for line in (tmp_path / "progress").read_text().splitlines()]
    assert texts == [f"fc on mnist-5k, seed 0: epoch {epoch} of 2" for epoch in (1, 2)]
