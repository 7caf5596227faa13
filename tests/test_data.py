"""The data sets: what is in them, and that a wrong file is refused with a message that helps."""

import contextlib
import gzip
import hashlib
import http.server
import os
import socket
import struct
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from labcode import data

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # of MNIST, by digit
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
IMAGES_FILE, LABELS_FILE = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LABCODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("MNIST_DIR", raising=False)
    return tmp_path / "cache"


def idx(values):
    """The bytes of an IDX file that holds these values, (n,) or (n, rows, columns)."""
    values = np.asarray(values, np.uint8)
    return b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def small_mnist(monkeypatch):
    """Four files of MNIST's form with 5 training and 3 test images, known to ``data`` as the published ones."""
    random = np.random.default_rng(0)
    contents = {}
    for name in data.FILES:
        count = 5 if "train" in name else 3
        shape = (count, 28, 28) if "images" in name else (count,)
        contents[name] = idx(random.integers(256 if "images" in name else 10, size=shape))
    known = {name: (hashlib.sha256(content).hexdigest(), content[7]) for name, content in contents.items()}
    monkeypatch.setattr(data, "FILES", known)
    return contents


def put(folder, contents, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content)) if packed else (folder / name).write_bytes(content)


def assert_small_mnist(dataset, contents):
    pixels = np.frombuffer(contents[IMAGES_FILE][16:], np.uint8).reshape(5, 28, 28, 1)
    assert np.array_equal(dataset.train_images, pixels.astype(np.float32) / 255)
    assert dataset.train_labels.tolist() == list(contents[LABELS_FILE][8:])
    assert dataset.test_images.shape == (3, 28, 28, 1)
    assert dataset.test_labels.tolist() == list(contents["t10k-labels-idx1-ubyte"][8:])


def assert_form(dataset, train, test):
    for images, labels, count in (
        (dataset.train_images, dataset.train_labels, train),
        (dataset.test_images, dataset.test_labels, test),
    ):
        assert images.shape == (count, 28, 28, 1) and images.dtype == np.float32
        assert images.min() == 0 and images.max() == 1
        assert labels.shape == (count,) and labels.dtype == np.int64


# mnist-5k


@pytest.fixture(scope="module")
def digits():
    return data.load("mnist-5k")


def test_mnist_5k_has_the_promised_shapes_types_and_range(digits):
    assert_form(digits, 4_000, 1_000)
    assert digits.name == "mnist-5k" and digits.digest == data.DIGESTS["mnist-5k"]


def test_mnist_5k_has_400_training_and_100_test_images_of_each_digit(digits):
    assert np.bincount(digits.train_labels).tolist() == [400] * 10
    assert np.bincount(digits.test_labels).tolist() == [100] * 10


def test_mnist_5k_has_no_test_image_among_the_training_images(digits):
    images = np.concatenate([digits.train_images, digits.test_images]).reshape(5_000, -1)
    assert len({image.tobytes() for image in images}) == 5_000


def test_mnist_5k_is_shuffled_in_one_fixed_order(digits):
    again = data.load("mnist-5k")
    assert set(digits.train_labels[:100]) == set(digits.test_labels[:100]) == set(range(10))
    assert np.array_equal(digits.train_images, again.train_images)
    assert np.array_equal(digits.test_labels, again.test_labels)


def test_mnist_5k_keeps_each_label_with_its_image(digits):
    means = np.stack([digits.train_images[digits.train_labels == digit].mean(axis=0).ravel() for digit in range(10)])
    distances = ((digits.test_images.reshape(1_000, 1, -1) - means) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == digits.test_labels).mean() > 0.7  # the nearest mean digit; chance is 0.1


def test_mnist_5k_needs_neither_cache_nor_network(empty_cache, monkeypatch):
    monkeypatch.setattr(data, "MIRRORS", ())
    assert data.at_hand("mnist-5k")
    data.fetch("mnist-5k")
    data.load("mnist-5k")
    assert not empty_cache.exists()


@pytest.mark.parametrize("function", [data.load, data.at_hand, data.fetch])
def test_an_unknown_data_set_is_refused_by_name(function):
    with pytest.raises(ValueError, match="'cifar10': expected one of mnist, mnist-5k"):
        function("cifar10")


# The order of the images


def test_an_epoch_visits_each_image_once():
    order = data.epoch_order(1_000, seed=3, epoch=2)
    assert order.dtype == np.int64 and sorted(order) == list(range(1_000))


