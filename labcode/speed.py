"""What ``results/bench.json`` says: ratios of times that were taken in turn, and what they should reach.

A ratio of steps is the median over the rounds of the quotient of two ways in one round; its spread is the smallest and
the largest of these quotients.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from labcode import atomic

BENCH = Path(__file__).parent.parent / "results" / "bench.json"
RATES = ("ours", "matrix product")  # the ways that are compared by operations in a second
SPRINT_NAMES = {  # by target, and markers
    "the report's CNN to 98.55 %": ("the report's CNN", "v"),
    "99.0 %": ("a small CNN", "o"),
    "99.5 %": ("three convolutions", "*"),
}
PYTORCH = ("PyTorch", "PyTorch, channels last")
PYTORCH_SEEN = ("PyTorch on the pixels seen", "PyTorch on the pixels seen, channels last")


class Limit(NamedTuple):
    """What a training is to reach, and who took how long for it.

    Attributes:
        accuracy: at least this, in %, on average of ``seeds`` seeds.
        seconds: fewer than these.
        times: shorter than this many times what its operations take at the rate of matrix products.
        others: what was published.
    """

    accuracy: float
    seeds: int
    seconds: float
    times: float
    others: str


LIMITS = {
    "the report's CNN to 98.55 %": Limit(98.55, 5, 25, np.inf, "the report: 28 s on a Colab GPU"),
    "99.0 %": Limit(99.0, 10, 4, 2, "train_mnist_fast on a GTX 1660 Ti: 57 s, tuned 0.76 s"),
    "99.5 %": Limit(99.5, 5, 60, np.inf, "none known for a processor"),
}


@dataclass(frozen=True)
class Row:
    """A comparison: what, against what, what was measured and what was to be reached, in words; whether it was."""

    what: str
    against: str
    measured: str
    reach: str
    reached: bool | None


def record(found):
    """Keep the measurements of ``python -m benchmarks``, a dict for JSON, with a digest of them."""
    found = json.loads(json.dumps(found, allow_nan=False))
    text = json.dumps(found | {"sha256": _digest(found)}, indent=1, ensure_ascii=False)
    atomic.write(BENCH, f"{text}\n".encode())


def recorded():
    """The measurements that ``record`` has kept.

    Raises:
        ValueError: the file is not there, or was cut or edited.
    """
    try:
        found = json.loads(BENCH.read_text("utf-8"))
        if found.pop("sha256") != _digest(found):
            raise ValueError("another content than was measured")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        advice = "restore the file from version control"
        raise ValueError(f"{BENCH}: expected recorded measurements, found {error!r}; {advice}") from error
    return found


def _digest(found):
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def ratio(ways, slow, quick):
    """How many times as long ``slow`` takes as ``quick``: median, smallest and largest over the rounds.

    Args:
        ways: of a row, by name, each with ``seconds``.
        slow, quick: names of ways, or lists of names, of which each round's shortest counts.
    """
    quotients = _of_rounds(ways, slow) / _of_rounds(ways, quick)
    return float(np.median(quotients)), float(quotients.min()), float(quotients.max())


def _of_rounds(ways, names):
    names = [names] if isinstance(names, str) else [name for name in names if name in ways]
    return np.min([ways[name]["seconds"] for name in names], axis=0)


def rate(row, way):
    """Floating-point operations in a second, by round, of a way of a row with ``flop``: (rounds,)."""
    return row["flop"][way] / np.array(row["ways"][way]["seconds"])


def peak_share(row, precision):
    """The CNN's training steps as a share of the rate of matrix products, both as measured: (rounds,)."""
    return rate(row, f"ours, {precision}") / rate(row, f"matrix product, {precision}")


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


