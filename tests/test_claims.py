"""Each claim of the report is judged by its rule, and nothing is called reproduced that was not tested.

The Runs are those of the session's store, which the chapters share.
"""

import dataclasses
import json
import os
import re
import sys

import numpy as np
import pytest

from labcode import claims, data, measurements, records, runs, scoreboard, training
from labcode.claims import CONTRADICTED, NOT_REPRODUCED, OTHER_HARDWARE, OVERCLAIMED, REPRODUCED, RULES, UNTESTED

ON_MNIST_5K = {  # in the report's order
    "data-size": UNTESTED,
    "data-prep": REPRODUCED,
    "fc-layers": REPRODUCED,
    "fc-params": REPRODUCED,
    "fc-recipe": UNTESTED,
    "fc-lr": UNTESTED,
    "fc-log": UNTESTED,
    "fc-time": UNTESTED,
    "fc-test": UNTESTED,
    "fc-gap": UNTESTED,
    "cnn-layers": REPRODUCED,
    "cnn-hierarchy": OVERCLAIMED,
    "cnn-params": REPRODUCED,
    "cnn-recipe": REPRODUCED,
    "cnn-log": UNTESTED,
    "cnn-faster": UNTESTED,
    "cnn-time": UNTESTED,
    "cnn-test": UNTESTED,
    "cnn-gain": UNTESTED,
    "cnn-gap": CONTRADICTED,
    "cnn-superior": OVERCLAIMED,
    "pred-shape": REPRODUCED,
    "pred-first": CONTRADICTED,
    "pred-grid": UNTESTED,
    "pred-confident": UNTESTED,
    "loop-curve": UNTESTED,
    "loop-proof": OVERCLAIMED,
}


@pytest.fixture(scope="module")
def reported():
    return claims.load_claims()


# The claims as data


def test_every_claim_of_the_report_has_an_entry(reported):
    assert list(reported) == list(ON_MNIST_5K)


def test_every_claim_has_what_its_rule_needs(reported):
    for name, claim in reported.items():
        rule, measurement = claim["rule"], claim.get("measurement")
        assert (measurement in measurements.RANGED) == (rule == "range"), name
        assert measurement in measurements.EXACT or rule in ("range", "evidence"), name
        assert ("consistency" in claim) == (rule == "own-numbers"), name
        assert ("hardware" in claim) == (rule == "hardware"), name
        assert {"needs", "shown"} <= claim.keys() if rule == "evidence" else "reported" in claim, name


def test_numbers_that_the_report_gives_twice_agree(reported):
    value = {name: claim.get("reported") for name, claim in reported.items()}
    (fc_test, _), (cnn_test, _) = value["fc-test"], value["cnn-test"]
    assert value["cnn-gap"] == {"fc": [value["fc-log"][4], fc_test], "cnn": [value["cnn-log"][4], cnn_test]}
    assert value["fc-gap"] == pytest.approx(value["fc-log"][4] - fc_test)
    assert value["cnn-gain"] == pytest.approx(cnn_test - fc_test)
    assert value["cnn-params"][0] == sum(value["cnn-params"][1:])


ENTRY = {
    "section": '"9"',
    "statement": '"It is so"',
    "reported": "0.97",
    "unit": '"percent"',
    "measurement": '"fc_test_accuracy"',
    "rule": '"range"',
    "about": '"mnist"',
}


def load(tmp_path, **fields):
    """``load_claims`` of a file with one entry, changed in these fields; None leaves one out."""
    entry = {field: text for field, text in (ENTRY | fields).items() if text is not None}
    path = tmp_path / "claims.toml"
    path.write_text("[some-claim]\n" + "\n".join(f"{field} = {text}" for field, text in entry.items()))
    return claims.load_claims(path)


def test_a_right_entry_is_read(tmp_path):
    assert load(tmp_path)["some-claim"]["reported"] == 0.97


