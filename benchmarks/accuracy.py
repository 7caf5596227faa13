"""Seconds to an accuracy: ours over many seeds, and the lab's way epoch by epoch."""

import dataclasses
import statistics

from tqdm import tqdm

from benchmarks import processes, steps, timing
from labcode import data, fast, sprint, training

KEPT = ("accuracy", "seconds", "preparing")  # of each result
PRODUCT_CALLS = 3  # after each training
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of a sprint's steps, for the shorter ones


def planned(seeds):
    """Which sprints to run: (target, precision, how many seeds) each, the processor's fastest precision first."""
    return [(target, each, count) for each in reversed(fast.precisions()) for target, count in seeds.items()]


def sprints(seeds):
    """Run the sprints with many seeds: rows for JSON.

    Args:
        seeds: a dict from the target to how many, from 0.
    """
    sets, rows = sprint.as_bytes(data.load("mnist")), []
    for target, precision, count in planned(seeds):
        chosen = dataclasses.replace(sprint.SPRINTS[target], precision=precision)
        rows.append(of_seeds(target, chosen, *sets, range(count)))
    return rows


def of_seeds(target, chosen, training_set, test_set, seeds):
    """Run a sprint with each of the seeds, and matrix products after it, of whose seconds the median is kept: a row."""
    product, results, product_seconds = steps.matrix_product(chosen.precision), [], []
    product()
    for seed in tqdm(seeds, desc=f"{target}, {chosen.precision}"):
        results.append(sprint.run(chosen, training_set, test_set, seed))
        product_seconds.append(statistics.median(timing.timed(product) for _ in range(PRODUCT_CALLS)))
    row = {"target": target, "precision": chosen.precision, "flop": chosen.flop(len(test_set[0]))}
    row |= {"product_flop": steps.PRODUCT_FLOP, "product_seconds": product_seconds}
    return row | _kept(results)


def shorter(count):
    """Run the sprints with fewer steps, ``count`` seeds each: rows for JSON.

    Each is a training of its own, whose learning rate falls to 0 within its steps, and reads the test set once.
    """
    sets, rows, precision = sprint.as_bytes(data.load("mnist")), [], fast.precisions()[-1]
    plans = [(target, whole, share) for target, whole in sprint.SPRINTS.items() for share in SHARES]
    for target, whole, share in tqdm(plans, desc="shorter trainings"):
        chosen = dataclasses.replace(whole, precision=precision, steps=round(share * whole.steps))
        results = [sprint.run(chosen, *sets, seed) for seed in range(count)]
        rows.append({"target": target, "precision": precision, "steps": chosen.steps} | _kept(results))
    return rows


def _kept(results):
    return {name: [getattr(result, name) for result in results] for name in KEPT}


def lab():
    """The report's trainings by Keras ``fit``, as the book has them: each epoch's seconds and test accuracy."""
    with processes.new_folder() as folder:
        return processes.call(histories, env=processes.with_store(folder))


def histories():
    """Train both networks of the report: by recipe, lists of each epoch's seconds and test accuracy."""
    dataset = data.load("mnist")
    found = {name: training.train(training.RECIPES[name], dataset).history for name in ("fc", "cnn")}
    return {name: {key: history[key] for key in ("seconds", "val_accuracy")} for name, history in found.items()}