def changes(found):
    """What each change to the CNN's training brings, predicted and measured, as a Markdown table."""
    cnn, steps = found["steps"]["cnn"], found["steps"]["cnn"]["steps"]
    rows = ["| change | predicted, ms for 64 images | measured | spread | images/s |", "|---|---:|---:|---|---:|"]
    expected = _predicted(found["steps"])
    for name in (name for name in CHANGES if name in cnn["ways"]):
        times = 1000 * np.array(cnn["ways"][name]["seconds"]) / steps
        predicted = f"{1000 * expected[name] / steps:.1f}" if name in expected else "–"
        middle, spread = np.median(times), f"{times.min():.1f} to {times.max():.1f}"
        rows.append(f"| {CHANGES[name]} | {predicted} | {middle:.1f} | {spread} | {64_000 / middle:,.0f} |")
    return "\n".join(rows)


def _predicted(of_steps):
    """Seconds of ways of the CNN, as they follow from other measurements, by name."""
    cnn, fc = of_steps["cnn"], of_steps["fc"]
    beside = (_median(fc["ways"], "Keras fit") - _median(fc["ways"], "ours, float32")) / fc["steps"]
    expected = {"one function": _median(cnn["ways"], "Keras fit") - beside * cnn["steps"]}
    share = cnn["flop"]["ours, float32"] / cnn["flop"]["all pixels"]
    expected["pixels that are seen"] = _median(cnn["ways"], "one function") * share
    saved = {name: _saved(of_steps["pieces"], *names) * cnn["steps"] for name, names in SAVINGS.items()}
    expected["ReLU after pooling"] = _median(cnn["ways"], "pixels that are seen") - saved["ReLU"]
    expected["ours, float32"] = _median(cnn["ways"], "ReLU after pooling") - saved["bias"] - saved["Adam"]
    fastest = "ours, float32"
    if "ours, bfloat16" in cnn["ways"]:
        products = [_median(cnn["ways"], f"matrix product, {each}") for each in ("bfloat16", "float32")]
        expected["ours, bfloat16"] = _median(cnn["ways"], fastest) * products[0] / products[1]
        fastest = "ours, bfloat16"
    updates = per_step(of_steps["pieces"], SAVINGS["Adam"][1]) * cnn["steps"]
    expected["batch 128"] = _median(cnn["ways"], fastest) - updates / 2  # there are half as many
    return expected


def _saved(row, slow, quick):
    """Seconds that a step saves by the quick one of two ways."""
    return per_step(row, slow) - per_step(row, quick)


def first_calls(found):
    """How much longer the first call of each training takes than the later ones, in s, as a Markdown table."""
    rows = ["| training | Keras `fit` | the loop, compiled | ours | PyTorch |", "|---|---:|---:|---:|---:|"]
    for name, what, compiled in (
        ("cnn", "CNN, batch 64", "one function"),
        ("fc", "FC, batch 64", None),
        ("tape", "CNN, batch 12", "the lab's loop, compiled"),
    ):
        ways, of_name = ("Keras fit", compiled, "ours, float32", PYTORCH[0]), found["steps"][name]["ways"]
        more = [f"{of_name[way]['first'] - _median(of_name, way):.1f}" if way in of_name else "–" for way in ways]
        rows.append(f"| {what} | {' | '.join(more)} |")
    return "\n".join(rows)


def lengths(found, precision):
    """Seconds (n,) and accuracies (n,) of n trainings of each length, the shortest first: a list of pairs by target."""
    of_target = {}
    for row in [*found["shorter"], *found["sprints"]]:
        if row["precision"] == precision:
            of_target.setdefault(row["target"], []).append((row["seconds"], row["accuracy"]))
    return of_target


def plans(sprints):
    """What decides each training to an accuracy, a dict target: ``Sprint``, as a Markdown table, a column for each."""
    columns = [{"target": target} | _planned(plan) for target, plan in sprints.items()]
    rows = [f"| {' | '.join([name, *(str(column[name]) for column in columns)])} |" for name in columns[0]]
    return "\n".join([rows[0], "|---" * (1 + len(columns)) + "|", *rows[1:]])


