"""Each measurement is seen to tell made-up Runs and data apart: what holds of one does not of another."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from labcode import backprop, fitting, measurements, models, records, runs, training
from labcode.data import Dataset


def made_up(train=100, test=20, shape=(28, 28, 1), labels=None):
    """A data set of random images; the labels of the test images may be given."""
    random = np.random.default_rng(0)
    images = [random.random((count, *shape), np.float32) for count in (train, test)]
    given = random.integers(0, 10, test) if labels is None else np.asarray(labels)
    return Dataset("mnist", images[0], random.integers(0, 10, train), images[1], given, "made up")


def run(probabilities=None, weights=(), **history):
    """A Run with that history."""
    made_by = {"recipe": {"method": "loop" if "step_loss" in history else "fit"}}
    made_by |= dict.fromkeys(("processor", "threads", "versions"))
    return runs.Run(history, list(weights), probabilities, made_by)


def record(labels=(), probabilities=(), **history):
    """The Record of such a Run, with these labels of the test images."""
    probabilities = np.reshape(probabilities, (-1, 10))
    return records.of_run(run(probabilities, **history), 0, np.array(labels, int))


def measure(name, dataset=None, **found):
    """An exact measurement of a data set and of Runs by recipe."""
    return measurements.EXACT[name](dataset, found.__getitem__)


def observe(name, **found):
    """An observed measurement of Records by recipe."""
    recipes, function = measurements.OBSERVED[name]
    return function(*(found.pop(recipe) for recipe in recipes))


def only(statements):
    """The one statement: whether it holds."""
    (holds,) = statements.values()
    return holds


def predictions(digits, confidences):
    """Probabilities (n, 10) that name these digits with these confidences."""
    confidences = np.broadcast_to(confidences, len(digits))[:, None]
    return np.where(np.eye(10, dtype=bool)[digits], confidences, (1 - confidences) / 9).astype(np.float32)


# Section 1: the data


def test_data_size_counts_both_sets_and_the_pixels():
    assert measure("data_size", made_up(100, 20)) == [120, 28, 28]
    assert measure("data_size", made_up(7, 3, (4, 5, 1))) == [10, 4, 5]


def test_data_preparation_tells_floats_from_bytes():
    dataset = made_up()
    dataset.train_images[0, 0, 0], dataset.train_images[0, 0, 1] = 0, 1
    assert measure("data_preparation", dataset) == ["float32", 0.0, 1.0, 1, "int64"]
    raw = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    dataset = dataclasses.replace(dataset, train_images=raw, train_labels=np.zeros(4, np.int32))
    assert measure("data_preparation", dataset) == ["uint8", 0.0, 255.0, 1, "int32"]


# Sections 2 and 3: the networks


def test_layers_are_those_of_the_network_that_is_built(monkeypatch):
    assert measure("fc_layers") == ["784: 0", "128: 100480", "10: 1290"]
    assert measure("cnn_layers")[:2] == ["26x26x64: 640", "13x13x64: 0"] and measure("cnn_layers")[-1] == "10: 2570"
    monkeypatch.setitem(models.BUILDERS, "fc", models.build_cnn)
    monkeypatch.setitem(models.BUILDERS, "cnn", models.build_fc)
    assert measure("fc_layers")[0] == "26x26x64: 640"
    assert measure("cnn_layers") == ["784: 0", "128: 100480", "10: 1290"]


def test_parameters_are_those_of_the_network_that_is_built(monkeypatch):
    assert measure("fc_parameters") == [101_770, 101_772]
    assert measure("cnn_parameters") == [438_026, 640, 73_856, 295_168, 65_792, 2_570]
    monkeypatch.setitem(models.BUILDERS, "fc", models.build_cnn)
    monkeypatch.setattr(models, "build_cnn", models.build_fc)
    monkeypatch.setitem(training.RECIPES, "fc", training.RECIPES["cnn"])  # Adam keeps two more of each of ten arrays
    assert measure("fc_parameters") == [438_026, 438_048]
    assert measure("cnn_parameters") == [101_770, 100_480, 1_290]


def test_recipes_are_those_that_train(monkeypatch):
    loss, fc = "sparse_categorical_crossentropy", run(step_loss=[1.0] * 30)
    assert measure("fc_recipe", fc=fc) == ["sgd", loss, 64, 5, 6]
    assert measure("cnn_recipe") == ["adam", 0.001, loss, 64, 5]
    monkeypatch.setitem(training.RECIPES, "fc", training.Recipe("fc", "adam", 0.5, 10, 2))
    monkeypatch.setitem(training.RECIPES, "cnn", training.Recipe("cnn", "sgd", 0.5, 7, 3))
    assert measure("fc_recipe", fc=fc) == ["adam", loss, 10, 2, 15]
    assert measure("cnn_recipe") == ["sgd", 0.5, loss, 7, 3]


def test_seconds_are_those_of_all_epochs():
    found = {"fc": run(seconds=[1.0, 2.0]), "cnn": run(seconds=[10.0, 5.0])}
    assert (measure("fc_seconds", **found), measure("cnn_seconds", **found)) == (3.0, 15.0)


@pytest.mark.parametrize(("fc", "cnn", "holds"), [(0.96, 0.98, True), (0.98, 0.96, False), (0.97, 0.97, False)])
def test_network_comparison_asks_for_more_than_a_draw(fc, cnn, holds):
    found = {"fc": record(val_accuracy=[1, fc]), "cnn": record(val_accuracy=[0, cnn])}
    assert only(observe("network_comparison", **found)) is holds


@pytest.mark.parametrize(("fc_train", "cnn_train", "smaller"), [(0.99, 0.99, True), (0.97, 0.999, False)])
def test_cnn_gap_is_smaller_compares_training_minus_test_accuracy(fc_train, cnn_train, smaller):
    fc = record(train_accuracy=[0.5, fc_train], val_accuracy=[0.9, 0.96])
    cnn = record(train_accuracy=[0.5, cnn_train], val_accuracy=[0.9, 0.98])
    assert only(observe("cnn_gap_is_smaller", fc=fc, cnn=cnn)) is smaller


@pytest.mark.parametrize(("test", "below"), [(0.94, True), (0.95, False), (0.96, False)])
def test_fc_is_held_against_the_end_of_its_log(test, below):
    fc = record(bar_accuracy=[0.99, 0.95], train_accuracy=[0.9, 0.93], val_accuracy=[0.5, test])
    assert only(observe("fc_test_below_its_log", fc=fc)) is below


def network(offset):
    """The Record of a training of two epochs, each of whose values is another."""
    keys = ("bar_accuracy", "bar_loss", "train_accuracy", "val_accuracy", "val_loss")
    return record(**{key: [offset + place / 10, offset + place / 10 + 0.01] for place, key in enumerate(keys)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fc_test_accuracy", 0.31),
        ("cnn_test_accuracy", 2.31),
        ("fc_test", [0.31, 0.41]),
        ("cnn_test", [2.31, 2.41]),
        ("fc_slow_train_accuracy", 1.01),
        ("fc_log", [0.00, 0.01, 0.10, 0.11]),
        ("cnn_log", [2.00, 2.01, 2.10, 2.11]),
        ("fc_gap", 0.21 - 0.31),
        ("cnn_gap", 2.21 - 2.31),
        ("cnn_gain", 2.31 - 0.31),
        ("gap_difference", 0),
        ("fc_small_loss", 3.41),
        ("fc_small_dropout_loss", 4.41),
        ("fc_small_more_loss", 5.41),
        ("loop_test_accuracy", 6.31),
    ],
)
def test_a_ranged_measurement_is_of_the_last_epoch_of_its_recipe(name, value):
    networks = ("fc", "fc-slow", "cnn", "fc-small", "fc-small-dropout", "fc-small-more", "loop")
    found = {recipe: network(offset) for offset, recipe in enumerate(networks)}
    recipes, function = measurements.RANGED[name]
    assert function(*(found[recipe] for recipe in recipes)) == pytest.approx(value, abs=1e-12)


def test_a_difference_of_gaps_is_negative_where_the_cnns_is_smaller():
    _, function = measurements.RANGED["gap_difference"]
    fc, cnn = (record(train_accuracy=[train], val_accuracy=[0.90]) for train in (0.95, 0.92))
    assert function(fc, cnn) == pytest.approx(0.02 - 0.05)


def reaches(epoch, seconds):
    """A Record whose accuracy first reaches 0.9 after that epoch, each of so many seconds; never, if the epoch is 0."""
    accuracies = [0.5] * (epoch - 1) + [0.9] if epoch else [0.5, 0.6]
    return record(val_accuracy=accuracies, seconds=[seconds] * len(accuracies))


@pytest.mark.parametrize(
    ("fc", "cnn", "faster"),
    [
        (reaches(5, 1), reaches(1, 28), (True, False, False)),
        (reaches(2, 10), reaches(3, 1), (False, True, False)),
        (reaches(119, 1), reaches(1, 1), (True, True, True)),  # of multiply-adds, a CNN's epoch has 118.4 times FC's
        (reaches(118, 1), reaches(1, 1), (True, True, False)),
        (reaches(3, 1), reaches(3, 1), (False, False, False)),
        (reaches(119, 1), reaches(0, 1), (False, False, False)),
    ],
    ids=["by epochs", "by seconds", "by all", "not by multiply-adds", "a draw", "never"],
)
def test_cnn_learns_faster_by_each_measure_alone(fc, cnn, faster):
    held = observe("cnn_learns_faster", fc=fc, cnn=cnn)
    assert held == dict(zip(("by epochs", "by seconds", "by multiply-adds"), faster, strict=True))


def dots(count, random, place=None):
    """Images with one dot, at the place or anywhere in the middle, whose brightness is the label."""
    labels = np.arange(count) % 10
    images = np.zeros((count, 28, 28, 1), np.float32)
    rows, columns = random.integers(7, 15, (2, count)) if place is None else place  # what the last block sees
    images[np.arange(count), rows, columns, 0] = (labels + 1) / 10
    return images, labels


@pytest.mark.parametrize(("place", "better"), [(None, True), ((10, 10), False)], ids=["anywhere", "one place"])
def test_blocks_sort_better_where_they_forget_a_place_that_does_not_matter(place, better):
    random = np.random.default_rng(0)
    dataset = Dataset("mnist", *dots(1000, random, place), *dots(1000, random, place), "made up")
    weights = [np.zeros_like(array) for array in models.build_cnn().get_weights()]
    for kernel in weights[:6:2]:
        kernel[1, 1, 0, 0] = 1  # each convolution hands on what it gets; the pooling remains
    assert only(measure("blocks_sort_better", dataset, cnn=run(weights=weights))) is better


# Section 4: predictions


@pytest.mark.parametrize(
    ("first", "held"),
    [
        ([0.1] * 10, (True, True, True)),
        ([0.2] * 5, (False, True, True)),
        ([-0.1, 0.3] * 5, (True, False, True)),
        ([0.2] * 10, (True, True, False)),
    ],
)
def test_first_prediction_is_a_distribution_by_three_statements(first, held):
    measured = measure("first_prediction_is_distribution", cnn=run(np.array([first, [0.1] * len(first)])))
    assert measured == dict(zip(("10 numbers", "none below 0", "sum to 1"), held, strict=True))


@pytest.mark.parametrize(("label", "right"), [(7, True), (3, False)])
def test_first_prediction_is_right_where_it_is_the_first_label(label, right):
    cnn = record([label, 5], predictions([7, 3], 0.9))
    assert only(observe("first_prediction_is_right", cnn=cnn)) is right


@pytest.mark.parametrize(
    ("wrong", "confidences", "held"),
    [
        ([], 0.999, (True, True)),
        ([13], 0.999, (False, True)),
        ([20, 21], 0.999, (True, True)),  # beyond the grid
        ([], 0.99, (True, False)),
        ([], [0.999] * 10 + [0.9] * 14, (True, False)),
        ([], [0.999] * 11 + [0.9] * 13, (True, True)),
    ],
)
def test_grid_of_predictions_is_of_the_first_twenty(wrong, confidences, held):
    labels = np.arange(24) % 10
    named = labels.copy()
    named[wrong] = (named[wrong] + 1) % 10
    measured = observe("grid_of_predictions", cnn=record(labels, predictions(named, confidences)))
    assert measured == dict(zip(("all 20 right", "most at 100 %"), held, strict=True))


@pytest.mark.parametrize(
    ("right", "wrong", "often"),
    [
        ([0.999, 0.999, 0.6], [0.5] * 5, True),
        ([0.999, 0.6, 0.6], [0.999] * 5, False),
        ([0.999, 0.6], [], False),
        ([0.994] * 3, [], False),
        ([0.996] * 3, [], True),
    ],
    ids=["right ones are sure", "only wrong ones are sure", "half of them", "printed as 99 %", "printed as 100 %"],
)
def test_often_confident_where_right_counts_only_the_right_ones(right, wrong, often):
    probabilities = predictions([4] * len(right) + [5] * len(wrong), np.array(right + wrong))
    cnn = record([4] * len(right + wrong), probabilities)
    assert only(observe("often_confident_where_right", cnn=cnn)) is often


# Section 5: the loop


def falling_loss(risen=slice(0), first=None):
    """The losses of 1,000 steps that fall steadily, but for a part that lies higher and a first value that is given."""
    losses = np.linspace(2, 1, 1000)
    losses[risen] += 1
    if first is not None:
        losses[0] = first
    return losses.tolist()


@pytest.mark.parametrize(
    ("losses", "falls"),
    [
        (falling_loss(), True),
        (falling_loss(risen=slice(500, 600)), False),
        (falling_loss(first=-5), False),
        ([1.0] * 1000, False),
    ],
    ids=["steadily", "one tenth rises", "only unsmoothed", "level"],
)
def test_loop_loss_falls_in_every_tenth_of_the_smoothed_curve(losses, falls):
    assert only(observe("loop_loss_falls", loop=record(step_loss=losses))) is falls


@pytest.mark.parametrize("way", [None, "gradients_by_hand", "gradients_by_differences"])
def test_gradients_agree_unless_those_of_one_way_are_a_little_wrong(monkeypatch, way):
    fitting.new_model("cnn", 0)  # seeds
    loop = run(weights=[array + 0.01 for array in models.build_cnn().get_weights()])  # away from biases of zero
    if way:
        right, error = getattr(backprop, way), 1e-9 if way == "gradients_by_hand" else 1e-4
        monkeypatch.setattr(backprop, way, lambda *given: [array * (1 + error) for array in right(*given)])
    expected = {
        "gradients equal those by hand": way != "gradients_by_hand",
        "and finite differences": way != "gradients_by_differences",
    }
    assert measure("gradients_agree", made_up(), loop=loop) == expected


# All


def test_every_measurement_is_tested_here():
    text = Path(__file__).read_text("utf-8")
    every = measurements.EXACT | measurements.OBSERVED | measurements.RANGED
    assert [name for name in every if f'"{name}"' not in text] == []
