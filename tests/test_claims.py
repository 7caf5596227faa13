"""Each claim of the report has a right entry, and nothing is called reproduced that was not tested.

The rules themselves are tested in ``test_rules.py``, what is printed in ``test_scoreboard.py``. The Runs are those of
the session's store, which the chapters share.
"""

import dataclasses
import hashlib
import itertools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from labcode import claims, data, measurements, records, rules, runs, training
from labcode.rules import CONTRADICTED, FEWEST, NOT_REPRODUCED, OVERCLAIMED, REPRODUCED, RULES, UNTESTED, VERDICTS

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
    "fc-gap": OVERCLAIMED,
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
REPORTED = Path(claims.__file__).parents[2] / "shared" / "reported.md"  # the list of the report's facts


@pytest.fixture(scope="module")
def reported():
    return claims.load_claims()


# The claims as data


def test_every_claim_of_the_report_has_an_entry(reported):
    assert list(reported) == list(claims.IDS) == list(ON_MNIST_5K)


@pytest.mark.skipif(not REPORTED.exists(), reason="the list of the report's facts does not lie beside the project")
def test_the_claims_are_those_of_the_list_of_the_reports_facts():
    cells = [line.split("|")[1].strip() for line in REPORTED.read_text("utf-8").splitlines() if line.startswith("|")]
    assert cells[0] == "id" and tuple(cells[2:]) == claims.IDS


FACTS = "8638e4d9725f84d0e3265b7308eb55ca0fe7a64ad5c98a1acd5de0595e6fafd5"  # SHA-256 of their JSON


def test_what_was_reported_is_what_was_reported(reported):
    fields = ("reported", "needs", "hardware")
    facts = {name: {field: claim[field] for field in fields if field in claim} for name, claim in reported.items()}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    assert digest == FACTS, "the report's facts do not change: restore reported, needs and hardware in claims.toml"


def test_numbers_that_the_report_gives_twice_agree(reported):
    value = {name: claim.get("reported") for name, claim in reported.items()}
    (fc_test, _), (cnn_test, _) = value["fc-test"], value["cnn-test"]
    assert value["cnn-gap"] == {"fc": [value["fc-log"][4], fc_test], "cnn": [value["cnn-log"][4], cnn_test]}
    assert f"{100 * (value['fc-log'][4] - fc_test):.2f} percentage points" in reported["fc-gap"]["statement"]
    assert value["cnn-gain"] == pytest.approx(cnn_test - fc_test)
    assert value["cnn-params"][0] == sum(value["cnn-params"][1:])


CONSISTENT_REPORTS = {"cnn-gap": {"cnn": [0.9932, 0.9925]}, "pred-first": {"printed": 7}}


@pytest.mark.parametrize("name", CONSISTENT_REPORTS)
def test_a_contradiction_in_the_report_vanishes_with_it(reported, name):
    claim, judge = reported[name], RULES["own-numbers"].judge
    consistent = claim | {"reported": claim["reported"] | CONSISTENT_REPORTS[name]}
    assert judge(claim, {"as claimed": True}, np.array([])) == CONTRADICTED
    assert judge(consistent, {"as claimed": True}, np.array([])) == REPRODUCED


def test_the_claims_hardware_is_such_as_a_machine_can_be(reported, monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "a release")
    monkeypatch.setattr(Path, "exists", lambda path: True)  # so there is a GPU, too
    assert {claim["hardware"] for claim in reported.values() if "hardware" in claim} <= runs.hardware()


# Which entries there are


def without(text, name):
    """The claims without that entry and its sentences."""
    blocks = re.split(r"^(?=\[)", text, flags=re.MULTILINE)
    return "".join(block for block in blocks if not block.startswith((f"[{name}]", f"[{name}.")))


@pytest.mark.parametrize("name", claims.IDS)
def test_a_missing_entry_is_named(tmp_path, name):
    path = tmp_path / "claims.toml"
    path.write_text(without(claims.CLAIMS.read_text("utf-8"), name), "utf-8")
    with pytest.raises(ValueError, match=f"^claim {name} is missing in .*: expected an entry for each of "):
        claims.load_claims(path)


def test_an_unknown_entry_is_named(tmp_path):
    path = tmp_path / "claims.toml"
    path.write_text(claims.CLAIMS.read_text("utf-8").replace("[data-prep]", "[data-perp]"), "utf-8")
    with pytest.raises(ValueError, match="^claim data-perp is unknown in .*: expected an entry for each of "):
        claims.load_claims(path)


