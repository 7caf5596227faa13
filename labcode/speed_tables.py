"""What chapter 9 says of ``results/bench.json`` beside its comparisons: tables in Markdown, and some words."""

import numpy as np
from scipy import stats

from labcode import choice, comparisons, evaluation, speed

MNIST_IMAGES = 60_000  # to train on
SLOW = 1.3  # times the median time, and a round counts as slow
IN_INTERVAL = 0.999  # of further trainings have an accuracy in the interval that this build's is held against

CHANGES = {
    "Keras fit": "Keras `fit`, as the report trains",
    "one function": "all steps in one TensorFlow function",
    "pixels that are seen": "and only the pixels that reach the answer",
    "ReLU after pooling": "and ReLU after pooling, on a quarter of the values",
    "ours, float32": "and the bias too; one operation for each array of weights; images as bytes",
    "ours, bfloat16": "and the layers in bfloat16",
    "batch 128": "and 128 images in a step",
}


SAVINGS = {  # the pieces of a step that are done in two ways, the slow one first
    "ReLU": ("ReLU of all values", "ReLU after pooling"),
    "bias": ("bias of all values", "bias after pooling"),
    "Adam": ("Adam by Keras", "Adam, an operation for each array"),
}


def where(found):
    """On what measurements were taken, and by which program, in words."""
    made = found["made"]
    words = "{processor}, {threads} threads, {date:.10}, TensorFlow {versions[TensorFlow]}".format(**made)
    return f"{words}, PyTorch {made['PyTorch'] or 'not installed'}, commit {(made['commit'] or 'unknown')[:7]}"


def changes(found):
    """What each change to the CNN's training brings, predicted and measured, as a Markdown table."""
    cnn, steps = found["steps"]["cnn"], found["steps"]["cnn"]["steps"]
    rows = [
        "| change | predicted, ms for 64 images | measured | spread | times as quick as the row before | images/s |",
        "|---|---:|---:|---|---|---:|",
    ]
    expected, before = _predicted(found["steps"]), None
    for name in (name for name in CHANGES if name in cnn["ways"]):
        times = _milliseconds(cnn, name)
        predicted = f"{1000 * expected[name] / steps:.1f}" if name in expected else "–"
        middle, spread = np.median(times), f"{times.min():.1f} to {times.max():.1f}"
        gained = "{:.2f} ({:.2f} to {:.2f})".format(*speed.ratio(cnn["ways"], before, name)) if before else "–"
        before = name
        rows.append(f"| {CHANGES[name]} | {predicted} | {middle:.1f} | {spread} | {gained} | {64_000 / middle:,.0f} |")
    return "\n".join(rows)


def _milliseconds(row, way):
    """The time of a step in each round, in ms, of a way of a row with ``steps``: (rounds,)."""
    return 1000 * np.array(row["ways"][way]["seconds"]) / row["steps"]


def _predicted(of_steps):
    """Seconds of ways of the CNN, as they follow from other measurements, by name."""
    cnn, fc = of_steps["cnn"], of_steps["fc"]
    beside = (speed.median(fc["ways"], "Keras fit") - speed.median(fc["ways"], "ours, float32")) / fc["steps"]
    expected = {"one function": speed.median(cnn["ways"], "Keras fit") - beside * cnn["steps"]}
    share = cnn["flop"]["ours, float32"] / cnn["flop"]["all pixels"]
    expected["pixels that are seen"] = speed.median(cnn["ways"], "one function") * share
    saved = {name: _saved(of_steps["pieces"], *names) * cnn["steps"] for name, names in SAVINGS.items()}
    expected["ReLU after pooling"] = speed.median(cnn["ways"], "pixels that are seen") - saved["ReLU"]
    expected["ours, float32"] = speed.median(cnn["ways"], "ReLU after pooling") - saved["bias"] - saved["Adam"]
    fastest = "ours, float32"
    if "ours, bfloat16" in cnn["ways"]:
        products = [speed.median(cnn["ways"], f"matrix product, {each}") for each in ("bfloat16", "float32")]
        expected["ours, bfloat16"] = speed.median(cnn["ways"], fastest) * products[0] / products[1]
        fastest = "ours, bfloat16"
    updates = speed.per_step(of_steps["pieces"], SAVINGS["Adam"][1]) * cnn["steps"]
    expected["batch 128"] = speed.median(cnn["ways"], fastest) - updates / 2  # there are half as many
    return expected


def _saved(row, slow, quick):
    """Seconds that a step saves by the quick one of two ways."""
    return speed.per_step(row, slow) - speed.per_step(row, quick)


def first_calls(found):
    """How much longer the first call of each training takes than the later ones, in s, as a Markdown table."""
    rows = [
        "| training | Keras `fit` | the loop, compiled | ours | PyTorch, its usual layout |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, what, compiled in (
        ("cnn", "CNN, batch 64", "one function"),
        ("fc", "FC, batch 64", None),
        ("tape", "CNN, batch 12", "the lab's loop, compiled"),
    ):
        ways, of_name = ("Keras fit", compiled, "ours, float32", speed.PYTORCH[0]), found["steps"][name]["ways"]
        more = [f"{of_name[way]['first'] - speed.median(of_name, way):.1f}" if way in of_name else "–" for way in ways]
        rows.append(f"| {what} | {' | '.join(more)} |")
    return "\n".join(rows)


