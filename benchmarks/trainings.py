"""Whole trainings by the lab's plain script, as the book has them and in the fast way: each epoch, and the memory.

Each in a process of its own, whose peak of memory is its own.
"""

import re
import sys
from pathlib import Path

from tqdm import tqdm

from benchmarks import processes, steps
from labcode import data, fitting, models, sprint, training
from labcode.quiet import keras

SCRIPTS = ("fc", "cnn")  # recipes
CURVE = ("seconds", "val_accuracy")  # of each epoch


def whole(rounds):
    """Trainings on all of MNIST in turn, so many rounds, the first with seed 0: what they took, a dict for JSON.

    Returns:
        ``lab``, by recipe, ``CURVE`` of the lab's scripts as (rounds, epochs) each: s, and accuracy in [0, 1] on the
        test images; on Linux ``memory`` of trainings of the report's CNN too, by name, the peaks of resident memory in
        bytes, (rounds,).
    """
    lab = {recipe: {name: [] for name in CURVE} for recipe in SCRIPTS}
    memory = {name: [] for name in ("the lab's plain script", "the book's training", "ours")}
    for seed in tqdm(range(rounds), desc="whole trainings"):
        told = {recipe: processes.call_anew(by_script, recipe, seed) for recipe in SCRIPTS}
        for recipe in SCRIPTS:
            for name in CURVE:
                lab[recipe][name].append(told[recipe][name])
        peaks = told["cnn"]["peak"], processes.call_anew(by_book, seed), processes.call_anew(by_fast_way, seed)
        for name, peak in zip(memory, peaks, strict=True):
            memory[name].append(peak)
    return {"lab": lab} | ({"memory": memory} if sys.platform == "linux" else {})


def by_script(name, seed):
    """Train plainly as the lab's script does, on arrays of floats, and test after each epoch.

    Args:
        name: of a recipe.
        seed: a whole number from 0; the script itself sets none.

    Returns:
        ``CURVE``, and the ``peak`` of memory.
    """
    keras.utils.set_random_seed(seed)
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
    """Train the report's CNN in the fast way; the peak of memory."""
    sprint.run(sprint.SPRINTS["the report's CNN to 98.55 %"], *sprint.as_bytes(data.load("mnist")), seed)
    return _peak()


def _peak():
    """The peak of this process's resident memory, in bytes; None where there is no ``/proc``, which Linux has.

    Not getrusage's maximum, which a process inherits from the one that started it.
    """
    status = Path("/proc/self/status")
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) if status.exists() else None
