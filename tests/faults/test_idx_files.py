"""Files that are not MNIST's: each is refused with one error, and with little memory."""

import gzip
import os
import random
import re
import struct
import tracemalloc
from pathlib import Path

import means
import pytest
import small_mnist
from small_mnist import IMAGES_FILE, LABELS_FILE, assert_small_mnist, put

from labcode import data

TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
MEGABYTES = 200  # that reading any input may take, Python and NumPy included
TRIES = 500  # in a batch


@pytest.fixture
def contents(tmp_path, monkeypatch):
    """Those of four small files in ``$MNIST_DIR``, known to ``data`` as the published ones."""
    made = small_mnist.contents()
    monkeypatch.setattr(data, "FILES", small_mnist.known(made))
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "mine"))
    put(tmp_path / "mine", made, packed=False)
    return made


def refused(path, content, name=None):
    """The message with which this content of a file is refused; the file is as it was afterwards."""
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(content)
    with pytest.raises(data.DataError) as error:
        data.load("mnist")
    path.unlink() if before is None else path.write_bytes(before)
    assert str(error.value).startswith(f"{path}: expected ") and str(error.value).endswith(data.REPLACE)
    return str(error.value)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("name", [IMAGES_FILE, LABELS_FILE])
def test_a_file_cut_at_any_byte_is_refused(contents, tmp_path, name, packed):
    path, content = tmp_path / "mine" / name, contents[name]
    if packed:
        path.unlink()
        path, content = path.with_name(f"{name}.gz"), gzip.compress(content)
    later = random.Random(0).sample(range(20, 3_900), 20) if name == IMAGES_FILE and not packed else []
    for length in [*range(20), *later, len(content) - 1]:
        if length < len(content):
            refused(path, content[:length])
    path.write_bytes(content)
    assert_small_mnist(data.load("mnist"), contents)


def test_each_byte_of_the_header_decides(contents, tmp_path):
    for name, length in ((IMAGES_FILE, 16), (LABELS_FILE, 8)):
        for position in range(length):
            changed = bytearray(contents[name])
            changed[position] ^= 1 << position % 8
            refused(tmp_path / "mine" / name, bytes(changed))


def header(*words):
    """Big-endian 32-bit words."""
    return struct.pack(f">{len(words)}I", *words)


