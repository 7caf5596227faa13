"""How cost grows: with training images, batch size, cores and seeds; and how much memory a training takes.

Cores and memory are those of a process of its own.
"""

import tempfile
from functools import partial

from tqdm import tqdm

from benchmarks import processes, steps, timing
from labcode import fast, network

IMAGES = 3840  # a whole number of batches of each size
EPOCH = """
from benchmarks import growth
print(growth.one_epoch())
"""
STUDY = """
import sys
from pathlib import Path
from labcode import records, study
records.RESULTS = Path(sys.argv[1])
sys.exit(bool(study.run(["fc"], "mnist-5k", {seeds}, jobs={jobs})))
"""
LAB_SCRIPT = """
from labcode import data, models
arrays = data.load("mnist")
images, labels = arrays.train_images, arrays.train_labels
test_images, test_labels = arrays.test_images, arrays.test_labels
model = models.build_cnn()
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(images, labels, batch_size=64, epochs=5, validation_data=(test_images, test_labels), verbose=0)
"""
BOOK_SCRIPT = """
from labcode import data, training
training.train(training.RECIPES["cnn"], data.load("mnist"))
"""
FAST_SCRIPT = """
from labcode import data, sprint
sprint.run(sprint.SPRINTS["the report's CNN to 98.55 %"], *sprint.as_bytes(data.load("mnist")))
"""
PEAK = """
import re
from pathlib import Path
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]))
"""  # not getrusage's maximum, which a process inherits from the one that started it


def images(counts, rounds):
    """Seconds for an epoch of the report's CNN, ours, at batch 64, over so many images, less what fills no batch."""
    whole = [count // steps.BATCH * steps.BATCH for count in counts]
    ways = {str(count): _epoch(count, steps.BATCH) for count in whole}
    return timing.in_turn(ways, rounds, "images")


def batches(sizes, rounds):
    """Seconds for ``IMAGES`` of the report's CNN by batch size, ours and by Keras ``fit``."""
    ways = {}
    for size in sizes:
        ways[f"ours, {size}"] = _epoch(IMAGES, size)
        ways[f"Keras fit, {size}"] = steps.keras_fit("cnn", "adam", *steps.some_digits(IMAGES), size)
    return {"images": IMAGES, "ways": timing.in_turn(ways, rounds, "batch sizes")}


def cores(counts, rounds):
    """Seconds for ``IMAGES`` of the report's CNN, ours, with so many threads."""
    ways = {}
    for threads in map(str, counts):
        env = {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads}
        ways[threads] = lambda env=env: float(processes.python(EPOCH, env))
    return {"images": IMAGES, "ways": timing.in_turn(ways, rounds, "cores")}


def seeds(counts, jobs, rounds):
    """Seconds for a study of FC on mnist-5k with so many seeds."""
    ways = {str(count): partial(_study, count, jobs) for count in counts}
    return {"jobs": jobs, "ways": timing.in_turn(ways, rounds, "seeds")}


def _study(count, jobs):
    with tempfile.TemporaryDirectory(prefix="labcode-bench-") as folder:
        processes.python(STUDY.format(seeds=count, jobs=jobs), {"LABCODE_CACHE": folder}, folder)


def memory():
    """The peak of resident memory, in bytes, of trainings on all of MNIST, each in a process of its own; Linux only."""
    scripts = {"the lab's plain script": LAB_SCRIPT, "the book's training": BOOK_SCRIPT, "ours": FAST_SCRIPT}
    with tempfile.TemporaryDirectory(prefix="labcode-bench-") as folder:
        env = {"LABCODE_CACHE": folder}
        return {
            name: int(processes.python(script + PEAK, env)) for name, script in tqdm(scripts.items(), desc="memory")
        }


def one_epoch():
    """Seconds for ``IMAGES`` of the report's CNN, ours, after a first epoch that is not counted."""
    way = _epoch(IMAGES, steps.BATCH)
    way()
    return timing.timed(way)


def _epoch(count, batch):
    return steps.ours(network.REPORT_CNN, fast.adam, *steps.some_digits(count), batch)
