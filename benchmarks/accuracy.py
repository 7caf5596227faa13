"""Seconds to an accuracy, by the fast way, over many seeds."""

import dataclasses
import statistics

from tqdm import tqdm

from benchmarks import steps, timing
from labcode import data, fast, sprint

KEPT = ("accuracy", "seconds", "preparing")  # of each result
PRODUCT_CALLS = 3  # after each training
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of a sprint's steps, for the shorter ones


def planned(seeds):
    """Which sprints to run: (target, ``Sprint``, how many seeds) each, the processor's fastest precision first.

    Args:
        seeds: a dict from the target to how many.
    """
    return [
        (target, dataclasses.replace(sprint.SPRINTS[target], precision=precision), count)
        for precision in reversed(fast.precisions())
        for target, count in seeds.items()
    ]


def in_turn(plans, training_set, test_set, first_seed=0):
    """Run sprints in turn, each with one seed before any has the next: a row for JSON of each.

    After each training follow matrix products, of whose seconds the median is kept.

    Args:
        plans: (target, ``Sprint``, how many seeds) of each.
        training_set, test_set: as ``sprint.run`` takes them.
        first_seed: a whole number from 0.
    """
    products = {plan.precision: steps.matrix_product(plan.precision) for _, plan, _ in plans}
    for product in products.values():
        product()
    rows = [_row(target, plan, len(test_set[0])) for target, plan, _ in plans]
    runs = [
        (first_seed + number, row, plan)
        for number in range(max(count for *_, count in plans))
        for row, (_, plan, count) in zip(rows, plans, strict=True)
        if number < count
    ]
    for seed, row, plan in tqdm(runs, desc="seconds to an accuracy"):
        result, product = sprint.run(plan, training_set, test_set, seed), products[plan.precision]
        row["product_seconds"].append(statistics.median(timing.timed(product) for _ in range(PRODUCT_CALLS)))
        for name in KEPT:
            row[name].append(getattr(result, name))
    return rows


def _row(target, plan, tested):
    told = {"target": target, "precision": plan.precision, "plan": dataclasses.asdict(plan), "flop": plan.flop(tested)}
    return told | {"product_flop": steps.PRODUCT_FLOP} | {name: [] for name in (*KEPT, "product_seconds")}


def sprints(seeds):
    """Run the sprints with many seeds, from 0: rows for JSON.

    Args:
        seeds: a dict from the target to how many.
    """
    return in_turn(planned(seeds), *sprint.as_bytes(data.load("mnist")))


def shorter(count):
    """Run the sprints with fewer steps, ``count`` seeds each: rows for JSON.

    Each is a training of its own, whose learning rate falls to 0 within its steps, and reads the test set once.
    """
    plans, fastest = [], fast.precisions()[-1]
    for target, whole in sprint.SPRINTS.items():
        for share in SHARES:
            plans.append(
                (target, dataclasses.replace(whole, precision=fastest, steps=round(share * whole.steps)), count)
            )
    return in_turn(plans, *sprint.as_bytes(data.load("mnist")))
