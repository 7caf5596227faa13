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
    fastest, quickest = fast.precisions()[-1], min(sprint.SPRINTS, key=lambda target: sprint.SPRINTS[target].flop(0))
    chosen = dict.fromkeys([*((target, fastest) for target in seeds), (quickest, "float32")])
    return [(target, precision, seeds[target]) for target, precision in chosen]


def sprints(seeds, bar):
    """Run the sprints with many seeds, and a matrix product after each: rows for JSON.

    Args:
        seeds: a dict from the target to how many, from 0.
        bar: tqdm's, which counts the trainings.
    """
    training_set, test_set = sprint.as_bytes(data.load("mnist"))
    rows = []
    for target, precision, count in planned(seeds):
        chosen = dataclasses.replace(sprint.SPRINTS[target], precision=precision)
        product, results, product_seconds = steps.matrix_product(precision), [], []
        product()
        for seed in range(count):
            bar.set_postfix_str(f"{target}, {precision}")
            results.append(sprint.run(chosen, training_set, test_set, seed))
            product_seconds.append(timing.timed(product))
            bar.update()
        row = {"target": target, "precision": precision, "flop": chosen.flop(len(test_set[0]))}
        row |= {"product_flop": steps.PRODUCT_FLOP, "product_seconds": product_seconds}
        rows.append(row | _kept(results))
    return rows


def shorter(count):
    """Run the sprints with fewer steps, ``count`` seeds each: rows for JSON.

    Each is a training of its own, whose learning rate falls to 0 within its steps, and reads the test set once.
    """
    training_set, test_set = sprint.as_bytes(data.load("mnist"))
    rows, precision = [], fast.precisions()[-1]
    plans = [(target, whole, share) for target, whole in sprint.SPRINTS.items() for share in SHARES]
    for target, whole, share in tqdm(plans, desc="shorter trainings"):
        chosen = dataclasses.replace(whole, precision=precision, steps=round(share * whole.steps))
        results = [sprint.run(chosen, training_set, test_set, seed) for seed in range(count)]
        rows.append({"target": target, "precision": precision, "steps": chosen.steps} | _kept(results))
    return rows


def _kept(results):
    return {name: [getattr(result, name) for result in results] for name in KEPT}


def lab():
    """The report's trainings by Keras ``fit``, as the book has them: each epoch's seconds and test accuracy."""
    with tempfile.TemporaryDirectory(prefix="labcode-bench-") as folder:
        return json.loads(processes.python(LAB, {"LABCODE_CACHE": folder}))
