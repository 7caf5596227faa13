"""How judgements are printed: the table reported | measured | expected here | verdict, in Markdown.

A number that moves from machine to machine is printed after ≈; nbval leaves it uncompared, and compares what stands
beside it: whether it lies in the range expected here.

``python -m labcode.scoreboard mnist`` prints all claims and fails where this machine's Runs lie outside that range, or
a network is not built or trained as the report says.
"""

import argparse
import json
import sys
from collections import Counter

import numpy as np
from IPython.display import Markdown, display

from labcode import claims, data, measurements, provenance, records, rules, training
from labcode.publish import file as publish_file

TOO_FEW = (
    f"fewer than {rules.FEWEST} seeds recorded: `make study` records ten (`make study DATASET=mnist` on all of MNIST)"
)
MARKS = {True: "✓ inside", False: "✗ outside"}


def percent(accuracy):
    """An accuracy in [0, 1] as text: ``96.89 %``."""
    return f"{100 * accuracy:.2f} %"


def points(difference):
    """A difference of accuracies as text, in percentage points: ``+1.66 pp``."""
    return f"{100 * difference:+.2f} pp"


def seconds(time):
    """A time in s as text."""
    return f"{time:.0f} s"


def nats(loss):
    """A cross-entropy as text."""
    return f"{loss:.3f}"


FORMATS = {"percent": percent, "pp": points, "seconds": seconds, "nats": nats}


def _gaps(reported):
    return ", ".join(f"{points(train - test)} for {name.upper()}" for name, (train, test) in reported.items())


def _first_digit(reported):
    return f"{reported['printed']}, but the largest of its ten numbers is at {np.argmax(reported['probabilities'])}"


OWN_NUMBERS = {"cnn_gap_smaller": _gaps, "argmax_is_printed": _first_digit}


def layers(model):
    """What Keras's ``model.summary()`` says, as a Markdown table: layers, output shapes, parameters."""
    rows = ["| layer | type | output shape | parameters |", "|---|---|---|---:|"]
    for layer in model.layers:
        shape = f"({', '.join(map(str, layer.output.shape))})"
        rows.append(f"| {layer.name} | {type(layer).__name__} | {shape} | {layer.count_params():,} |")
    rows.append(f"| **total** | | | **{model.count_params():,}** |")
    return Markdown("\n".join(rows))


def table(judgements):
    """The judgements as a Markdown table, a row each: an object that a notebook displays, its text in ``data``."""
    rows = ["| claim | verdict | reported | measured | expected here |", "|---|---|---|---|---|"]
    rows += [f"| {' | '.join(_row(judgement))} |" for judgement in judgements]
    return Markdown("\n".join(rows))


def publish(judgements, dataset_name, seed):
    """Show the table, and publish what it says as ``results.json`` beside the built pages.

    The file has ``dataset``, ``seed``, ``provenance`` (of this build: ``date``, ``processor``, ``versions``),
    ``recorded`` and ``claims``. ``recorded`` says how the runs behind the expectations were made: by data set and
    recipe a list of ``seeds`` (how many), ``date``, ``processor``, ``threads`` and ``versions``.

    ``claims`` is a list of objects, in which null stands for what there is not: ``id``, ``section``, ``statement``,
    ``unit``, ``rule``, ``reported``, ``needs`` and ``shown`` (evidence: what the claim needs and what of it the report
    shows), ``hardware`` (of a time), ``measured`` (null where it answers nothing here), ``expected``, ``verdict`` and
    ``recorded_verdict`` (of the runs recorded on all of MNIST, where this data set cannot answer).

    ``unit`` says what ``reported`` and ``measured`` are: ``percent``, an accuracy in [0, 1]; ``pp``, a difference of
    two, in [-1, 1]; ``seconds``; ``list``, facts in the order of the statement; ``log``, five accuracies, then five
    losses in nats, one an epoch, each the mean over the epoch's steps of the running average; ``test``, an accuracy and
    a loss after the last epoch; ``text``, statements: reported as words or as the report's own numbers, measured as an
    object statement: whether it holds. A number that is none, as of a run that diverged, is null.

    ``expected`` is null or says what ``seeds`` many recorded runs lead one to expect. Of numbers, ``reproduced`` and
    ``possible``: the ranges [low, high] of the verdict (19 in 20 runs) and of the check on the build (999 in 1,000);
    each end is a list where the measured value is one, of which all must lie in it. Of statements, ``shown_by``: how
    many of the runs show each, by statement, of those that a record can say.
    """
    content = {"dataset": dataset_name, "seed": seed, "provenance": provenance.here(), "recorded": _recorded()}
    content["claims"] = [_entry(judgement) for judgement in judgements]
    publish_file("results.json", json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False).encode())
    display(table(judgements))