def test_an_order_is_repeatable_and_differs_by_epoch_and_seed():
    order = data.epoch_order(1_000, 3, 2)
    assert np.array_equal(order, data.epoch_order(1_000, 3, 2))
    for seed, epoch in ((3, 3), (4, 2), (2, 3)):
        assert not np.array_equal(order, data.epoch_order(1_000, seed, epoch))


# The IDX format


def test_idx_files_of_labels_and_of_images_are_parsed():
    images = np.arange(2 * 784).reshape(2, 28, 28) % 256
    assert np.array_equal(data.parse_idx(idx(images)), images)
    assert data.parse_idx(idx([7, 0, 9])).tolist() == [7, 0, 9]
    assert data.parse_idx(idx([7])).dtype == np.uint8


IMAGES, LABELS = idx(np.ones((2, 28, 28))), idx([1, 2, 3])
MAGICS = r"00000801 \(labels\) or 00000803 \(images\) at the start"


NO_SHAPE = "at least one image of 28x28, or one label"
FAULTY = {
    "empty": (b"", MAGICS, "nothing"),
    "still gzipped": (b"\x1f\x8b\x08\x00" + IMAGES, MAGICS, "1f8b0800"),
    "floats": (b"\0\0\x0d\x03" + IMAGES[4:], MAGICS, "00000d03"),
    "two dimensions": (b"\0\0\x08\x02" + IMAGES[4:], MAGICS, "00000802"),
    "images' header cut": (IMAGES[:10], "a header of 16 bytes", "10 bytes in all"),
    "labels' header cut": (LABELS[:7], "a header of 8 bytes", "7 bytes in all"),
    "no image": (idx(np.ones((0, 28, 28))), NO_SHAPE, r"dimensions \(0, 28, 28\)"),
    "no label": (idx([]), NO_SHAPE, r"dimensions \(0,\)"),
    "images of another size": (idx(np.ones((2, 28, 27))), NO_SHAPE, r"dimensions \(2, 28, 27\)"),
    "a pixel missing": (IMAGES[:-1], "1568 bytes after the header", "1567"),
    "a pixel too many": (IMAGES + b"\0", "1568 bytes after the header", "1569"),
    "a label missing": (LABELS[:-1], "3 bytes after the header", "2"),
    "a label above 9": (idx([1, 10]), "labels from 0 to 9", "the label 10"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_idx_file_is_refused_with_what_was_expected_and_found(fault):
    content, expected, found = FAULTY[fault]
    with pytest.raises(data.DataError, match=f"^some-file: expected {expected}, found {found}; put MNIST's own file"):
        data.parse_idx(content, "some-file")


# MNIST in $MNIST_DIR


@pytest.mark.parametrize("packed", [True, False], ids=["gzipped", "plain"])
def test_mnist_is_found_in_mnist_dir(small_mnist, tmp_path, monkeypatch, packed):
    put(tmp_path / "mine", small_mnist, packed)
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    assert data.at_hand("mnist")
    assert_small_mnist(data.load("mnist"), small_mnist)


def test_mnist_dir_may_be_relative(small_mnist, tmp_path, monkeypatch):
    put(tmp_path / "mine", small_mnist)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("MNIST_DIR", "../mine")
    assert_small_mnist(data.load("mnist"), small_mnist)


@pytest.mark.parametrize("function", [data.load, data.at_hand, data.fetch])
def test_a_file_missing_in_mnist_dir_is_an_error_though_the_cache_has_it(
    small_mnist, empty_cache, tmp_path, monkeypatch, function
):
    put(empty_cache / "mnist", small_mnist, packed=False)
    put(tmp_path / "mine", small_mnist)
    (tmp_path / "mine" / f"{LABELS_FILE}.gz").unlink()
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    with pytest.raises(data.DataError, match=f"{LABELS_FILE}: expected this file, .*found neither; .*unset MNIST_DIR"):
        function("mnist")


def spoil(content):
    return content[:-1] + bytes([(content[-1] + 1) % 10])


@pytest.mark.parametrize("packed", [True, False], ids=["gzipped", "plain"])
def test_a_file_whose_content_is_not_mnists_is_refused_by_its_hash(small_mnist, tmp_path, monkeypatch, packed):
    wrong = spoil(small_mnist[IMAGES_FILE])
    put(tmp_path / "mine", small_mnist | {IMAGES_FILE: wrong}, packed)
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    expected, found = data.FILES[IMAGES_FILE][0], hashlib.sha256(wrong).hexdigest()
    with pytest.raises(data.DataError, match=f"mine/{IMAGES_FILE}.*SHA-256 {expected}, found {found}; put MNIST's"):
        data.load("mnist")


def test_a_file_with_fewer_images_is_refused(small_mnist, tmp_path, monkeypatch):
    put(tmp_path / "mine", small_mnist | {IMAGES_FILE: idx(np.ones((4, 28, 28)))})
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    with pytest.raises(data.DataError, match=IMAGES_FILE):
        data.load("mnist")


@pytest.mark.parametrize("kept", [lambda packed: b"<html>", lambda packed: packed[:-30]], ids=["a page", "cut"])
def test_a_gzip_that_cannot_be_read_is_refused(small_mnist, tmp_path, monkeypatch, kept):
    put(tmp_path / "mine", small_mnist)
    path = tmp_path / "mine" / f"{IMAGES_FILE}.gz"
    path.write_bytes(kept(path.read_bytes()))
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    with pytest.raises(data.DataError, match=rf"{IMAGES_FILE}\.gz: expected .*, found .*; put MNIST's own file"):
        data.load("mnist")


def test_a_gzip_bomb_is_refused_without_being_unpacked(small_mnist, tmp_path, monkeypatch):
    unpacked = 30_000_000
    put(tmp_path / "mine", small_mnist | {IMAGES_FILE: small_mnist[IMAGES_FILE] + bytes(unpacked)})
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    tracemalloc.start()
    try:
        with pytest.raises(data.DataError, match=rf"{IMAGES_FILE}\.gz: expected 3936 bytes, found more"):
            data.load("mnist")
        assert tracemalloc.get_traced_memory()[1] < unpacked / 20
    finally:
        tracemalloc.stop()


# All of MNIST, where it is at hand


@pytest.fixture(scope="module")
def mnist_folder():
    folder = Path(os.environ.get("MNIST_DIR") or Path(__file__).parents[2] / "shared" / "mnist").absolute()
    missing = [name for name in data.FILES if not any((folder / f"{name}{end}").exists() for end in ("", ".gz"))]
    if missing:
        pytest.skip("all of MNIST is not at hand: set MNIST_DIR to a folder with its four files")
    return folder


def test_all_of_mnist_is_loaded_gzipped_or_plain(mnist_folder, tmp_path, monkeypatch):
    mixed = tmp_path / "mine"
    mixed.mkdir()
    for name in data.FILES:
        packed, plain = mnist_folder / f"{name}.gz", mnist_folder / name
        if "train" in name and packed.exists():
            (mixed / name).write_bytes(gzip.decompress(packed.read_bytes()))
        else:
            existing = packed if packed.exists() else plain
            (mixed / existing.name).symlink_to(existing)
    monkeypatch.setenv("MNIST_DIR", str(mixed))
    mnist = data.load("mnist")
    assert_form(mnist, 60_000, 10_000)
    assert np.bincount(mnist.train_labels).tolist() == TRAIN_COUNTS
    assert np.bincount(mnist.test_labels).tolist() == TEST_COUNTS
    assert mnist.train_labels[:5].tolist() == [5, 0, 4, 1, 9] and mnist.test_labels[0] == 7


# The download


class Mirror:
    """A mirror on this machine: ``faults`` says by file how it fails, ``requests`` which files were asked of it."""

    def __init__(self, contents, faults=None, every_file=None):
        self.contents, self.faults, self.every_file, self.requests = contents, faults or {}, every_file, []

    def answer(self, handler):
        name = handler.path.rsplit("/", 1)[-1].removesuffix(".gz")
        self.requests.append(name)
        fault, body = self.faults.get(name, self.every_file), gzip.compress(self.contents[name])
        body = {
            "wrong content": gzip.compress(spoil(self.contents[name])),
            "a page": b"<html>Sign in to this network</html>",
            "half a gzip": body[: len(body) // 2],
            "a bomb": gzip.compress(self.contents[name] + bytes(10_000_000)),
        }.get(fault, body)
        handler.send_response({"not found": 404, "server error": 503}.get(fault, 200))
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:20] if fault == "cut" else body)


@pytest.fixture
def serve(monkeypatch):
    """A function that makes these mirrors ``data.MIRRORS``; None stands for a port that nobody listens on."""
    with contextlib.ExitStack() as stack:

        def address(mirror):
            if mirror is None:
                with socket.socket() as free:
                    free.bind(("127.0.0.1", 0))
                    return f"http://127.0.0.1:{free.getsockname()[1]}/mnist/"
            handler = type("Handler", (http.server.BaseHTTPRequestHandler,), {"log_message": lambda *_: None})
            handler.do_GET = lambda self: mirror.answer(self)
            server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}/mnist/"

        yield lambda *mirrors: monkeypatch.setattr(data, "MIRRORS", tuple(map(address, mirrors)))


