"""Each rule gives each verdict that it can give, of sabotaged measurements and records: none always says yes.

What is recorded is made up here; intervals are computed by hand, with Student's t from a printed table, of accuracies
on the log-odds, of losses on the logarithm.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest

from labcode import measurements, rules, runs
from labcode.rules import (
    CONTRADICTED,
    NOT_REPRODUCED,
    OTHER_HARDWARE,
    OVERCLAIMED,
    REPRODUCED,
    RULES,
    UNTESTED,
)

NOTHING = np.array([])
SEEDS = np.array([0.968, 0.969, 0.970, 0.9695, 0.9685])
T_95, T_95_BY_2, T_95_BY_10 = 2.776, 3.495, 5.598  # Student's t with 4 degrees of freedom: of 95 %, and shared
T_999, T_999_BY_2, T_999_BY_10 = 8.610, 10.306, 15.544  # of 99.9 %, and shared
A_BIT = 3e-6  # more than what the table's rounding of t moves an edge by

FACT = {"reported": [101770, 101772], "unit": "list"}
NUMBER = {"reported": 0.9689, "unit": "percent"}
TIME = {"reported": 28.0, "unit": "seconds", "hardware": runs.processor()}
SMALLER_GAP = {"fc": [0.9720, 0.9689], "cnn": [0.9932, 0.9925]}
LARGER_GAP = SMALLER_GAP | {"cnn": [0.9932, 0.9855]}
CONSISTENT = {"reported": SMALLER_GAP, "consistency": "cnn_gap_smaller"}
INCONSISTENT = {"reported": LARGER_GAP, "consistency": "cnn_gap_smaller"}
SHOWN = {"needs": ["a test", "an interval"], "shown": ["an interval", "a picture", "a test"]}
LACKING = {"needs": ["a test", "an interval"], "shown": ["an interval", "a picture"]}


def statements(*held):
    """A measurement of so many statements."""
    return {f"statement {number}": holds for number, holds in enumerate(held)}


def in_runs(*counts, of=10):
    """So many of the recorded runs show each statement: (of, k) bool."""
    return np.array([[number < count for count in counts] for number in range(of)])


def either_way(claim, measured_case, recorded_case):
    """A case by this build where nothing is recorded, and one by the records though this build shows the contrary."""
    contrary = statements(*(not holds for holds in measured_case))
    return [
        (claim, statements(*measured_case), NOTHING),
        (claim, contrary, in_runs(*recorded_case)),
        (claim, {}, in_runs(*recorded_case)),
    ]


YES, NO, SOME = ((True, True), (10, 6)), ((True, False), (10, 5)), ((True, False), (10, 0))
CASES = {
    ("exact", REPRODUCED): [(FACT, [101770, 101772], NOTHING)],
    ("exact", NOT_REPRODUCED): [(FACT, [101770, 101771], NOTHING), (FACT, [101770], NOTHING), (FACT, None, NOTHING)],
    ("range", REPRODUCED): [(NUMBER, measured, SEEDS) for measured in (0.9690, 0.1, None)],
    ("range", NOT_REPRODUCED): [(NUMBER, measured, SEEDS + 0.01) for measured in (0.9689, 0.979, None)],
    ("range", UNTESTED): [(NUMBER, 0.9689, seeds) for seeds in (NOTHING, SEEDS[:1], SEEDS[:2], SEEDS[:4])],
    ("holds", REPRODUCED): either_way({}, *YES),
    ("holds", NOT_REPRODUCED): either_way({}, *NO) + either_way({}, (False, False), (0, 5)),
    ("measures", REPRODUCED): either_way({}, *YES),
    ("measures", NOT_REPRODUCED): either_way({}, (False, False), (5, 0)),
    ("measures", OVERCLAIMED): either_way({}, *SOME) + either_way({}, (False, True), (5, 6)),
    ("own-numbers", REPRODUCED): either_way(CONSISTENT, *YES),
    ("own-numbers", NOT_REPRODUCED): either_way(CONSISTENT, *NO),
    ("own-numbers", CONTRADICTED): [*either_way(INCONSISTENT, *YES), *either_way(INCONSISTENT, *NO)],
    ("evidence", REPRODUCED): either_way(SHOWN, *YES),
    ("evidence", NOT_REPRODUCED): either_way(SHOWN, *NO) + either_way(LACKING, *NO),
    ("evidence", OVERCLAIMED): either_way(LACKING, *YES),
    ("hardware", REPRODUCED): [(TIME, seconds, NOTHING) for seconds in (22.5, 28.0, 34.9)],
    ("hardware", NOT_REPRODUCED): [(TIME, seconds, NOTHING) for seconds in (22.3, 35.1, 2.0)],
    ("hardware", OTHER_HARDWARE): [(TIME | {"hardware": "an abacus"}, 28.0, NOTHING)],
}


@pytest.mark.parametrize(("name", "verdict"), [(name, given) for name, rule in RULES.items() for given in rule.gives])
def test_a_rule_gives_each_of_its_verdicts(name, verdict):
    for claim, measured, recorded in CASES[name, verdict]:
        assert RULES[name].judge(claim, measured, recorded) == verdict, (claim, measured, recorded)


def test_no_case_is_of_a_verdict_that_the_rule_does_not_name():
    assert CASES.keys() == {(name, verdict) for name, rule in RULES.items() for verdict in rule.gives}


@pytest.mark.parametrize("name", RULES)
def test_no_rule_always_says_yes_or_always_no(name):
    assert {REPRODUCED, NOT_REPRODUCED} <= set(RULES[name].gives) <= set(rules.VERDICTS)


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.measurements is rules.STATEMENTS])
def test_no_other_verdict_is_given_of_any_two_statements_or_any_three_runs(name):
    rule, claims = RULES[name], (CONSISTENT | SHOWN, CONSISTENT | LACKING, INCONSISTENT | SHOWN, INCONSISTENT | LACKING)
    for claim, held in itertools.product(claims, itertools.product((False, True), repeat=2)):
        assert rule.judge(claim, statements(*held), NOTHING) in rule.gives
        for bits in itertools.product((False, True), repeat=6):
            assert rule.judge(claim, statements(*held), np.array(bits).reshape(3, 2)) in rule.gives


@pytest.mark.parametrize(("name", "claim"), [("holds", {}), ("measures", {}), ("own-numbers", CONSISTENT)])
def test_what_was_not_measured_is_not_judged(name, claim):
    assert RULES[name].judge(claim, None, NOTHING) == UNTESTED


@pytest.mark.parametrize(("name", "claim"), [("own-numbers", INCONSISTENT), ("evidence", LACKING)])
def test_what_the_report_itself_settles_needs_no_measurement(name, claim):
    assert (RULES[name].judge(claim, None, NOTHING),) == RULES[name].by_report
    assert set(RULES[name].by_report) <= set(RULES[name].gives)


def test_a_rule_judges_only_measurements_of_its_kind():
    facts, numbers, observed = measurements.EXACT, measurements.RANGED, measurements.OBSERVED
    assert not facts.keys() & numbers.keys() and not observed.keys() & (facts | numbers).keys()
    kinds = {name: set(rule.measurements) for name, rule in RULES.items()}
    assert kinds.pop("range") == set(numbers) and kinds.pop("exact") == kinds.pop("hardware") == set(facts)
    assert kinds and all(kind == {*facts, *observed} for kind in kinds.values())


def test_every_rule_is_explained_where_claims_are_written_and_where_they_are_judged():
    explained = [line.split()[0] for line in rules.__doc__.splitlines()[2:] if line.split("  ")[0] in RULES]
    assert explained == list(RULES)
    header = Path(rules.__file__).with_name("claims.toml").read_text("utf-8").split("\n\n")[0]
    assert f"labcode/rules.py judges it: {', '.join(RULES)}\n" in header


# Range: the interval of the recorded seeds decides


def range_verdict(reported, recorded, unit):
    return RULES["range"].judge({"reported": reported, "unit": unit}, None, recorded)


def odds(accuracies):
    return np.log(accuracies / (1 - accuracies))


def of_odds(logarithms):
    return 1 / (1 + np.exp(-logarithms))


SCALES = {"percent": (odds, of_odds), "nats": (np.log, np.exp), "pp": (np.asarray, np.asarray)}  # there and back


def edges(recorded, t, unit):
    """The edges of the interval of one further value, by hand: the mean and t times the error, on the unit's scale."""
    there, back = SCALES[unit]
    values = there(recorded)
    reach = t * np.sqrt(((values - values.mean()) ** 2).sum() / 4 * (1 + 1 / 5))
    return back(values.mean() - reach), back(values.mean() + reach)


