"""Recorded seeds: added once, found by recipe and data, and what comes back is what was measured."""

import base64
import dataclasses
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from labcode import data, records, runs, training

RECORDED = records.RESULTS
RECIPE = training.Recipe("fc", "sgd", learning_rate=0.1, batch_size=64, epochs=2, train_images=256)
LOOP = dataclasses.replace(RECIPE, method="loop", learning_rate=0.01, batch_size=12)


@pytest.fixture(scope="module")
def digits():
    return data.load("mnist-5k")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def own_results(tmp_path, store, monkeypatch):
    monkeypatch.setenv("LABCODE_CACHE", str(store))
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    return tmp_path / "results" / "mnist-5k.json"


@pytest.fixture
def entry(digits):
    return records.describe(training.train(RECIPE, digits, seed=3), RECIPE, 3, digits)


def test_where_nothing_is_recorded_there_is_no_record():
    assert records.find(RECIPE, "mnist-5k") == records.find(RECIPE, "mnist") == []


def test_a_record_holds_what_the_run_measured(digits, entry):
    records.add(entry, "mnist-5k")
    (record,) = records.find(RECIPE, "mnist-5k")
    run = training.train(RECIPE, digits, seed=3)
    assert record.seed == 3
    assert record.correct.dtype == bool
    assert np.array_equal(record.correct, run.probabilities.argmax(axis=1) == digits.test_labels)
    assert record.correct.mean() == pytest.approx(record.test_accuracy) and 0.3 < record.test_accuracy < 1
    assert record.history.keys() == run.history.keys() - {"step_loss", "seconds"}
    assert all(record.history[key] == pytest.approx(run.history[key], abs=1e-7) for key in record.history)
    assert record.made.keys() == {"processor", "threads", "versions", "date"}


@pytest.mark.parametrize("method", ["fit", "loop"])
def test_the_record_of_a_run_is_the_one_found_of_its_entry(digits, method):
    recipe = RECIPE if method == "fit" else LOOP
    run = training.train(recipe, digits, seed=3)
    records.add(records.describe(run, recipe, 3, digits), "mnist-5k")
    (found,), of_run = records.find(recipe, "mnist-5k"), records.of_run(run, 3, digits.test_labels)
    assert of_run.history.keys() - found.history.keys() == {"seconds"} and of_run.history["seconds"]
    for key, values in found.history.items():
        assert values == pytest.approx(of_run.history[key], abs=1e-7), key
    for bits in records.BITS:
        of_each = getattr(found, bits), getattr(of_run, bits)
        assert all(each.dtype == bool and each.shape == (1000,) for each in of_each) and np.array_equal(*of_each), bits
        assert bits == "sure" or 0 < of_run.correct.sum() < 1000
    assert (found.seed, found.made, found.test_accuracy) == (3, of_run.made, pytest.approx(run.test_accuracy))


@pytest.mark.parametrize(("confidence", "sure"), [(0.994, False), (0.9951, True), (1.0, True), (0.3, False)])
def test_sure_are_those_whose_confidence_is_printed_as_100_percent(confidence, sure):
    probabilities = np.full((2, 10), (1 - confidence) / 9)
    probabilities[0, 7], probabilities[1] = confidence, 0.1  # the second is never sure
    made_by = {"recipe": dataclasses.asdict(RECIPE)} | dict.fromkeys(("processor", "threads", "versions"))
    record = records.of_run(runs.Run({}, [], probabilities, made_by), 0, np.array([7, 3]))
    assert record.sure.tolist() == [sure, False] and sure == (f"{confidence:.0%}" == "100%")
    assert record.correct.tolist() == [True, False]


def test_the_sure_bits_recorded_are_of_the_images(entry, own_results):
    bits = np.arange(1000) % 3 == 0
    records.add(entry | {"sure": base64.b64encode(np.packbits(bits)).decode()}, "mnist-5k")
    (record,) = records.find(RECIPE, "mnist-5k")
    assert np.array_equal(record.sure, bits) and not np.array_equal(record.correct, bits)


def test_of_the_loop_the_smoothed_loss_is_kept_in_tenths(digits):
    run = training.train(LOOP, digits, seed=3)
    records.add(records.describe(run, LOOP, 3, digits), "mnist-5k")
    (record,) = records.find(LOOP, "mnist-5k")
    assert record.history.keys() == run.history.keys() - {"step_loss", "seconds"} | {"loss_tenths"}
    losses, smoothed = run.history["step_loss"], []
    for loss in losses:
        smoothed.append(0.95 * smoothed[-1] + 0.05 * loss if smoothed else loss)
    parts = np.array_split(smoothed, 10)
    assert record.history["loss_tenths"] == pytest.approx([part.mean() for part in parts], abs=1e-6)


def test_a_seed_is_recorded_once(entry, own_results):
    records.add(entry, "mnist-5k")
    before = own_results.read_bytes()
    records.add(entry, "mnist-5k")
    assert own_results.read_bytes() == before and len(json.loads(before)) == 2, "and the digest of all"
    assert {path.name for path in own_results.parent.iterdir()} == {"mnist-5k.json", "mnist-5k.json.lock"}


