"""What the drawing page is given: rounded networks, a script that holds them, and test digits to take."""

import base64
import json
import re
import zlib

import numpy as np
import pytest

from labcode import models, web

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(784, 128), (3, 3, 64, 128)])
def test_a_code_is_at_most_half_a_scale_off_and_the_largest_weight_is_exact(shape):
    kernel = RNG.normal(size=shape).astype(np.float32) * np.geomspace(1e-4, 10, shape[-1], dtype=np.float32)
    codes, scales = web.quantise(kernel)
    assert codes.dtype == np.int8 and codes.shape == kernel.shape and codes.min() >= -127
    assert scales.dtype == np.float32 and scales.shape == shape[-1:] and scales.min() > 0
    rows, codes = kernel.reshape(-1, shape[-1]), codes.reshape(-1, shape[-1])
    assert np.all(np.abs(codes * scales - rows) <= 0.5001 * scales)
    assert np.all(np.abs(codes).max(axis=0) == 127), "each output uses all 8 bits"


def test_an_output_without_weights_stays_without():
    kernel = np.zeros((4, 2), np.float32)
    kernel[0, 0] = 1
    assert np.array_equal(np.multiply(*web.quantise(kernel)), kernel)


def test_rounding_leaves_biases_and_shapes():
    weights = [RNG.normal(size=shape).astype(np.float32) for shape in ((5, 3), (3,))]
    kernel, bias = web.rounded(weights)
    assert kernel.dtype == np.float32 and kernel.shape == (5, 3) and bias is weights[1]
    assert 0 < np.abs(kernel - weights[0]).max() < 0.02


def test_agreement_counts_answers_and_finds_the_largest_difference():
    one = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    other = np.array([[0.7, 0.3], [0.55, 0.45], [0.2, 0.8]])
    assert web.agreement(one, other, np.array([0, 1, 0])) == pytest.approx((2 / 3, 1 / 3, 1, 0.2))


def answers(digits, sure):
    """Probabilities of these answers, each with its confidence."""
    return np.eye(10)[digits] * np.array(sure)[:, np.newaxis]


def test_the_digits_to_take_are_one_of_each_and_fc_s_most_confident_errors():
    labels = np.array([*range(10), *range(10), 7, 7, 7])
    fc = answers([*range(10), *range(10), 1, 2, 3], [0.5] * 20 + [0.3, 0.9, 0.6])
    cnn = answers([*range(10), *range(10), 7, 7, 0], [0.5] * 23)
    assert web.choose_digits(labels, fc, cnn).tolist() == [*range(10), 21, 20], "the last one both misread"
    assert web.choose_digits(labels, fc, cnn, misread=1).tolist() == [*range(10), 21]
    assert web.choose_digits(labels, fc, fc).tolist() == [*range(10)], "none where the CNN is no better"
    blind = answers([1, *range(1, 10), *range(10), 1, 2, 3], [0.5] * 23)
    assert web.choose_digits(labels, blind, cnn)[0] == 10, "the first that both read"


def test_the_surer_network_is_counted_where_exactly_one_is_right():
    labels = np.array([0, 1, 2, 3, 4])
    fc = answers([0, 1, 5, 3, 5], [0.9, 0.6, 0.8, 0.9, 0.9])
    cnn = answers([5, 5, 2, 3, 5], [0.5, 0.7, 0.9, 0.1, 0.1])
    assert web.surer_is_right(labels, fc, cnn) == web.surer_is_right(labels, cnn, fc) == (2, 3)


@pytest.fixture(scope="module")
def networks():
    return {name: models.BUILDERS[name]() for name in ("fc", "cnn")}


def test_maps_are_those_that_answer_most(networks):
    images = RNG.random((20, 28, 28, 1), dtype=np.float32)
    maps = web.choose_maps(networks["cnn"], images)
    assert {name: len(chosen) for name, chosen in maps.items()} == {"pool_1": 12, "pool_2": 12, "pool_3": 256}
    assert all(chosen == sorted(set(chosen)) for chosen in maps.values())
    pooled = models.keras.Model(networks["cnn"].inputs[0], networks["cnn"].get_layer("pool_2").output)
    means = np.asarray(pooled(images)).mean(axis=(0, 1, 2))
    others = np.delete(means, maps["pool_2"])
    assert means[maps["pool_2"]].min() >= others.max()


def test_the_script_holds_the_rounded_networks(networks):
    images = RNG.integers(0, 256, (3, 28, 28, 1)).astype(np.float32) / 255
    script, checksum = web.script(networks, {"pool_1": [1]}, images, np.array([3, 1, 4]))
    weights = json.loads(re.fullmatch(r"var labcodeWeights = (\{.*\});\n", script.decode("ascii"))[1])
    described, content = json.loads(weights["description"]), base64.b64decode(weights["bytes"])
    assert weights.keys() == {"format", "checksum", "description", "bytes"}
    assert described.keys() == {"networks", "maps", "digits"}
    keys = [*weights, *described]
    assert all(re.search(rf"^ *{key} ", web.__doc__, re.M) for key in keys), "each is documented"
    assert weights["checksum"] == checksum == zlib.crc32(weights["description"].encode() + content)
    for name, model in networks.items():
        rounded, found = web.rounded(model.get_weights()), []
        for layer in described["networks"][name]:
            if "shape" in layer:
                outputs, size = layer["shape"][-1], int(np.prod(layer["shape"]))
                codes = np.frombuffer(content, np.int8, size).reshape(layer["shape"])
                scales, bias = np.frombuffer(content, "<f4", 2 * outputs, offset=size).reshape(2, outputs)
                content = content[size + 8 * outputs :]
                found += [codes * scales, bias]
        assert all(map(np.array_equal, rounded, found)) and len(rounded) == len(found)
    assert np.array_equal(np.frombuffer(content, np.uint8), np.rint(255 * images).ravel()), "the digits, to the end"
    assert [digit["label"] for digit in described["digits"]] == [3, 1, 4] and described["maps"] == {"pool_1": [1]}


def test_the_script_names_the_layers_that_compute(networks):
    script, _ = web.script(networks, {}, np.zeros((0, 28, 28, 1), np.float32), [])
    layers = json.loads(json.loads(script.decode()[len("var labcodeWeights = ") : -2])["description"])["networks"]
    assert [layer["kind"] for layer in layers["cnn"]] == ["convolution", "pooling"] * 3 + ["dense"] * 2
    assert [layer.get("activation") for layer in layers["fc"]] == ["relu", "softmax"]
    assert len(script) < 1_000_000
