"""What is said of the judgements: tables, ``results.json``, notes, and the sentences that follow the verdicts.

The Runs are those of the session's store, which the chapters share.
"""

import atexit
import dataclasses
import itertools
import json
import os
import re
import shlex
import sys
from datetime import datetime
from itertools import chain
from pathlib import Path

import nbformat
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from labcode import claims, data, records, rules, scoreboard, study, training

SEED = 0
NOTHING = np.array([])
SEEDS = np.array([0.968, 0.969, 0.970, 0.9695, 0.9685])
LOG = np.column_stack([SEEDS - off for off in (0, 0.2, 0.2, 0.2, 0.1, 0.4, 0.5, 0.5, 0.5, 0.9)])
CHAPTER_8 = Path(__file__).parents[1] / "book" / "08_uncertainty.ipynb"


@pytest.fixture(scope="module")
def digits():
    assert "LABCODE_CACHE" in os.environ, "the store of the session is to be used, not the user's"
    return data.load("mnist-5k")


@pytest.fixture(scope="module")
def judgements(digits):
    return claims.judge(digits, SEED)


@pytest.fixture
def nothing_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", tmp_path)


# The table


def rows(judgements):
    """The rows of the printed table, each a dict from the heading to the cell."""
    headings, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in scoreboard.table(judgements).data.splitlines()
    ]
    return [dict(zip(headings, line, strict=True)) for line in lines]


OF_RULE = {"range": "fc_test", "exact": "fc_layers", "holds": "grid_of_predictions"}


def judged(rule, unit, reported, measured, recorded=NOTHING, inside=None, verdict=rules.UNTESTED, of_records=None):
    claim = {"section": "9", "statement": "It is so", "rule": rule, "unit": unit, "about": "mnist"}
    claim |= {"reported": reported, "measurement": OF_RULE[rule]}
    return claims.Judgement("some-claim", claim, measured, recorded, inside, verdict, of_records)


@pytest.mark.parametrize(
    ("unit", "reported", "measured", "recorded", "row"),
    [
        (
            "percent",
            0.9689,
            0.96951,
            SEEDS,
            ["96.89 %", "≈ 96.95 %", "96.65 % to 97.13 %, at the utmost 96.06 % to 97.57 % (5 seeds) ✓ inside"],
        ),
        (
            "pp",
            0.0166,
            0.012,
            SEEDS - 0.95,
            ["+1.66 pp", "≈ +1.20 pp", "+1.66 pp to +2.14 pp, at the utmost +1.15 pp to +2.65 pp (5 seeds) ✓ inside"],
        ),
        (
            "test",
            [0.9689, 0.1065],
            [0.96951, 0.10312],
            np.column_stack([SEEDS, SEEDS - 0.9]),
            [
                "96.89 % (loss 0.1065)",
                "≈ 96.95 % (loss ≈ 0.1031)",
                "96.58 % to 97.19 % (loss 0.066 to 0.072), "
                "at the utmost 95.87 % to 97.68 % (loss 0.061 to 0.079) (5 seeds) ✓ inside",
            ],
        ),
        (
            "log",
            [0.9647, 0.7, 0.7, 0.7, 0.8720, 0.5667, 0.4, 0.4, 0.4, 0.0713],
            [0.9675, 0.7, 0.7, 0.7, 0.87, 0.576, 0.4, 0.4, 0.4, 0.0691],
            LOG,
            [
                "first epoch accuracy 0.9647, loss 0.5667; last epoch accuracy 0.8720, loss 0.0713",
                "first epoch accuracy ≈ 0.9675, loss ≈ 0.5760; last epoch accuracy ≈ 0.8700, loss ≈ 0.0691",
                "first epoch accuracy 0.9638 to 0.9735, loss 0.5642 to 0.5739; "
                "last epoch accuracy 0.8641 to 0.8738, loss 0.0643 to 0.0740; the others likewise (5 seeds) ✓ inside",
            ],
        ),
    ],
)
def test_a_number_that_moves_is_printed_after_its_mark_and_beside_its_range(unit, reported, measured, recorded, row):
    (found,) = rows([judged("range", unit, reported, measured, recorded, True)])
    assert [found["reported"], found["measured"], found["expected here"]] == row
    assert "It is so" in found["claim"] and found["verdict"] == f"**{rules.UNTESTED}**"