@pytest.mark.parametrize("unit", ["percent", "pp"])
@pytest.mark.parametrize("recorded", [SEEDS, SEEDS - 0.5, (SEEDS - 0.9) / 3], ids=["high", "middle", "low"])
def test_one_number_is_reproduced_up_to_the_edges_of_its_interval(unit, recorded):
    low, high = edges(recorded, T_95, unit)
    for inside, outside in ((low + A_BIT, low - A_BIT), (high - A_BIT, high + A_BIT)):
        assert range_verdict(inside, recorded, unit) == REPRODUCED
        assert range_verdict(outside, recorded, unit) == NOT_REPRODUCED


LOG = np.column_stack([SEEDS - off for off in (0.2, 0.1, 0.05, 0.02, 0)] + [SEEDS - off for off in np.arange(5) / 5])
OF_LOG = ["percent"] * 5 + ["nats"] * 5  # what its columns are


@pytest.mark.parametrize("at", range(10))
def test_each_of_the_ten_numbers_of_a_log_must_lie_within_its_edges(at):
    low, high = edges(LOG[:, at], T_95_BY_10, OF_LOG[at])
    ends = ((low + A_BIT, REPRODUCED), (low - A_BIT, NOT_REPRODUCED))
    for value, verdict in (*ends, (high - A_BIT, REPRODUCED), (high + A_BIT, NOT_REPRODUCED)):
        reported = LOG.mean(axis=0)
        reported[at] = value
        assert range_verdict(list(reported), LOG, "log") == verdict