def _planned(plan):
    network = plan.network
    layers = [f"{count} of {size} x {size}{', pooled' * pooled}" for count, size, pooled in network.convolutions]
    layers[:1] = [f"{first}{', not trained' * network.whitened}" for first in layers[:1]]
    return {
        "convolutions": "; ".join(layers),
        "hidden units": network.hidden,
        "batch size": plan.batch_size,
        "steps": f"{plan.steps:,}",
        "peak learning rate": plan.learning_rate,
        "warm-up": f"{plan.warm_up:.0%} of steps",
        "random shift": f"{plan.shift} px",
        "dropout": f"{plan.dropout:.0%}",
        "test positions": (2 * plan.test_shift + 1) ** 2,
    }


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
        ("a study of FC on mnist-5k", found["study"]["ways"], "seed"),
    ):
        each = [f"{count} {unit}{'s' * (count != '1')}: {_seconds(way)}" for count, way in ways.items()]
        rows.append(f"| {what} | {'; '.join(each)} |")
    return "\n".join(rows)


def per_step(row, way):
    """The median time of a step, in s, of a way of a row with ``steps``."""
    return _median(row["ways"], way) / row["steps"]


def microseconds(row, way):
    """The median time of an image, in µs, of a way of a row with ``images``."""
    return 1e6 * _median(row["ways"], way) / row["images"]


def table(found):
    """All comparisons of measurements as ``recorded`` returns them, as a Markdown table."""
    lines = ["| what | reached | measured | to reach | against |", "|---|---|---|---|---|"]
    words = {True: "yes", False: "no", None: "–"}
    for row in rows(found):
        lines.append(f"| {row.what} | {words[row.reached]} | {row.measured} | {row.reach} | {row.against} |")
    return "\n".join(lines)


def rows(found):
    """All comparisons of measurements, a list of ``Row``."""
    return [*_steps(found["steps"]), *map(sprint_row, found["sprints"]), *_builds(found)]


def _steps(of_steps):
    cnn, fc, tape = (of_steps[name] for name in ("cnn", "fc", "tape"))
    yield _times("CNN, batch 64, float32", "PyTorch, its better layout", cnn, PYTORCH, 1.5)
    yield _times("CNN, batch 64, float32", "PyTorch, on the pixels seen", cnn, PYTORCH_SEEN)
    seen = peak_share(cnn, "float32")
    every = seen * cnn["flop"]["all pixels"] / cnn["flop"]["ours, float32"]
    for what, shares in (("counting all pixels", every), ("counting what it computes", seen)):
        name, against = f"CNN, batch 64, float32, {what}", "the rate of float32 matrix products"
        middle, low, high = 100 * np.median(shares), 100 * shares.min(), 100 * shares.max()
        yield Row(name, against, f"{middle:.0f} % ({low:.0f} to {high:.0f} %)", *_at_least(middle, 75, "%"))
    yield _times("CNN, batch 64, float32", "Keras fit", cnn, "Keras fit")
    yield _times("FC, batch 64", "Keras fit", fc, "Keras fit", 3)
    for what, quick in (("the fast way", "ours, float32"), ("chapter 6", "the lab's loop, compiled")):
        name = f"GradientTape loop, batch 12, {what}"
        yield _times(name, "Keras fit", tape, "Keras fit", 1.4, quick)
        yield _times(name, "the lab's loop from Python", tape, "the lab's loop, from Python", 3.5, quick)


def _times(what, against, row, slow, least=None, quick="ours, float32"):
    middle, measured = None, "not installed"
    if isinstance(slow, str) or slow[0] in row["ways"]:
        middle, low, high = ratio(row["ways"], slow, quick)
        measured = f"{middle:.2f} times ({low:.2f} to {high:.2f})"
    return Row(what, against, measured, *(_at_least(middle, least, "times") if least else ("–", None)))


def _at_least(value, limit, unit):
    """What is to be reached in words, and whether a value reaches it; that is None where there is no value."""
    return f"{limit} {unit}", None if value is None else bool(value >= limit)