def test_the_claims_have_the_reports_order_whatever_the_files_is(tmp_path, reported):
    path, text = tmp_path / "claims.toml", claims.CLAIMS.read_text("utf-8")
    rest = without(text, "data-size")
    path.write_text(rest + text[text.index("[data-size]") : text.index("[data-prep]")], "utf-8")
    assert list(claims.load_claims(path).items()) == list(reported.items())


# What an entry has

COMMON = {"section": '"1"', "statement": '"It is so"', "about": '"mnist"'}
LIST = {"unit": '"list"', "reported": "[70000, 28, 28]"}
TEXT = {"unit": '"text"', "measurement": '"grid_of_predictions"'}


def sentences(verdicts):
    """What follows for each of these verdicts, as TOML."""
    return "{ " + ", ".join(f'"{verdict}" = "Then so."' for verdict in verdicts) + " }"


def possible(rule, about):
    """The verdicts of which something must follow."""
    return [each for each in VERDICTS if each in RULES[rule].gives or (each == UNTESTED and about == "mnist")]


GAPS = "{ fc = [0.97, 0.96], cnn = [0.99, 0.98] }"
ENTRIES = {  # a right one for each rule
    "exact": LIST | {"measurement": '"data_size"'},
    "range": {"unit": '"percent"', "reported": "0.97", "measurement": '"fc_test_accuracy"'},
    "holds": TEXT | {"reported": '"all"'},
    "measures": TEXT | {"reported": '"by all"'},
    "own-numbers": TEXT | {"reported": GAPS, "consistency": '"cnn_gap_smaller"'},
    "evidence": TEXT | {"needs": '["a test", "an interval"]', "shown": "[]"},
    "hardware": {"unit": '"seconds"', "reported": "28", "measurement": '"fc_seconds"', "hardware": '"a Colab GPU"'},
}


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function that loads one entry, right for its rule but for these fields; None leaves one out."""
    monkeypatch.setattr(claims, "IDS", ("some-claim",))

    def load(for_rule, **fields):
        entry = COMMON | {"rule": f'"{for_rule}"'} | ENTRIES[for_rule]
        about = fields.get("about") or COMMON["about"]
        entry["follows"] = sentences(possible(for_rule, about.strip('"')))
        entry |= fields
        lines = [f"{field} = {text}" for field, text in entry.items() if text is not None]
        (tmp_path / "claims.toml").write_text("[some-claim]\n" + "\n".join(lines), "utf-8")
        return claims.load_claims(tmp_path / "claims.toml")["some-claim"]

    return load


@pytest.fixture
def refused(load):
    """A function that sees such an entry refused by its name, that of a field, and what is expected."""

    def refused(for_rule, field, expected="", **fields):
        with pytest.raises(ValueError, match=rf"^claim some-claim\b.*\b{field}\b.*expected {expected}") as error:
            load(for_rule, **fields)
        if (text := fields.get(field)) and text[0] in "'\"":
            assert text.strip("'\"") in str(error.value), "the value is named"

    return refused


ABOUT = {name: ("mnist",) if name == "range" else ("mnist", "any") for name in RULES}


@pytest.mark.parametrize(("rule", "about"), [(rule, about) for rule in RULES for about in ABOUT[rule]])
def test_a_right_entry_is_read(load, rule, about):
    for section in ("1", "2.1"):
        entry = load(rule, about=f'"{about}"', section=f'"{section}"')
        assert (entry["about"], entry["section"], entry["statement"]) == (about, section, "It is so")


@pytest.mark.parametrize(
    ("rule", "field"), [(name, field) for name, rule in RULES.items() for field in sorted(claims.FIELDS | rule.needs)]
)
def test_an_entry_that_lacks_a_field_is_refused(load, rule, field):
    with pytest.raises(ValueError, match=rf"^claim some-claim\b.*\b{field}\b.*") as error:
        load(rule, **{field: None})
    assert "expected" in str(error.value)


@pytest.mark.parametrize("rule", RULES)
def test_a_field_that_none_or_only_another_rule_knows_is_refused(load, rule):
    elsewhere = set().union(*(each.needs for each in RULES.values())) - RULES[rule].needs - claims.OPTIONAL
    for field in {"reprted", *elsewhere}:
        with pytest.raises(ValueError, match=rf"^claim some-claim: expected .* missing or unknown: \['{field}'\]"):
            load(rule, **{field: '"it"'})


def test_an_entry_that_is_no_table_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "IDS", ("some-claim",))
    (tmp_path / "claims.toml").write_text("some-claim = 0.97", "utf-8")
    with pytest.raises(ValueError, match=r"^claim some-claim is 0\.97: expected a table of fields"):
        claims.load_claims(tmp_path / "claims.toml")


@pytest.mark.parametrize(
    ("rule", "field", "text", "expected"),
    [
        ("range", "rule", '"by feel"', "one of exact, range"),
        ("range", "rule", "1", "one of exact, range"),
        ("range", "unit", '"furlongs"', "one of percent, pp"),
        ("range", "unit", '["percent"]', "one of percent, pp"),
        ("range", "about", '"cifar10"', "one of mnist$"),
        ("range", "about", '"any"', "one of mnist$"),
        ("holds", "about", '"cifar10"', "one of mnist, any$"),
        ("range", "measurement", '"fc_tset_accuracy"', "one of fc_test_accuracy"),
        ("range", "section", "2.1", "one of 1, 2.1"),
        ("range", "section", '""', "one of 1, 2.1"),
        ("range", "section", '"9"', "one of 1, 2.1"),
        ("range", "section", '"2.4"', "one of 1, 2.1"),
        ("range", "section", '" 1"', "one of 1, 2.1"),
        ("range", "statement", '["It is so"]', "a text"),
        ("range", "statement", '" \\n"', "a text"),
        ("own-numbers", "consistency", '"all_is_well"', "one of cnn_gap_smaller"),
        ("own-numbers", "consistency", '["cnn_gap_smaller"]', "one of cnn_gap_smaller"),
        ("hardware", "hardware", "3", "one of a Colab machine, a Colab GPU$"),
        ("hardware", "hardware", '"a potato"', "one of a Colab machine, a Colab GPU$"),
        ("hardware", "hardware", '["a Colab GPU"]', "one of a Colab machine, a Colab GPU$"),
        ("evidence", "needs", '"several runs"', "a list of texts, at least one"),
        ("evidence", "needs", '["several runs", 3]', "a list of texts, at least one"),
        ("evidence", "needs", "[]", "a list of texts, at least one"),
        ("evidence", "needs", '["a test", " "]', "a list of texts, at least one"),
        ("evidence", "shown", "{}", r"a list of texts of \['a test', 'an interval'\]"),
        ("evidence", "shown", "false", r"a list of texts of \['a test', 'an interval'\]"),
        ("evidence", "shown", '["a tset"]', r"a list of texts of \['a test', 'an interval'\]"),
        ("exact", "reported", "[70000, 28]", "3 values, as data_size gives"),
        ("exact", "reported", "[70000, 28, 28, 1]", "3 values, as data_size gives"),
    ],
)
def test_a_field_of_a_wrong_value_or_type_is_refused(refused, rule, field, text, expected):
    refused(rule, field, expected, **{field: text})


NO_NUMBERS = ['"0.97"', "true", "[0.97]", "{ value = 0.97 }", "nan", "inf"]
WRONG_REPORTS = {  # by unit
    "percent": [*NO_NUMBERS, "97", "1.01", "-0.01"],
    "pp": [*NO_NUMBERS, "1.66", "-1.01"],
    "seconds": [*NO_NUMBERS, "0", "0.0", "-13"],
    "list": ["70000", '"70000"', "[]", "{ size = 70000 }"],
    "log": ["0.97", str([0.1] * 9), str([0.1] * 11), str([0.1] * 9 + ["0.1"]), "[]", f"[{'true, ' * 10}]"],
    "test": ["0.97", "[0.97]", "[0.97, 0.1, 0.2]", '[0.97, "0.1"]', "[0.97, nan]", "[true, false]"],
    "text": ["0.97", '["by all"]', "true"],
}
WRONG_REPORTS["log"] += [str([0.1] * 4 + [1.1] + [0.1] * 5), str([-0.1] + [0.1] * 9), str([0.1] * 9 + [-0.1])]
WRONG_REPORTS["test"] += ["[96.89, 0.1065]", "[-0.1, 0.1]", "[0.97, -0.1]"]
UTMOST_REPORTS = {
    "percent": ["0", "1"],
    "pp": ["-1", "1"],
    "seconds": ["0.001"],
    "log": [str([0] * 10), str([1] * 5 + [2.5] * 5)],
    "test": ["[0, 0]", "[1, 2.5]"],
}


def of_unit(unit):
    """A rule that judges values of that unit, and fields for an entry of it that has a measurement of that unit."""
    rule = next(name for name, rule in RULES.items() if unit in rule.units)
    measurement = next(name for name in RULES[rule].measurements if measurements.UNITS[name] == unit)
    return rule, {"unit": f'"{unit}"', "measurement": f'"{measurement}"'}


@pytest.mark.parametrize("unit", claims.UNITS)
def test_a_reported_value_that_is_not_one_of_its_unit_is_refused(refused, unit):
    rule, fields = of_unit(unit)
    expected = f"{claims.UNITS[unit][0]}, for its unit is {unit}"
    for text in WRONG_REPORTS[unit]:
        refused(rule, "reported", expected, reported=text, **fields)


@pytest.mark.parametrize("unit", UTMOST_REPORTS)
def test_a_reported_value_may_be_as_low_and_as_high_as_its_unit_can(load, unit):
    rule, fields = of_unit(unit)
    for text in UTMOST_REPORTS[unit]:
        assert str(load(rule, reported=text, **fields)["reported"]) == text


def test_each_measurement_is_registered_with_what_it_gives(reported):
    kinds = (measurements.RANGED, measurements.OBSERVED, measurements.EXACT)
    assert measurements.UNITS.keys() == set().union(*kinds)
    assert {measurements.UNITS[name] for name in measurements.OBSERVED} == {"text"}
    assert {measurements.UNITS[claim["measurement"]] for claim in reported.values()} == claims.UNITS.keys()


@pytest.mark.parametrize("unit", claims.UNITS)
def test_a_unit_that_is_not_the_measurements_is_refused_by_its_name(refused, unit):
    rule, fields = of_unit(unit)
    others = [name for name in RULES[rule].measurements if measurements.UNITS[name] != unit]
    assert others
    for name in others:
        expected = f"{measurements.UNITS[name]}, for that is what the measurement {name} gives$"
        refused(rule, "unit", expected, **fields | {"measurement": f'"{name}"'})


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_refused_a_unit_that_it_cannot_judge(refused, rule):
    assert set(RULES[rule].units) <= claims.UNITS.keys()
    for unit in claims.UNITS.keys() - RULES[rule].units:
        refused(rule, "unit", f"one of {', '.join(RULES[rule].units)}$", unit=f'"{unit}"')


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_refused_a_measurement_of_another_kind(refused, rule):
    every = measurements.RANGED | measurements.OBSERVED | measurements.EXACT
    others = every.keys() - RULES[rule].measurements.keys()
    assert others
    for name in others:
        refused(rule, "measurement", "one of ", measurement=f'"{name}"')


@pytest.mark.parametrize(
    ("consistency", "reported"),
    [
        ("cnn_gap_smaller", '"smaller"'),
        ("cnn_gap_smaller", "{ fc = [0.97, 0.96] }"),
        ("cnn_gap_smaller", "{ fc = [0.97, 0.96], cnn = [0.99] }"),
        ("cnn_gap_smaller", '{ fc = [0.97, 0.96], cnn = [0.99, "0.98"] }'),
        ("cnn_gap_smaller", "{ fc = [0.97, 0.96], cnn = [99.32, 98.55] }"),
        ("cnn_gap_smaller", "{ fc = [0.97, 0.96], cnn = [0.99, nan] }"),
        ("cnn_gap_smaller", "{ fc = [0.97, 0.96], cnn = [0.99, 0.98], rnn = [0.99, 0.98] }"),
        ("argmax_is_printed", '"7"'),
        ("argmax_is_printed", "{ printed = 7 }"),
        ("argmax_is_printed", "{ probabilities = [0.1, 0.9] }"),
        ("argmax_is_printed", "{ probabilities = [], printed = 7 }"),
        ("argmax_is_printed", "{ probabilities = 0.9, printed = 7 }"),
        ("argmax_is_printed", "{ probabilities = [0.1, 0.9], printed = 1 }"),
        ("argmax_is_printed", f'{{ probabilities = {[0.1] * 10}, printed = "1" }}'),
        ("argmax_is_printed", f"{{ probabilities = {[0.1] * 10}, printed = -3 }}"),
        ("argmax_is_printed", f"{{ probabilities = {[0.1] * 10}, printed = 10 }}"),
        ("argmax_is_printed", f"{{ probabilities = {[0.1] * 9 + [1.1]}, printed = 3 }}"),
    ],
)
def test_own_numbers_that_cannot_be_compared_are_refused(refused, consistency, reported):
    fields = {"consistency": f'"{consistency}"', "reported": reported}
    refused("own-numbers", "reported", f"the numbers that {consistency} compares", **fields)


@pytest.mark.parametrize(("rule", "about"), [(rule, about) for rule in RULES for about in ABOUT[rule]])
def test_what_follows_is_said_of_each_possible_verdict_and_of_no_other(load, refused, rule, about):
    verdicts, fields = possible(rule, about), {"about": f'"{about}"'}
    expected = f"a text for each of {', '.join(verdicts)}$"
    assert list(load(rule, follows=sentences(verdicts), **fields)["follows"]) == verdicts
    for missing in verdicts:
        refused(rule, "follows", expected, follows=sentences(v for v in verdicts if v != missing), **fields)
    for extra in {*VERDICTS, "surely"} - {*verdicts}:
        refused(rule, "follows", expected, follows=sentences([*verdicts, extra]), **fields)


RIGHT = sentences(RULES["holds"].gives)


@pytest.mark.parametrize(
    "text", ['"Then so."', "[]", "{}", "3", RIGHT.replace("Then so.", " ", 1), RIGHT.replace('"Then so."', "3", 1)]
)
def test_what_follows_is_a_table_of_texts(refused, text):
    refused("holds", "follows", "a text for each of", about='"any"', follows=text)


# Against recorded seeds


@pytest.fixture(scope="module")
def digits():
    assert "LABCODE_CACHE" in os.environ, "the store of the session is to be used, not the user's"
    return data.load("mnist-5k")


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A function that records a history by seed, of a recipe and data set, in results of this test's own."""
    monkeypatch.setattr(records, "RESULTS", tmp_path)

    def add(recipe, histories, dataset_name="mnist-5k"):
        whole = {"recipe": dataclasses.asdict(training.RECIPES[recipe]), "data": data.DIGESTS[dataset_name], "made": {}}
        for seed, history in histories.items():
            bits = dict.fromkeys(records.BITS, "A" * {"mnist": 1668, "mnist-5k": 168}[dataset_name])
            entry = {"seed": seed, "history": history} | bits
            records.add(whole | entry, dataset_name)

    return add


