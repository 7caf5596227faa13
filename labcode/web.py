"""The networks as the drawing page has them: quantised, in a script that a page opened from a file can load.

The script sets ``labcodeWeights``, an object with

format      of all this; ``book/_static/network.js`` reads the same
checksum    CRC-32 of the description's ASCII and the bytes
description JSON of an object with

            networks  name: layers in order, each with ``kind`` (convolution, pooling, dense) and ``name``, and where it
                      has weights ``shape`` (the kernel's, outputs last) and ``activation``
            maps      block: which of its feature maps are shown
            digits    ``label`` of each test image that can be picked

bytes       base64 of, for each kernel in order, int8 codes, float32 scales and float32 biases (outputs each), then of
            784 uint8 for each digit; little-endian
"""

import base64
import json
import zlib

import numpy as np

from labcode import fitting, models

FORMAT = 2
LARGEST = 127  # of a code
MAPS = 12  # shown of each block whose maps have more than one place


def quantise(kernel):
    """Round a kernel to codes of 8 bits, with one scale for each output.

    Args:
        kernel: (..., outputs) float32.

    Returns:
        codes: of the same shape, int8 in -127..127.
        scales: (outputs,) float32 above 0; ``codes * scales`` differs from the kernel by at most half a scale.
    """
    largest = np.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0)
    scales = (np.where(largest > 0, largest, LARGEST) / LARGEST).astype(np.float32)
    return np.rint(kernel / scales).astype(np.int8), scales


def rounded(weights):
    """The weights (arrays in Keras's order) as the page has them: kernels quantised, biases as they are."""
    return [np.multiply(*quantise(array)) if array.ndim > 1 else array for array in weights]


def agreement(original, exported, labels):
    """How two networks agree on images.

    Args:
        original, exported: probabilities (n, 10) of each.
        labels: (n,) of the images.

    Returns:
        accuracy of the original, accuracy of the exported one, on how many images their answers differ, and the largest
        difference of a probability.
    """
    answers = original.argmax(axis=1), exported.argmax(axis=1)
    accuracies = [float(np.mean(answer == labels)) for answer in answers]
    return *accuracies, int(np.sum(answers[0] != answers[1])), float(np.abs(original - exported).max())


def choose_digits(labels, fc, cnn, misread=6):
    """Which test images can be picked on the page.

    Args:
        labels: (n,) of the test images.
        fc, cnn: probabilities (n, 10).
        misread: how many at most that FC misreads and the CNN reads.

    Returns:
        Indices: the first image of each digit that both networks read, then those that only the CNN reads, FC's most
        confident errors first.
    """
    right = {name: each.argmax(axis=1) == labels for name, each in (("fc", fc), ("cnn", cnn))}
    both, only_cnn = right["fc"] & right["cnn"], ~right["fc"] & right["cnn"]
    first = [np.flatnonzero(both & (labels == digit))[:1] for digit in range(10)]
    errors = np.flatnonzero(only_cnn)
    return np.concatenate([*first, errors[np.argsort(-fc[errors].max(axis=1), kind="stable")][:misread]])


def surer_is_right(labels, fc, cnn):
    """How often confidence tells which network is right.

    Args:
        labels: (n,) of the images.
        fc, cnn: probabilities (n, 10).

    Returns:
        Among the images that exactly one network reads: on how many it is the surer one, and how many there are.
    """
    fc_right, cnn_right = (each.argmax(axis=1) == labels for each in (fc, cnn))
    surer = np.where(fc_right, fc.max(axis=1) > cnn.max(axis=1), cnn.max(axis=1) > fc.max(axis=1))
    read_by_one = fc_right != cnn_right
    return int(surer[read_by_one].sum()), int(read_by_one.sum())


def choose_maps(cnn, images):
    """Which feature maps are shown: all of the last block, of the others those that answer most to some images.

    Args:
        cnn: the model.
        images: (n, 28, 28, 1) float32 in [0, 1].

    Returns:
        The numbers of the maps, in order, by block.
    """
    blocks = [layer.name for layer in cnn.layers if isinstance(layer, models.MaxPool2D)]
    chosen = {}
    for name, answers in zip(blocks, fitting.feature_maps(cnn, images, blocks), strict=True):
        _, height, width, count = answers.shape
        strongest = np.argsort(-answers.mean(axis=(0, 1, 2)), kind="stable")
        chosen[name] = sorted(strongest[: MAPS if height * width > 1 else count].tolist())
    return chosen


def script(networks, maps, images, labels):
    """The script.

    Args:
        networks: the models by name.
        maps: as ``choose_maps`` returns them.
        images, labels: (n, 28, 28, 1) float32 in [0, 1] and (n,), of the digits that can be picked.

    Returns:
        The script as bytes, and its checksum, by which the page knows that it is of the same build.
    """
    kernels = [layer.get_weights() for model in networks.values() for layer in model.layers if layer.get_weights()]
    parts = [part for kernel, bias in kernels for part in (*quantise(kernel), bias)]
    parts.append(np.rint(255 * images).astype(np.uint8))
    content = b"".join(part.astype(part.dtype.newbyteorder("<")).tobytes() for part in parts)
    description = json.dumps(
        {
            "networks": {name: list(_layers(model)) for name, model in networks.items()},
            "maps": maps,
            "digits": [{"label": int(label)} for label in labels],
        }
    )
    weights = {
        "format": FORMAT,
        "checksum": zlib.crc32(description.encode("ascii") + content),
        "description": description,
        "bytes": base64.b64encode(content).decode("ascii"),
    }
    return f"var labcodeWeights = {json.dumps(weights)};\n".encode(), weights["checksum"]


def _layers(model):
    """Describe the layers that compute; flattening is none, for values lie in one row anyway."""
    kinds = {models.Conv2D: "convolution", models.Dense: "dense", models.MaxPool2D: "pooling"}
    for layer in model.layers:
        if type(layer) in kinds:
            described = {"kind": kinds[type(layer)], "name": layer.name}
            if layer.get_weights():
                described |= {"shape": list(layer.kernel.shape), "activation": layer.activation.__name__}
            yield described
