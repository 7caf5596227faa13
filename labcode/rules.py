"""How a claim is judged. The rules were written down before the verdicts, and each can give several.

exact        the measured value is the reported one, to the last digit.
range        the reported value lies in the 95 % prediction interval for one further run on the same test images, which
             the recorded seeds give. Several values are one statement, and share the 5 %: the ten of a log, an
             accuracy and its loss.
holds        each of the statements holds. A statement about a run holds where more than half of the recorded runs show
             it; what a record cannot say, this build's run does.
measures     by each of several measures it holds: reproduced; by none: not reproduced; by some: it claims too much.
own-numbers  the report's own numbers agree with the claim, and then the statements hold.
evidence     the report shows what its claim needs, and then the statements hold.
hardware     the time was taken on hardware of the kind that is here; the shorter time is above 4/5 of the longer.

The prediction interval is Student's t, as for normal values (Hahn and Meeker 1991). So it is taken where they can be
that: of accuracies on the log-odds, of losses on the logarithm, for as they are they end at 0 or 1, and near an end
their spread is not even. Differences of accuracies, in percentage points, are far from their ends: taken as they are.

By fewer than five recorded seeds neither a range nor a statement about runs is decided: the claim is not tested.

Test images are not drawn anew in any of them: the report was tested on the very images that are used here, so their
choice cannot part the two figures. It matters where something is said of new digits (chapter 8).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from labcode import evaluation, measurements, runs

REPRODUCED = "reproduced"
NOT_REPRODUCED = "not reproduced"
CONTRADICTED = "contradicted by the report itself"
OVERCLAIMED = "claims more than it shows"
UNTESTED = "not tested on this data set"
OTHER_HARDWARE = "not tested on this hardware"
VERDICTS = (REPRODUCED, NOT_REPRODUCED, CONTRADICTED, OVERCLAIMED, UNTESTED, OTHER_HARDWARE)

FEWEST = 5  # recorded seeds, below which they decide nothing
VERDICT_LEVEL = 0.95  # a reported value inside this prediction interval counts as reproduced
CHECK_LEVEL = 0.999  # a build whose own value lies outside this one is broken: a check on us, so few false alarms
ACCURACY = {"percent": True, "nats": False, "test": [True, False], "log": [True] * 5 + [False] * 5}  # else a loss


@dataclass(frozen=True)
class Rule:
    """A way to judge a claim.

    Attributes:
        judge: a function of (claim, measured, recorded) as ``claims.Judgement`` has them, which returns a verdict.
        gives: the verdicts that it can give where the data set can answer the claim.
        measurements: those that it can judge, by name.
        units: those that the values it judges can have, of ``claims.UNITS``.
        needs: the fields that an entry needs for it, beside those that all have.
        by_report: the verdicts that the report's text settles, whatever is measured and on whatever data set.
        shown_untested: whether a measured value is worth showing on a data set that cannot answer the claim.
    """

    judge: Callable
    gives: tuple
    measurements: dict
    units: tuple
    needs: frozenset = frozenset({"reported", "follows"})
    by_report: tuple = ()
    shown_untested: bool = False


def verdict_range(recorded, unit):
    """Where a reported value counts as reproduced: (low, high), each like one of the recorded values (n,) or (n, k)."""
    return _interval(recorded, unit, VERDICT_LEVEL)


def check_range(recorded, unit):
    """Where a build's own value can lie: (low, high), each like one of the recorded values (n,) or (n, k)."""
    return _interval(recorded, unit, CHECK_LEVEL)


def _interval(recorded, unit, level):
    """The prediction interval on a scale without ends: of accuracies the log-odds, of losses the logarithm."""
    together = recorded[0].size
    accuracy = ACCURACY.get(unit)
    if accuracy is None:
        return evaluation.prediction_interval(recorded, level, together)
    accuracies = np.clip(recorded, 1e-6, 1 - 1e-6)
    endless = np.where(accuracy, special.logit(accuracies), np.log(np.maximum(recorded, 1e-12)))
    ends = evaluation.prediction_interval(endless, level, together)
    return tuple(np.where(accuracy, special.expit(end), np.exp(end)) for end in ends)