@pytest.mark.parametrize(
    ("field", "text", "found"),
    [
        ("section", None, r"missing or unknown: \['section'\]"),
        ("statement", None, r"missing or unknown: \['statement'\]"),
        ("rule", None, r"missing or unknown: \['rule'\]"),
        ("about", None, r"missing or unknown: \['about'\]"),
        ("reprted", "0.97", r"missing or unknown: \['reprted'\]"),
        ("follows", '{ "surely" = "It is so." }', r"\['surely'\]: expected one of reproduced, not reproduced"),
        ("unit", '"furlongs"', "'furlongs': expected one of percent, pp"),
        ("rule", '"by feel"', "'by feel': expected one of exact, range"),
        ("about", '"cifar10"', "'cifar10': expected one of mnist, any"),
        ("measurement", '"fc_tset_accuracy"', "'fc_tset_accuracy': expected one of "),
        ("consistency", '"all_is_well"', "'all_is_well': expected one of cnn_gap_smaller"),
    ],
)
def test_a_faulty_entry_is_refused_by_name_and_field(tmp_path, field, text, found):
    with pytest.raises(ValueError, match=f"^claim some-claim.*{found}") as error:
        load(tmp_path, **{field: text})
    assert field in str(error.value)


# The rules

NOTHING = np.array([])
SEEDS = np.array([0.968, 0.969, 0.970, 0.9695, 0.9685])  # the 95 % prediction interval is 0.9666 to 0.9714
TWO = np.column_stack([SEEDS, SEEDS - 0.1])
GAPS = {"fc": [0.9720, 0.9689], "cnn": [0.9932, 0.9855]}
HERE = runs.processor()


@pytest.mark.parametrize(
    ("rule", "claim", "measured", "recorded", "inside", "verdict"),
    [
        ("exact", {"reported": [101770]}, [101770], NOTHING, None, REPRODUCED),
        ("exact", {"reported": [101770]}, [101642], NOTHING, None, NOT_REPRODUCED),
        ("range", {"reported": 0.9689}, 0.9695, SEEDS, True, REPRODUCED),
        ("range", {"reported": 0.9600}, 0.9695, SEEDS, True, NOT_REPRODUCED),
        ("range", {"reported": 0.9720}, 0.9695, SEEDS, True, NOT_REPRODUCED),
        ("range", {"reported": 0.9689}, 0.1000, SEEDS, False, NOT_REPRODUCED),
        ("range", {"reported": 0.9689}, 0.9695, NOTHING, None, UNTESTED),
        ("range", {"reported": [0.9689, 0.8689]}, [0.97, 0.87], TWO, True, REPRODUCED),
        ("range", {"reported": [0.9689, 0.9689]}, [0.97, 0.87], TWO, True, NOT_REPRODUCED),
        ("holds", {}, {"a": True, "b": True}, NOTHING, None, REPRODUCED),
        ("holds", {}, {"a": True, "b": False}, NOTHING, None, NOT_REPRODUCED),
        ("holds", {}, {"a": False, "b": False}, NOTHING, None, NOT_REPRODUCED),
        ("holds", {}, None, NOTHING, None, UNTESTED),
        ("measures", {}, {"a": True, "b": True}, NOTHING, None, REPRODUCED),
        ("measures", {}, {"a": True, "b": False}, NOTHING, None, OVERCLAIMED),
        ("measures", {}, {"a": False, "b": False}, NOTHING, None, NOT_REPRODUCED),
        ("measures", {}, None, NOTHING, None, UNTESTED),
        ("own-numbers", {"consistency": "cnn_gap_smaller", "reported": GAPS}, {"a": True}, NOTHING, None, CONTRADICTED),
        ("evidence", {"needs": ["a", "b"], "shown": ["a"]}, {"c": True}, NOTHING, None, OVERCLAIMED),
        ("evidence", {"needs": ["a", "b"], "shown": ["a"]}, {"c": False}, NOTHING, None, NOT_REPRODUCED),
        ("evidence", {"needs": ["a"], "shown": ["a"]}, {"c": True}, NOTHING, None, REPRODUCED),
        ("evidence", {"needs": ["a"], "shown": ["a"]}, {"c": False}, NOTHING, None, NOT_REPRODUCED),
        ("evidence", {"needs": ["a"], "shown": ["a"]}, None, NOTHING, None, UNTESTED),
        ("hardware", {"hardware": "a Colab GPU", "reported": 28.0}, 1.0, NOTHING, None, OTHER_HARDWARE),
        ("hardware", {"hardware": HERE, "reported": 28.0}, 27.0, NOTHING, None, REPRODUCED),
        ("hardware", {"hardware": HERE, "reported": 28.0}, 36.0, NOTHING, None, NOT_REPRODUCED),
        ("hardware", {"hardware": HERE, "reported": 28.0}, 2.0, NOTHING, None, NOT_REPRODUCED),
    ],
)
def test_a_rule_gives_its_verdict(rule, claim, measured, recorded, inside, verdict):
    assert RULES[rule](claim, measured, recorded, inside) == verdict


