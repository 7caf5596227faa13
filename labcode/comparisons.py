"""What was measured, and what was to be reached: the comparisons of ``results/bench.json``, one ``Row`` each."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from labcode import speed


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
    """A comparison, in words.

    Attributes:
        what: is compared, ``against`` what, and what was ``measured``.
        conditions: what was to be reached, and whether it was; None where that cannot be judged.
    """

    what: str
    against: str
    measured: str
    conditions: tuple[tuple[str, bool | None], ...] = ()

    @property
    def reach(self):
        """What was to be reached."""
        return ", ".join(words for words, _ in self.conditions) or "–"

    @property
    def missed(self):
        """What of that was not."""
        return ", ".join(words for words, is_met in self.conditions if is_met is False)

    @property
    def reached(self):
        """Whether all of it was; None where that cannot be judged."""
        verdicts = {is_met for _, is_met in self.conditions}
        return None if verdicts <= {None} else verdicts == {True}


def table(found):
    """All comparisons of measurements as ``speed.recorded`` returns them, as a Markdown table."""
    lines = ["| what | reached | measured | to reach | against |", "|---|---|---|---|---|"]
    for row in rows(found):
        among = f": {row.missed}" if len(row.conditions) > 1 else ""
        words = {True: "yes", False: f"no{among}", None: "–"}
        lines.append(f"| {row.what} | {words[row.reached]} | {row.measured} | {row.reach} | {row.against} |")
    return "\n".join(lines)


def rows(found):
    """All comparisons of measurements, a list of ``Row``."""
    return [*_steps(found["steps"]), *map(sprint_row, found["sprints"]), *_builds(found)]


def _steps(of_steps):
    cnn, fc, tape = (of_steps[name] for name in ("cnn", "fc", "tape"))
    yield _times("CNN, batch 64, float32", "PyTorch, all pixels, its better layout", cnn, speed.PYTORCH, 1.5)
    yield _times("CNN, batch 64, float32", "PyTorch, the pixels seen, its better layout", cnn, speed.PYTORCH_SEEN)
    seen = speed.peak_share(cnn, "float32")
    every = seen * cnn["flop"]["all pixels"] / cnn["flop"]["ours, float32"]
    for what, shares in (("counting all pixels", every), ("counting what it computes", seen)):
        name, against = f"CNN, batch 64, float32, {what}", "the rate of float32 matrix products"
        middle, low, high = 100 * np.median(shares), 100 * shares.min(), 100 * shares.max()
        yield Row(name, against, f"{middle:.0f} % ({low:.0f} to {high:.0f} %)", (_at_least(middle, 75, "%"),))
    yield _times("CNN, batch 64, float32", "Keras fit", cnn, "Keras fit")
    yield _times("FC, batch 64", "Keras fit", fc, "Keras fit", 3)
    for what, quick in (("the fast way", "ours, float32"), ("chapter 6", "the lab's loop, compiled")):
        name = f"GradientTape loop, batch 12, {what}"
        yield _times(name, "Keras fit", tape, "Keras fit", 1.4, quick)
        yield _times(name, "the lab's loop from Python", tape, "the lab's loop, from Python", 3.5, quick)


def _times(what, against, row, slow, least=None, quick="ours, float32"):
    middle, measured = None, "not installed"
    if isinstance(slow, str) or slow[0] in row["ways"]:
        middle, low, high = speed.ratio(row["ways"], slow, quick)
        measured = f"{middle:.2f} times ({low:.2f} to {high:.2f})"
    return Row(what, against, measured, (_at_least(middle, least, "times"),) if least else ())


def _at_least(value, limit, unit):
    """A condition of a ``Row``; it cannot be judged where there is no value."""
    return f"at least {limit} {unit}", None if value is None else bool(value >= limit)


def _at_most(value, limit, unit):
    return f"at most {limit} {unit}", bool(value <= limit)


def _below(value, limit, unit):
    return f"below {limit} {unit}", bool(value < limit)


def times_the_least(sprint):
    """How many times as long each run took as its operations would at the rate of matrix products, (n,).

    Args:
        sprint: as ``sprint_row`` takes it.
    """
    least = sprint["flop"] / sprint["product_flop"] * np.array(sprint["product_seconds"])
    return np.array(sprint["seconds"]) / least


def sprint_row(sprint):
    """The ``Row`` of a sprint that was run with n seeds.

    Args:
        sprint: ``target``, ``precision``, ``accuracy`` (n,) in [0, 1], ``seconds`` (n,), ``preparing`` (n,) s, ``flop``
            of a run, and of matrix products ``product_flop`` and ``product_seconds`` (n,).
    """
    target, precision = sprint["target"], sprint["precision"]
    limit, seconds = LIMITS[target], np.array(sprint["seconds"])
    middle, mean = np.median(seconds), 100 * np.mean(sprint["accuracy"])
    ratios = times_the_least(sprint)
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
    if len(seconds) < limit.seeds:
        judged = [(words, None) for words, _ in judged]
    return Row(f"{target}, {precision}", limit.others, measured, tuple(judged))


def _builds(found):
    added = 1000 * np.subtract(found["imports"]["import labcode"]["seconds"], found["imports"]["nothing"]["seconds"])
    measured = f"{round(np.median(added))} ms more ({round(added.min())} to {round(added.max())})"
    yield Row("`import labcode`", "Python alone", measured, (_below(np.median(added), 50, "ms"),))
    if found["quick"]:
        return
    ways, on = found["builds"]["ways"], f"the report on {found['builds']['dataset']}"
    plainly = ways["the plain way"]["seconds"]
    for name, least in (("ours", 3), ("nothing changed", 100)):
        times = np.divide(plainly, np.reshape(ways[name]["seconds"], (len(plainly), -1)).T)  # some in each round
        middle, both = np.median(times), f"{speed.seconds(ways[name])}, for {speed.seconds(ways['the plain way'])}"
        measured = f"{middle:.1f} times ({times.min():.1f} to {times.max():.1f}; {both})"
        judged = middle if found["builds"]["dataset"] == "mnist" else None  # asked of the whole report
        yield Row(f"{on}, {name}", "executed the plain way", measured, (_at_least(judged, least, "times"),))
    (few, some), (many, most) = ((int(count), ways["nothing changed"]) for count, ways in found["chapters"].items())
    each = 1000 * np.subtract(most["seconds"], some["seconds"]) / (many - few)
    measured = f"{round(np.median(each))} ms ({round(each.min())} to {round(each.max())})"
    yield Row(
        "a further unchanged chapter", f"a book of {few} chapters", measured, (_at_most(np.median(each), 20, "ms"),)
    )
    if "memory" not in found:
        return
    plain = np.array(found["memory"]["the lab's plain script"])
    for name in ("the book's training", "ours"):
        times = found["memory"][name] / plain
        of_medians = f"{np.median(found['memory'][name]) / 1e9:.2f} GB for {np.median(plain) / 1e9:.2f} GB"
        measured = f"{np.median(times):.2f} times ({times.min():.2f} to {times.max():.2f}; {of_medians})"
        trained = {"ours": "the fast way, the report's CNN"}.get(name, name)
        judged = _at_most(np.median(times), 1.5, "times")
        yield Row(f"peak of memory, {trained}", "the lab's plain script", measured, (judged,))