def accuracies(values):
    """Histories that end at these test accuracies, by seed."""
    return {seed: {"val_accuracy": [0.1, value]} for seed, value in values.items()}


def test_a_difference_is_taken_between_runs_of_one_seed(record):
    record("fc", accuracies({0: 0.90, 1: 0.91, 2: 0.92}))
    record("cnn", accuracies({2: 0.96, 0: 0.95, 7: 0.99}))
    assert claims.recorded_values("cnn_gain", "mnist-5k").tolist() == pytest.approx([0.05, 0.04])
    assert claims.recorded_values("network_comparison", "mnist-5k").tolist() == [[True], [True]]


def test_where_nothing_is_recorded_there_are_no_values(record):
    record("fc", accuracies({0: 0.90, 1: 0.91}))
    for name in ("cnn_gain", "network_comparison", "fc_slow_train_accuracy"):
        assert len(claims.recorded_values(name, "mnist-5k")) == 0


def test_what_a_record_cannot_say_is_not_a_number(record):
    reached = {"val_accuracy": [0.8, 0.9], "seconds": [1.0, 1.0]}
    record("fc", {0: reached, 1: reached})
    record("cnn", {0: reached, 1: reached | {"val_accuracy": [0.9, 0.95]}})
    found = claims.recorded_values("cnn_learns_faster", "mnist-5k")
    assert np.array_equal(found, [[0, 0, np.nan], [1, 0, np.nan]], equal_nan=True)