def plans(sprints):
    """What decides each training to an accuracy, a dict target: ``Sprint``, as a Markdown table, a column for each."""
    columns = [{"target": target} | _planned(plan) for target, plan in sprints.items()]
    rows = [f"| {' | '.join([name, *(str(column[name]) for column in columns)])} |" for name in columns[0]]
    return "\n".join([rows[0], "|---" * (1 + len(columns)) + "|", *rows[1:]])


def _planned(plan):
    network = plan.network
    layers = [f"{count} of {size} x {size}{', pooled' * pooled}" for count, size, pooled in network.convolutions]
    return {
        "convolutions": "; ".join(layers),
        "first layer": "whitened, not trained" if network.whitened else "trained",
        "hidden units": network.hidden,
        "batch size": plan.batch_size,
        "steps": f"{plan.steps:,}",
        "peak learning rate": plan.learning_rate,
        "warm-up": f"{100 * plan.warm_up:.0f} % of steps",
        "random shift": f"{plan.shift} px",
        "dropout": f"{100 * plan.dropout:.0f} %",
        "test positions": (2 * plan.test_shift + 1) ** 2,
    }


def tried(found):
    """What the candidates for the trainings gave on the images held back, as a Markdown table, in their order.

    The accuracy is that which decides, over all seeds and precisions; its standard error is that of the seeds' means.

    Args:
        found: as ``python -m benchmarks.choose`` keeps it.
    """
    rows = [
        "| training | candidate | seeds | accuracy ± standard error | in each precision | s in float32 "
        "| times the least | in time |",
        "|---|---|---:|---|---|---:|---:|---|",
    ]
    for target in comparisons.LIMITS:
        of_taken = _planned(choice.taken(found, target))
        for plan, of_precision in choice.candidates(found, target).items():
            other = [f"{name} {value}" for name, value in _planned(plan).items() if value != of_taken[name]]
            of_seeds = choice.accuracies(of_precision)
            decides = f"{100 * of_seeds.mean():.3f} ± {100 * stats.sem(of_seeds):.3f} %"
            of_each = [f"{100 * np.mean(row['accuracy']):.2f} % ({name})" for name, row in of_precision.items()]
            seconds = np.median(of_precision["float32"]["seconds"])
            times = np.median(comparisons.times_the_least(of_precision["float32"]))
            in_time = "yes" if choice.keeps_time(target, of_precision) else "no"
            words = [target, " / ".join(other) or "**taken**", str(len(of_seeds)), decides, ", ".join(of_each)]
            rows.append(f"| {' | '.join([*words, f'{seconds:.1f}', f'{times:.2f}', in_time])} |")
    return "\n".join(rows)


def margins(found):
    """By how much the candidates taken are ahead of the next most accurate ones in time: words.

    They are means of the differences seed by seed, in percentage points, with their standard errors.

    Args:
        found: as ``python -m benchmarks.choose`` keeps it.
    """
    told = []
    for target in comparisons.LIMITS:
        *others, best = sorted(map(choice.accuracies, choice.in_time(found, target).values()), key=np.mean)
        ahead = 100 * (best - others[-1]) if others else None
        told.append("no other is in time" if ahead is None else f"{ahead.mean():.3f} ± {stats.sem(ahead):.3f} pp")
    return ", ".join(told)


def operations(found):
    """What the convolutions of a step take one by one, with their poolings, as a Markdown table."""
    row = found["steps"]["convolutions"]
    lines = ["| operation | ms for 64 images | spread | share of matrix products' rate |", "|---|---:|---|---:|"]
    for name in (name for name in row["ways"] if name != speed.PRODUCT):
        times = _milliseconds(row, name)
        counted = name in row["flop"]
        share = speed.rate(row, name) / speed.rate(row, speed.PRODUCT) if counted else None
        told = f"{100 * np.median(share):.0f} %" if counted else "–"
        lines.append(f"| {name} | {np.median(times):.2f} | {times.min():.2f} to {times.max():.2f} | {told} |")
    return "\n".join(lines)


def costs(found):
    """What more chapters, threads and seeds cost, as a Markdown table."""
    rows = ["| cost | measured |", "|---|---|"]
    changed, unchanged = (
        {count: ways[name] for count, ways in found["chapters"].items()} for name in ("one changed", "nothing changed")
    )
    for what, ways, unit in (
        ("rebuild of a book of which one chapter changed", changed, "chapter"),
        ("rebuild of a book of which nothing changed", unchanged, "chapter"),
        (f"the report's CNN on {found['cores']['images']:,} images", found["cores"]["ways"], "thread"),
        (f"a study of FC on mnist-5k, {found['study']['jobs']} at a time", found["study"]["ways"], "seed"),
    ):
        each = [f"{count} {unit}{'s' * (count != '1')}: {speed.seconds(way)}" for count, way in ways.items()]
        rows.append(f"| {what} | {'; '.join(each)} |")
    return "\n".join(rows)