def _recorded():
    """How the recorded runs were made, by data set and recipe."""
    return {
        dataset: {name: _made(records.find(recipe, dataset)) for name, recipe in training.RECIPES.items()}
        for dataset in data.NAMES
    }


def _made(of_recipe):
    counts = Counter(json.dumps(record.made, sort_keys=True) for record in of_recipe)
    return [{"seeds": count} | json.loads(made) for made, count in counts.items()]


def _finite(value):
    """The same with None, null in JSON, for each number that is infinite or none."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _entry(judgement):
    fields = ("section", "statement", "unit", "rule", "reported", "needs", "shown", "hardware")
    kept = {key: judgement.claim.get(key) for key in fields}
    verdicts = {"verdict": judgement.verdict, "recorded_verdict": judgement.recorded_verdict}
    found = {"measured": judgement.measured, "expected": _expectation(judgement)}
    return {"id": judgement.id} | kept | found | verdicts


def _expectation(judgement):
    recorded, measured = judgement.recorded, judgement.measured
    if len(recorded) < rules.FEWEST:
        return None
    if isinstance(measured, dict):
        return {"seeds": len(recorded), "shown_by": _shown_by(measured, recorded)}
    ranges = {
        "reproduced": rules.verdict_range(recorded, judgement.claim["unit"]),
        "possible": rules.check_range(recorded, judgement.claim["unit"]),
    }
    return {"seeds": len(recorded)} | {key: np.array(ends).tolist() for key, ends in ranges.items()}


def _shown_by(measured, recorded):
    """How many recorded runs show each statement, of which they can say it: a dict statement: count."""
    counts = zip(measured, recorded.sum(axis=0).tolist(), strict=True)
    return {statement: int(count) for statement, count in counts if not np.isnan(count)}


def summary(judgements):
    """What came out, as a Markdown list: an item for each verdict, with the claims that have it."""
    items = []
    for verdict in rules.VERDICTS:
        found = [judgement for judgement in judgements if judgement.verdict == verdict]
        statements = "; ".join(f"{judgement.claim['statement']} (`{judgement.id}`)" for judgement in found)
        if found:
            items.append(f"- **{verdict}**, {len(found)} of {len(judgements)}: {statements}.")
    return Markdown("\n".join(items))


def counts(judgements):
    """How often each verdict is given, in words: ``of 27 claims 9 are reproduced, 4 not reproduced, ...``."""
    numbers = Counter(judgement.verdict for judgement in judgements)
    parts = [f"{numbers[verdict]} {verdict}" for verdict in rules.VERDICTS if numbers[verdict]]
    return f"of the report's {len(judgements)} claims the verdicts are: {', '.join(parts)}"


def conclusion(judgements):
    """What follows for the report's conclusions, as a Markdown list: of each claim the sentence of its verdict."""
    return Markdown("\n".join(f"- {_follows(judgement)}" for judgement in judgements if "follows" in judgement.claim))


def _follows(judgement):
    if judgement.too_few:
        return f"Nothing is decided of “{judgement.claim['statement']}”: {TOO_FEW}."
    return judgement.claim["follows"][judgement.verdict]


def spread(standard_deviation):
    """A standard deviation of accuracies as text, in percentage points; a dash where there is none."""
    return "–" if np.isnan(standard_deviation) else f"{100 * standard_deviation:.2f} pp"


def study_note(found, dataset_name):
    """What is recorded, or which command records it, as Markdown.

    Args:
        found: (list of ``records.Record``) by the recipe's name.
        dataset_name: of ``data.NAMES``.
    """
    notes = []
    for name, of_recipe in found.items():
        command = f"`python -m labcode.study {dataset_name} --recipes {name} --seeds 30`"
        if len(of_recipe) < rules.FEWEST:
            notes.append(f"Of `{name}` on {dataset_name} {len(of_recipe)} seeds are recorded: {command} makes it 30.")
        else:
            made = "; and ".join(f"{count} of them {how}" for how, count in _how_made(of_recipe).items())
            made = made.removeprefix(f"{len(of_recipe)} of them ")
            notes.append(f"Recorded of `{name}` on {dataset_name}: {len(of_recipe)} seeds, {made}.")
    return Markdown(" ".join(notes))


def _how_made(of_recipe):
    """How many records were made when and on what, by that in words."""
    words = "{date}, on {processor}, {threads} threads, TensorFlow {versions[tensorflow]}"
    return Counter(words.format(**record.made) for record in of_recipe)