def test_another_recipe_or_data_set_is_not_matched(entry):
    records.add(entry, "mnist-5k")
    assert records.find(dataclasses.replace(RECIPE, learning_rate=0.2), "mnist-5k") == []
    records.add(entry, "mnist")  # the file's name alone does not make it MNIST's
    assert records.find(RECIPE, "mnist") == []


@dataclasses.dataclass(frozen=True)
class LaterRecipe(training.Recipe):
    """A recipe as it may be when the project has gone on."""

    shift: int = 0


def test_a_field_that_a_recipe_gains_orphans_no_record(entry):
    records.add(entry, "mnist-5k")
    later = LaterRecipe(**dataclasses.asdict(RECIPE))
    assert [record.seed for record in records.find(later, "mnist-5k")] == [3]
    assert records.find(dataclasses.replace(later, shift=2), "mnist-5k") == []


def test_a_field_that_a_recipe_lost_or_that_has_no_default_is_no_match(entry):
    recipe = dict(entry["recipe"])
    records.add(entry | {"recipe": recipe | {"shift": 0}}, "mnist-5k")
    del recipe["epochs"]
    records.add(entry | {"recipe": recipe}, "mnist-5k")
    assert records.find(RECIPE, "mnist-5k") == []


def test_an_entry_from_before_a_field_was_added_counts_as_recorded(entry, own_results):
    older = {key: value for key, value in entry["recipe"].items() if key not in ("method", "train_images")}
    records.add(entry | {"recipe": older | {"train_images": RECIPE.train_images}}, "mnist-5k")
    before = own_results.read_bytes()
    records.add(entry, "mnist-5k")
    assert own_results.read_bytes() == before and len(records.find(RECIPE, "mnist-5k")) == 1


@pytest.mark.parametrize("edit", [("0.", "0.9"), ('"seed": 4', '"seed": 5'), ('"digest"', '"digset"')])
def test_an_edited_entry_is_named(edit, entry, own_results):
    for seed in (3, 4):
        records.add(entry | {"seed": seed}, "mnist-5k")
    start, first, victim, *end = own_results.read_text("utf-8").split("\n")
    edited = victim.replace(*edit, 1)
    assert edited != victim
    own_results.write_text("\n".join([start, first, edited, *end]), "utf-8")
    seed = 5 if "seed" in edit[0] else 4
    for read in (lambda: records.find(RECIPE, "mnist-5k"), lambda: records.add(entry | {"seed": 6}, "mnist-5k")):
        with pytest.raises(records.RecordsError, match=rf"mnist-5k.json: entry 2, .*'fc'.*, seed {seed}: .* edited"):
            read()


@pytest.mark.parametrize("cut", [lambda text: text[:-40], lambda text: "", lambda text: "{}", lambda text: "[1]"])
def test_a_cut_file_is_named(cut, entry, own_results):
    records.add(entry, "mnist-5k")
    own_results.write_text(cut(own_results.read_text("utf-8")), "utf-8")
    with pytest.raises(records.RecordsError, match="mnist-5k.json: cut or edited .*version control"):
        records.find(RECIPE, "mnist-5k")


def test_what_is_recorded_is_as_it_was_written():
    for name in data.NAMES:
        path = RECORDED / f"{name}.json"
        *entries, last = json.loads(path.read_text("utf-8"))
        assert len(entries) > 100
        for entry in entries:
            text = json.dumps({key: value for key, value in entry.items() if key != "digest"}, sort_keys=True)
            assert entry["digest"] == hashlib.sha256(text.encode()).hexdigest()
        digests = " ".join(entry["digest"] for entry in entries)
        assert last == {"digest of all entries": hashlib.sha256(digests.encode()).hexdigest()}


def test_where_results_cannot_be_written_one_error_says_so(entry, own_results):
    own_results.parent.write_text("no folder")
    for write in (records.check_writable, lambda: records.add(entry, "mnist-5k")):
        with pytest.raises(records.RecordsError, match=r"results: cannot be written .*; make room"):
            write()


@pytest.mark.parametrize(
    ("field", "other"), [("recipe", {"network": "cnn"}), ("seed", 4), ("data", data.DIGESTS["mnist"])]
)
def test_an_entry_that_was_not_asked_for_is_told_with_what_was(entry, field, other):
    assert records.other_than_asked(entry, RECIPE, 3, "mnist-5k") == ""
    told = records.other_than_asked(entry | {field: other}, RECIPE, 3, "mnist-5k")
    assert told == f"{field} {other}, asked for {entry[field]}"


def test_entries_added_at_the_same_time_are_all_kept_in_the_order_of_the_seeds(entry):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: records.add(entry | {"seed": seed}, "mnist-5k"), reversed(range(16))))
    assert [record.seed for record in records.find(RECIPE, "mnist-5k")] == list(range(16))
