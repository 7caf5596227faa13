"""What the original report claims, and whether it holds: reported, measured, expected here, verdict.

The claims are data (``claims.toml``); ``measurements`` answers them; the rules below judge them:

exact        the measured value is the reported one, to the last digit.
range        the reported value lies in the 95 % prediction interval for one further run, from the recorded seeds, and
             this build's own value is not outside what they make possible. Several values at once share the 5 %.
holds        each of the measured statements holds.
measures     by each of several measures it holds: reproduced; by none: not reproduced; by some: it claims too much.
own-numbers  the report's own numbers agree with the claim, and then the measured statements hold.
evidence     the report shows what its claim needs, and then the measured statements hold.
hardware     the time was taken on the hardware that is here, and is within a fifth of it.
"""

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labcode import evaluation, measurements, records, runs, training

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
CONTRADICTED = "contradicted by the report itself"
OVERCLAIMED = "claims more than it shows"
UNTESTED = "not tested on this data set"
OTHER_HARDWARE = "not tested on this hardware"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, CONTRADICTED, OVERCLAIMED, UNTESTED, OTHER_HARDWARE)

CLAIMS = Path(__file__).with_name("claims.toml")
FIELDS = {"section", "statement", "unit", "rule", "about"}
OPTIONAL = {"reported", "measurement", "consistency", "needs", "shown", "hardware", "follows"}
NEEDED = {  # by rule, beside those
    "exact": {"reported", "measurement"},
    "range": {"reported", "measurement"},
    "holds": {"reported", "measurement"},
    "measures": {"reported", "measurement"},
    "own-numbers": {"reported", "measurement", "consistency"},
    "evidence": {"needs", "shown", "measurement"},
    "hardware": {"reported", "measurement", "hardware"},
}
UNITS = ("percent", "pp", "seconds", "list", "log", "test", "text")


@dataclass(frozen=True)
class Judgement:
    """A claim, and what this build says of it.

    Attributes:
        id: the claim's name in ``claims.toml``.
        claim: its fields, a dict.
        measured: what this build measured; None where that answers nothing here.
        recorded: the same measurement of each recorded seed, (n,) or (n, k); empty where there is none.
        inside: whether the measured value lies in the range expected here; None where there is no such range.
        verdict: one of ``VERDICTS``.
    """

    id: str
    claim: dict
    measured: object
    recorded: np.ndarray
    inside: bool | None
    verdict: str


def load_claims(path=CLAIMS):
    """Read the claims: a dict of dicts, by id, in the report's order.

    Raises:
        ValueError: an entry lacks a field or has a wrong one; the message names both.
    """
    claims = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    known = {
        "unit": UNITS,
        "rule": tuple(RULES),
        "about": ("mnist", "any"),
        "measurement": (*measurements.RANGED, *measurements.EXACT),
        "consistency": tuple(CONSISTENT),
    }
    for name, claim in claims.items():
        needed = FIELDS | NEEDED.get(claim.get("rule"), set())
        wrong = (needed - claim.keys()) | (claim.keys() - FIELDS - OPTIONAL)
        if wrong:
            raise ValueError(f"claim {name}: expected the fields {sorted(needed)}, missing or unknown: {sorted(wrong)}")
        for field, values in known.items():
            if field in claim and claim[field] not in values:
                raise ValueError(f"claim {name}, {field} {claim[field]!r}: expected one of {', '.join(values)}")
        unknown = claim.get("follows", {}).keys() - set(VERDICTS)
        if unknown:
            raise ValueError(f"claim {name}, follows {sorted(unknown)}: expected one of {', '.join(VERDICTS)}")
    return claims


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
    """A ranged measurement of every recorded seed: (n,) or (n, k) float64, n = 0 where none is recorded."""
    recipes, function = measurements.RANGED[measurement]
    by_seed = [{r.seed: r for r in records.find(training.RECIPES[name], dataset_name)} for name in recipes]
    seeds = sorted(set.intersection(*map(set, by_seed)))
    return np.array([function(*(of_recipe[seed] for of_recipe in by_seed)) for seed in seeds], float)