@pytest.mark.parametrize("at", range(2))
def test_both_an_accuracy_and_its_loss_must_lie_within_their_edges(at):
    recorded = np.column_stack([SEEDS, SEEDS - 0.9])
    low, high = edges(recorded[:, at], T_95_BY_2, ["percent", "nats"][at])
    ends = ((low + A_BIT, REPRODUCED), (low - A_BIT, NOT_REPRODUCED), (99 if at else 1, NOT_REPRODUCED))
    for value, verdict in (*ends, (high - A_BIT, REPRODUCED), (high + A_BIT, NOT_REPRODUCED)):
        reported = recorded.mean(axis=0)
        reported[at] = value
        assert range_verdict(list(reported), recorded, "test") == verdict


@pytest.mark.parametrize(
    ("unit", "recorded", "verdict_t", "check_t", "of_columns"),
    [
        ("percent", SEEDS, T_95, T_999, ["percent"]),
        ("nats", SEEDS, T_95, T_999, ["nats"]),
        ("pp", SEEDS, T_95, T_999, ["pp"]),
        ("test", LOG[:, [4, 9]], T_95_BY_2, T_999_BY_2, ["percent", "nats"]),
        ("log", LOG, T_95_BY_10, T_999_BY_10, OF_LOG),
    ],
)
def test_the_check_on_a_build_is_wider_than_the_verdict_and_shared(unit, recorded, verdict_t, check_t, of_columns):
    columns = list(zip(recorded.reshape(5, -1).T, of_columns, strict=True))
    for interval, t in ((rules.verdict_range, verdict_t), (rules.check_range, check_t)):
        low, high = interval(recorded, unit)
        by_hand = np.array([edges(column, t, kind) for column, kind in columns])
        assert np.shape(low) == np.shape(high) == recorded[0].shape
        assert np.column_stack([low, high]).reshape(-1, 2) == pytest.approx(by_hand, abs=A_BIT)