SPREAD = [-0.01, 0, 0.01, 0.005, -0.005]


@pytest.mark.parametrize(
    ("offsets", "inside"),
    [(SPREAD, True), (np.linspace(0.06, 0.061, FEWEST), False), (SPREAD[:-1], None), ([0], None)],
)
def test_a_measured_value_is_inside_outside_or_has_no_range(record, digits, offsets, inside):
    accuracy = training.train(training.RECIPES["fc"], digits).test_accuracy
    record("fc", accuracies({seed: accuracy + offset for seed, offset in enumerate(offsets)}))
    measured, recorded, found = claims.compare("fc_test_accuracy", digits)
    assert measured == accuracy and len(recorded) == len(offsets) and found is inside


def outside(unit, values):
    """How many recorded values lie outside what the others lead one to expect: of the verdict, and of the check."""
    verdicts, checked = [], []
    for index, value in enumerate(values):
        others = np.delete(values, index, axis=0)
        verdicts.append(RULES["range"].judge({"unit": unit, "reported": value}, None, others))
        checked.append(rules.within(value, rules.check_range(others, unit)))
    assert {*verdicts} <= {REPRODUCED, NOT_REPRODUCED}
    return verdicts.count(NOT_REPRODUCED), checked.count(False)


def test_the_ranges_hold_each_recorded_value_as_often_as_they_say(reported):
    """Of n values a share of 5 % or 0.1 % lies outside, within what a binomial gives in 99 of 100 draws."""
    ranged = {claim["measurement"]: claim["unit"] for claim in reported.values() if claim["rule"] == "range"}
    counts = []
    for name, dataset_name in itertools.product(ranged, data.NAMES):
        values = claims.recorded_values(name, dataset_name)
        counts.append((len(values), *outside(ranged[name], values)))
        print(f"{name} on {dataset_name}: of {len(values)} values {counts[-1][1:]} outside")
        for level, found in zip((rules.VERDICT_LEVEL, rules.CHECK_LEVEL), counts[-1][1:], strict=True):
            assert found <= stats.binom.ppf(0.99, len(values), 1 - level), (name, dataset_name, level)
    total, *found = np.sum(counts, axis=0).tolist()
    print(f"in all: of {total} values {found} outside")
    for level, outside_all in zip((rules.VERDICT_LEVEL, rules.CHECK_LEVEL), found, strict=True):
        low, high = stats.binom.ppf([0.01, 0.99], total, 1 - level)
        assert low <= outside_all <= high, level