def cached(cache):
    """What lies in the cache, the lock left out."""
    return {path.name for path in (cache / "mnist").rglob("*") if path.name != "lock"}


def test_mnist_is_downloaded_from_the_first_mirror_and_kept(small_mnist, empty_cache, serve):
    first, second = Mirror(small_mnist), Mirror(small_mnist)
    serve(first, second)
    assert not data.at_hand("mnist")
    assert_small_mnist(data.load("mnist"), small_mnist)
    assert cached(empty_cache) == set(data.FILES) and data.at_hand("mnist")
    assert sorted(first.requests) == sorted(data.FILES) and second.requests == []
    assert_small_mnist(data.load("mnist"), small_mnist)
    assert len(first.requests) == 4, "what is cached was asked for again"


FAULTS = ["not found", "server error", "cut", "wrong content", "a page", "half a gzip", "a bomb"]


@pytest.mark.parametrize("fault", [*FAULTS, "a closed port"])
def test_where_a_mirror_fails_the_next_one_is_used(small_mnist, empty_cache, serve, fault):
    second = Mirror(small_mnist)
    serve(None if fault == "a closed port" else Mirror(small_mnist, every_file=fault), second)
    assert_small_mnist(data.load("mnist"), small_mnist)
    assert sorted(second.requests) == sorted(data.FILES) and cached(empty_cache) == set(data.FILES)


