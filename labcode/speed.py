"""What ``results/bench.json`` keeps: times that were taken in turn, and what follows from them.

A ratio of steps is the median over the rounds of the quotient of two ways in one round; its spread is the smallest and
the largest of these quotients.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from labcode import atomic

BENCH, CHOICE = (Path(__file__).parent.parent / "results" / name for name in ("bench.json", "choice.json"))
RATES = ("ours", "matrix product")  # the ways that are compared by operations in a second
PRODUCT = "matrix product, float32"
SPRINT_NAMES = {  # by target, and markers
    "the report's CNN to 98.55 %": ("the report's CNN", "v"),
    "99.0 %": ("a small CNN of two convolutions", "o"),
    "99.5 %": ("a small CNN of three convolutions", "*"),
}
PYTORCH = ("PyTorch", "PyTorch, channels last")
PYTORCH_SEEN = ("PyTorch on the pixels seen", "PyTorch on the pixels seen, channels last")


def record(found, path):
    """Keep measurements, a dict for JSON, in a file of ``results/``, ``BENCH`` or ``CHOICE``, with a digest of them."""
    found = json.loads(json.dumps(found, allow_nan=False))
    text = json.dumps(found | {"sha256": _digest(found)}, indent=1, ensure_ascii=False)
    atomic.write(path, f"{text}\n".encode())


def recorded(path):
    """The measurements that ``record`` has kept in a file.

    Raises:
        ValueError: the file is not there, or was cut or edited.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if found.pop("sha256") != _digest(found):
            raise ValueError("another content than was measured")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        advice = "restore the file from version control, or measure anew"
        raise ValueError(f"{path}: expected recorded measurements, found {error!r}; {advice}") from error
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


def lengths(found, precision):
    """Seconds (n,) and accuracies (n,) of n trainings of each length: lists of pairs by target, the whole ones last."""
    of_target = {}
    for row in [*found["shorter"], *found["sprints"]]:
        if row["precision"] == precision:
            of_target.setdefault(row["target"], []).append((row["seconds"], row["accuracy"]))
    return of_target


def curve(found, recipe):
    """The lab's script by epoch, as (seconds, test accuracy), (epochs,) each: medians over its rounds."""
    of_rounds = found["lab"][recipe]
    return [np.median(of_rounds[name], axis=0) for name in ("seconds", "val_accuracy")]


def per_step(row, way):
    """The median time of a step, in s, of a way of a row with ``steps``."""
    return median(row["ways"], way) / row["steps"]


def microseconds(row, way):
    """The time of an image in each round, in µs, of a way of a row with ``images``: (rounds,)."""
    return 1e6 * np.array(row["ways"][way]["seconds"]) / row["images"]


def seconds(way):
    """The median seconds of a way and their spread, in words."""
    taken = way["seconds"]
    spread = f", {min(taken):.1f} to {max(taken):.1f}" if len(taken) > 1 else ""
    return f"{np.median(taken):.1f} s{spread}"


def median(ways, name):
    """The median seconds of a way of a row."""
    return float(np.median(ways[name]["seconds"]))