@pytest.mark.parametrize(
    "recorded",
    [
        [0.999, 1.0, 0.9995, 0.9999, 1.0],
        [0.001, 0.0, 0.0005, 0.002, 0.0],
        [0.0, 1.0, 0.0, 1.0, 0.5],
        [0.1, 0.97, 0.96, 0.95, 0.97],
        [1.0] * 5,
    ],
)
def test_no_range_leaves_what_accuracies_and_losses_can_be(recorded):
    recorded = np.array(recorded)
    for unit, count in (("percent", 1), ("test", 2), ("log", 10)):
        of_unit = np.column_stack([recorded] * count) if count > 1 else recorded
        for interval in (rules.verdict_range, rules.check_range):
            low, high = (np.atleast_1d(end) for end in interval(of_unit, unit))
            accuracies = len(low) // 2 or 1
            assert np.all((low >= 0) & (low <= high) & np.isfinite(high))
            assert np.all(high[:accuracies] <= 1)


def test_a_value_on_an_edge_is_within():
    assert rules.within(1, (1, 2)) and rules.within(2, (1, 2)) and rules.within([1, 4], ([1, 3], [2, 4]))
    assert not rules.within(np.nextafter(2, 3), (1, 2)) and not rules.within([1, 2], ([1, 3], [2, 4]))
    assert not rules.within(float("nan"), (1, 2))


# Statements: the majority of the recorded runs decides


@pytest.mark.parametrize(
    ("shown_by", "of", "verdict"),
    [
        (6, 10, REPRODUCED),
        (5, 10, NOT_REPRODUCED),
        (4, 10, NOT_REPRODUCED),
        (3, 5, REPRODUCED),
        (2, 5, NOT_REPRODUCED),
        (1, 1, REPRODUCED),
        (0, 1, NOT_REPRODUCED),
    ],
)
@pytest.mark.parametrize("here", [True, False])
def test_exactly_half_is_no_majority_and_this_build_has_no_vote(shown_by, of, verdict, here):
    assert RULES["holds"].judge({}, statements(here), in_runs(shown_by, of=of)) == verdict


def test_each_statement_has_a_majority_of_its_own():
    in_turn = np.array([[True, True, False], [False, True, True], [True, False, True]])
    assert RULES["holds"].judge({}, statements(False, False, False), in_turn) == REPRODUCED
    assert RULES["holds"].judge({}, statements(True, True, True), ~in_turn) == NOT_REPRODUCED


@pytest.mark.parametrize(
    ("shown_by", "here", "verdict"),
    [
        (3, statements(False, True), REPRODUCED),
        (3, statements(True, False), OVERCLAIMED),
        (3, {}, REPRODUCED),
        (2, statements(True, True), OVERCLAIMED),
        (2, statements(True, False), NOT_REPRODUCED),
        (2, {}, NOT_REPRODUCED),
    ],
)
def test_what_no_record_can_say_this_builds_run_says_and_where_there_is_none_nobody(shown_by, here, verdict):
    recorded = np.column_stack([in_runs(shown_by, of=5), np.full(5, np.nan)])
    assert RULES["measures"].judge({}, here, recorded) == verdict


# What the report says of its own numbers


@pytest.mark.parametrize(("cnn_test", "agrees"), [(0.8125, True), (0.75, False), (0.6875, False)])
def test_a_gap_agrees_only_where_it_is_smaller(cnn_test, agrees):
    reported = {"fc": [0.75, 0.5], "cnn": [1.0, cnn_test]}
    assert rules.CONSISTENT["cnn_gap_smaller"](reported) is agrees


@pytest.mark.parametrize(("printed", "agrees"), [(7, True), (3, False)])
def test_a_printed_digit_agrees_where_its_number_is_the_largest(printed, agrees):
    probabilities = [0.01] * 7 + [0.9, 0.01, 0.02]
    assert rules.CONSISTENT["argmax_is_printed"]({"probabilities": probabilities, "printed": printed}) is agrees


# Hardware


@pytest.mark.parametrize("kind", ["a Colab machine", "a Colab GPU", runs.processor()])
def test_a_time_is_judged_on_the_hardware_of_the_claim_and_on_no_other(monkeypatch, kind):
    claim = TIME | {"hardware": kind}
    monkeypatch.setattr(runs, "hardware", lambda: {kind, "another"})
    assert RULES["hardware"].judge(claim, 28.0, NOTHING) == REPRODUCED
    monkeypatch.setattr(runs, "hardware", lambda: {"another"})
    assert RULES["hardware"].judge(claim, 28.0, NOTHING) == OTHER_HARDWARE
