"""What the original report claims, and whether it holds: reported, measured, expected here, verdict.

The claims are data (``claims.toml``); ``measurements`` answers them, and ``rules`` judges them.
"""

import math
import tomllib
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np

from labcode import measurements, records, runs, training
from labcode.rules import FEWEST, RULES, UNTESTED, VERDICTS, check_range, within

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


def _list_of(*kinds):
    """A function that says whether a value is a list of one value of each of these kinds."""

    def fits(value):
        right_length = isinstance(value, list) and len(value) == len(kinds)
        return right_length and all(fit(each) for fit, each in zip(kinds, value, strict=True))

    return fits


def _table_of(**kinds):
    """A function that says whether a value is a table of one value of each of these kinds, by name."""

    def fits(value):
        return isinstance(value, dict) and value.keys() == kinds.keys() and all(kinds[key](value[key]) for key in kinds)

    return fits


def _plain(value):
    return isinstance(value, str) or _number()(value)


def _texts(value):
    return isinstance(value, list) and all(map(_text, value))


def _text(value):
    return isinstance(value, str) and bool(value.strip())


SHARE = _number(0, 1)
UNITS = {  # what a reported value of each is, and whether one is that
    "percent": ("a number from 0 to 1", SHARE),
    "pp": ("a number from -1 to 1", _number(-1, 1)),
    "seconds": ("a number above 0", _number(math.ulp(0))),
    "list": ("a list of numbers or texts", lambda value: isinstance(value, list) and value and all(map(_plain, value))),
    "log": ("a list of 5 numbers from 0 to 1, then 5 from 0", _list_of(*[SHARE] * 5, *[_number(0)] * 5)),
    "test": ("a list of a number from 0 to 1, then one from 0", _list_of(SHARE, _number(0))),
    "text": ("a text or a table", lambda value: _text(value) or isinstance(value, dict) and value),
}
OWN_NUMBERS = {  # what the functions of ``rules.CONSISTENT`` compare, and whether a table is that
    "cnn_gap_smaller": (
        "{ fc = [training accuracy, test accuracy], cnn = the same }, numbers from 0 to 1",
        _table_of(fc=_list_of(SHARE, SHARE), cnn=_list_of(SHARE, SHARE)),
    ),
    "argmax_is_printed": (
        "{ probabilities = ten numbers from 0 to 1, printed = a digit }",
        _table_of(probabilities=_list_of(*[SHARE] * 10), printed=lambda value: type(value) is int and 0 <= value <= 9),
    ),
}
SECTIONS = ("1", "2.1", "2.2", "2.3", "3.1", "3.2", "3.3", "4", "5", "6")  # the report's


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
        too_few: whether it is untested only because too few seeds are recorded.
    """

    id: str
    claim: dict
    measured: object
    recorded: np.ndarray
    inside: bool | None
    verdict: str
    recorded_verdict: str | None = None
    too_few: bool = False


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
    expect(claim["unit"] == unit, "unit", f"{unit}, for that is what the measurement {claim['measurement']} gives")
    expect_one_of("section", SECTIONS)
    expect(_text(claim["statement"]), "statement", "a text")
    if "hardware" in claim:
        expect_one_of("hardware", runs.COLAB)
    if "needs" in claim:
        expect(_texts(claim["needs"]) and claim["needs"], "needs", "a list of texts, at least one")
        shown = _texts(claim["shown"]) and set(claim["shown"]) <= set(claim["needs"])
        expect(shown, "shown", f"a list of texts of {claim['needs']}")
    if "reported" in claim:
        _check_reported(claim, expect)
    _check_follows(claim, expect)


def _check_reported(claim, expect):
    """What is reported must be of its unit, as many values as are measured, and such as can be compared."""
    form, fits = UNITS[claim["unit"]]
    expect(fits(claim["reported"]), "reported", f"{form}, for its unit is {claim['unit']}")
    if claim["unit"] == "list":
        count = measurements.COUNTS[claim["measurement"]]
        expect(len(claim["reported"]) == count, "reported", f"{count} values, as {claim['measurement']} gives")
    if "consistency" in claim:
        expect(claim["consistency"] in tuple(OWN_NUMBERS), "consistency", f"one of {', '.join(OWN_NUMBERS)}")
        form, fits = OWN_NUMBERS[claim["consistency"]]
        expect(fits(claim["reported"]), "reported", f"the numbers that {claim['consistency']} compares, {form}")


def _check_follows(claim, expect):
    """What the conclusion says must be there for each verdict that the claim can have, and for no other.

    A claim that every data set can answer is only untested where too few seeds are recorded, and that is said of all
    claims in the same words.
    """
    possible = {*RULES[claim["rule"]].gives, *((UNTESTED,) if claim["about"] == "mnist" else ())}
    expected = f"a text for each of {', '.join(v for v in VERDICTS if v in possible)}"
    sentences = claim.get("follows", dict.fromkeys(possible, "-"))
    good = isinstance(sentences, dict) and all(map(_text, sentences.values()))
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
    alone = measurement in measurements.OBSERVED and len(recorded) < FEWEST
    verdict = rule.judge(claim, None if alone else measured, recorded)  # one run has no vote
    if tested or verdict in rule.by_report:
        return Judgement(name, claim, measured, recorded, inside, verdict, too_few=verdict == UNTESTED)
    return Judgement(name, claim, measured, recorded, inside, UNTESTED, _recorded_verdict(claim))


def _recorded_verdict(claim):
    if claim["measurement"] in measurements.EXACT:
        return None
    recorded = recorded_values(claim["measurement"], "mnist")
    return RULES[claim["rule"]].judge(claim, {}, recorded) if len(recorded) >= FEWEST else None


def _find(dataset, seed, recipe):
    return training.train(training.RECIPES[recipe], dataset, seed)
