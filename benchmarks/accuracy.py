"""Seconds to an accuracy: ours over many seeds, and the lab's way epoch by epoch."""

import dataclasses

from labcode import data, fast, speed, training

LAB = ("fc", "cnn")  # the recipes of the report


def planned(seeds):
    """Which sprints to run: (target, precision, how many seeds) each.

    In the fastest precision that this processor has, and where that is another the quickest sprint in float32 too.
    """
    fastest, quickest = fast.precisions()[-1], min(fast.SPRINTS, key=lambda target: fast.SPRINTS[target].flop(0))
    chosen = dict.fromkeys([*((target, fastest) for target in seeds), (quickest, "float32")])
    return [(target, precision, seeds[target]) for target, precision in chosen]


def sprints(seeds, bar):
    """Run the sprints with many seeds: rows for JSON.

    Args:
        seeds: a dict from the target to how many, from 0.
        bar: tqdm's, which counts the trainings.
    """
    training_set, test_set = speed.as_bytes(data.load("mnist"))
    rows = []
    for target, precision, count in planned(seeds):
        sprint, results = dataclasses.replace(fast.SPRINTS[target], precision=precision), []
        for seed in range(count):
            bar.set_postfix_str(f"{target}, {precision}")
            results.append(fast.run(sprint, training_set, test_set, seed))
            bar.update()
        accuracy, seconds, tracing = map(list, zip(*results, strict=True))
        row = {"target": target, "precision": precision, "flop": sprint.flop(len(test_set[0]))}
        rows.append(row | {"accuracy": accuracy, "seconds": seconds, "tracing": tracing})
    return rows


def lab():
    """The report's trainings by Keras ``fit``: after each epoch the seconds of its steps so far, and test accuracy.

    Trained once and then found, as by the book; the seconds are those of the first time.
    """
    dataset = data.load("mnist")
    histories = {name: training.train(training.RECIPES[name], dataset).history for name in LAB}
    return {name: {key: history[key] for key in ("seconds", "val_accuracy")} for name, history in histories.items()}
