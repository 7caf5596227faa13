"""Seconds to an accuracy: ours over many seeds, and the lab's way epoch by epoch."""

import dataclasses
import json
import tempfile

from tqdm import tqdm

from benchmarks import processes, steps, timing
from labcode import data, fast, sprint

KEPT = ("accuracy", "seconds", "preparing")  # of each result
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of a sprint's steps, for the shorter ones
LAB = """
import json
from labcode import data, training
dataset = data.load("mnist")
histories = {name: training.train(training.RECIPES[name], dataset).history for name in ("fc", "cnn")}
kept = {name: {key: history[key] for key in ("seconds", "val_accuracy")} for name, history in histories.items()}
print(json.dumps(kept))
"""


def planned(seeds):
    """Which sprints to run: (target, precision, how many seeds) each.

    In the fastest precision that this processor has, and where that is another the quickest sprint in float32 too.
    """
    fastest, quickest = fast.precisions()[-1], min(seeds, key=lambda target: sprint.SPRINTS[target].flop(0))
    chosen = dict.fromkeys([*((target, fastest) for target in seeds), (quickest, "float32")])
    return [(target, precision, seeds[target]) for target, precision in chosen]


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
    """Run a sprint with each of the seeds, and a matrix product after it: a row for JSON."""
    product, results, product_seconds = steps.matrix_product(chosen.precision), [], []
    product()
    for seed in tqdm(seeds, desc=f"{target}, {chosen.precision}"):
        results.append(sprint.run(chosen, training_set, test_set, seed))
        product_seconds.append(timing.timed(product))
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
    with tempfile.TemporaryDirectory(prefix="labcode-bench-") as folder:
        return json.loads(processes.python(LAB, {"LABCODE_CACHE": folder}))