def test_a_value_outside_its_range_or_without_one_is_said_to_be_so():
    outside, unknown = rows(
        [judged("range", "percent", 0.97, 0.1, SEEDS, False), judged("range", "percent", 0.97, 0.1)]
    )
    assert outside["expected here"].endswith("✗ outside")
    assert unknown["expected here"] == scoreboard.TOO_FEW


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


@pytest.mark.parametrize(
    ("recorded", "text"),
    [
        (NOTHING, scoreboard.TOO_FEW),
        ([[1.0, 0.0]] * 4, scoreboard.TOO_FEW),
        ([[1.0, 0.0]] * 4 + [[1.0, 1.0]], "all right: in 5 of 5 seeds; most sure: in 1 of 5 seeds"),
        ([[1.0, np.nan]] * 4 + [[0.0, np.nan]], "all right: in 4 of 5 seeds"),  # of the other no record can say
    ],
)
def test_beside_a_statement_stands_how_many_seeds_show_it(recorded, text):
    measured = {"all right": True, "most sure": False}
    (found,) = rows([judged("holds", "text", "all", measured, np.array(recorded))])
    assert found["expected here"] == text


@pytest.mark.parametrize(
    ("measurement", "measured"), [("grid_of_predictions", None), ("gradients_agree", {"all right": True})]
)
def test_nothing_is_expected_where_nothing_was_measured_or_no_record_could_answer(measurement, measured):
    judgement = judged("holds", "text", "all", measured)
    judgement.claim["measurement"] = measurement
    (found,) = rows([judgement])
    assert found["expected here"] == "–"


@pytest.mark.parametrize("of_records", [rules.REPRODUCED, rules.NOT_REPRODUCED, rules.OVERCLAIMED, None])
def test_the_verdict_of_recorded_mnist_runs_stands_beside_not_tested(of_records):
    (found,) = rows([judged("holds", "text", "all", None, of_records=of_records)])
    beside = f" (by runs recorded on all of it: {of_records})" if of_records else ""
    assert found["verdict"] == f"**not tested on this data set**{beside}"


def test_on_mnist_5k_each_verdict_is_printed_beside_that_of_the_recorded_mnist_runs(judgements):
    for judgement, row in zip(judgements, rows(judgements), strict=True):
        tested, _, beside = row["verdict"].partition("** (by runs recorded on all of it: ")
        assert tested.strip("*") == judgement.verdict, judgement.id
        assert (beside.removesuffix(")") or None) == judgement.recorded_verdict, judgement.id
    assert any(judgement.recorded_verdict for judgement in judgements)


def test_without_records_no_verdict_stands_beside(digits, nothing_recorded):
    for row in rows(claims.judge(digits, SEED, ("2.", "loop-curve"))):
        assert "recorded on all of it" not in row["verdict"]


def test_the_table_has_a_row_for_each_claim_and_marks_every_number_that_moves(judgements):
    for judgement, row in zip(judgements, rows(judgements), strict=True):
        measured = row["measured"]
        if judgement.claim["rule"] in ("range", "hardware"):
            assert "≈" in measured and not re.search(r"\d", re.sub(r"≈ [-+.\d]+", "", measured)), judgement.id
        else:
            assert "≈" not in "".join(row.values()), judgement.id


def test_checks_hold_what_was_measured_beside_what_is_expected(digits):
    row = scoreboard.checks([("FC's test accuracy", "fc_test_accuracy")], digits).data.splitlines()[2]
    to = r"[\d.]+ % to [\d.]+ %"
    expected = rf"\| FC's test accuracy \| ≈ [\d.]+ % \| {to}, at the utmost {to} \(\d+ seeds\) ✓ inside \|"
    assert re.fullmatch(expected, row)


