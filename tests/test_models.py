"""The networks are the report's: layer by layer, activation by activation, number by number."""

import gc

import numpy as np
import pytest

from labcode import models

FC_PARAMETERS, CNN_PARAMETERS = 101_770, 438_026
FC_MULTIPLY_ADDS, CNN_MULTIPLY_ADDS = 101_632, 12_032_768
FC_LAYERS = [  # name, output shape, activation, parameters
    ("flatten", (784,), None, 0),
    ("hidden", (128,), "relu", 100_480),
    ("probabilities", (10,), "softmax", 1_290),
]
CNN_LAYERS = [
    ("conv_1", (26, 26, 64), "relu", 640),
    ("pool_1", (13, 13, 64), None, 0),
    ("conv_2", (11, 11, 128), "relu", 73_856),
    ("pool_2", (5, 5, 128), None, 0),
    ("conv_3", (3, 3, 256), "relu", 295_168),
    ("pool_3", (1, 1, 256), None, 0),
    ("flatten", (256,), None, 0),
    ("hidden", (256,), "relu", 65_792),
    ("probabilities", (10,), "softmax", 2_570),
]
LAYERS = {
    "fc": FC_LAYERS,
    "fc_dropout": [*FC_LAYERS[:2], ("dropout", (128,), None, 0), FC_LAYERS[2]],
    "cnn": CNN_LAYERS,
}


@pytest.fixture(scope="module")
def built():
    return {name: build() for name, build in models.BUILDERS.items()}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((5, 28, 28, 1), dtype=np.float32)


def test_every_network_is_described_here():
    assert LAYERS.keys() == models.BUILDERS.keys()


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_has_its_name_output_shape_activation_and_parameters(built, name):
    found = []
    for layer in built[name].layers:
        activation = getattr(layer, "activation", None)
        found.append((layer.name, layer.output.shape[1:], activation and activation.__name__, layer.count_params()))
    assert found == LAYERS[name]


def test_fc_has_its_parameters_and_multiply_adds(built):
    assert built["fc"].count_params() == built["fc_dropout"].count_params() == FC_PARAMETERS
    assert models.multiply_adds(built["fc"]) == models.multiply_adds(built["fc_dropout"]) == FC_MULTIPLY_ADDS


def test_cnn_has_its_parameters_and_multiply_adds(built):
    assert built["cnn"].count_params() == CNN_PARAMETERS
    assert models.multiply_adds(built["cnn"]) == CNN_MULTIPLY_ADDS


@pytest.mark.parametrize("name", LAYERS)
def test_the_output_is_a_probability_distribution_for_each_image(built, images, name):
    probabilities = built[name](100 * images).numpy()
    assert probabilities.shape == (5, 10) and probabilities.dtype == np.float32
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_dropout_silences_half_of_the_hidden_units_in_training_only(built):
    ones = np.ones((100, 128), np.float32)
    dropout = built["fc_dropout"].get_layer("dropout")
    assert np.array_equal(dropout(ones, training=False), ones)
    silenced = (dropout(ones, training=True).numpy() == 0).mean()
    assert 0.45 < silenced < 0.55  # 12,800 units: 0.5 within eleven standard errors


@pytest.mark.parametrize("name", LAYERS)
def test_a_network_is_named_alike_however_often_it_is_built(built, name):
    again = models.BUILDERS[name]()
    assert again.name == built[name].name == name
    assert [weight.path for weight in again.weights] == [weight.path for weight in built[name].weights]


def test_the_garbage_collector_is_on_and_passes_over_what_was_imported():
    assert gc.isenabled() and gc.get_freeze_count() > 100_000  # objects, of TensorFlow and Keras
