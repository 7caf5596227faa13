"""How cost grows: with training images, batch size and cores; the last are those of a process of its own."""

from functools import partial

from benchmarks import processes, steps, timing
from labcode import fast, network

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


def one_epoch():
    """Seconds for ``IMAGES`` of the report's CNN, ours, after a first epoch that is not counted."""
    way = _epoch(IMAGES, steps.BATCH)
    way()
    return timing.timed(way)


def _epoch(count, batch):
    return steps.ours(network.REPORT_CNN, fast.adam, *steps.some_digits(count), batch)
