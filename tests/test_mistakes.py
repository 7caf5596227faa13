"""The script file with the digits of the confusion matrix, read back."""

import base64
import json

import numpy as np
import pytest

from labcode import data, evaluation, mistakes


@pytest.fixture(scope="module")
def dataset():
    return data.load("mnist-5k")


@pytest.fixture(scope="module")
def probabilities(dataset):
    """What two networks might answer: noise, in one of them above a good guess."""
    rng = np.random.default_rng(0)
    noise = rng.dirichlet(np.ones(10), (2, len(dataset.test_labels))).astype(np.float32)
    good = (noise[0] + 0.3 * np.eye(10, dtype=np.float32)[dataset.test_labels]) / 1.3
    return {"CNN": good.astype(np.float32), "FC": noise[1]}


@pytest.fixture(scope="module")
def content(dataset, probabilities):
    text = mistakes.script(dataset, probabilities).decode("ascii")
    assert text.startswith("window.mistakes = ") and text.endswith(";\n")
    return json.loads(text.removeprefix("window.mistakes = ").removesuffix(";\n"))


def test_pixels_and_labels_are_those_of_the_test_images(dataset, content):
    pixels = np.frombuffer(base64.b64decode(content["pixels"]), np.uint8).reshape(-1, 28, 28, 1)
    np.testing.assert_array_equal(pixels.astype(np.float32) / 255, dataset.test_images[content["images"]])
    np.testing.assert_array_equal(content["labels"], dataset.test_labels[content["images"]])


def test_probabilities_are_rounded_and_answers_are_not(content, probabilities):
    for network in content["networks"]:
        exact = probabilities[network["name"]][content["images"]]
        rounded = np.array(network["probabilities"]) / content["scale"]
        assert np.abs(rounded - exact).max() <= 0.5 / content["scale"] + 1e-7
        np.testing.assert_array_equal(network["predicted"], exact.argmax(axis=1))


def test_cells_hold_all_errors_and_a_sample_of_the_rest(dataset, content, probabilities):
    for network in content["networks"]:
        exact = probabilities[network["name"]]
        predicted = exact.argmax(axis=1)
        np.testing.assert_array_equal(network["matrix"], evaluation.confusion_matrix(dataset.test_labels, predicted))
        for true, guessed in np.ndindex(10, 10):
            members = np.flatnonzero((dataset.test_labels == true) & (predicted == guessed))
            expected = members[:12] if true == guessed else members
            shown = np.array(content["images"])[network["cells"][true][guessed]]
            assert sorted(shown) == list(expected)
            assert (np.diff(exact.max(axis=1)[shown]) <= 0).all(), "the most confident come first"


def test_nothing_is_sent_that_no_cell_shows(content):
    shown = {place for network in content["networks"] for row in network["cells"] for cell in row for place in cell}
    assert shown == set(range(len(content["images"])))


def test_probabilities_of_other_images_are_refused(dataset, probabilities):
    with pytest.raises(ValueError, match=r"CNN: probabilities of shape \(999, 10\), expected \(1000, 10\)"):
        mistakes.script(dataset, {"CNN": probabilities["CNN"][1:]})
