"""Four files of MNIST's form with 5 training and 3 test images, for tests."""

import gzip
import hashlib
import struct

import numpy as np

from labcode import data

IMAGES_FILE, LABELS_FILE = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def idx(values):
    """The bytes of an IDX file that holds these values, (n,) or (n, rows, columns)."""
    values = np.asarray(values, np.uint8)
    return b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def contents(seed=0):
    """What the four files hold, by name; other images and labels for another seed."""
    random = np.random.default_rng(seed)
    made = {}
    for name in data.FILES:
        count = 5 if "train" in name else 3
        shape = (count, 28, 28) if "images" in name else (count,)
        made[name] = idx(random.integers(256 if "images" in name else 10, size=shape))
    return made


def known(made):
    """What ``data.FILES`` says of files with these contents."""
    return {name: (hashlib.sha256(content).hexdigest(), content[7]) for name, content in made.items()}


def put(folder, contents, packed=True):
    """Write files of these contents into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content)) if packed else (folder / name).write_bytes(content)


def assert_small_mnist(dataset, contents):
    """Assert that a ``Dataset`` is the one in files of these contents."""
    pixels = np.frombuffer(contents[IMAGES_FILE][16:], np.uint8).reshape(5, 28, 28, 1)
    assert np.array_equal(dataset.train_images, pixels.astype(np.float32) / 255)
    assert dataset.train_labels.tolist() == list(contents[LABELS_FILE][8:])
    assert dataset.test_images.shape == (3, 28, 28, 1)
    assert dataset.test_labels.tolist() == list(contents["t10k-labels-idx1-ubyte"][8:])
    assert (dataset.name, dataset.digest) == ("mnist", data.DIGESTS["mnist"])


def spoil(content):
    """The content with another last byte."""
    return content[:-1] + bytes([(content[-1] + 1) % 10])