INSIDE = judged("range", "percent", 0.97, 0.969, SEEDS, True)
OUTSIDE, UNKNOWN = (dataclasses.replace(INSIDE, id="a-number", inside=inside) for inside in (False, None))
SAME = judged("exact", "list", [1], [1], verdict=rules.REPRODUCED)
ANOTHER = dataclasses.replace(SAME, id="a-fact", measured=[2], verdict=rules.NOT_REPRODUCED)
REFUTED = judged("holds", "text", "all", {"all": False}, verdict=rules.NOT_REPRODUCED)
UNCHECKED = dataclasses.replace(SAME, measured=None, verdict=rules.UNTESTED)


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        ([INSIDE, SAME, UNCHECKED], None),
        (
            [INSIDE, dataclasses.replace(INSIDE, verdict=rules.NOT_REPRODUCED), REFUTED],
            None,
        ),  # of the report, not of us
        ([INSIDE, OUTSIDE], r"outside the recorded range, or without one: \['a-number'\]"),
        ([SAME, UNKNOWN], r"outside the recorded range, or without one: \['a-number'\]"),
        ([INSIDE, ANOTHER], r"other facts than the report's: \['a-fact'\]"),
    ],
    ids=["all is well", "the report is wrong", "outside", "no range", "another fact"],
)
def test_the_command_line_fails_where_a_number_has_no_place_in_a_range_or_a_fact_is_another(
    monkeypatch, capsys, outcome, fault
):
    monkeypatch.setattr(claims, "judge", lambda dataset: outcome)
    monkeypatch.setattr(sys, "argv", ["scoreboard", "mnist-5k"])
    if fault:
        with pytest.raises(SystemExit, match=fault):
            scoreboard.main()
    else:
        scoreboard.main()
    printed = capsys.readouterr().out
    assert scoreboard.table(outcome).data in printed and ("all facts are the report's" in printed) == (not fault)


# results.json


