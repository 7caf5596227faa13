"""Whole trainings by the lab's plain script, as the book has them and in the fast way: each epoch, and the memory.

Each in a process of its own, whose peak of memory is its own.
"""

import re
import sys
from pathlib import Path

from tqdm import tqdm

from benchmarks import processes, steps
from labcode import data, models, sprint, training

OF_BOOK = ("fc", "cnn")  # recipes
CURVE = ("seconds", "val_accuracy")  # of each epoch


def whole(rounds):
    """Trainings on all of MNIST in turn, so many rounds: what they took, by epoch or in memory, a dict for JSON.

    Returns:
        ``lab``, by recipe, ``CURVE`` as (rounds, epochs) each: s, and accuracy in [0, 1] on the test images; on Linux
        ``memory`` too, by name, the peaks of resident memory in bytes, (rounds,).
    """
    lab = {recipe: {name: [] for name in CURVE} for recipe in OF_BOOK}
    memory = {name: [] for name in ("the lab's plain script", "the book's training", "ours")}
    for _ in tqdm(range(rounds), desc="whole trainings"):
        told = {recipe: _in_a_process(by_book, recipe) for recipe in OF_BOOK}
        for recipe in OF_BOOK:
            for name in CURVE:
                lab[recipe][name].append(told[recipe][name])
        peaks = _in_a_process(by_script), told["cnn"]["peak"], _in_a_process(by_fast_way)
        for name, peak in zip(memory, peaks, strict=True):
            memory[name].append(peak)
    return {"lab": lab} | ({"memory": memory} if sys.platform == "linux" else {})


def _in_a_process(function, *arguments):
    with processes.new_folder() as folder:
        return processes.call(function, *arguments, env=processes.with_store(folder))


def by_script():
    """Train the report's CNN as its script does, plainly; the peak of memory."""
    arrays = data.load("mnist")
    images, labels = arrays.train_images, arrays.train_labels
    tests = arrays.test_images, arrays.test_labels
    model = models.build_cnn()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, batch_size=steps.BATCH, epochs=5, validation_data=tests, verbose=0)
    return _peak()


def by_book(recipe):
    """Train as the book does, by the name of a recipe: ``CURVE``, and the ``peak`` of memory."""
    history = training.train(training.RECIPES[recipe], data.load("mnist")).history
    return {name: history[name] for name in CURVE} | {"peak": _peak()}


def by_fast_way():
    """Train the report's CNN in the fast way; the peak of memory."""
    sprint.run(sprint.SPRINTS["the report's CNN to 98.55 %"], *sprint.as_bytes(data.load("mnist")))
    return _peak()


def _peak():
    """The peak of this process's resident memory, in bytes; None where there is no ``/proc``, which Linux has.

    Not getrusage's maximum, which a process inherits from the one that started it.
    """
    status = Path("/proc/self/status")
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) if status.exists() else None
