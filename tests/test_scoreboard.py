"""What is said of the judgements: ``results.json``, the note on the study, and the sentences that follow the verdicts.

The tables are tested in ``test_claims.py``. The Runs are those of the session's store, which the chapters share.
"""

import atexit
import dataclasses
import json
import os
import re
import shlex
import sys
from datetime import datetime
from pathlib import Path

import nbformat
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from labcode import claims, data, records, scoreboard, study, training

SEED = 0
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


FIELDS = ("id", "section", "statement", "unit", "rule", "reported", "measured", "expected", "verdict")


def check_schema(content):
    """Raise AssertionError where the content is not what the docstring of ``publish`` says."""
    assert content.keys() == {"dataset", "seed", "provenance", "claims"}
    assert content["provenance"].keys() == {"date", "processor", "versions"}
    assert datetime.fromisoformat(content["provenance"]["date"]).tzinfo and content["provenance"]["processor"]
    assert content["provenance"]["versions"].keys() == {"Python", "TensorFlow", "Keras", "NumPy"}
    assert content["dataset"] in data.NAMES and type(content["seed"]) is int
    for entry in content["claims"]:
        assert entry.keys() == set(FIELDS), entry
        assert all(entry[key] and type(entry[key]) is str for key in ("id", "section", "statement")), entry
        assert entry["unit"] in claims.UNITS and entry["rule"] in claims.RULES, entry
        assert entry["verdict"] in claims.VERDICTS, entry
        for key in ("reported", "measured"):
            if entry[key] is not None and entry["unit"] in ("percent", "pp", "seconds"):
                check_number(entry[key], entry["unit"], entry)
        if entry["expected"] is not None:
            check_ranges(entry)


def check_number(value, unit, entry):
    if isinstance(value, dict):  # statements that hold or do not, or the report's own numbers
        return
    low, high = {"percent": (0, 1), "pp": (-1, 1), "seconds": (0, np.inf)}[unit]
    assert type(value) is float and low <= value <= high, entry


def check_ranges(entry):
    expected, shape = entry["expected"], np.shape(entry["measured"])
    assert expected.keys() == {"seeds", "reproduced", "possible"}, entry
    assert type(expected["seeds"]) is int and expected["seeds"] >= 2, entry
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
    expected = next(filter(None, (entry["expected"] for entry in content["claims"])))
    for key in (*content, *content["provenance"], *content["claims"][0], *expected):
        assert f"``{key}``" in scoreboard.publish.__doc__, key


def test_the_published_values_are_those_that_were_judged(shell, judgements, published):
    for entry, judgement in zip(published(judgements)[1]["claims"], judgements, strict=True):
        assert entry["verdict"] == judgement.verdict
        assert entry["reported"] == judgement.claim.get("reported")
        assert entry["measured"] == judgement.measured
        assert (entry["expected"] is None) == (judgement.claim["rule"] != "range"), entry["id"]
        if entry["expected"]:
            low, high = map(np.array, entry["expected"]["possible"])
            within = np.all((low <= entry["measured"]) & (np.array(entry["measured"]) <= high))
            assert entry["expected"]["seeds"] == len(judgement.recorded) and within == judgement.inside


# Where nothing is recorded


@pytest.fixture
def ranges_decide(monkeypatch):
    """The claims that a range decides, as if every data set could answer them."""
    entries = {name: claim | {"about": "any"} for name, claim in claims.load_claims().items()}
    ranged = {name: claim for name, claim in entries.items() if claim["rule"] == "range"}
    monkeypatch.setattr(claims, "load_claims", lambda: ranged)


def test_a_recorded_study_decides_where_the_data_set_can(digits, ranges_decide):
    found = {judgement.verdict for judgement in claims.judge(digits, SEED)}
    assert found and found <= {claims.REPRODUCED, claims.NOT_REPRODUCED}


def test_without_a_study_no_verdict_is_invented_and_the_table_names_the_command(
    shell, digits, ranges_decide, nothing_recorded, published
):
    undecided = claims.judge(digits, SEED)
    assert undecided and {judgement.verdict for judgement in undecided} == {claims.UNTESTED}
    table, content = published(undecided)
    check_schema(content)
    assert all(entry["expected"] is None and entry["measured"] is not None for entry in content["claims"])
    assert table.count("no study recorded: `make study`") == len(undecided)
    assert "inside" not in table and "outside" not in table