def best(found, precision):
    """What the sprints of a precision reach, a list: accuracy on average of the seeds, median seconds, network."""
    whole = {target: lengths[-1] for target, lengths in speed.lengths(found, precision).items()}
    return [
        f"{100 * np.mean(accuracies):.2f} % in {np.median(seconds):.1f} s ({speed.SPRINT_NAMES[target][0]})"
        for target, (seconds, accuracies) in whole.items()
    ]


def by_fit(found):
    """What the epochs of the report's CNN by Keras ``fit`` take together, and the accuracy after them, in words."""
    totals, accuracies = (np.array(found["lab"]["cnn"][name]) for name in ("seconds", "val_accuracy"))
    totals, reached = totals.sum(axis=1), 100 * accuracies[:, -1]
    seconds = f"{np.median(totals):.0f} s ({totals.min():.0f} to {totals.max():.0f})"
    return f"{seconds} to {np.median(reached):.2f} % ({reached.min():.2f} to {reached.max():.2f} %)"


def beside_fit(found, target, taken, precision):
    """What Keras ``fit`` takes to the accuracy of a sprint with the report's CNN, as multiples of that: a sentence.

    Args:
        target: of the sprint.
        taken: how many images it trains on.
        precision: of the sprint.
    """
    (taken_by_fit, reached), accuracy = speed.curve(found, "cnn"), comparisons.LIMITS[target].accuracy
    costs = np.ones(len(reached)), taken_by_fit
    epochs, seconds = (evaluation.first_to_reach(reached, each, accuracy / 100) for each in costs)
    if epochs == np.inf:
        return f"Keras fit, in its {len(reached)} epochs, does not reach {accuracy} %."
    more = epochs * MNIST_IMAGES / taken
    slower = seconds / np.median(speed.lengths(found, precision)[target][-1][0]) / more
    return (
        f"Keras fit first passes {accuracy} % after {epochs:.0f} epoch{'s' * (epochs > 1)}. "
        f"It takes {more:.1f} times as many images as the fast way, and for each of them {slower:.1f} times as long "
        f"(its tests left out; float32 against {precision})."
    )


def once_more(found, target, seed, run):
    """What one more training to a target gave, beside the recorded ones of other seeds, in float32: two lines.

    Args:
        seed: of the training.
        run: its ``sprint.Result``.
    """
    (recorded,) = (each for each in found["sprints"] if (each["target"], each["precision"]) == (target, "float32"))
    others = [accuracy for number, accuracy in enumerate(recorded["accuracy"]) if number != seed]
    low, high = evaluation.prediction_interval(others, IN_INTERVAL)
    took = f"in ≈ {run.seconds:.1f} s, after ≈ {run.preparing:.1f} s of preparation"
    lies = "in" if low <= run.accuracy <= high else "OUTSIDE"
    expected = f"as the other recorded seeds let expect of one more in {100 * IN_INTERVAL:.1f} % of cases"
    return (
        f"this build, in float32, beside whatever else it did: ≈ {100 * run.accuracy:.2f} % {took}\n"
        f"its accuracy lies {lies} {100 * low:.2f} to {100 * high:.2f} %, {expected}"
    )


def beside_pytorch(found):
    """What PyTorch takes on the pixels that the CNN sees, beside the fast way: a sentence."""
    ways = found["steps"]["cnn"]["ways"]
    if speed.PYTORCH_SEEN[0] not in ways:
        return "PyTorch was not installed."
    times, low, high = speed.ratio(ways, speed.PYTORCH_SEEN, "ours, float32")
    if low > 1:
        verdict = "longer in every round"
    elif high > 1:
        verdict = "in some rounds longer, in some not"
    else:
        verdict = "in no round longer"
    return f"On the same pixels PyTorch takes {times:.2f} times ({low:.2f} to {high:.2f}) as long, {verdict}."


def slow_rounds(found):
    """In how many rounds of the CNN's comparison the machine was slow, as matrix products show: a sentence."""
    taken = np.array(found["steps"]["cnn"]["ways"][speed.PRODUCT]["seconds"])
    slow = np.count_nonzero(taken > SLOW * np.median(taken))
    told = f"of {len(taken)} rounds of the CNN matrix products took over {SLOW} times their median"
    return f"In {slow} {told}: the machine was slow there, which widens the ranges." if slow else f"In none {told}."


def in_bfloat16(found):
    """What bfloat16 adds to the accuracies of the sprints, seed by seed: the end of a sentence."""
    of = {}
    for row in found["sprints"]:
        of.setdefault(row["target"], {})[row["precision"]] = 100 * np.array(row["accuracy"])
    told = []
    for target, accuracies in of.items():
        if len(accuracies) > 1:
            pair = accuracies["bfloat16"], accuracies["float32"]
            value, (low, high) = np.mean(np.subtract(*pair)), evaluation.paired_difference(*pair)
            told.append(
                f"{value:+.2f} pp (95 % interval {low:+.2f} to {high:+.2f}) for {speed.SPRINT_NAMES[target][0]}"
            )
    return ", ".join(told) or "not measured here, for the processor has no instructions for it"