def _at_most(value, limit, unit):
    return f"at most {limit} {unit}", bool(value <= limit)


def _below(value, limit, unit):
    return f"below {limit} {unit}", bool(value < limit)


def sprint_row(sprint):
    """The ``Row`` of a sprint that was run with n seeds.

    Args:
        sprint: ``target``, ``precision``, ``accuracy`` (n,) in [0, 1], ``seconds`` (n,), ``preparing`` (n,) s, ``flop``
            of a run, and of matrix products ``product_flop`` and ``product_seconds`` (n,).
    """
    target, precision = sprint["target"], sprint["precision"]
    limit, seconds = LIMITS[target], np.array(sprint["seconds"])
    middle, mean = np.median(seconds), 100 * np.mean(sprint["accuracy"])
    least = sprint["flop"] / sprint["product_flop"] * np.array(sprint["product_seconds"])
    ratios = seconds / least
    times = np.median(ratios)
    measured = (
        f"{mean:.2f} % on average of {len(seconds)} seeds, in {middle:.1f} s "
        f"({seconds.min():.1f} to {seconds.max():.1f}), {times:.2f} times the least "
        f"({ratios.min():.2f} to {ratios.max():.2f}), "
        f"after {np.median(sprint['preparing']):.1f} s of preparation"
    )
    average = f"% on average of {limit.seeds} seeds"
    judged = [_at_least(mean, limit.accuracy, average), _below(middle, limit.seconds, "s")]
    if limit.times < np.inf:
        judged.append(_below(times, limit.times, "times the least"))
    words, reached = zip(*judged, strict=True)
    reached = all(reached) if len(seconds) >= limit.seeds else None
    return Row(f"{target}, {precision}", limit.others, measured, ", ".join(words), reached)


def _builds(found):
    added = 1000 * np.subtract(found["imports"]["import labcode"]["seconds"], found["imports"]["nothing"]["seconds"])
    measured = f"{np.median(added):.0f} ms more ({added.min():.0f} to {added.max():.0f})"
    yield Row("`import labcode`", "Python alone", measured, *_below(np.median(added), 50, "ms"))
    if found["quick"]:
        return
    ways, on = found["builds"]["ways"], f"the report on {found['builds']['dataset']}"
    plain = _median(ways, "the plain way")
    for name, least in (("ours", 3), ("nothing changed", 100)):
        times = plain / _median(ways, name)
        measured = f"{times:.1f} times ({_seconds(ways[name])}, for {_seconds(ways['the plain way'])})"
        judged = times if found["builds"]["dataset"] == "mnist" else None  # asked of the whole report
        yield Row(f"{on}, {name}", "executed the plain way", measured, *_at_least(judged, least, "times"))
    (few, some), (many, most) = ((int(count), ways["nothing changed"]) for count, ways in found["chapters"].items())
    each = 1000 * np.subtract(most["seconds"], some["seconds"]) / (many - few)
    measured = f"{np.median(each):.0f} ms ({each.min():.0f} to {each.max():.0f})"
    yield Row("a further unchanged chapter", "the clock", measured, *_at_most(np.median(each), 20, "ms"))
    if "memory" not in found:
        return
    plain = found["memory"]["the lab's plain script"]
    for name in ("the book's training", "ours"):
        times = found["memory"][name] / plain
        measured = f"{times:.2f} times ({found['memory'][name] / 1e9:.2f} GB for {plain / 1e9:.2f} GB)"
        trained = {"ours": "the fast way, the report's CNN"}.get(name, name)
        yield Row(f"peak of memory, {trained}", "the lab's plain script", measured, *_at_most(times, 1.5, "times"))


def _seconds(way):
    seconds = way["seconds"]
    spread = f", {min(seconds):.1f} to {max(seconds):.1f}" if len(seconds) > 1 else ""
    return f"{np.median(seconds):.1f} s{spread}"


def _median(ways, name):
    return float(np.median(ways[name]["seconds"]))
