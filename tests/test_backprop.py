"""The tape's gradients are held against gradients known by other ways, and a wrong gradient is caught."""

import numpy as np
import pytest

from labcode import backprop, data, fitting, models
from labcode.quiet import keras

BY_HAND = 1e-12  # in float64: rounding
BY_DIFFERENCES = 1e-6  # a difference quotient is itself no more precise


@pytest.fixture(scope="module")
def batch():
    digits = data.load("mnist-5k")
    return digits.train_images[:32], digits.train_labels[:32]


def weights_off_zero(name):
    """First weights with biases that are not zero, for there a change of a weight carries ReLU over its kink."""
    random = np.random.default_rng(0)
    return [w if w.ndim > 1 else random.normal(0, 0.1, w.shape) for w in fitting.new_model(name, 0).get_weights()]


@pytest.fixture(scope="module")
def fc():
    return backprop.in_float64(models.build_fc, weights_off_zero("fc"))


@pytest.fixture(scope="module")
def by_tape(fc, batch):
    return backprop.gradients_by_tape(fc, *batch)


@pytest.fixture(scope="module")
def by_hand(fc, batch):
    return backprop.gradients_by_hand(fc.get_weights(), *batch)


def test_the_tape_gives_the_gradients_by_hand_in_double_precision(by_tape, by_hand):
    assert [gradient.shape for gradient in by_tape] == [(784, 128), (128,), (128, 10), (10,)]
    assert all(gradient.dtype == np.float64 for gradient in by_tape + by_hand)
    assert backprop.largest_difference(by_tape, by_hand) < BY_HAND


def test_the_tape_gives_the_gradients_by_hand_in_single_precision(batch):
    model = fitting.new_model("fc", 0)
    by_tape = backprop.gradients_by_tape(model, *batch)
    assert all(gradient.dtype == np.float32 for gradient in by_tape)
    difference = backprop.largest_difference(by_tape, backprop.gradients_by_hand(model.get_weights(), *batch))
    assert difference < 1e-5


@pytest.mark.parametrize("name", ["fc", "cnn"])
def test_the_tape_gives_the_slopes_that_finite_differences_find(name, batch):
    images, labels = batch[0][:4], batch[1][:4]
    model = backprop.in_float64(models.BUILDERS[name], weights_off_zero(name))
    before = model.get_weights()
    gradients = backprop.gradients_by_tape(model, images, labels)
    random = np.random.default_rng(0)
    places = []
    for array, gradient in enumerate(gradients):  # in each array its steepest place, and another that is not flat
        steep = np.flatnonzero(np.abs(gradient) > 1e-3 * np.abs(gradient).max())
        places += [(array, int(i)) for i in (np.abs(gradient).argmax(), random.choice(steep))]
    slopes = backprop.gradients_by_differences(model, images, labels, places)
    tape = np.array([gradients[array].flat[i] for array, i in places])
    assert slopes.shape == (len(places),) and len(gradients) == (4 if name == "fc" else 10)
    scale = np.array([np.abs(gradients[array]).max() for array, _ in places])
    assert (np.abs(slopes - tape) / scale).max() < BY_DIFFERENCES
    assert all(map(np.array_equal, model.get_weights(), before)), "the weights were not put back"


SABOTAGE = {
    "one sign turned": lambda g: [g[0], -g[1], *g[2:]],
    "all signs turned": lambda g: [-x for x in g],
    "the sum instead of the mean": lambda g: [32 * x for x in g],
    "a kernel's axes mixed up": lambda g: [g[0].T.reshape(g[0].shape), *g[1:]],
    "one value too small": lambda g: [*g[:3], g[3] - 0.001 * np.eye(10)[4]],
    "one value too large": lambda g: [*g[:3], g[3] + 0.001 * np.eye(10)[4]],
    "the last bias forgotten": lambda g: [*g[:3], np.zeros_like(g[3])],
    "a millionth too large": lambda g: [*g[:2], g[2] * (1 + 1e-6), g[3]],
    "one unit of 128 skipped": lambda g: [g[0] * (np.arange(128) != np.abs(g[0]).max(axis=0).argmax()), *g[1:]],
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_wrong_gradient_is_caught(by_hand, name):
    assert backprop.largest_difference(SABOTAGE[name](by_hand), by_hand) > 1e-7 > BY_HAND


def test_a_network_without_its_relu_is_caught(batch, by_hand):
    model = backprop.in_float64(models.build_fc, weights_off_zero("fc"))
    model.get_layer("hidden").activation = keras.activations.linear
    assert backprop.largest_difference(backprop.gradients_by_tape(model, *batch), by_hand) > 0.01


def test_a_missing_relu_mask_is_caught(fc, batch, by_hand):
    images, labels = batch
    _, _, output_kernel, _ = fc.get_weights()
    by_scores = (fc(images).numpy() - np.eye(10)[labels]) / len(images)
    unmasked = images.reshape(len(images), -1).astype(float).T @ (by_scores @ output_kernel.T)
    assert backprop.largest_difference([unmasked, *by_hand[1:]], by_hand) > 0.01


@pytest.mark.parametrize("place", range(4))
def test_a_gradient_that_is_not_a_number_is_caught(by_hand, place):
    spoiled = [gradient.copy() for gradient in by_hand]
    spoiled[place].flat[0] = np.nan
    assert not backprop.largest_difference(spoiled, by_hand) < BY_HAND


def test_a_list_with_a_gradient_too_few_is_refused(by_hand):
    with pytest.raises(ValueError, match="zip"):
        backprop.largest_difference(by_hand[:3], by_hand)


def test_in_float64_leaves_later_models_in_single_precision():
    backprop.in_float64(models.build_fc, models.build_fc().get_weights())
    assert models.build_fc().get_weights()[0].dtype == np.float32