IMAGES, LABELS = small_mnist.contents()[IMAGES_FILE], small_mnist.contents()[LABELS_FILE]
OTHER = small_mnist.contents(seed=1)
FAULTY = {  # a file, its content, what is said of it
    "empty": (IMAGES_FILE, b"", "found nothing"),
    "a page": (IMAGES_FILE, b"<html>", "found 3c68746d"),
    "another type": (IMAGES_FILE, b"\0\0\x0d\x03" + IMAGES[4:], "found 00000d03"),
    "the other order of bytes": (IMAGES_FILE, struct.pack("<4I", 0x803, 5, 28, 28) + IMAGES[16:], "found 03080000"),
    "only the count's other order": (IMAGES_FILE, header(0x803, 5 << 24, 28, 28) + IMAGES[16:], "found 3920"),
    "huge dimensions": (IMAGES_FILE, header(0x803, *[2**32 - 1] * 3) + IMAGES[16:], "dimensions (4294967295, 42"),
    "a huge count": (IMAGES_FILE, header(0x803, 2**32 - 1, 28, 28) + IMAGES[16:], "expected 3367254359280 bytes"),
    "no image": (IMAGES_FILE, header(0x803, 0, 28, 28), "dimensions (0, 28, 28)"),
    "no pixel": (IMAGES_FILE, header(0x803, 5, 0, 0), "dimensions (5, 0, 0)"),
    "trailing bytes": (IMAGES_FILE, IMAGES + b"\0", "expected 3936 bytes, found more"),
    "a label of 10": (LABELS_FILE, LABELS[:-1] + b"\x0a", "found the label 10"),
    "one label more": (LABELS_FILE, small_mnist.idx([*LABELS[8:], 1]), "expected 13 bytes, found more"),
    "one label less": (LABELS_FILE, small_mnist.idx([*LABELS[8:-1]]), "SHA-256"),
    "labels for images": (IMAGES_FILE, LABELS, "SHA-256"),
    "images for labels": (LABELS_FILE, IMAGES, "expected 13 bytes, found more"),
    "test images for training images": (IMAGES_FILE, small_mnist.contents()[TEST_IMAGES], "SHA-256"),
    "training images for test images": (TEST_IMAGES, IMAGES, "expected 2368 bytes, found more"),
    "another data set of the same form": (IMAGES_FILE, OTHER[IMAGES_FILE], "SHA-256"),
    "another data set's labels": (TEST_LABELS, OTHER[TEST_LABELS], "SHA-256"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_wrong_file_is_refused_with_what_is_wrong(contents, tmp_path, fault):
    name, content, said = FAULTY[fault]
    assert said in refused(tmp_path / "mine" / name, content)


def test_train_and_test_swapped_are_refused(contents, tmp_path):
    swapped = {name: contents[name.replace("train", "t10k") if "train" in name else name.replace("t10k", "train")]
               for name in contents}  # fmt: skip
    put(tmp_path / "mine", swapped, packed=False)
    with pytest.raises(data.DataError, match=f"{IMAGES_FILE}: expected content with SHA-256"):
        data.load("mnist")


THINGS = {
    "a folder": (lambda path: path.mkdir(), "expected a file, found a folder"),
    "a link to itself": (lambda path: path.symlink_to(path), "found neither"),
    "a link to nowhere": (lambda path: path.symlink_to("nowhere"), "found neither"),
    "a pipe": (os.mkfifo, "found neither"),
}


@pytest.mark.parametrize("thing", THINGS)
@pytest.mark.parametrize("end", ["", ".gz"], ids=["plain", "gzipped"])
def test_what_is_no_file_is_refused(contents, tmp_path, thing, end):
    make, said = THINGS[thing]
    (tmp_path / "mine" / LABELS_FILE).unlink()
    make(tmp_path / "mine" / f"{LABELS_FILE}{end}")
    for use in (data.load, data.at_hand, data.fetch, data.verify):
        with pytest.raises(data.DataError, match=f"{LABELS_FILE}.*{said}"):
            use("mnist")


LOAD = "from labcode import data\ndata.load('mnist')"


@pytest.mark.parametrize("which", [IMAGES_FILE, ""], ids=["file", "folder"])
def test_what_may_not_be_read_is_refused(contents, tmp_path, which):
    path = tmp_path / "mine" / which
    path.chmod(0)
    code, _, errors = means.run(means.UNPRIVILEGED, LOAD)
    path.chmod(0o700)
    assert code == 1 and re.search(r"DataError: .*Permission denied.*; put MNIST's own file", errors.splitlines()[-1])


def test_a_gzip_bomb_is_refused_without_being_unpacked(contents, tmp_path):
    unpacked, path = 300_000_000, tmp_path / "mine" / f"{IMAGES_FILE}.gz"
    (tmp_path / "mine" / IMAGES_FILE).unlink()
    bomb = gzip.compress(contents[IMAGES_FILE] + bytes(unpacked), compresslevel=1)
    tracemalloc.start()
    try:
        assert "expected 3936 bytes, found more" in refused(path, bomb)
        assert tracemalloc.get_traced_memory()[1] < unpacked / 50
    finally:
        tracemalloc.stop()


def test_of_what_follows_a_gzip_little_is_read(contents, tmp_path):
    path = tmp_path / "mine" / f"{IMAGES_FILE}.gz"
    (tmp_path / "mine" / IMAGES_FILE).unlink()
    path.write_bytes(gzip.compress(contents[IMAGES_FILE]))
    assert_small_mnist(data.load("mnist"), contents)
    whole = path.read_bytes()
    for length in (len(whole) + 1, 2**40):
        os.truncate(path, length)  # zeros, which take no room
        assert_small_mnist(data.load("mnist"), contents)
    path.unlink()
    assert "expected one whole gzip, found more behind it" in refused(path, whole + b"\0more")


REFUSE = """
import re
from pathlib import Path
from labcode import data
try:
    data.load("mnist")
except data.DataError as error:
    print(error)
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.soak
def test_a_bomb_of_mnist_s_own_size_takes_little_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_DIR", str(tmp_path))
    for name in data.FILES.keys() - {IMAGES_FILE}:
        (tmp_path / name).touch()
    for unpacked, said in ((47_040_000, "SHA-256"), (1_000_000_000, "expected 47040016 bytes, found more")):
        with gzip.open(tmp_path / f"{IMAGES_FILE}.gz", "wb", compresslevel=1) as file:
            file.write(header(0x803, 60_000, 28, 28))
            for _ in range(unpacked // 10_000):
                file.write(bytes(10_000))
        code, output, errors = means.run([], REFUSE)
        message, peak = output.splitlines()
        assert code == 0 and said in message, errors
        assert int(peak) / 1024 < MEGABYTES


# Any input at all, in a process whose memory is measured

MUTATE = Path(__file__).with_name("mutate_idx.py").read_text("utf-8")


@pytest.mark.parametrize("batches", [1, pytest.param(20, marks=pytest.mark.soak)])
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux, to know the memory's peak")
def test_mutated_inputs_give_the_right_images_or_the_one_error_and_take_little_memory(batches, tmp_path, monkeypatch):
    tests = os.path.dirname(small_mnist.__file__)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]))
    for batch in range(batches):  # a process each, for Hypothesis remembers what it has tried
        code, output, errors = means.run([], MUTATE, TRIES, batch, tmp_path / "mine")
        assert code == 0, errors
        refused, accepted, megabytes = map(int, output.split())
        assert refused + accepted >= TRIES and refused > accepted > 0
        assert megabytes < MEGABYTES
