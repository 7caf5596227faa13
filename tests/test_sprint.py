"""A sprint takes the steps that it plans, as Keras would take them, and tests what it has trained."""

import dataclasses

import numpy as np
import pytest

from labcode import data, fast, loop, sprint, whitening
from labcode.network import REPORT_CNN, Network
from labcode.quiet import keras

SMALL = Network(((8, 5, True),), hidden=32)
DEEP = Network(((8, 5, True), (8, 3, True), (16, 3, False)), hidden=32)
SPRINT = sprint.Sprint(SMALL, batch_size=32, steps=150, learning_rate=0.01, shift=1)


@pytest.fixture(scope="module")
def sets():
    """The training and the test set of mnist-5k, as sprints take them."""
    return sprint.as_bytes(data.load("mnist-5k"))


def test_each_epoch_of_a_sprint_is_a_permutation_of_its_own():
    short = dataclasses.replace(SPRINT, steps=5, batch_size=8)
    order = short.order(16, seed=0)
    assert order.shape == (5, 8)
    one, two = order[:2].ravel(), order[2:4].ravel()
    assert sorted(one) == sorted(two) == list(range(16)) and list(one) != list(two)
    assert list(one) != list(short.order(16, seed=1)[:2].ravel())


def test_the_learning_rate_rises_and_falls_to_nothing():
    rates = SPRINT.rates()
    top = int(SPRINT.warm_up * SPRINT.steps)
    assert rates[top] == SPRINT.learning_rate == rates.max() and rates[0] == pytest.approx(0.1 * rates.max())
    assert (np.diff(rates[: top + 1]) > 0).all() and (np.diff(rates[top:]) < 0).all()
    assert 0 < rates[-1] < 0.02 * rates.max()


def test_a_sprint_counts_the_operations_of_its_steps_and_of_its_test():
    short = dataclasses.replace(SPRINT, network=REPORT_CNN, batch_size=2, steps=3)
    forward = sum(REPORT_CNN.multiply_adds(22))
    assert short.flop(tested=10) == REPORT_CNN.training_flop(22) * 6 + 2 * forward * 10
    moved = dataclasses.replace(short, test_shift=1).flop(tested=10) - short.flop(tested=10)
    assert moved == 2 * forward * 10 * 8, "at eight positions more"


def test_corners_lie_within_the_frame_and_reach_its_ends():
    corners = SPRINT.corners(seed=0)
    assert corners.shape == (150, 2) and set(corners.ravel()) == {0, 1, 2}
    assert (corners != SPRINT.corners(seed=1)).any() and (corners[:, 0] != corners[:, 1]).any()