CONSISTENT_REPORTS = {"cnn-gap": {"cnn": [0.9932, 0.9925]}, "pred-first": {"printed": 7}}


@pytest.mark.parametrize("name", CONSISTENT_REPORTS)
@pytest.mark.parametrize(("holds", "otherwise"), [(True, REPRODUCED), (False, NOT_REPRODUCED)])
def test_a_contradiction_in_the_report_is_found_and_vanishes_with_it(reported, name, holds, otherwise):
    claim, measured = reported[name], {"as claimed": holds}
    assert RULES[claim["rule"]](claim, measured, NOTHING, None) == CONTRADICTED
    consistent = claim | {"reported": claim["reported"] | CONSISTENT_REPORTS[name]}
    assert RULES[claim["rule"]](consistent, measured, NOTHING, None) == otherwise


@pytest.mark.parametrize("name", ["cnn-hierarchy", "cnn-superior", "loop-proof"])
def test_a_claim_without_its_evidence_is_too_wide_until_the_report_shows_it(reported, name):
    claim = reported[name]
    assert RULES["evidence"](claim, {"as claimed": True}, NOTHING, None) == OVERCLAIMED
    assert RULES["evidence"](claim | {"shown": claim["needs"]}, {"as claimed": True}, NOTHING, None) == REPRODUCED


# Against recorded seeds


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A function that records test accuracies by seed, of a recipe on mnist-5k, in results of this test's own."""
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    entries = []

    def add(recipe, accuracies):
        fixed = {"recipe": dataclasses.asdict(training.RECIPES[recipe]), "data": data.DIGESTS["mnist-5k"], "made": {}}
        for seed, accuracy in accuracies.items():
            entries.append(fixed | {"seed": seed, "history": {"val_accuracy": [0.1, accuracy]}, "correct": "A" * 168})
        (tmp_path / "mnist-5k.json").write_text(json.dumps(entries))

    return add


def test_a_difference_is_taken_between_runs_of_one_seed(record):
    record("fc", {0: 0.90, 1: 0.91, 2: 0.92})
    record("cnn", {2: 0.96, 0: 0.95, 7: 0.99})
    assert claims.recorded_values("cnn_gain", "mnist-5k").tolist() == pytest.approx([0.05, 0.04])


@pytest.fixture(scope="module")
def digits():
    assert "LABCODE_CACHE" in os.environ, "the store of the session is to be used, not the user's"
    return data.load("mnist-5k")


@pytest.mark.parametrize(("offsets", "inside"), [([-0.01, 0, 0.01], True), ([0.2, 0.2001, 0.2002], False), ([0], None)])
def test_a_measured_value_is_inside_outside_or_has_no_range(record, digits, offsets, inside):
    accuracy = training.train(training.RECIPES["fc"], digits).test_accuracy
    record("fc", {seed: accuracy + offset for seed, offset in enumerate(offsets)})
    measured, recorded, found = claims.compare("fc_test_accuracy", digits)
    assert measured == accuracy and len(recorded) == len(offsets) and found is inside


