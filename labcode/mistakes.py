"""The digits behind the confusion matrix of chapter 5, as the script file which that page loads.

A page opened from a file may load a classic script, but fetch nothing: so the data are one assignment. All of a
network's errors are in it, and of what it reads right, which would be thousands, the first of each digit.
"""

import base64
import json

import numpy as np

from labcode import evaluation, publish

SAMPLE = 12  # of each digit that a network reads right
SCALE = 10_000  # probabilities are rounded to whole ten-thousandths: 9,721 is 97.21 %


def publish_script(dataset, probabilities):
    """Publish the script file, ``mistakes-data.js``; arguments and errors are those of ``script``."""
    publish.file("mistakes-data.js", script(dataset, probabilities))


def script(dataset, probabilities):
    """The content of the script file, which sets ``window.mistakes``.

    Args:
        dataset: as ``data.load`` returns it.
        probabilities: a dict name of a network: (n_test, 10) of the test images.

    Returns:
        bytes, ASCII: an object with

        - ``images``: where the digits lie among the test images, from 0; ``labels``: what they show;
        - ``pixels``: base64 of 784 unsigned bytes of each, 0 is the background;
        - ``scale``: what a probability is divided by;
        - ``networks``: of each its ``name``; ``predicted``, what it reads each digit as; ``probabilities``, ten whole
          numbers of each digit; ``matrix``, the counts over all test images by true and predicted digit; ``cells``, as
          the matrix: which of the digits lie there (their places in ``images``), the most confident first. A cell
          beside the diagonal has all of them, one on the diagonal the first 12 of the test set.

    Raises:
        ValueError: a network has not one row of ten for each test image.
    """
    count = len(dataset.test_labels)
    for name, rows in probabilities.items():
        if rows.shape != (count, 10):
            raise ValueError(f"{name}: probabilities of shape {rows.shape}, expected {(count, 10)}")
    cells = {name: _cells(dataset.test_labels, rows) for name, rows in probabilities.items()}
    images = np.unique(np.concatenate([cell for table in cells.values() for row in table for cell in row]))
    pixels = np.round(255 * dataset.test_images[images]).astype(np.uint8)
    content = {
        "images": images.tolist(),
        "labels": dataset.test_labels[images].tolist(),
        "pixels": base64.b64encode(pixels.tobytes()).decode("ascii"),
        "scale": SCALE,
        "networks": [_network(name, dataset.test_labels, probabilities[name], cells[name], images) for name in cells],
    }
    return f"window.mistakes = {json.dumps(content, separators=(',', ':'))};\n".encode("ascii")


def _cells(labels, probabilities):
    """The test images to show of each cell, a table of arrays."""
    predicted, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)

    def shown(true, guessed):
        members = np.flatnonzero((labels == true) & (predicted == guessed))
        members = members[:SAMPLE] if true == guessed else members
        return members[np.argsort(-confidences[members], kind="stable")]

    return [[shown(true, guessed) for guessed in range(10)] for true in range(10)]


def _network(name, labels, probabilities, cells, images):
    predicted = probabilities.argmax(axis=1)
    return {
        "name": name,
        "predicted": predicted[images].tolist(),
        "probabilities": np.round(SCALE * probabilities[images]).astype(int).tolist(),
        "matrix": evaluation.confusion_matrix(labels, predicted).tolist(),
        "cells": [[np.searchsorted(images, cell).tolist() for cell in row] for row in cells],
    }