def by_keras(plan, images, labels, seed):
    """The losses of a sprint's steps, taken one by one by Keras's layers and its Adam, with images moved by NumPy."""
    model, weights = keras.Sequential([keras.Input((28, 28, 1))]), fast.initial_weights(plan.network, seed)
    for filters, size, pooled in plan.network.convolutions:
        model.add(keras.layers.Conv2D(filters, size, activation="relu"))
        if pooled:
            model.add(keras.layers.MaxPool2D(2))
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(plan.network.hidden, activation="relu"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    weights = [each.numpy() for each in weights]
    if plan.network.whitened:
        weights[0] = whitening.kernel(images, weights[0].shape)
    model.set_weights(weights)
    model.layers[0].trainable = not plan.network.whitened
    optimizer, losses = keras.optimizers.Adam(), []
    step = loop.make_train_step(model, keras.losses.SparseCategoricalCrossentropy(), optimizer)
    framed = np.pad(images, ((0, 0), (plan.shift, plan.shift), (plan.shift, plan.shift), (0, 0))) / np.float32(255)
    for batch, (top, left), rate in zip(plan.order(len(images), seed), plan.corners(seed), plan.rates(), strict=True):
        optimizer.learning_rate = rate
        losses.append(float(step(framed[batch][:, top : top + 28, left : left + 28], labels[batch])))
    return losses


NETWORKS = {"the report's": REPORT_CNN, "deep": DEEP, "shallow, whitened": dataclasses.replace(SMALL, whitened=True)}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_steps_of_a_sprint_are_those_of_keras(sets, network):
    plan = dataclasses.replace(SPRINT, network=network, steps=20, shift=2)
    losses = sprint.run(plan, *sets, seed=3).losses
    assert losses.shape == (20,) and losses[-1] < 0.9 * losses[0]
    first = slice(12)  # later ones enlarge what rounding makes
    np.testing.assert_allclose(losses[first], by_keras(plan, *sets[0], seed=3)[first], rtol=2e-3)


def test_a_sprint_s_seed_decides_it(sets):
    plan = dataclasses.replace(SPRINT, steps=20, dropout=0.5)
    results = [sprint.run(plan, *sets, seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(results[0].losses, results[1].losses)
    assert results[0].accuracy == results[1].accuracy and (results[0].losses != results[2].losses).any()
    assert all(result.seconds > 0 and result.preparing > 0 for result in results)


def test_a_sprint_tests_what_it_has_trained_on_the_images_that_it_is_given(sets):
    training_set, (images, labels) = sets
    right, wrong = (sprint.run(SPRINT, training_set, (images, each)) for each in (labels, (labels + 1) % 10))
    assert right.accuracy > 0.9 and wrong.accuracy < 0.1


def test_the_test_set_is_read_once_after_all_steps(sets, monkeypatch):
    told, make_train, make_predict = [], fast.make_train, fast.make_predict

    def train_and_tell(*given, **options):
        train = make_train(*given, **options)
        return lambda order, *rest: told.append(len(order)) or train(order, *rest)

    def predict_and_tell(*given):
        predict = make_predict(*given)
        return lambda images: told.append(images) or predict(images)

    monkeypatch.setattr(fast, "make_train", train_and_tell)
    monkeypatch.setattr(fast, "make_predict", predict_and_tell)
    training_set, test_set = sets
    sprint.run(dataclasses.replace(SPRINT, steps=3), training_set, test_set)
    *before, steps, tested = told
    assert steps == 3 and tested is test_set[0] and before[0] == 0
    assert all(not np.shares_memory(images, test_set[0]) for images in before[1:])


@pytest.mark.parametrize("change", [{"dropout": 0.5}, {"precision": "bfloat16"}])
def test_precision_and_dropout_change_the_losses(sets, change):
    plan = dataclasses.replace(SPRINT, steps=20)
    before, after = (sprint.run(each, *sets).losses for each in (plan, dataclasses.replace(plan, **change)))
    assert 1e-6 < np.abs(after - before).max() < 1


def test_moved_test_images_change_the_accuracy_alone(sets):
    plan = dataclasses.replace(SPRINT, steps=20)
    before, after = (sprint.run(each, *sets) for each in (plan, dataclasses.replace(plan, test_shift=1)))
    np.testing.assert_array_equal(before.losses, after.losses)
    assert before.accuracy != after.accuracy


def test_a_short_training_in_bfloat16_is_as_good(sets):
    exact, rough = (sprint.run(dataclasses.replace(SPRINT, precision=each), *sets) for each in ("float32", "bfloat16"))
    assert exact.accuracy > 0.9 and rough.accuracy > exact.accuracy - 0.02
    assert abs(rough.losses[-10:].mean() - exact.losses[-10:].mean()) < 0.1


@pytest.mark.soak
@pytest.mark.parametrize("target", sprint.SPRINTS)
def test_in_bfloat16_the_accuracy_is_that_in_float32(sets, target):
    short = dataclasses.replace(sprint.SPRINTS[target], batch_size=64, steps=100)
    plans = [dataclasses.replace(short, precision=precision) for precision in ("float32", "bfloat16")]
    exact, rough = ([sprint.run(plan, *sets, seed).accuracy for seed in range(3)] for plan in plans)
    assert min(exact + rough) > 0.9 and abs(np.mean(exact) - np.mean(rough)) < 0.01


@pytest.mark.parametrize("target", sprint.SPRINTS)
def test_the_sprints_networks_are_as_described(target):
    network = sprint.SPRINTS[target].network
    assert (network == REPORT_CNN) == ("report" in target)
    assert not network.whitened or network.shapes()[0][-1] % 2 == 0, "each direction has two signs"


def test_the_trainings_have_what_chapter_9_says_of_them():
    first, second, third = sprint.SPRINTS.values()
    networks = [plan.network for plan in (first, second, third)]
    assert [len(network.convolutions) for network in networks[1:]] == [2, 3]
    assert [network.whitened for network in networks] == [False, True, True]
    assert {network.shapes()[0][:2] for network in networks[1:]} == {(5, 5)}
    assert first.shift == 0 and second.shift > 0 and third.shift > 0
    assert [(2 * plan.test_shift + 1) ** 2 for plan in (first, second, third)] == [1, 1, 9]
    assert second.batch_size * second.steps < 60_000, "it sees no image twice"


def test_a_data_set_as_bytes_is_itself(sets):
    dataset = data.load("mnist-5k")
    (train_images, train_labels), (test_images, test_labels) = sets
    np.testing.assert_array_equal(test_images.astype(np.float32) / 255, dataset.test_images)
    np.testing.assert_array_equal(test_labels, dataset.test_labels)
    assert train_images.dtype == np.uint8 and len(train_images) == len(train_labels) == len(dataset.train_images)