def within(value, interval):
    """Whether a value, or each of several, lies in its interval (low, high)."""
    low, high = interval
    return bool(np.all((low <= np.asarray(value)) & (np.asarray(value) <= high)))


def _exact(claim, measured, recorded):
    return REPRODUCED if measured == claim["reported"] else NOT_REPRODUCED


def _range(claim, measured, recorded):
    if len(recorded) < FEWEST:
        return UNTESTED
    return REPRODUCED if within(claim["reported"], verdict_range(recorded, claim["unit"])) else NOT_REPRODUCED


def _in_most_runs(measured, recorded):
    """Whether each statement holds; the share of runs is not a number where a record cannot say."""
    shares = recorded.mean(axis=0) if len(recorded) else np.full(len(measured), np.nan)
    answers = list(measured.values()) or [None] * len(shares)
    held = [answer if np.isnan(share) else share > 0.5 for answer, share in zip(answers, shares, strict=True)]
    return [bool(each) for each in held if each is not None]


def _holds(claim, measured, recorded):
    if measured is None:
        return UNTESTED
    return REPRODUCED if all(_in_most_runs(measured, recorded)) else NOT_REPRODUCED


def _measures(claim, measured, recorded):
    if measured is not None and len(set(_in_most_runs(measured, recorded))) > 1:
        return OVERCLAIMED
    return _holds(claim, measured, recorded)


def _own_numbers(claim, measured, recorded):
    if not CONSISTENT[claim["consistency"]](claim["reported"]):
        return CONTRADICTED
    return _holds(claim, measured, recorded)


def _evidence(claim, measured, recorded):
    lacking = set(claim["needs"]) - set(claim["shown"])
    verdict = _holds(claim, measured, recorded)
    return OVERCLAIMED if lacking and verdict != NOT_REPRODUCED else verdict


def _hardware(claim, measured, recorded):
    if claim["hardware"] not in runs.hardware():
        return OTHER_HARDWARE
    return REPRODUCED if 0.8 < measured / claim["reported"] < 1.25 else NOT_REPRODUCED


def _cnn_gap_smaller(reported):
    (fc_train, fc_test), (cnn_train, cnn_test) = reported["fc"], reported["cnn"]
    return cnn_train - cnn_test < fc_train - fc_test


def _argmax_is_printed(reported):
    probabilities, printed = reported["probabilities"], reported["printed"]
    return probabilities[printed] == max(probabilities)


CONSISTENT = {"cnn_gap_smaller": _cnn_gap_smaller, "argmax_is_printed": _argmax_is_printed}

FACTS, STATEMENTS = measurements.EXACT, measurements.EXACT | measurements.OBSERVED
EITHER = (REPRODUCED, NOT_REPRODUCED)
RULES = {
    "exact": Rule(_exact, EITHER, FACTS, ("list",), needs=frozenset({"reported"})),
    "range": Rule(
        _range,
        (*EITHER, UNTESTED),
        measurements.RANGED,
        ("percent", "pp", "log", "test"),
        shown_untested=True,
    ),
    "holds": Rule(_holds, EITHER, STATEMENTS, ("text",)),
    "measures": Rule(_measures, (*EITHER, OVERCLAIMED), STATEMENTS, ("text",)),
    "own-numbers": Rule(
        _own_numbers,
        (*EITHER, CONTRADICTED),
        STATEMENTS,
        ("text",),
        needs=frozenset({"reported", "follows", "consistency"}),
        by_report=(CONTRADICTED,),
    ),
    "evidence": Rule(
        _evidence,
        (*EITHER, OVERCLAIMED),
        STATEMENTS,
        ("text",),
        needs=frozenset({"needs", "shown", "follows"}),
        by_report=(OVERCLAIMED,),
    ),
    "hardware": Rule(
        _hardware,
        (*EITHER, OTHER_HARDWARE),
        FACTS,
        ("seconds",),
        needs=frozenset({"reported", "hardware"}),
        shown_untested=True,
    ),
}