@pytest.fixture(scope="module")
def shell():
    """What runs a notebook's cells and shows their outputs; afterwards nothing is left of it."""
    shell = InteractiveShell.instance()
    yield shell
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()  # now: at exit the session's folder is gone
    shell.restore_sys_module_state()  # it had put itself in the place of `__main__`
    InteractiveShell.clear_instance()


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Publishes judgements; returns what is shown and the content of the file, as another program reads it."""
    monkeypatch.setenv("LABCODE_PUBLISH", str(tmp_path / "published"))

    def publish(judgements):
        with capture_output() as captured:
            scoreboard.publish(judgements, "mnist-5k", SEED)
        (output,) = captured.outputs
        (path,) = (tmp_path / "published").iterdir()
        assert path.name == "results.json"
        return output.data["text/markdown"], json.loads(path.read_text("utf-8"), parse_constant=pytest.fail)

    return publish


FIELDS = {"id", "section", "statement", "unit", "rule", "reported", "measured", "expected"}
FIELDS |= {"needs", "shown", "hardware", "verdict", "recorded_verdict"}
OF_NUMBERS, OF_STATEMENTS = {"seeds", "reproduced", "possible"}, {"seeds", "shown_by"}


def check_schema(content):
    """Raise AssertionError where the content is not what the docstring of ``publish`` says."""
    assert content.keys() == {"dataset", "seed", "provenance", "recorded", "claims"}
    assert content["provenance"].keys() == {"date", "processor", "versions"}
    assert datetime.fromisoformat(content["provenance"]["date"]).tzinfo and content["provenance"]["processor"]
    assert content["provenance"]["versions"].keys() == {"Python", "TensorFlow", "Keras", "NumPy"}
    assert content["dataset"] in data.NAMES and type(content["seed"]) is int
    assert content["recorded"].keys() == {*data.NAMES}
    for of_dataset in content["recorded"].values():
        assert of_dataset.keys() == training.RECIPES.keys()
        for made in chain(*of_dataset.values()):
            assert made.keys() == {"seeds", "date", "processor", "threads", "versions"}
            assert type(made["seeds"]) is int and made["seeds"] > 0 and datetime.fromisoformat(made["date"])
            assert made["processor"] and made["versions"]["tensorflow"]
    for entry in content["claims"]:
        check_entry(entry)


def check_entry(entry):
    assert entry.keys() == FIELDS, entry
    assert all(entry[key] and type(entry[key]) is str for key in ("id", "section", "statement")), entry
    assert entry["unit"] in claims.UNITS and entry["rule"] in rules.RULES, entry
    assert entry["verdict"] in rules.VERDICTS, entry
    assert entry["recorded_verdict"] in (None, *rules.VERDICTS), entry
    assert entry["recorded_verdict"] is None or entry["verdict"] == rules.UNTESTED, entry
    for key in ("reported", "needs", "shown", "hardware"):
        assert (entry[key] is None) == (key not in rules.RULES[entry["rule"]].needs), entry
    assert entry["needs"] is None or set(entry["shown"]) <= set(entry["needs"]) and entry["needs"], entry
    for key in ("reported", "measured"):
        if entry[key] is not None:
            check_value(entry[key], entry["unit"], key, entry)
    if entry["expected"] is not None:
        check = check_statements if isinstance(entry["measured"], dict) else check_ranges
        check(entry, entry["expected"])


def check_value(value, unit, key, entry):
    """Raise AssertionError where a value is not of its unit, as the docstring of ``publish`` says."""
    share, loss = (0, 1), (0, np.inf)
    numbers = {"percent": [share], "pp": [(-1, 1)], "seconds": [loss], "test": [share, loss]}
    numbers["log"] = [share] * 5 + [loss] * 5
    if unit in numbers:
        values = value if unit in ("log", "test") else [value]
        for each, (low, high) in zip(values, numbers[unit], strict=True):
            assert each is None or type(each) is float and low <= each <= high, entry
    elif unit == "list":
        assert value and type(value) is list and {*map(type, value)} <= {int, float, str}, entry
    elif key == "measured":
        assert value and type(value) is dict and {*map(type, value.values())} <= {bool, type(None)}, entry
    else:
        assert value and type(value) in (str, dict), entry


def check_statements(entry, expected):
    assert expected.keys() == OF_STATEMENTS and type(expected["seeds"]) is int, entry
    assert expected["seeds"] >= rules.FEWEST and expected["shown_by"].keys() <= entry["measured"].keys(), entry
    assert all(type(holds) is bool for holds in entry["measured"].values()), entry
    assert all(type(runs) is int and 0 <= runs <= expected["seeds"] for runs in expected["shown_by"].values()), entry


def check_ranges(entry, expected):
    shape = np.shape(entry["measured"])
    assert expected.keys() == OF_NUMBERS, entry
    assert type(expected["seeds"]) is int and expected["seeds"] >= rules.FEWEST, entry
    (low, high), (lowest, highest) = (map(np.array, expected[key]) for key in ("reproduced", "possible"))
    assert low.shape == high.shape == lowest.shape == highest.shape == shape, entry
    assert np.all(lowest <= low) and np.all(low < high) and np.all(high <= highest), entry


def test_the_published_claims_are_as_documented_and_all_there(shell, judgements, published):
    table, content = published(judgements)
    check_schema(content)
    assert table == scoreboard.table(judgements).data, "the page shows the table"
    assert (content["dataset"], content["seed"]) == ("mnist-5k", SEED)
    assert [entry["id"] for entry in content["claims"]] == list(claims.load_claims())


def test_every_published_field_is_documented(shell, judgements, published):
    content = published(judgements)[1]
    expected = {frozenset(entry["expected"]) for entry in content["claims"] if entry["expected"]}
    assert expected == {frozenset(OF_NUMBERS), frozenset(OF_STATEMENTS)}
    keys = {*content, *content["provenance"], *FIELDS, *OF_NUMBERS, *OF_STATEMENTS, *claims.UNITS}
    documented = set(re.findall(r"``(\w+)``", scoreboard.publish.__doc__))
    assert documented == keys | {"threads"}


WRONG_ENTRIES = {
    "a log of nine": {"unit": "log", "measured": [0.5] * 9},
    "a log in percent": {"unit": "log", "measured": [97.2] * 5 + [0.1] * 5},
    "a test without a loss": {"unit": "test", "measured": [0.97]},
    "a loss below 0": {"unit": "test", "measured": [0.97, -0.1]},
    "an accuracy as text": {"unit": "percent", "measured": "0.97"},
    "a list within a list": {"unit": "list", "measured": [[1]]},
    "a list that is none": {"unit": "list", "measured": 3},
    "statements without a verdict each": {"unit": "text", "measured": {"all right": "yes"}},
    "a reported number for a text": {"unit": "text", "reported": 0.97},
}


@pytest.mark.parametrize("fault", WRONG_ENTRIES)
def test_the_schema_refuses(fault):
    right = dict.fromkeys(FIELDS) | {"id": "x", "section": "1", "statement": "It is so", "unit": "text"}
    right |= {"rule": "holds", "reported": "all", "measured": {"all right": True}, "verdict": rules.REPRODUCED}
    check_entry(right)
    with pytest.raises((AssertionError, ValueError)):
        check_entry(right | WRONG_ENTRIES[fault])


def test_a_run_that_diverged_is_published_as_null(shell, published):
    diverged = judged("range", "test", [0.9689, 0.1065], [0.098, float("nan")])
    assert published([diverged])[1]["claims"][0]["measured"] == [0.098, None]


def test_how_the_recorded_runs_were_made_is_published(shell, judgements, published):
    recorded = published(judgements)[1]["recorded"]
    for dataset_name, name in itertools.product(data.NAMES, training.RECIPES):
        found = records.find(training.RECIPES[name], dataset_name)
        assert sum(made["seeds"] for made in recorded[dataset_name][name]) == len(found)
        ways = [{key: made[key] for key in made if key != "seeds"} for made in recorded[dataset_name][name]]
        assert all(record.made in ways for record in found) and len(ways) == len({json.dumps(way) for way in ways})


def test_the_published_values_are_those_that_were_judged(shell, judgements, published):
    for entry, judgement in zip(published(judgements)[1]["claims"], judgements, strict=True):
        assert entry["verdict"] == judgement.verdict
        assert entry["reported"] == judgement.claim.get("reported")
        assert entry["measured"] == judgement.measured
        assert entry["recorded_verdict"] == judgement.recorded_verdict
        assert (entry["expected"] or {"seeds": 0})["seeds"] == len(judgement.recorded), entry["id"]
        if judgement.claim["rule"] == "range":
            assert rules.within(entry["measured"], np.array(entry["expected"]["possible"])) == judgement.inside
            reproduced = rules.verdict_range(judgement.recorded, entry["unit"])
            assert np.array_equal(entry["expected"]["reproduced"], reproduced), entry["id"]
    assert any(judgement.recorded_verdict for judgement in judgements)


def test_another_program_can_repeat_the_verdict_of_a_range(shell, digits, ranges_decide, published):
    for entry in published(claims.judge(digits, SEED))[1]["claims"]:
        low, high, reported = np.array([*entry["expected"]["reproduced"], entry["reported"]])
        inside = np.all((low <= reported) & (reported <= high))
        assert entry["verdict"] == (rules.REPRODUCED if inside else rules.NOT_REPRODUCED), entry["id"]


def test_of_statements_is_published_how_many_runs_show_each(shell, published):
    measured = {"all right": False, "most sure": True, "in time": True}
    recorded = np.array([[1.0, 0.0, np.nan]] * 4 + [[1.0, 1.0, np.nan]])  # of the time no record can say
    judgements = [judged("holds", "text", "all", measured, recorded[first:]) for first in (0, 1)]
    enough, too_few = published(judgements)[1]["claims"]
    assert enough["measured"] == too_few["measured"] == measured
    assert enough["expected"] == {"seeds": 5, "shown_by": {"all right": 5, "most sure": 1}}
    assert too_few["expected"] is None


# Where nothing is recorded


def test_on_mnist_too_few_seeds_are_not_called_too_few_digits(digits, nothing_recorded):
    judgements = claims.judge(dataclasses.replace(digits, name="mnist"), SEED)
    undecided = [judgement for judgement in judgements if judgement.verdict == rules.UNTESTED]
    text = scoreboard.conclusion(judgements).data
    assert len(undecided) == 10 and "5,000" not in text and "does not use" not in text and "takes all" not in text
    for judgement in undecided:
        assert f"- Nothing is decided of “{judgement.claim['statement']}”: {scoreboard.TOO_FEW}.\n" in f"{text}\n"
    assert "make study DATASET=mnist" in scoreboard.TOO_FEW


@pytest.fixture
def ranges_decide(monkeypatch):
    """The claims that a range decides, as if every data set could answer them."""
    entries = {name: claim | {"about": "any"} for name, claim in claims.load_claims().items()}
    ranged = {name: claim for name, claim in entries.items() if claim["rule"] == "range"}
    monkeypatch.setattr(claims, "load_claims", lambda: ranged)


def test_a_recorded_study_decides_where_the_data_set_can(digits, ranges_decide):
    found = {judgement.verdict for judgement in claims.judge(digits, SEED)}
    assert found and found <= {rules.REPRODUCED, rules.NOT_REPRODUCED}


def test_without_a_study_no_verdict_is_invented_and_the_table_names_the_command(
    shell, digits, ranges_decide, nothing_recorded, published
):
    undecided = claims.judge(digits, SEED)
    assert undecided and {judgement.verdict for judgement in undecided} == {rules.UNTESTED}
    table, content = published(undecided)
    check_schema(content)
    assert all(entry["expected"] is None and entry["measured"] is not None for entry in content["claims"])
    assert table.count("fewer than 5 seeds recorded: `make study`") == len(undecided)
    assert "inside" not in table and "outside" not in table


def found_records():
    return {name: records.find(training.RECIPES[name], "mnist-5k") for name in ("fc", "cnn")}


def test_the_note_says_how_many_seeds_are_recorded_and_on_what():
    found = found_records()
    note = scoreboard.study_note(found, "mnist-5k").data
    for name, of_recipe in found.items():
        assert f"`{name}` on mnist-5k: {len(of_recipe)} seeds, " in note
        for made in (record.made for record in of_recipe):
            how = f"{made['date']}, on {made['processor']}, {made['threads']} threads, TensorFlow "
            assert how + made["versions"]["tensorflow"] in note
    assert "python -m" not in note


def test_the_note_lists_each_way_the_records_were_made():
    made = {"date": "2031-05-01", "processor": "An abacus", "threads": 2, "versions": {"tensorflow": "2.21.0"}}
    others = {"date": "2031-05-02", "processor": "A loom", "threads": 1, "versions": {"tensorflow": "2.22.0"}}
    ways = [made, *(made | {key: other} for key, other in others.items())]
    found = [records.Record({}, NOTHING, NOTHING, seed, way) for seed, way in enumerate([*ways, *[made] * 5])]
    (sentence,) = scoreboard.study_note({"fc": found}, "mnist").data.splitlines()
    start, *listed = re.split(", (?=6 of them)|; and ", sentence)
    assert start == "Recorded of `fc` on mnist: 10 seeds"
    assert listed == [
        "6 of them 2031-05-01, on An abacus, 2 threads, TensorFlow 2.21.0",
        "1 of them 2031-05-02, on An abacus, 2 threads, TensorFlow 2.21.0",
        "1 of them 2031-05-01, on A loom, 2 threads, TensorFlow 2.21.0",
        "1 of them 2031-05-01, on An abacus, 1 threads, TensorFlow 2.21.0",
        "1 of them 2031-05-01, on An abacus, 2 threads, TensorFlow 2.22.0.",
    ]
    alike = scoreboard.study_note({"fc": found[-5:]}, "mnist").data
    assert alike == f"Recorded of `fc` on mnist: 5 seeds, {listed[0].removeprefix('6 of them ')}."


@pytest.mark.parametrize("count", [0, 1, rules.FEWEST - 1])
def test_the_note_names_a_command_that_the_study_accepts_where_too_little_is_recorded(monkeypatch, count):
    too_little = found_records() | {"cnn": found_records()["cnn"][:count]}
    note = scoreboard.study_note(too_little, "mnist-5k").data
    (command,) = re.findall(r"`python -m labcode\.(study [^`]*)`", note)
    assert f"Of `cnn` on mnist-5k {count} seeds are recorded" in note and "Recorded of `fc`" in note
    asked = []

    def run(names, dataset_name, seeds, jobs, scheduler):
        asked.append((names, dataset_name, seeds))
        return {}

    monkeypatch.setattr(study, "run", run)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    study.main()
    assert asked == [(["cnn"], "mnist-5k", 30)]


def test_a_spread_that_there_is_not_is_a_dash():
    assert scoreboard.spread(float("nan")) == scoreboard.spread(np.float64("nan")) == "–"
    assert scoreboard.spread(0.00254) == "0.25 pp" and scoreboard.spread(0.0) == "0.00 pp"


# Chapter 8 without a study


@pytest.mark.parametrize("count", [0, rules.FEWEST - 1])
def test_chapter_8_with_too_few_seeds_names_the_commands_and_invents_no_number(shell, judgements, monkeypatch, count):
    find, shown = records.find, []  # `judgements` has trained the Runs
    monkeypatch.setattr(records, "find", lambda *wanted: find(*wanted)[:count])
    for cell in nbformat.read(CHAPTER_8, as_version=4).cells:
        if cell.cell_type == "code":
            with capture_output() as captured:
                result = shell.run_cell(cell.source)
            assert result.success and not captured.stderr, f"{cell.source}\n{captured.stdout}{captured.stderr}"
            shown.append(captured.stdout)
            for output in captured.outputs:
                shown += [output.data.get("text/markdown") or str(output.data), str(output.metadata)]
            shown.append(str(shell.display_formatter.format(result.result)))
    text = "\n".join(shown)
    for recipe in ("fc", "cnn", "fc-slow"):
        assert f"`python -m labcode.study mnist-5k --recipes {recipe} " in text
    assert text.count("too few seeds are recorded to say") > 10
    not_of_this_build = set(re.findall(r"(?<!≈ )(?<![\d.+-])[+-]?\d+\.\d+ (?:%|pp)", text))
    assert not_of_this_build == {"97.20 %"}, "the report's"
    assert not re.search(r"\bnan\b|: 0\.00 %|[✓✗]", text)
    assert not [verdict for verdict in rules.VERDICTS if f"**{verdict}**" in text]


# The text follows the verdicts


@pytest.mark.parametrize("verdict", rules.VERDICTS)
def test_counts_summary_and_conclusion_follow_a_change_of_all_verdicts(judgements, verdict):
    sabotaged = [dataclasses.replace(judgement, verdict=verdict) for judgement in judgements]
    assert scoreboard.counts(sabotaged).endswith(f"27 claims the verdicts are: 27 {verdict}")
    (item,) = scoreboard.summary(sabotaged).data.splitlines()
    assert item.startswith(f"- **{verdict}**, 27 of 27: ")
    possible = [judgement for judgement in sabotaged if verdict in judgement.claim.get("follows", {})]
    sentences = [judgement.claim["follows"][verdict] for judgement in possible]
    assert scoreboard.conclusion(possible).data.splitlines() == [f"- {text}" for text in sentences]


def test_one_verdict_that_changes_moves_its_claim_and_changes_its_sentence(judgements):
    index = next(i for i, judgement in enumerate(judgements) if judgement.id == "fc-test")
    assert judgements[index].verdict == rules.UNTESTED
    number = 1 + sum(judgement.verdict == rules.NOT_REPRODUCED for judgement in judgements)
    sabotaged = list(judgements)
    sabotaged[index] = dataclasses.replace(judgements[index], verdict=rules.NOT_REPRODUCED)
    before, after = (set(scoreboard.conclusion(each).data.splitlines()) for each in (judgements, sabotaged))
    follows = judgements[index].claim["follows"]
    assert before - after == {f"- {follows[rules.UNTESTED]}"}
    assert after - before == {f"- {follows[rules.NOT_REPRODUCED]}"}
    assert f"{number} not reproduced" in scoreboard.counts(sabotaged)
    (item,) = [line for line in scoreboard.summary(sabotaged).data.splitlines() if rules.NOT_REPRODUCED in line]
    assert item.startswith(f"- **not reproduced**, {number} of 27: ") and "(`fc-test`)" in item


def test_the_conclusion_speaks_of_every_claim_that_has_sentences(judgements):
    speaking = [judgement for judgement in judgements if "follows" in judgement.claim]
    assert len(scoreboard.conclusion(judgements).data.splitlines()) == len(speaking) > 0