# A judgement of all claims on mnist-5k


@pytest.fixture(scope="module")
def judgements(digits):
    return claims.judge(digits)


def test_all_claims_have_the_expected_verdicts_on_mnist_5k(judgements):
    assert {judgement.id: judgement.verdict for judgement in judgements} == ON_MNIST_5K


def test_what_was_measured_lies_in_the_range_of_the_recorded_seeds(judgements):
    ranged = {judgement.id: judgement.inside for judgement in judgements if judgement.claim["rule"] == "range"}
    assert ranged and ranged == dict.fromkeys(ranged, True)


def test_the_statements_that_every_data_set_can_answer_hold(judgements):
    measured = {judgement.id: judgement.measured for judgement in judgements}
    assert all(measured["pred-shape"].values()) and all(measured["loop-proof"].values())
    assert all(measured["cnn-superior"].values())


@pytest.mark.parametrize("verdict", [REPRODUCED, NOT_REPRODUCED])
def test_a_claim_about_mnist_is_never_decided_on_mnist_5k(judgements, digits, monkeypatch, verdict):
    for rule in RULES:
        monkeypatch.setitem(RULES, rule, lambda *_: verdict)
    for judgement in claims.judge(digits):
        assert judgement.verdict == (UNTESTED if judgement.claim["about"] == "mnist" else verdict), judgement.id


def test_what_other_images_cannot_answer_is_not_measured_on_them(judgements):
    answered = {judgement.id for judgement in judgements if judgement.measured is not None}
    assert not answered & {"data-size", "fc-recipe", "pred-grid", "pred-first", "loop-curve", "cnn-faster"}


def test_claims_are_chosen_by_the_beginning_of_their_section_or_id(digits):
    assert [judgement.id for judgement in claims.judge(digits, wanted=("2.1", "data-"))] == [
        "data-size",
        "data-prep",
        "fc-layers",
        "fc-params",
    ]


# The scoreboard


def rows(judgements):
    """The rows of the printed table, each a dict from the heading to the cell."""
    headings, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in scoreboard.table(judgements).data.splitlines()
    ]
    return [dict(zip(headings, line, strict=True)) for line in lines]


def judged(rule, unit, reported, measured, recorded=NOTHING, inside=None, verdict=UNTESTED):
    claim = {"section": "9", "statement": "It is so", "rule": rule, "unit": unit, "about": "mnist"}
    return claims.Judgement("some-claim", claim | {"reported": reported}, measured, recorded, inside, verdict)


@pytest.mark.parametrize(
    ("unit", "reported", "measured", "recorded", "row"),
    [
        ("percent", 0.9689, 0.96951, SEEDS, ["96.89 %", "≈ 96.95 %", "96.15 % to 97.65 % (5 seeds) ✓ inside"]),
        ("pp", 0.0166, 0.012, SEEDS - 0.95, ["+1.66 pp", "≈ +1.20 pp", "+1.15 pp to +2.65 pp (5 seeds) ✓ inside"]),
        (
            "log",
            [0.8467, 0.9720, 0.5667, 0.1013],
            [0.8475, 0.97, 0.576, 0.1091],
            np.column_stack([TWO, TWO]),
            [
                "first epoch accuracy 0.8467, loss 0.5667; last accuracy 0.9720, loss 0.1013",
                "first epoch accuracy ≈ 0.8475, loss ≈ 0.5760; last accuracy ≈ 0.9700, loss ≈ 0.1091",
                "4 ranges (5 seeds) ✓ inside",
            ],
        ),
    ],
)
def test_a_number_that_moves_is_printed_after_its_mark_and_beside_its_range(unit, reported, measured, recorded, row):
    (found,) = rows([judged("range", unit, reported, measured, recorded, True)])
    assert [found["reported"], found["measured"], found["expected here"]] == row
    assert "It is so" in found["claim"] and found["verdict"] == f"**{UNTESTED}**"


