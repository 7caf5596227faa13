"""Recorded seeds: added once, found by recipe and data, and what comes back is what was measured."""

import dataclasses
import json

import numpy as np
import pytest

from labcode import data, study, training

RECIPE = training.Recipe("fc", "sgd", learning_rate=0.1, batch_size=64, epochs=2, train_images=256)


@pytest.fixture(scope="module")
def digits():
    return data.load("mnist-5k")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def own_results(tmp_path, store, monkeypatch):
    monkeypatch.setenv("LABCODE_CACHE", str(store))
    monkeypatch.setattr(study, "RESULTS", tmp_path / "results")
    return tmp_path / "results" / "mnist-5k.json"


def test_where_nothing_is_recorded_there_is_no_record():
    assert study.records(RECIPE, "mnist-5k") == study.records(RECIPE, "mnist") == []


def test_a_record_holds_what_the_run_measured(digits):
    study.record(RECIPE, digits, seed=3)
    (record,) = study.records(RECIPE, "mnist-5k")
    run = training.train(RECIPE, digits, seed=3)
    assert record.seed == 3
    assert record.correct.dtype == bool
    assert np.array_equal(record.correct, run.probabilities.argmax(axis=1) == digits.test_labels)
    assert record.correct.mean() == pytest.approx(record.test_accuracy) and 0.3 < record.test_accuracy < 1
    assert record.history.keys() == run.history.keys() - {"step_loss"}
    assert all(record.history[key] == pytest.approx(run.history[key], abs=1e-7) for key in record.history)
    assert record.made.keys() == {"processor", "threads", "versions", "date"}


def test_a_seed_is_recorded_once(digits, own_results):
    study.record(RECIPE, digits, seed=3)
    before = own_results.read_bytes()
    study.record(RECIPE, digits, seed=3)
    assert own_results.read_bytes() == before and len(json.loads(before)) == 1
    assert [path.name for path in own_results.parent.iterdir()] == ["mnist-5k.json"]


def test_a_recorded_seed_is_not_trained_again(digits, own_results, tmp_path, monkeypatch):
    study.record(RECIPE, digits, seed=3)
    monkeypatch.setenv("LABCODE_CACHE", str(tmp_path / "empty"))
    study.record(RECIPE, digits, seed=3)
    assert not (tmp_path / "empty").exists()


def test_records_come_in_the_order_of_their_seeds_a_line_each(digits, own_results):
    for seed in (1, 0, 3):
        study.record(RECIPE, digits, seed)
    assert [record.seed for record in study.records(RECIPE, "mnist-5k")] == [0, 1, 3]
    assert len(own_results.read_text().splitlines()) == 5  # brackets and three records


def test_a_record_is_found_by_its_recipe_and_data_alone(digits, own_results):
    study.record(RECIPE, digits, seed=3)
    for field, other in (("learning_rate", 0.01), ("train_images", None), ("method", "loop")):
        assert study.records(dataclasses.replace(RECIPE, **{field: other}), "mnist-5k") == []
    (entry,) = json.loads(own_results.read_text())
    own_results.write_text(json.dumps([entry | {"made": {}}]))
    assert len(study.records(RECIPE, "mnist-5k")) == 1
    own_results.write_text(json.dumps([entry | {"data": "other images"}]))
    assert study.records(RECIPE, "mnist-5k") == []


def test_a_seed_recorded_while_another_trains_is_kept(digits, monkeypatch):
    train = training.train

    def train_while_another_study_records(recipe, dataset, seed):
        monkeypatch.setattr(training, "train", train)
        study.record(recipe, dataset, seed=1)
        return train(recipe, dataset, seed)

    monkeypatch.setattr(training, "train", train_while_another_study_records)
    study.record(RECIPE, digits, seed=0)
    assert [record.seed for record in study.records(RECIPE, "mnist-5k")] == [0, 1]


def test_the_command_line_records_the_seeds_it_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setitem(training.RECIPES, "tiny", RECIPE)
    monkeypatch.setattr("sys.argv", ["study", "mnist-5k", "--recipes", "tiny", "--seeds", "2"])
    study.main()
    assert [record.seed for record in study.records(RECIPE, "mnist-5k")] == [0, 1]