@pytest.mark.parametrize("dataset_name", data.NAMES)
def test_no_recorded_fc_lies_where_a_cnn_is_expected(dataset_name):
    fc, cnn = (claims.recorded_values(f"{name}_test_accuracy", dataset_name) for name in ("fc", "cnn"))
    assert len(fc) >= 30 and not [value for value in fc if rules.within(value, rules.verdict_range(cnn, "percent"))]
    fc, cnn = (claims.recorded_values(f"{name}_test", dataset_name) for name in ("fc", "cnn"))
    assert not [values for values in fc if rules.within(values, rules.verdict_range(cnn, "test"))]


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
    for name in ("pred-shape", "loop-proof", "cnn-superior", "cnn-hierarchy"):
        assert all(measured[name].values()), name


@pytest.mark.parametrize("verdict", [REPRODUCED, NOT_REPRODUCED])
def test_a_claim_about_mnist_is_never_decided_on_mnist_5k(judgements, digits, monkeypatch, verdict):
    for name, rule in RULES.items():
        monkeypatch.setitem(RULES, name, dataclasses.replace(rule, judge=lambda *_: verdict))
    about = {name: claim["about"] for name, claim in claims.load_claims().items() if claim["rule"] != "evidence"}
    assert {*about.values()} == {"mnist", "any"}
    for judgement in claims.judge(digits, wanted=about):
        assert judgement.verdict == (UNTESTED if about[judgement.id] == "mnist" else verdict), judgement.id


