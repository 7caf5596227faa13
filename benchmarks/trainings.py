"""Whole trainings by the lab's plain script, as the book has them and in the fast way: each epoch, and the memory.

Each in a process of its own, whose peak of memory is its own.
"""

import re
import sys
from pathlib import Path

from tqdm import tqdm

from benchmarks import processes, steps
from labcode import data, fitting, models, sprint, training

SCRIPTS = ("fc", "cnn")  # recipes
CURVE = ("seconds", "val_accuracy")  # of each epoch
REACHED = ("seconds", "accuracy")  # of a training in the fast way
TARGET = "the report's CNN to 98.55 %"


def whole(rounds):
    """Trainings on all of MNIST in turn, so many rounds: what they took, a dict for JSON.

    Returns:
        ``lab``, by recipe, ``CURVE`` of the lab's scripts as (rounds, epochs) each: s, and accuracy in [0, 1] on the
        test images; ``fast``, ``REACHED`` of the report's CNN in the fast way, (rounds,) each, in the same units; on
        Linux ``memory`` of trainings of the report's CNN too, by name, the peaks of resident memory in bytes,
        (rounds,).
    """
    lab = {recipe: {name: [] for name in CURVE} for recipe in SCRIPTS}
    fast = {name: [] for name in REACHED}
    memory = {name: [] for name in ("the lab's plain script", "the book's training", "ours")}
    for seed in tqdm(range(rounds), desc="whole trainings"):
        by_lab = {recipe: processes.call_anew(by_script, recipe) for recipe in SCRIPTS}
        by_us = processes.call_anew(by_fast_way, seed)
        peaks = by_lab["cnn"]["peak"], processes.call_anew(by_book, seed), by_us["peak"]
        for name in REACHED:
            fast[name].append(by_us[name])
        for recipe in SCRIPTS:
            for name in CURVE:
                lab[recipe][name].append(by_lab[recipe][name])
        for name, peak in zip(memory, peaks, strict=True):
            memory[name].append(peak)
    return {"lab": lab, "fast": fast} | ({"memory": memory} if sys.platform == "linux" else {})


def by_script(name):
    """Train plainly as the lab's script does, on arrays of floats, and test after each epoch.

    As there, no seed is set: under a global one, ``fit`` would take the images in one order in every epoch.

    Args:
        name: of a recipe.

    Returns:
        ``CURVE``, and the ``peak`` of memory.
    """
    recipe, arrays, clock = training.RECIPES[name], data.load("mnist"), steps.EpochClock()
    model = models.BUILDERS[recipe.model]()
    model.compile(fitting.new_optimizer(recipe), training.LOSS, metrics=["accuracy"])
    tests = {"validation_data": (arrays.test_images, arrays.test_labels), "callbacks": [clock], "verbose": 0}
    of_steps = {"batch_size": recipe.batch_size, "epochs": recipe.epochs}
    history = model.fit(arrays.train_images, arrays.train_labels, **of_steps, **tests).history
    return {"seconds": clock.seconds, "val_accuracy": history["val_accuracy"], "peak": _peak()}


def by_book(seed):
    """Train the report's CNN as the book does; the peak of memory."""
    training.train(training.RECIPES["cnn"], data.load("mnist"), seed)
    return _peak()


def by_fast_way(seed):
    """Train the report's CNN in the fast way: ``REACHED``, and the ``peak`` of memory."""
    result = sprint.run(sprint.SPRINTS[TARGET], *sprint.as_bytes(data.load("mnist")), seed)
    return {name: getattr(result, name) for name in REACHED} | {"peak": _peak()}


def _peak():
    """The peak of this process's resident memory, in bytes; None where there is no ``/proc``, which Linux has.

    Not getrusage's maximum, which a process inherits from the one that started it.
    """
    status = Path("/proc/self/status")
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) if status.exists() else None
