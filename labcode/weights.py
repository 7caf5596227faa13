"""The trained weights as files for download: arrays in an ``.npz``, and what they are in a ``.json``."""

import hashlib
import io
import json

import numpy as np

from labcode import models, publish


def publish_run(run):
    """Publish a Run's weights beside the pages.

    Two files are written, named by the model. ``weights/cnn.npz`` holds the float32 arrays by Keras's paths, as
    ``conv_1/kernel``; ``numpy.load(..., allow_pickle=False)`` reads it. ``weights/cnn.json`` is a dict of ``file``, its
    ``sha256``, the ``shapes`` of the arrays in the order of ``model.get_weights()``, ``test_accuracy`` in [0, 1], and
    ``made_by``, all that decided the numbers, as ``runs.facts`` returns it.

    Args:
        run: a Run of a recipe for the model ``fc`` or ``cnn``.
    """
    name = run.made_by["recipe"]["model"]
    network = {"fc": models.build_fc, "cnn": models.build_cnn}[name]()
    arrays = {variable.path: values for variable, values in zip(network.weights, run.weights, strict=True)}
    content = io.BytesIO()
    np.savez(content, **arrays)
    manifest = {
        "file": f"{name}.npz",
        "sha256": hashlib.sha256(content.getvalue()).hexdigest(),
        "shapes": {path: list(values.shape) for path, values in arrays.items()},
        "test_accuracy": run.test_accuracy,
        "made_by": run.made_by,
    }
    publish.file(f"weights/{name}.npz", content.getvalue())
    publish.file(f"weights/{name}.json", json.dumps(manifest, indent=1).encode())