def found_records():
    return {name: records.find(training.RECIPES[name], "mnist-5k") for name in ("fc", "cnn")}


def test_the_note_says_how_many_seeds_are_recorded_and_on_what():
    found = found_records()
    note = scoreboard.study_note(found, "mnist-5k").data
    for name, of_recipe in found.items():
        made = of_recipe[-1].made
        assert f"`{name}` on mnist-5k: {len(of_recipe)} seeds, {made['date']}, on {made['processor']}" in note
    assert "python -m" not in note


@pytest.mark.parametrize("count", [0, 1])
def test_the_note_names_a_command_that_the_study_accepts_where_too_little_is_recorded(monkeypatch, count):
    too_little = found_records() | {"cnn": found_records()["cnn"][:count]}
    note = scoreboard.study_note(too_little, "mnist-5k").data
    (command,) = re.findall(r"`python -m labcode\.(study [^`]*)`", note)
    assert "Of `cnn` on mnist-5k no study is recorded" in note and "Recorded of `fc`" in note
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


def test_chapter_8_without_a_study_names_the_commands_and_invents_no_number(shell, judgements, nothing_recorded):
    shown = []  # `judgements` has trained the Runs
    for cell in nbformat.read(CHAPTER_8, as_version=4).cells:
        if cell.cell_type == "code":
            with capture_output() as captured:
                result = shell.run_cell(cell.source)
            assert result.success, f"{cell.source}\n{captured.stdout}"
            shown += [captured.stdout, *(f"{output.data} {output.metadata}" for output in captured.outputs)]
            shown.append(str(shell.display_formatter.format(result.result)))
    text = "\n".join(shown)
    for recipe in ("fc", "cnn", "fc-slow"):
        assert f"`python -m labcode.study mnist-5k --recipes {recipe} " in text
    assert not re.search(r"\bnan\b|: 0\.00 %|[✓✗]", text)
    assert not [verdict for verdict in claims.VERDICTS if f"**{verdict}**" in text]


# The text follows the verdicts


@pytest.mark.parametrize("verdict", claims.VERDICTS)
def test_counts_summary_and_conclusion_follow_a_change_of_all_verdicts(judgements, verdict):
    sabotaged = [dataclasses.replace(judgement, verdict=verdict) for judgement in judgements]
    assert scoreboard.counts(sabotaged).endswith(f"27 claims the verdicts are: 27 {verdict}")
    (item,) = scoreboard.summary(sabotaged).data.splitlines()
    assert item.startswith(f"- **{verdict}**, 27 of 27: ")
    sentences = [judgement.claim.get("follows", {}).get(verdict) for judgement in sabotaged]
    assert scoreboard.conclusion(sabotaged).data.splitlines() == [f"- {text}" for text in sentences if text]


def test_one_verdict_that_changes_moves_its_claim_and_changes_its_sentence(judgements):
    index = next(i for i, judgement in enumerate(judgements) if judgement.id == "fc-test")
    assert judgements[index].verdict == claims.UNTESTED
    number = 1 + sum(judgement.verdict == claims.NOT_REPRODUCED for judgement in judgements)
    sabotaged = list(judgements)
    sabotaged[index] = dataclasses.replace(judgements[index], verdict=claims.NOT_REPRODUCED)
    before, after = (set(scoreboard.conclusion(each).data.splitlines()) for each in (judgements, sabotaged))
    follows = judgements[index].claim["follows"]
    assert before - after == {f"- {follows[claims.UNTESTED]}"}
    assert after - before == {f"- {follows[claims.NOT_REPRODUCED]}"}
    assert f"{number} not reproduced" in scoreboard.counts(sabotaged)
    (item,) = [line for line in scoreboard.summary(sabotaged).data.splitlines() if claims.NOT_REPRODUCED in line]
    assert item.startswith(f"- **not reproduced**, {number} of 27: ") and "(`fc-test`)" in item


def test_the_conclusion_has_a_sentence_for_each_verdict_that_a_range_can_give(judgements):
    possible = {claims.REPRODUCED, claims.NOT_REPRODUCED, claims.UNTESTED}
    for judgement in judgements:
        if judgement.claim["rule"] == "range" and "follows" in judgement.claim:
            assert possible <= judgement.claim["follows"].keys(), judgement.id