def test_what_other_images_cannot_answer_is_not_measured_on_them(judgements):
    answered = {judgement.id for judgement in judgements if judgement.measured is not None}
    assert not answered & {"data-size", "fc-recipe", "pred-grid", "pred-first", "loop-curve", "cnn-faster"}
    assert not [judgement.id for judgement in judgements if judgement.too_few], "it is the data set"


def test_claims_are_chosen_by_the_beginning_of_their_section_or_id(digits):
    assert [judgement.id for judgement in claims.judge(digits, wanted=("2.1", "data-"))] == [
        "data-size",
        "data-prep",
        "fc-layers",
        "fc-params",
    ]


def verdict_of(name, digits):
    (judgement,) = claims.judge(digits, wanted=(name,))
    return judgement.verdict


CNN_BETTER = [0.95, 0.96, 0.95, 0.80, 0.70]
CNN_NOT_BETTER = [0.95, 0.96, 0.80, 0.90, 0.70]


@pytest.mark.parametrize(
    ("cnn", "lacking", "shown"),
    [
        (CNN_BETTER, OVERCLAIMED, REPRODUCED),
        (CNN_NOT_BETTER, NOT_REPRODUCED, NOT_REPRODUCED),
        ([*CNN_BETTER, 0.80], NOT_REPRODUCED, NOT_REPRODUCED),  # half of them
        (CNN_BETTER[: FEWEST - 1], OVERCLAIMED, UNTESTED),
        (CNN_NOT_BETTER[-FEWEST + 1 :], OVERCLAIMED, UNTESTED),
        ([], OVERCLAIMED, UNTESTED),
    ],
)
def test_recorded_runs_decide_a_statement_and_too_few_of_them_decide_nothing(
    record, digits, monkeypatch, reported, cnn, lacking, shown
):
    record("fc", accuracies(dict.fromkeys(range(len(cnn)), 0.9)))
    record("cnn", accuracies(dict(enumerate(cnn))))
    assert verdict_of("cnn-superior", digits) == lacking
    complete = reported["cnn-superior"] | {"shown": reported["cnn-superior"]["needs"]}
    monkeypatch.setattr(claims, "load_claims", lambda: {"cnn-superior": complete})
    assert verdict_of("cnn-superior", digits) == shown


