"""How cost grows: with training images, batch size and cores; and how much memory a training takes.

Cores and memory are those of a process of its own.
"""

import re
from functools import partial
from pathlib import Path

from tqdm import tqdm

from benchmarks import processes, steps, timing
from labcode import data, fast, models, network, sprint, training

IMAGES = 3840  # a whole number of batches of each size


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
        ways[threads] = partial(processes.call, one_epoch, env=env)
    return {"images": IMAGES, "ways": timing.in_turn(ways, rounds, "cores")}


def memory():
    """The peak of resident memory, in bytes, of trainings on all of MNIST, each in a process of its own; Linux only."""
    scripts = {"the lab's plain script": lab_script, "the book's training": book_training, "ours": fast_training}
    with processes.new_folder() as folder:
        env = processes.with_store(folder)
        return {name: processes.call(script, env=env) for name, script in tqdm(scripts.items(), desc="memory")}


def lab_script():
    """Train the report's CNN as its script does, plainly; the peak of memory in bytes."""
    arrays = data.load("mnist")
    images, labels = arrays.train_images, arrays.train_labels
    tests = arrays.test_images, arrays.test_labels
    model = models.build_cnn()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, batch_size=steps.BATCH, epochs=5, validation_data=tests, verbose=0)
    return _peak()


def book_training():
    """Train it as the book does; the peak of memory in bytes."""
    training.train(training.RECIPES["cnn"], data.load("mnist"))
    return _peak()


def fast_training():
    """Train it in the fast way; the peak of memory in bytes."""
    sprint.run(sprint.SPRINTS["the report's CNN to 98.55 %"], *sprint.as_bytes(data.load("mnist")))
    return _peak()


def _peak():
    """Not getrusage's maximum, which a process inherits from the one that started it."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


def one_epoch():
    """Seconds for ``IMAGES`` of the report's CNN, ours, after a first epoch that is not counted."""
    way = _epoch(IMAGES, steps.BATCH)
    way()
    return timing.timed(way)


def _epoch(count, batch):
    return steps.ours(network.REPORT_CNN, fast.adam, *steps.some_digits(count), batch)
