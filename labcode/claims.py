"""What the original report claims, and whether it holds: reported, measured, expected here, verdict.

The claims are data (``claims.toml``); ``measurements`` answers them, and ``rules`` judges them.
"""

import math
import re
import tomllib
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np

from labcode import measurements, records, training
from labcode.rules import CONSISTENT, FEWEST, RULES, UNTESTED, VERDICTS, check_range, within

CLAIMS = Path(__file__).with_name("claims.toml")
IDS = (  # what the report claims, in its order
    *("data-size", "data-prep"),
    *("fc-layers", "fc-params", "fc-recipe", "fc-lr", "fc-log", "fc-time", "fc-test", "fc-gap"),
    *("cnn-layers", "cnn-hierarchy", "cnn-params", "cnn-recipe", "cnn-log", "cnn-faster", "cnn-time", "cnn-test"),
    *("cnn-gain", "cnn-gap", "cnn-superior"),
    *("pred-shape", "pred-first", "pred-grid", "pred-confident"),
    *("loop-curve", "loop-proof"),
)
FIELDS = {"section", "statement", "unit", "rule", "about", "measurement"}
OPTIONAL = {"follows"}


def _number(low=-math.inf, high=math.inf):
    """A function that says whether a value is a number between these, and not without end."""

    def fits(value):
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high

    return fits


def _accuracies_and_losses(count):
    """A function that says whether a value is a list of so many accuracies, then as many losses."""
    kinds = [_number(0, 1)] * count + [_number(0)] * count

    def fits(value):
        right_length = isinstance(value, list) and len(value) == len(kinds)
        return right_length and all(fit(each) for fit, each in zip(kinds, value, strict=True))

    return fits


def _plain(value):
    return isinstance(value, str) or _number()(value)


UNITS = {  # what a reported value of each is, and whether one is that
    "percent": ("a number from 0 to 1", _number(0, 1)),
    "pp": ("a number from -1 to 1", _number(-1, 1)),
    "seconds": ("a number above 0", _number(math.ulp(0))),
    "list": ("a list of numbers or texts", lambda value: isinstance(value, list) and value and all(map(_plain, value))),
    "log": ("a list of 5 numbers from 0 to 1, then 5 from 0", _accuracies_and_losses(5)),
    "test": ("a list of a number from 0 to 1, then one from 0", _accuracies_and_losses(1)),
    "text": ("a text or a table", lambda value: isinstance(value, (str, dict)) and value),
}
SECTION = re.compile(r"\d(\.\d)?")


@dataclass(frozen=True)
class Judgement:
    """A claim, and what this build says of it.

    Attributes:
        id: the claim's name in ``claims.toml``.
        claim: its fields, a dict.
        measured: what this build measured; None where that answers nothing here.
        recorded: the same measurement of each recorded seed, (n,) or (n, k) floats; of k statements 1 and 0, or not a
            number where a record cannot say; empty where there is none.
        inside: whether the measured value lies in the range expected here; None where there is no such range.
        verdict: one of ``rules.VERDICTS``.
        recorded_verdict: that of the runs recorded on all of MNIST, where this data set cannot answer but they can;
            else None.
    """

    id: str
    claim: dict
    measured: object
    recorded: np.ndarray
    inside: bool | None
    verdict: str
    recorded_verdict: str | None = None


def load_claims(path=CLAIMS):
    """Read the claims: a dict of dicts, by id, in the report's order.

    Raises:
        ValueError: an entry is missing or unknown, lacks a field or has a wrong one; the message names entry and field.
            Or the file is not TOML, as where an entry or a field is there twice.
        OSError: there is no such file, or it cannot be read.
    """
    try:
        claims = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected TOML, found {error}; restore the file from version control") from error
    for name in (*claims, *IDS):
        if name not in claims or name not in IDS:
            what = "unknown" if name in claims else "missing"
            raise ValueError(f"claim {name} is {what} in {path}: expected an entry for each of {', '.join(IDS)}")
        _check(name, claims[name])
    return {name: claims[name] for name in IDS}


def _check(name, claim):
    """Raise ValueError where an entry is not as it should be."""

    def expect(good, field, expected):
        if not good:
            raise ValueError(f"claim {name}, {field} {claim.get(field)!r}: expected {expected}")

    def expect_one_of(field, values):
        expect(claim[field] in tuple(values), field, f"one of {', '.join(values)}")

    if not isinstance(claim, dict):
        raise ValueError(f"claim {name} is {claim!r}: expected a table of fields")
    expect(claim.get("rule") in tuple(RULES), "rule", f"one of {', '.join(RULES)}")
    needed = FIELDS | RULES[claim["rule"]].needs
    wrong = (needed - claim.keys()) | (claim.keys() - needed - OPTIONAL)
    if wrong:
        raise ValueError(f"claim {name}: expected the fields {sorted(needed)}, missing or unknown: {sorted(wrong)}")
    expect_one_of("unit", RULES[claim["rule"]].units)
    expect_one_of("about", ("mnist", "any") if claim["rule"] != "range" else ("mnist",))
    expect_one_of("measurement", RULES[claim["rule"]].measurements)
    unit = measurements.UNITS[claim["measurement"]]
    expect(claim["unit"] == unit, "measurement", f"one that gives {claim['unit']}; this one gives {unit}")
    for field in ("section", "statement", "hardware"):
        expect(field not in claim or isinstance(claim[field], str) and claim[field], field, "a text")
    expect(SECTION.fullmatch(claim["section"]), "section", "a section's number, as 2 or 2.1")
    for field in ("needs", "shown"):
        value = claim.get(field, [])
        expect(isinstance(value, list) and all(isinstance(x, str) for x in value), field, "a list of texts")
    if "reported" in claim:
        form, fits = UNITS[claim["unit"]]
        expect(fits(claim["reported"]), "reported", f"{form}, for its unit is {claim['unit']}")
    if "consistency" in claim:
        expect_one_of("consistency", CONSISTENT)
        _check_consistency(name, claim)
    _check_follows(claim, expect)