@pytest.mark.parametrize("holds", [True, False])
def test_a_sabotaged_measurement_changes_the_verdict_and_alone_decides_nothing(digits, monkeypatch, tmp_path, holds):
    recipes, _ = measurements.OBSERVED["network_comparison"]
    monkeypatch.setitem(measurements.OBSERVED, "network_comparison", (recipes, lambda fc, cnn: {"CNN above FC": holds}))
    assert verdict_of("cnn-superior", digits) == (OVERCLAIMED if holds else NOT_REPRODUCED)
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    assert verdict_of("cnn-superior", digits) == OVERCLAIMED  # the report settles it


@pytest.mark.parametrize("name", ["data_preparation", "fc_layers", "cnn_parameters", "cnn_recipe"])
def test_a_sabotaged_fact_is_not_reproduced(digits, monkeypatch, name):
    measured = measurements.EXACT[name]
    (claim,) = [each for each, claim in claims.load_claims().items() if claim["measurement"] == name]
    assert verdict_of(claim, digits) == REPRODUCED
    monkeypatch.setitem(measurements.EXACT, name, lambda *given: measured(*given)[:-1])
    assert verdict_of(claim, digits) == NOT_REPRODUCED


# Where a data set cannot answer: what the runs recorded on all of MNIST say


def test_the_claims_that_recorded_runs_answer_are_told_their_verdict(judgements):
    by_records = measurements.RANGED | measurements.OBSERVED
    answered = {each.id for each in judgements if each.recorded_verdict}
    untested = [each for each in judgements if each.verdict == UNTESTED]
    assert answered == {each.id for each in untested if each.claim["measurement"] in by_records}
    assert {each.recorded_verdict for each in judgements} <= {None, *VERDICTS} - {UNTESTED}


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.9679, 0.9689, 0.9699, 0.9684, 0.9694), REPRODUCED),
        ((0.9579, 0.9589, 0.9599, 0.9584, 0.9594), NOT_REPRODUCED),
        ((0.9679, 0.9689, 0.9699, 0.9684), None),
        ((0.9689,), None),
        ((), None),
    ],
)
def test_the_verdict_of_recorded_mnist_runs_is_theirs_and_needs_five(record, digits, values, verdict):
    histories = {seed: {"val_accuracy": [value], "val_loss": [1.0753 - value]} for seed, value in enumerate(values)}
    record("fc", histories, "mnist")
    (judgement,) = claims.judge(digits, wanted=("fc-test",))
    assert (judgement.verdict, judgement.recorded_verdict) == (UNTESTED, verdict)


@pytest.mark.parametrize(
    ("falls", "of", "verdict"),
    [(4, 6, REPRODUCED), (3, 6, NOT_REPRODUCED), (3, 5, REPRODUCED), (0, 5, NOT_REPRODUCED), (4, 4, None)],
)
def test_the_majority_of_recorded_mnist_runs_decides_a_statement(record, digits, falls, of, verdict):
    tenths = [list(range(10, 0, -1)) if seed < falls else [1.0] * 10 for seed in range(of)]
    record("loop", {seed: {"loss_tenths": each} for seed, each in enumerate(tenths)}, "mnist")
    (judgement,) = claims.judge(digits, wanted=("loop-curve",))
    assert (judgement.verdict, judgement.recorded_verdict, judgement.measured) == (UNTESTED, verdict, None)