def test_a_value_outside_its_range_or_without_one_is_said_to_be_so():
    outside, unknown = rows(
        [judged("range", "percent", 0.97, 0.1, SEEDS, False), judged("range", "percent", 0.97, 0.1)]
    )
    assert outside["expected here"].endswith("✗ outside")
    assert unknown["expected here"].startswith("no study recorded")


@pytest.mark.parametrize(
    ("rule", "unit", "measured", "text"),
    [
        ("exact", "list", [101770, 101772], "101,770, 101,772"),
        ("exact", "list", ["float32", 0.0, 1.0, 1], "float32, 0, 1, 1"),
        ("holds", "text", {"all right": True, "most sure": False}, "all right: yes; most sure: no"),
        ("holds", "text", None, "–"),
    ],
)
def test_a_fact_is_printed_without_the_mark(rule, unit, measured, text):
    (found,) = rows([judged(rule, unit, measured if unit == "list" else "all", measured)])
    assert found["measured"] == text


def test_the_table_has_a_row_for_each_claim_and_marks_every_number_that_moves(judgements):
    for judgement, row in zip(judgements, rows(judgements), strict=True):
        measured = row["measured"]
        if judgement.claim["rule"] in ("range", "hardware"):
            assert "≈" in measured and not re.search(r"\d", re.sub(r"≈ [-+.\d]+", "", measured)), judgement.id
        else:
            assert "≈" not in "".join(row.values()), judgement.id


def test_the_summary_and_the_counts_name_every_verdict_given(judgements):
    summary, counts = scoreboard.summary(judgements).data, scoreboard.counts(judgements)
    for verdict in set(ON_MNIST_5K.values()):
        number = list(ON_MNIST_5K.values()).count(verdict)
        assert f"- **{verdict}**, {number} of 27: " in summary and f"{number} {verdict}" in counts
    assert all(summary.count(f"(`{name}`)") == 1 for name in ON_MNIST_5K)


def test_the_conclusion_has_the_sentence_of_the_verdict(reported):
    claim = reported["cnn-gap"]
    for verdict in (CONTRADICTED, REPRODUCED):
        judgement = claims.Judgement("cnn-gap", claim, None, NOTHING, None, verdict)
        assert scoreboard.conclusion([judgement]).data == f"- {claim['follows'][verdict]}"


def test_the_conclusion_has_a_sentence_for_every_claim_it_speaks_of(judgements):
    speaking = [judgement.id for judgement in judgements if "follows" in judgement.claim]
    assert len(scoreboard.conclusion(judgements).data.splitlines()) == len(speaking) > 0


def test_checks_hold_what_was_measured_beside_what_is_expected(digits):
    row = scoreboard.checks([("FC's test accuracy", "percent", "fc_test_accuracy")], digits).data.splitlines()[2]
    assert re.fullmatch(r"\| FC's test accuracy \| ≈ [\d.]+ % \| [\d.]+ % to [\d.]+ % \(\d+ seeds\) ✓ inside \|", row)


@pytest.mark.parametrize(("inside", "fails"), [(True, False), (False, True), (None, True)])
def test_the_command_line_fails_where_a_value_lies_outside_or_has_no_range(monkeypatch, capsys, inside, fails):
    outcome = [judged("range", "percent", 0.97, 0.969, SEEDS, inside), judged("exact", "list", [1], [1])]
    monkeypatch.setattr(claims, "judge", lambda dataset: outcome)
    monkeypatch.setattr(sys, "argv", ["scoreboard", "mnist-5k"])
    if fails:
        with pytest.raises(SystemExit, match="some-claim"):
            scoreboard.main()
    else:
        scoreboard.main()
    assert "| 97.00 % | ≈ 96.90 % |" in capsys.readouterr().out
