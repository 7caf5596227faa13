"""How judgements are printed: the table reported | measured | expected here | verdict, in Markdown.

A number that moves from machine to machine is printed after ≈; nbval leaves it uncompared, and compares what stands
beside it: whether it lies in the range expected here.
"""

import numpy as np

from labcode import evaluation

MARKS = {True: "✓ inside", False: "✗ outside", None: ""}


def percent(accuracy):
    """An accuracy in [0, 1] as text: ``96.89 %``."""
    return f"{100 * accuracy:.2f} %"


def points(difference):
    """A difference of accuracies as text, in percentage points: ``+1.66 pp``."""
    return f"{100 * difference:+.2f} pp"


def seconds(time):
    """A time in s as text."""
    return f"{time:.0f} s"


FORMATS = {"percent": percent, "pp": points, "seconds": seconds}


def _gaps(reported):
    return ", ".join(f"{points(train - test)} for {name.upper()}" for name, (train, test) in reported.items())


def _first_digit(reported):
    return f"{reported['printed']}, but the largest of its ten numbers is at {np.argmax(reported['probabilities'])}"


OWN_NUMBERS = {"cnn_gap_smaller": _gaps, "argmax_is_printed": _first_digit}


def table(judgements):
    """The judgements as a Markdown table, a row each."""
    rows = ["| | claim | reported | measured | expected here | verdict |", "|---|---|---|---|---|---|"]
    rows += [f"| {' | '.join(_row(judgement))} |" for judgement in judgements]
    return "\n".join(rows)


def _row(judgement):
    claim, unit = judgement.claim, judgement.claim["unit"]
    return (
        f"`{judgement.id}`",
        claim["statement"],
        _reported(claim),
        _value(judgement.measured, unit, "≈ "),
        _expected(judgement),
        f"**{judgement.verdict}**",
    )


def _reported(claim):
    if "needs" in claim:
        return f"needs {', '.join(claim['needs'])}; shows {', '.join(claim['shown']) or 'none'}"
    if claim["rule"] == "own-numbers":
        return OWN_NUMBERS[claim["consistency"]](claim["reported"])
    return _value(claim["reported"], claim["unit"], "")


def _value(value, unit, mark):
    if value is None:
        return "–"
    if isinstance(value, dict):
        return "; ".join(f"{statement}: {'yes' if holds else 'no'}" for statement, holds in value.items())
    if unit in FORMATS:
        return mark + FORMATS[unit](value)
    if unit == "log":
        accuracy, loss = np.array_split(value, 2)
        first, last = (
            f"accuracy {mark}{accuracy[0]:.4f}, loss {mark}{loss[0]:.4f}",
            f"{mark}{accuracy[-1]:.4f}, {mark}{loss[-1]:.4f}",
        )
        return f"{first}; at last {last}"
    if unit == "list":
        return ", ".join(f"{x:,}" if isinstance(x, int) else f"{x:g}" if isinstance(x, float) else x for x in value)
    return str(value)


def _expected(judgement):
    claim, recorded = judgement.claim, judgement.recorded
    if claim["rule"] == "exact":
        return "the same"
    if claim["rule"] != "range":
        return "–"
    if judgement.inside is None:
        return "no study recorded: run `python -m labcode.study`"
    if recorded.ndim == 2:
        return f"{recorded.shape[1]} ranges ({len(recorded)} seeds) {MARKS[judgement.inside]}"
    low, high = evaluation.prediction_interval(recorded, evaluation.CHECK_LEVEL)
    text = FORMATS[claim["unit"]]
    return f"{text(low)} to {text(high)} ({len(recorded)} seeds) {MARKS[judgement.inside]}"