def compare(measurement, dataset, seed=0):
    """Hold a ranged measurement of this build against the recorded seeds.

    Args:
        measurement: a key of ``measurements.RANGED``.
        dataset, seed: what the Runs are found or trained with.

    Returns:
        measured: a float, or (k,) floats.
        recorded: (n,) or (n, k) float64.
        inside: whether; None where fewer than 2 seeds are recorded.
    """
    recipes, function = measurements.RANGED[measurement]
    measured = function(*(_find(dataset, seed, recipe) for recipe in recipes))
    recorded = recorded_values(measurement, dataset.name)
    inside = bool(np.all(_within(measured, recorded, evaluation.CHECK_LEVEL))) if len(recorded) > 1 else None
    return measured, recorded, inside


def _judge(name, claim, dataset, seed):
    measurement = claim.get("measurement")
    tested = claim["about"] == "any" or dataset.name == "mnist"
    measured, recorded, inside = None, np.array([]), None
    if measurement in measurements.RANGED:
        measured, recorded, inside = compare(measurement, dataset, seed)
    elif measurement and (tested or claim["rule"] == "hardware"):
        find = functools.partial(_find, dataset, seed)
        measured = measurements.EXACT[measurement](dataset, find)
    verdict = RULES[claim["rule"]](claim, measured, recorded, inside)
    settled_by_report = verdict in (CONTRADICTED, OVERCLAIMED) and claim["rule"] in ("own-numbers", "evidence")
    return Judgement(name, claim, measured, recorded, inside, verdict if tested or settled_by_report else UNTESTED)


def _find(dataset, seed, recipe):
    return training.train(training.RECIPES[recipe], dataset, seed)


def _within(value, recorded, level):
    low, high = evaluation.prediction_interval(recorded, level)
    return (low <= np.asarray(value)) & (np.asarray(value) <= high)


def _exact(claim, measured, recorded, inside):
    return REPRODUCED if measured == claim["reported"] else NOT_REPRODUCED


def _range(claim, measured, recorded, inside):
    if inside is None:
        return UNTESTED
    reported_fits = bool(np.all(_within(claim["reported"], recorded, evaluation.VERDICT_LEVEL)))
    return REPRODUCED if reported_fits and inside else NOT_REPRODUCED


def _holds(claim, measured, recorded, inside):
    if measured is None:
        return UNTESTED
    return REPRODUCED if all(measured.values()) else NOT_REPRODUCED


def _measures(claim, measured, recorded, inside):
    if measured and any(measured.values()) and not all(measured.values()):
        return OVERCLAIMED
    return _holds(claim, measured, recorded, inside)


def _own_numbers(claim, measured, recorded, inside):
    if not CONSISTENT[claim["consistency"]](claim["reported"]):
        return CONTRADICTED
    return _holds(claim, measured, recorded, inside)


def _evidence(claim, measured, recorded, inside):
    lacking = set(claim["needs"]) - set(claim["shown"])
    verdict = _holds(claim, measured, recorded, inside)
    return OVERCLAIMED if lacking and verdict != NOT_REPRODUCED else verdict


def _hardware(claim, measured, recorded, inside):
    if claim["hardware"] != runs.processor():
        return OTHER_HARDWARE
    return REPRODUCED if 0.8 < measured / claim["reported"] < 1.25 else NOT_REPRODUCED


RULES = {
    "exact": _exact,
    "range": _range,
    "holds": _holds,
    "measures": _measures,
    "own-numbers": _own_numbers,
    "evidence": _evidence,
    "hardware": _hardware,
}


def _cnn_gap_smaller(reported):
    return reported["cnn"][0] - reported["cnn"][1] < reported["fc"][0] - reported["fc"][1]


def _argmax_is_printed(reported):
    return int(np.argmax(reported["probabilities"])) == reported["printed"]


CONSISTENT = {"cnn_gap_smaller": _cnn_gap_smaller, "argmax_is_printed": _argmax_is_printed}