def _check_consistency(name, claim):
    """The report's own numbers must be those that the function compares."""
    try:
        CONSISTENT[claim["consistency"]](claim["reported"])
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"claim {name}, reported {claim['reported']!r}: expected the numbers that {claim['consistency']} "
            f"compares ({type(error).__name__}: {error})"
        ) from error


def _check_follows(claim, expect):
    """What the conclusion says must be there for each verdict that the claim can have, and for no other."""
    rule = RULES[claim["rule"]]
    always = claim["about"] == "any" and claim["measurement"] in measurements.EXACT
    possible = {*rule.gives, *(() if always else (UNTESTED,))}
    expected = f"a text for each of {', '.join(v for v in VERDICTS if v in possible)}"
    sentences = claim.get("follows", dict.fromkeys(possible, "-"))
    good = isinstance(sentences, dict) and all(isinstance(text, str) and text for text in sentences.values())
    expect(good and sentences.keys() == possible, "follows", expected)


def judge(dataset, seed=0, wanted=("",)):
    """Judge the claims whose section or id begins with one of those wanted (``"2.1"``, ``"cnn-"``; ``""`` begins all).

    Args:
        dataset: as ``data.load`` returns it.
        seed: of the Runs; they are found, or trained.
        wanted: beginnings, as above.

    Returns:
        A list of ``Judgement``.
    """
    wanted = tuple(wanted)
    return [
        _judge(name, claim, dataset, seed)
        for name, claim in load_claims().items()
        if claim["section"].startswith(wanted) or name.startswith(wanted)
    ]


def recorded_values(measurement, dataset_name):
    """A ranged or observed measurement of every recorded seed, as ``Judgement.recorded``."""
    recipes, function = (measurements.RANGED | measurements.OBSERVED)[measurement]
    by_seed = [{r.seed: r for r in records.find(training.RECIPES[name], dataset_name)} for name in recipes]
    seeds = sorted(set.intersection(*map(set, by_seed)))
    found = [function(*(of_recipe[seed] for of_recipe in by_seed)) for seed in seeds]
    return np.array([list(value.values()) if isinstance(value, dict) else value for value in found], float)


def compare(measurement, dataset, seed=0):
    """Hold a ranged measurement of this build against the recorded seeds.

    Args:
        measurement: a key of ``measurements.RANGED``.
        dataset, seed: what the Runs are found or trained with.

    Returns:
        measured: a float, or k floats.
        recorded: (n,) or (n, k) float64.
        inside: whether; None where fewer than ``rules.FEWEST`` seeds are recorded.
    """
    recipes, function = measurements.RANGED[measurement]
    measured = function(*(_find(dataset, seed, recipe) for recipe in recipes))
    recorded = recorded_values(measurement, dataset.name)
    if len(recorded) < FEWEST:
        return measured, recorded, None
    return measured, recorded, within(measured, check_range(recorded, measurements.UNITS[measurement]))


def observe(measurement, dataset, seed=0):
    """Which statements about a run hold in this build, and in the recorded seeds.

    Args:
        measurement: a key of ``measurements.OBSERVED``.
        dataset, seed: what the Runs are found or trained with.

    Returns:
        measured: a dict from each of k statements to whether it holds.
        recorded: (n, k), as ``Judgement.recorded``.
    """
    recipes, function = measurements.OBSERVED[measurement]
    found = [records.of_run(_find(dataset, seed, recipe), seed, dataset.test_labels) for recipe in recipes]
    return function(*found), recorded_values(measurement, dataset.name)


def _judge(name, claim, dataset, seed):
    rule, measurement = RULES[claim["rule"]], claim["measurement"]
    tested = claim["about"] == "any" or dataset.name == "mnist"
    measured, recorded, inside = None, np.array([]), None
    if not (tested or rule.shown_untested):
        pass  # what other images cannot answer is not measured on them
    elif measurement in measurements.RANGED:
        measured, recorded, inside = compare(measurement, dataset, seed)
    elif measurement in measurements.OBSERVED:
        measured, recorded = observe(measurement, dataset, seed)
    else:
        measured = measurements.EXACT[measurement](dataset, lambda recipe: _find(dataset, seed, recipe))
    too_few = measurement in measurements.OBSERVED and len(recorded) < FEWEST
    verdict = rule.judge(claim, None if too_few else measured, recorded)  # one run alone has no vote
    if verdict in rule.by_report or tested and verdict != UNTESTED:
        return Judgement(name, claim, measured, recorded, inside, verdict)
    return Judgement(name, claim, measured, recorded, inside, UNTESTED, _recorded_verdict(claim))


def _recorded_verdict(claim):
    if claim["measurement"] in measurements.EXACT:
        return None
    recorded = recorded_values(claim["measurement"], "mnist")
    return RULES[claim["rule"]].judge(claim, {}, recorded) if len(recorded) >= FEWEST else None


def _find(dataset, seed, recipe):
    return training.train(training.RECIPES[recipe], dataset, seed)
