"""A Recipe decides a training, bit for bit, and the history says what happened in it."""

import dataclasses
import json
import math
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from labcode import data, training

TINY = training.Recipe("fc", "sgd", learning_rate=0.1, batch_size=32, epochs=3, train_images=128)
STANDING_STILL = dataclasses.replace(TINY, learning_rate=1e-12, epochs=2)  # so that only the order decides the losses
BY_EPOCH = {"loss", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds"}
BY_EPOCH_OF_FIT = BY_EPOCH | {"accuracy", "bar_loss", "bar_accuracy"}


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("LABCODE_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def digits():
    return data.load("mnist-5k")


@pytest.fixture(scope="module")
def few(digits):
    return dataclasses.replace(digits, test_images=digits.test_images[:50], test_labels=digits.test_labels[:50])


def python(code, cache, *arguments):
    """Start another Python process with its own store, and two threads: one alone gives the same bits more easily."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"LABCODE_CACHE": str(cache), "TF_NUM_INTRAOP_THREADS": "2"},
        stdout=subprocess.PIPE,
        text=True,
    )


# Arguments


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("model", "vgg", "one of fc, fc_dropout, cnn"),
        ("optimizer", "rmsprop", "one of sgd, adam"),
        ("method", "by hand", "one of fit, loop"),
        ("learning_rate", 0, "a number above 0"),
        ("learning_rate", -0.1, "a number above 0"),
        ("learning_rate", math.inf, "a number above 0"),
        ("learning_rate", math.nan, "a number above 0"),
        ("learning_rate", "0.1", "a number above 0"),
        ("batch_size", 0, "a whole number of at least 1"),
        ("batch_size", 2.5, "a whole number of at least 1"),
        ("batch_size", None, "a whole number of at least 1"),
        ("epochs", -1, "a whole number of at least 1"),
        ("train_images", 0, "a whole number of at least 1"),
        ("train_images", "all", "a whole number of at least 1"),
    ],
)
def test_a_wrong_recipe_is_refused_by_field_and_value(field, value, expected):
    with pytest.raises(ValueError) as error:
        dataclasses.replace(TINY, **{field: value})
    assert str(error.value) == f"{field} {value!r}: expected {expected}"


@pytest.mark.parametrize("seed", [-1, 0.5, "0", None])
def test_a_wrong_seed_is_refused_by_its_value(few, seed):
    with pytest.raises(ValueError, match=f"seed {seed!r}: expected a whole number from 0"):
        training.train(TINY, few, seed)


def test_more_images_than_there_are_are_refused(few):
    with pytest.raises(ValueError, match="train_images 4001: expected at most the 4000 of mnist-5k"):
        training.train(dataclasses.replace(TINY, train_images=4_001), few)


def test_a_recipe_knows_every_network_that_can_be_built():
    from labcode import models

    for name in models.BUILDERS:
        dataclasses.replace(TINY, model=name)


# The history


@pytest.mark.parametrize(("method", "keys"), [("fit", BY_EPOCH_OF_FIT), ("loop", BY_EPOCH)])
def test_the_history_has_its_keys_and_lengths(few, method, keys):
    run = training.train(dataclasses.replace(TINY, train_images=100, epochs=2, method=method), few)
    assert run.history.keys() == keys | {"step_loss"}
    assert {key: len(run.history[key]) for key in keys} == dict.fromkeys(keys, 2)
    assert len(run.history["step_loss"]) == 2 * 4  # 100 images: three steps of 32, one of 4
    assert all(isinstance(value, float) for values in run.history.values() for value in values)
    assert run.probabilities.shape == (50, 10) and run.probabilities.dtype == np.float32
    assert [weights.shape for weights in run.weights] == [(784, 128), (128,), (128, 10), (10,)]
    assert run.test_accuracy == run.history["val_accuracy"][-1]
    assert run.seconds == sum(run.history["seconds"]) > 0


def running_averages(values, sizes):
    return np.cumsum(np.multiply(values, sizes)) / np.cumsum(sizes)


@pytest.mark.parametrize("images", [128, 100], ids=["equal batches", "a smaller last batch"])
def test_the_progress_bar_showed_the_mean_over_the_steps_of_the_running_average(few, images):
    history = training.train(dataclasses.replace(TINY, train_images=images), few).history
    sizes = [32, 32, 32, images - 96]
    for epoch, step_losses in enumerate(np.reshape(history["step_loss"], (3, 4))):
        averages = running_averages(step_losses, sizes)
        assert history["bar_loss"][epoch] == pytest.approx(averages.mean(), rel=1e-5)
        assert history["loss"][epoch] == pytest.approx(averages[-1], rel=1e-5)
    assert history["bar_loss"] != pytest.approx(history["loss"], rel=1e-3)


def test_accuracy_and_bar_accuracy_are_taken_from_the_same_running_average(few):
    from labcode import fitting

    history = training.train(STANDING_STILL, few, seed=1).history
    right = fitting.new_model("fc", 1)(few.train_images[:128]).numpy().argmax(axis=1) == few.train_labels[:128]
    for epoch in range(2):
        by_step = right[data.epoch_order(128, 1, epoch)].reshape(4, 32).mean(axis=1)
        averages = running_averages(by_step, [32] * 4)
        assert history["accuracy"][epoch] == pytest.approx(averages[-1], rel=1e-6)
        assert history["bar_accuracy"][epoch] == pytest.approx(averages.mean(), rel=1e-6)


@pytest.mark.parametrize("method", ["fit", "loop"])
def test_accuracies_after_an_epoch_are_those_of_its_weights(few, method):
    from labcode import fitting

    run = training.train(dataclasses.replace(TINY, learning_rate=0.01, method=method), few)
    model = fitting.new_model("fc", 99)
    model.set_weights(run.weights)
    np.testing.assert_allclose(model(few.test_images).numpy(), run.probabilities, atol=1e-6)
    for part, images, labels in (
        ("train", few.train_images[:128], few.train_labels[:128]),
        ("val", few.test_images, few.test_labels),
    ):
        probabilities = model(images).numpy().astype(float)
        loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
        assert run.history[f"{part}_loss"][-1] == pytest.approx(loss, rel=1e-5)
        assert run.history[f"{part}_accuracy"][-1] == (probabilities.argmax(axis=1) == labels).mean()
    assert run.history["train_accuracy"][-1] != run.history["train_accuracy"][0]


# The order of the images, and the two methods


@pytest.mark.parametrize("method", ["fit", "loop"])
def test_each_epoch_sees_all_images_in_an_order_of_its_own(few, method):
    from labcode import fitting

    recipe = dataclasses.replace(STANDING_STILL, method=method)
    history = training.train(recipe, few, seed=1).history
    first, second = np.reshape(history["step_loss"], (2, 4))
    assert not np.allclose(first, second, rtol=1e-3)
    assert first.mean() == pytest.approx(second.mean(), rel=1e-5)
    probabilities = fitting.new_model("fc", 1)(few.train_images[:128]).numpy()
    losses = -np.log(probabilities[np.arange(128), few.train_labels[:128]])
    expected = [losses[data.epoch_order(128, 1, epoch)].reshape(4, 32).mean(axis=1) for epoch in range(2)]
    np.testing.assert_allclose([first, second], expected, rtol=1e-5)


def test_other_threads_that_draw_random_numbers_do_not_change_what_a_seed_gives():
    from labcode import fast, fitting, network

    def first():
        model = fitting.new_model("fc_dropout", 3)
        variables = [variable for layer in model.layers for variable in layer.variables]  # where dropout begins, too
        return [each.numpy() for each in (*variables, *fast.initial_weights(network.REPORT_CNN, 3))]

    alone, done = first(), threading.Event()

    def draw():
        while not done.is_set():
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for _ in range(5):
            assert all(map(np.array_equal, alone, first()))
    finally:
        done.set()
        thread.join()


def test_trainings_in_two_threads_are_those_of_one(few, tmp_path, monkeypatch):
    def train(seed):
        return training.train(TINY, few, seed)

    alone = [train(seed) for seed in range(2)]  # after which both threads find the network compiled
    monkeypatch.setenv("LABCODE_CACHE", str(tmp_path / "other"))
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(train, range(2)))
    for one, other in zip(alone, together, strict=True):
        assert all(map(np.array_equal, one.weights, other.weights))
        assert one.history["step_loss"] == other.history["step_loss"]


def test_seeds_differ_in_first_weights_and_order(few):
    one, other = (training.train(STANDING_STILL, few, seed) for seed in (0, 1))
    assert not np.allclose(one.weights[0], other.weights[0])
    assert not np.allclose(one.history["step_loss"], other.history["step_loss"])


def test_fit_and_loop_train_alike_but_for_the_sum(few):
    by_fit = training.train(TINY, few)
    by_loop = training.train(dataclasses.replace(TINY, learning_rate=0.1 / 32, method="loop"), few)
    for one, other in zip(by_fit.weights, by_loop.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(by_fit.history["step_loss"], by_loop.history["step_loss"], rtol=1e-4)
    assert by_fit.history["train_accuracy"] == by_loop.history["train_accuracy"]


# Bit for bit

EXACT = {
    "fc": training.Recipe("fc", "sgd", learning_rate=0.1, batch_size=64, epochs=1),
    "dropout": training.Recipe("fc_dropout", "adam", 0.001, batch_size=64, epochs=2, train_images=256),
    "cnn": training.Recipe("cnn", "adam", 0.001, batch_size=64, epochs=2, train_images=256),
    "loop": training.Recipe("cnn", "sgd", 0.01, batch_size=12, epochs=1, train_images=120, method="loop"),
}
TRAIN = """
import dataclasses, json, sys
import numpy as np
from labcode import data, training
digits = data.load("mnist-5k")
digits = dataclasses.replace(digits, test_images=digits.test_images[:100], test_labels=digits.test_labels[:100])
out, recipes = sys.argv[1], json.loads(sys.argv[2])
for name, fields in recipes:
    run = training.train(training.Recipe(**fields), digits, seed=5)
    np.savez(f"{out}/{name}.npz", *run.weights, probabilities=run.probabilities)
    del run.history["seconds"]
    with open(f"{out}/{name}.json", "w") as file:
        json.dump(run.history, file)
"""


@pytest.mark.parametrize("change", [{}, {"model": "fc_dropout", "optimizer": "adam", "learning_rate": 0.001}])
def test_a_training_leaves_nothing_to_the_next_one_in_its_process(few, tmp_path, monkeypatch, change):
    recipe, trained = dataclasses.replace(TINY, **change), []
    for number, (seed, rate) in enumerate([(0, 1), (1, 2), (0, 1)]):
        monkeypatch.setenv("LABCODE_CACHE", str(tmp_path / str(number)))
        trained.append(
            training.train(dataclasses.replace(recipe, learning_rate=rate * recipe.learning_rate), few, seed)
        )
    first, other, again = trained
    assert all(map(np.array_equal, first.weights, again.weights)) and first.history["loss"] == again.history["loss"]
    assert not np.array_equal(first.weights[0], other.weights[0])


FIND = TRAIN + "assert not {'tensorflow', 'keras'} & sys.modules.keys(), 'a framework was imported'"


@pytest.fixture(scope="module")
def two_trainings(tmp_path_factory):
    """Two folders of what two processes trained, each from nothing, one in the opposite sequence to the other."""
    recipes = [(name, dataclasses.asdict(recipe)) for name, recipe in EXACT.items()]
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "other")]
    jobs = [
        python(TRAIN, folder / "cache", folder, json.dumps(sequence))
        for folder, sequence in zip(folders, (recipes, recipes[::-1]), strict=True)
    ]
    assert [job.wait() for job in jobs] == [0, 0]
    return folders


@pytest.mark.parametrize("name", EXACT)
def test_two_trainings_agree_bit_for_bit(two_trainings, name):
    one, other = (np.load(folder / f"{name}.npz", allow_pickle=False) for folder in two_trainings)
    assert one.files == other.files and len(one.files) in (5, 11)
    for key in one.files:
        assert one[key].dtype == np.float32 and one[key].tobytes() == other[key].tobytes()
    histories = [json.loads((folder / f"{name}.json").read_text()) for folder in two_trainings]
    assert histories[0] == histories[1] and histories[0]["step_loss"]


def test_a_found_run_is_the_trained_one_and_imports_no_framework(two_trainings, tmp_path):
    recipes = [(name, dataclasses.asdict(recipe)) for name, recipe in EXACT.items()]
    assert python(FIND, two_trainings[0] / "cache", tmp_path, json.dumps(recipes)).wait() == 0
    for name in EXACT:
        paths = (folder / f"{name}.npz" for folder in (two_trainings[0], tmp_path))
        trained, found = (np.load(path, allow_pickle=False) for path in paths)
        assert all(np.array_equal(trained[key], found[key]) for key in trained.files)


def test_reading_recorded_results_imports_no_framework(tmp_path):
    modules = "choice, claims, evaluation, measurements, runs, speed_tables, study, training"
    code = f"import sys\nfrom labcode import {modules}\n"
    code += "claims.load_claims(); assert not {'tensorflow', 'keras'} & sys.modules.keys()"
    assert python(code, tmp_path).wait() == 0