@pytest.mark.parametrize("fault", [*FAULTS, "a closed port"])
def test_where_all_mirrors_fail_one_error_says_so_and_nothing_is_kept(small_mnist, empty_cache, serve, fault):
    serve(*[None if fault == "a closed port" else Mirror(small_mnist, every_file=fault)] * 2)
    with pytest.raises(data.DataError) as error:
        data.load("mnist")
    assert str(error.value).startswith(f"{IMAGES_FILE}.gz: expected it from one of 2 mirrors, found ")
    assert all(mirror in str(error.value) for mirror in data.MIRRORS)
    assert str(error.value).endswith("or use the data set mnist-5k")
    assert cached(empty_cache) == set()


def test_a_download_is_resumed_at_the_file_that_failed(small_mnist, empty_cache, serve):
    serve(Mirror(small_mnist, faults={"t10k-images-idx3-ubyte": "cut"}))
    with pytest.raises(data.DataError, match="t10k-images-idx3-ubyte.gz"):
        data.load("mnist")
    assert cached(empty_cache) == {IMAGES_FILE, LABELS_FILE}
    whole = Mirror(small_mnist)
    serve(whole)
    assert_small_mnist(data.load("mnist"), small_mnist)
    assert sorted(whole.requests) == ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


def test_a_damaged_file_in_the_cache_is_an_error_that_says_how_to_mend_it(small_mnist, empty_cache):
    put(empty_cache / "mnist", small_mnist | {IMAGES_FILE: spoil(small_mnist[IMAGES_FILE])}, packed=False)
    with pytest.raises(data.DataError, match=f"{IMAGES_FILE}: expected .*SHA-256.*remove it and leave the download"):
        data.load("mnist")


def test_a_cache_that_cannot_be_written_is_an_error_that_says_what_to_do(small_mnist, empty_cache, serve):
    serve(Mirror(small_mnist))
    empty_cache.write_text("a file where the folder should be")
    with pytest.raises(data.DataError, match="expected a folder to keep MNIST in, found .*; set LABCODE_CACHE"):
        data.load("mnist")


def test_mnist_dir_spares_the_download(small_mnist, tmp_path, serve, monkeypatch):
    mirror = Mirror(small_mnist)
    serve(mirror)
    put(tmp_path / "mine", small_mnist)
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    data.load("mnist")
    assert mirror.requests == []