def checks(measured, dataset, seed=0):
    """What this build measured beside what is expected here, as a Markdown table.

    Args:
        measured: (description, key of ``measurements.RANGED``) of each row.
        dataset, seed: what the Runs are found or trained with.
    """
    rows = ["| | measured | expected here |", "|---|---|---|"]
    for description, measurement in measured:
        unit = measurements.UNITS[measurement]
        value, recorded, inside = claims.compare(measurement, dataset, seed)
        rows.append(f"| {description} | {_value(value, unit, '≈ ')} | {_ranges(unit, recorded, inside)} |")
    return Markdown("\n".join(rows))


def _row(judgement):
    claim, elsewhere = judgement.claim, judgement.recorded_verdict
    return (
        f"{claim['statement']} (`{judgement.id}`)",
        f"**{judgement.verdict}**" + (f" (by runs recorded on all of it: {elsewhere})" if elsewhere else ""),
        _reported(claim),
        _measured(judgement),
        _expected(judgement),
    )


def _reported(claim):
    if "needs" in claim:
        return f"needs {', '.join(claim['needs'])}; shows {', '.join(claim['shown']) or 'none'}"
    if claim["rule"] == "own-numbers":
        return OWN_NUMBERS[claim["consistency"]](claim["reported"])
    return _value(claim["reported"], claim["unit"], "")


def _measured(judgement):
    equal = judgement.claim["unit"] == "list" and judgement.measured == judgement.claim["reported"]
    if equal and len(judgement.measured) > 4:
        return "the same"
    return _value(judgement.measured, judgement.claim["unit"], "≈ ")


def _value(value, unit, mark):
    if value is None:
        return "–"
    if isinstance(value, dict):
        return "; ".join(f"{statement}: {'yes' if holds else 'no'}" for statement, holds in value.items())
    if unit in FORMATS:
        return mark + FORMATS[unit](value)
    if unit == "log":
        return _ends([f"{mark}{each:.4f}" for each in value])
    if unit == "test":
        return f"{mark}{percent(value[0])} (loss {mark}{value[1]:.4f})"
    if unit == "list":
        return ", ".join(f"{x:,}" if isinstance(x, int) else f"{x:g}" if isinstance(x, float) else x for x in value)
    return str(value)


def _expected(judgement):
    recorded, measured, unit = judgement.recorded, judgement.measured, judgement.claim["unit"]
    if judgement.claim["rule"] == "range":
        return _ranges(unit, recorded, judgement.inside)
    if judgement.claim["rule"] == "exact":
        return "the same"
    if measured is None or judgement.claim["measurement"] not in measurements.OBSERVED:
        return "–"
    if len(recorded) < rules.FEWEST:
        return TOO_FEW
    shown = _shown_by(measured, recorded).items()
    return "; ".join(f"{statement}: in {count} of {len(recorded)} seeds" for statement, count in shown)


def _ranges(unit, recorded, inside):
    if inside is None:
        return TOO_FEW
    likely, possible = rules.verdict_range(recorded, unit), rules.check_range(recorded, unit)
    more = "; the others likewise" if unit == "log" else f", at the utmost {_range(unit, *possible)}"
    return f"{_range(unit, *likely)}{more} ({len(recorded)} seeds) {MARKS[inside]}"


def _range(unit, low, high):
    if unit == "log":
        return _ends([f"{least:.4f} to {most:.4f}" for least, most in zip(low, high, strict=True)])
    if unit == "test":
        return f"{percent(low[0])} to {percent(high[0])} (loss {nats(low[1])} to {nats(high[1])})"
    return f"{FORMATS[unit](low)} to {FORMATS[unit](high)}"


def _ends(texts):
    """The first and the last epoch of a log, of each of whose ten values there is a text."""
    accuracy, loss = np.array_split(texts, 2)
    return "; ".join(f"{name} epoch accuracy {accuracy[i]}, loss {loss[i]}" for name, i in (("first", 0), ("last", -1)))


def main():
    """The command line: see ``python -m labcode.scoreboard --help``."""
    parser = argparse.ArgumentParser(description="Judge all claims; fail where a Run lies outside the recorded range.")
    parser.add_argument("dataset", choices=data.NAMES)
    name = parser.parse_args().dataset
    try:
        records.check()  # before anything is trained
        judgements = claims.judge(data.load(name))
    except (data.DataError, records.RecordsError, ValueError) as error:
        sys.exit(str(error))
    print(table(judgements).data)
    outside = [each.id for each in judgements if each.claim["rule"] == "range" and not each.inside]
    other = [each.id for each in judgements if each.claim["rule"] == "exact" and each.verdict == rules.NOT_REPRODUCED]
    if outside or other:
        sys.exit(f"outside the recorded range, or without one: {outside}; other facts than the report's: {other}")
    print("all measured values lie in their recorded ranges, and all facts are the report's")


if __name__ == "__main__":
    main()
