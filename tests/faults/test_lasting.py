"""Whether it lasts: many rebuilds and many trainings grow neither memory, disk, open files, processes nor time."""

import dataclasses
import json
import os
import random
import shutil
import statistics
import sys
import time

import means
import psutil
import pytest
from tiny_book import COUNT_RUNS, Book

from labcode import data

REBUILDS, TRAININGS, APART = 50, 20, 8  # the first and the last so many are compared
TRAINS = """
import dataclasses
from labcode import data, training
recipe = dataclasses.replace(training.RECIPES["fc"], epochs=1, train_images=640)
run = training.train(recipe, data.load("mnist-5k"), seed)
print(len(run.history["step_loss"]))
"""
EDITS = {  # a chapter or module, the text that is edited, and which chapters it executes
    "prose": ("plain", "# Plain", []),
    "code": ("plain", "edited = ", ["plain"]),
    "parameter": ("trains", "seed = ", ["trains"]),
    "module": (None, None, ["plain", "trains"]),
}


def measure(folder, seconds):
    """What may grow: of this process and of what lies in a folder."""
    me = psutil.Process()
    return {
        "seconds": seconds,
        "memory, MB": me.memory_info().rss / 1e6,
        "disk, MB": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6,
        "files on disk": sum(1 for _ in folder.rglob("*")),
        "open files": me.num_fds(),
        "threads": me.num_threads(),
        "processes": len(me.children(recursive=True)),
    }


def assert_no_growth(measured, allowed):
    """Print the median of the first and of the last figures; assert that none grew by more than is allowed of it."""
    grown = {}
    for name in measured[0]:
        first, last = (statistics.median(each[name] for each in part) for part in (measured[:APART], measured[-APART:]))
        print(f"{name}: first {first:.2f}, last {last:.2f}")
        if last > first + allowed.get(name, 0):
            grown[name] = first, last
    assert not grown


@pytest.mark.soak
def test_fifty_rebuilds_with_a_random_edit_each_grow_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("LABCODE_CACHE_GB", "0.001")  # two Runs: the store is soon at its limit
    draws = "import matplotlib.pyplot as plt\nplt.figure().text(0, 0.5, edited);"
    plain = ["# Plain", 'name = "plain"', f"{COUNT_RUNS}\nimport helper", "edited = 0", draws]
    trains = ["# Trains", 'name = "trains"\nseed = 0', f"{COUNT_RUNS}\nimport helper", TRAINS]
    book = Book(tmp_path / "book", {"plain": plain, "trains": trains})
    chance, measured, edits = random.Random(0), [], []
    assert book.build()[0] == 0
    texts = {"# Plain": "# Plain", "edited = ": "edited = 0", "seed = ": "seed = 0"}
    for number in range(1, APART + REBUILDS):
        book.runs()
        edits.append(chance.choice(list(EDITS)))
        chapter, text, executed = EDITS[edits[-1]]
        if chapter:
            book.edit(chapter, texts[text], f"{text} {number}")
            texts[text] = f"{text} {number}"
        else:
            (book.root / "book" / "helper.py").write_text(f"word = {number}\n")
        begun = sum(os.times()[:4])  # of the processors, also by the kernels: what else runs here does not count
        code, log = book.build()
        assert code == 0, log
        assert book.runs() == executed
        measured.append(measure(tmp_path, sum(os.times()[:4]) - begun))
    # The first builds fill the store up to its limit and import what is needed: they are not compared.
    measured, edits = measured[APART - 1 :], edits[APART - 1 :]
    of_edit = [(edit, each["seconds"]) for edit, each in zip(edits, measured, strict=True)]
    for edit, each in zip(edits, measured, strict=True):  # one kind takes longer than another
        usual = statistics.median(seconds for other, seconds in of_edit if other == edit)
        each["share of an edit's usual seconds"] = each.pop("seconds") / usual
    allowed = {"share of an edit's usual seconds": 0.3}
    assert_no_growth(measured, allowed | {"memory, MB": 15, "disk, MB": 1, "files on disk": 12, "open files": 2})


def train_again_and_again():
    """Print what each training leaves, as JSON."""
    from labcode import training

    cache = data.cache_folder()
    recipe = dataclasses.replace(training.RECIPES["cnn"], epochs=1, train_images=640)
    dataset, measured = data.load("mnist-5k"), []
    for _ in range(2 + TRAININGS):
        shutil.rmtree(cache, ignore_errors=True)  # the same training, so that each takes the same
        begun = time.process_time()
        training.train(recipe, dataset)
        measured.append(measure(cache, time.process_time() - begun))
    print(json.dumps(measured))


@pytest.mark.soak
def test_twenty_trainings_in_one_process_grow_nothing(cache, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    # A process of its own: what other tests had freed would be taken again in leaps.
    code, output, errors = means.run([], "import test_lasting\ntest_lasting.train_again_and_again()")
    assert code == 0, errors
    allowed = {"seconds": 0.3, "memory, MB": 20, "open files": 2, "threads": 2}
    assert_no_growth(json.loads(output)[2:], allowed)
    assert os.path.isdir(cache)