def test_without_records_a_claim_about_mnist_has_no_verdict_of_theirs(record, digits):
    assert not [each.id for each in claims.judge(digits, wanted=("fc-", "loop-curve")) if each.recorded_verdict]


# As on all of MNIST


@pytest.fixture
def as_mnist(digits):
    """The digits of mnist-5k under the name of mnist: every claim can be answered, and some facts are wrong."""
    return dataclasses.replace(digits, name="mnist")


def test_on_mnist_the_recorded_seeds_decide_and_the_build_is_only_checked(record, as_mnist):
    around = {offset: [0.9689 + offset / 1000] for offset in (-2, -1, 0, 1, 2)}
    losses = {offset: [0.1065 + offset / 1000] for offset in around}
    record("fc", {2 + n: {"val_accuracy": around[n], "val_loss": losses[n]} for n in around}, "mnist")
    (judgement,) = claims.judge(as_mnist, wanted=("fc-test",))
    assert judgement.measured[0] < 0.93, "5,000 images do not give MNIST's accuracy"
    assert (judgement.verdict, judgement.inside, judgement.recorded_verdict) == (REPRODUCED, False, None)


def test_facts_about_mnist_are_not_reproduced_with_fewer_images(as_mnist):
    found = {each.id: each.verdict for each in claims.judge(as_mnist, wanted=("data-size", "fc-recipe"))}
    assert found == dict.fromkeys(("data-size", "fc-recipe"), NOT_REPRODUCED)


RUNS = ("cnn-faster", "cnn-gap", "cnn-superior", "pred-first", "pred-grid", "pred-confident", "loop-curve")


def test_statements_about_runs_that_too_few_recorded_are_measured_and_not_decided(record, as_mnist):
    found = {each.id: each for each in claims.judge(as_mnist, wanted=RUNS)}
    settled = {"cnn-gap": CONTRADICTED, "cnn-superior": OVERCLAIMED, "pred-first": CONTRADICTED}  # by the report's text
    assert {name: each.verdict for name, each in found.items()} == dict.fromkeys(RUNS, UNTESTED) | settled
    assert all(each.measured and len(each.recorded) == 0 and not each.recorded_verdict for each in found.values())
    assert {name for name, each in found.items() if each.too_few} == {*RUNS} - settled.keys()
    assert found["cnn-faster"].measured.keys() == {"by epochs", "by seconds", "by multiply-adds"}


@pytest.mark.parametrize(("below", "verdict"), [(3, OVERCLAIMED), (2, NOT_REPRODUCED)])
def test_whether_a_gap_tells_overfitting_follows_the_records_and_what_the_report_shows(
    record, as_mnist, monkeypatch, reported, below, verdict
):
    ends = {seed: 0.97 if seed < below else 0.96 for seed in range(FEWEST)}
    record("fc", {seed: {"val_accuracy": [0.965], "bar_accuracy": [end]} for seed, end in ends.items()}, "mnist")
    assert verdict_of("fc-gap", as_mnist) == verdict
    complete = reported["fc-gap"] | {"shown": reported["fc-gap"]["needs"]}
    monkeypatch.setattr(claims, "load_claims", lambda: {"fc-gap": complete})
    assert verdict_of("fc-gap", as_mnist) == (REPRODUCED if below == 3 else NOT_REPRODUCED)


@pytest.mark.parametrize("seconds", [True, False])
def test_of_seconds_this_builds_run_decides_and_of_the_rest_the_records(record, as_mnist, monkeypatch, seconds):
    reached = {"val_accuracy": [0.8, 0.9], "seconds": [1.0, 1.0]}
    record("fc", dict.fromkeys(range(FEWEST), reached), "mnist")
    record("cnn", dict.fromkeys(range(FEWEST), reached | {"val_accuracy": [0.7, 0.8]}), "mnist")
    recipes, function = measurements.OBSERVED["cnn_learns_faster"]

    def sabotaged(fc, cnn):
        held = function(fc, cnn)
        return held if held["by seconds"] is None else dict.fromkeys(held, True) | {"by seconds": seconds}

    monkeypatch.setitem(measurements.OBSERVED, "cnn_learns_faster", (recipes, sabotaged))
    assert verdict_of("cnn-faster", as_mnist) == (OVERCLAIMED if seconds else NOT_REPRODUCED)
