"""The store of Runs: whatever happens to a process, the disk or a file, a Run is the right one, found or made anew."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
import warnings

import means
import numpy as np
import pytest
from filelock import FileLock

from labcode import data, runs, store


def made_by(number):
    """What decides the Run of this number."""
    return {"recipe": "a test", "seed": number}


def content(number):
    """History, weights and probabilities of the Run of this number; 0.4 MB."""
    values = np.random.default_rng(number)
    return {"val_accuracy": [number / 7]}, [values.random(100_000, np.float32)], values.random((4, 10), np.float32)


class Maker:
    """Makes the Run of a number and counts how often."""

    def __init__(self, number=0):
        self.number, self.count = number, 0

    def __call__(self):
        self.count += 1
        return content(self.number)

    def find_or_make(self):
        """Find the Run or make it; it is the right one."""
        run = runs.find_or_make(made_by(self.number), self)
        history, (weight,), probabilities = content(self.number)
        assert run.history == history and run.made_by == made_by(self.number)
        assert np.array_equal(run.weights[0], weight) and np.array_equal(run.probabilities, probabilities)
        return self.count


def folder(number=0):
    """Where the Run of this number lies."""
    Maker(number).find_or_make()
    return next(entry for entry in entries() if not entry.suffix and number_of(entry) == number)


def entries():
    """What lies in the store."""
    return sorted((data.cache_folder() / "runs").iterdir())


MAKE = """
import sys
import numpy as np
from labcode import runs

sys.path.insert(0, sys.argv[1])
from test_stored_runs import content, made_by

made = []
for number in range(*map(int, sys.argv[2:4])):
    run = runs.find_or_make(made_by(number), lambda: made.append(number) or content(number))
    assert np.array_equal(run.weights[0], content(number)[1][0])
print(made)
"""


def arguments(first, last):
    """Those of the code above: it finds or makes the Runs of these numbers and prints which it made."""
    return os.path.dirname(__file__), first, last + 1


# Processes that die


def kill_at_random(times, seed):
    """Kill processes that write Runs; afterwards each Run there is whole, and nothing else stays."""
    for number in range(times):
        with subprocess.Popen(means.command(MAKE, *arguments(1000 * number, 1000 * number + 500))) as process:
            end = time.monotonic() + means.PATIENCE
            while not list((data.cache_folder() / "runs").glob("*")) and time.monotonic() < end:
                time.sleep(0.005)
            time.sleep(random.Random(seed + number).uniform(0, 0.2))
            process.kill()
        with warnings.catch_warnings(action="error"):  # none is found damaged
            for entry in entries():
                if not entry.suffix:
                    Maker(number_of(entry)).find_or_make()
            Maker(1000 * number + 999).find_or_make()
        assert [entry.name for entry in entries() if entry.suffix] == []
        shutil.rmtree(data.cache_folder())


def test_killed_while_it_writes_a_process_leaves_whole_runs():
    kill_at_random(3, seed=100)


@pytest.mark.soak
def test_killed_fifty_times_while_it_writes_a_process_leaves_whole_runs():
    kill_at_random(50, seed=0)


def test_what_a_killed_process_left_is_no_hindrance_and_goes_with_the_next_run():
    path = folder(0)
    shutil.copytree(path, path.with_suffix(".writing"))
    (path.with_suffix(".writing") / "manifest.json").unlink()
    path.with_suffix(".lock").write_text("4194304")  # of a process that is dead
    shutil.rmtree(path)
    other = path.with_name("0" * 32)
    other.with_suffix(".writing").mkdir()
    other.with_suffix(".lock").touch()
    assert Maker(0).find_or_make() == 1 and Maker(0).find_or_make() == 0
    assert entries() == [path]


def test_eight_processes_that_want_the_same_runs_make_each_once():
    processes = [
        subprocess.Popen(means.command(MAKE, *arguments(0, 2)), stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    outputs = [process.communicate(timeout=means.PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8
    assert sorted(number for output in outputs for number in json.loads(output)) == [0, 1, 2]
    assert len(entries()) == 3


def test_a_process_that_holds_a_run_and_never_goes_on_is_not_waited_for_for_ever(cache, monkeypatch):
    lock = folder(0).with_suffix(".lock")
    shutil.rmtree(folder(0))
    with subprocess.Popen(means.command(means.HOLD, lock), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(store, "WAIT_SECONDS", 0.5)
        with pytest.warns(UserWarning, match="lock.*the Run is used but not kept"):
            assert Maker(0).find_or_make() == 1
        process.kill()
    assert Maker(0).find_or_make() == 1 and Maker(0).find_or_make() == 0


# Files that are not what was written


def swap(path):
    shutil.rmtree(path)
    shutil.copytree(folder(1), path)


def edit(path, old, new):
    text = (path / "manifest.json").read_text()
    assert old in text
    (path / "manifest.json").write_text(text.replace(old, new))


def sign(path):
    """Give an entry the digest of what it holds now."""
    manifest = json.loads((path / "manifest.json").read_text())
    content = json.dumps({key: manifest[key] for key in sorted(manifest) if key != "sha256"}, sort_keys=True)
    manifest["sha256"] = hashlib.sha256(content.encode() + (path / "arrays.npz").read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


DAMAGES = {
    "another Run in its place": swap,
    "its history edited": lambda path: edit(path, '"val_accuracy": [0.0]', '"val_accuracy": [0.9]'),
    "its facts edited": lambda path: edit(path, '"recipe": "a test"', '"recipe": "no test"'),
    "other arrays, as of another version": lambda path: (np.savez(path / "arrays.npz", x=np.ones(1)), sign(path)),
    "a manifest that is a list": lambda path: (path / "manifest.json").write_text("[]"),
    "a manifest too deep": lambda path: (path / "manifest.json").write_text(100_000 * "["),
    "a file in its place": lambda path: (shutil.rmtree(path), path.write_text("a file")),
    "a link to itself": lambda path: (shutil.rmtree(path), path.symlink_to(path)),
    "an empty folder": lambda path: (shutil.rmtree(path), path.mkdir()),
    "arrays that are a folder": lambda path: ((path / "arrays.npz").unlink(), (path / "arrays.npz").mkdir()),
    "arrays that are a pipe": lambda path: ((path / "arrays.npz").unlink(), os.mkfifo(path / "arrays.npz")),
    "a manifest that is a pipe": lambda path: (
        (path / "manifest.json").unlink(),
        os.mkfifo(path / "manifest.json"),
    ),
    "arrays longer than any memory": lambda path: os.truncate(path / "arrays.npz", 2**40),
    "a manifest longer than any memory": lambda path: os.truncate(path / "manifest.json", 2**40),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_what_was_written_is_set_aside_and_made_anew(damage):
    path = folder(0)
    for _ in range(2):  # a second time there is one set aside already
        DAMAGES[damage](path)
        with pytest.warns(UserWarning, match=f"{path}: .*set aside as {path}.damaged, the Run is trained anew"):
            assert Maker().find_or_make() == 1
        assert os.path.lexists(f"{path}.damaged")
        assert Maker().find_or_make() == 0


@pytest.mark.parametrize("name", ["arrays.npz", "manifest.json"])
def test_cut_anywhere_or_with_any_byte_changed_a_run_is_made_anew(name):
    path, chance = folder(0) / name, random.Random(0)
    whole = path.read_bytes()
    for _ in range(15):
        position = chance.randrange(len(whole))
        cut, changed = whole[:position], bytearray(whole)
        changed[position] ^= 1 << chance.randrange(8)
        for damaged in (cut, bytes(changed)):
            path.write_bytes(damaged)
            with pytest.warns(UserWarning, match="set aside"):
                assert Maker().find_or_make() == 1


# Disks that are full, and folders that cannot be written


@pytest.mark.parametrize("limit", ["a full disk", "a limit on files"])
def test_where_there_is_no_room_the_run_is_made_and_used_with_a_warning(cache, limit):
    cache.mkdir()
    prefix = means.little_room(cache, kilobytes=100) if limit == "a full disk" else means.small_files(kilobytes=100)
    listing = "\nimport os\nprint(os.listdir(os.environ['LABCODE_CACHE'] + '/runs'))"
    code, output, errors = means.run(prefix, MAKE + listing, *arguments(0, 0))
    assert (code, output) == (0, "[0]\n[]\n")
    assert errors.count("the Run is used but not kept: free some room, or set LABCODE_CACHE") == 1


def test_in_a_store_that_cannot_be_written_runs_are_found_and_others_made_with_a_warning(cache):
    folder(0)
    for path in [cache, cache / "runs", *entries()]:
        path.chmod(0o500)
    code, output, errors = means.run(means.UNPRIVILEGED, MAKE, *arguments(0, 1))
    for path in [cache, cache / "runs", *entries()]:
        path.chmod(0o700)
    assert (code, output) == (0, "[1]\n")
    assert errors.count("UserWarning") == errors.count("Permission denied: ") == errors.count("used but not kept") == 1
    assert len(entries()) == 1


def test_a_damaged_run_in_a_store_that_cannot_be_written_is_not_used(cache):
    (folder(0) / "arrays.npz").write_bytes(b"")
    (cache / "runs").chmod(0o500)
    code, output, errors = means.run(means.UNPRIVILEGED, MAKE, *arguments(0, 0))
    (cache / "runs").chmod(0o700)
    assert (code, output) == (0, "[0]\n")
    assert "it cannot be set aside" in errors and "the Run is used but not kept" in errors


def test_a_store_that_cannot_be_looked_into_keeps_the_run_all_the_same(cache):
    folder(0)
    (cache / "runs").chmod(0o300)
    code, output, errors = means.run(means.UNPRIVILEGED, MAKE, *arguments(1, 2))
    (cache / "runs").chmod(0o700)
    assert (code, output, errors) == (0, "[1, 2]\n", "") and len(entries()) == 3


def test_without_a_place_for_the_store_the_run_is_made_and_used(cache):
    cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="the Run is used but not kept"):
        assert Maker().find_or_make() == 1


# The limit


@pytest.fixture
def room_for_two(monkeypatch):
    monkeypatch.setenv("LABCODE_CACHE_GB", "0.0010")  # a Run takes 0.0004


def use(number):
    """Use a Run, a while after the one before."""
    count = Maker(number).find_or_make()
    for entry in entries():
        if not entry.suffix:
            used = entry.stat().st_mtime - 100
            os.utime(entry, (used, used))
    return count


def number_of(entry):
    """Which Run lies there."""
    return json.loads((entry / "manifest.json").read_text())["made_by"]["seed"]


def kept():
    """The numbers of the Runs in the store, where nothing else is."""
    return {number_of(entry) for entry in entries()}


def test_what_was_used_longest_ago_is_dropped(room_for_two):
    for number in (0, 1):
        assert use(number) == 1
    assert use(0) == 0  # from now on 1 is the older one
    assert use(2) == 1
    assert kept() == {0, 2}
    assert use(0) == use(2) == 0 and use(1) == 1
    assert kept() == {1, 2}


def test_with_times_in_the_future_as_after_a_clock_set_back_runs_are_found_and_dropped(room_for_two):
    for number in (0, 1):
        os.utime(folder(number), (2**32, 2**32))
    assert Maker(0).find_or_make() == Maker(1).find_or_make() == 0
    for number in (2, 3, 4):
        assert Maker(number).find_or_make() == 1 and Maker(number).find_or_make() == 0
    assert len(kept()) == 2 and 4 in kept()


def test_what_no_one_uses_after_a_clock_was_set_back_is_dropped_first(room_for_two):
    for number in (0, 1):
        os.utime(folder(number), (2**32, 2**32))
    assert [Maker(number).find_or_make() for number in (2, 3, 2, 3)] == [1, 1, 0, 0]
    assert kept() == {2, 3}


def test_the_run_just_made_stays_even_where_it_alone_is_above_the_limit(monkeypatch):
    monkeypatch.setenv("LABCODE_CACHE_GB", "0")
    assert use(0) == use(1) == 1
    assert kept() == {1} and use(1) == 0


def test_what_killed_processes_left_goes_and_costs_no_run_its_place(room_for_two):
    use(0)
    left = data.cache_folder() / "runs" / f"{'f' * 32}.writing"
    left.mkdir()
    (left / "arrays.npz").write_bytes(bytes(2_000_000))
    use(1)
    assert kept() == {0, 1}


def test_what_is_in_use_is_not_dropped(room_for_two):
    path = folder(0)
    use(1)
    with FileLock(path.with_suffix(".lock")):
        use(2)
        use(3)
        assert {number_of(entry) for entry in entries() if not entry.suffix} == {0, 2, 3}
    use(4)
    assert kept() == {3, 4}


def test_what_was_set_aside_counts_and_goes_first(room_for_two):
    path = folder(0)
    use(1)
    (path / "arrays.npz").write_bytes(bytes(400_000))
    with pytest.warns(UserWarning, match="set aside"):
        use(0)
    use(2)
    assert kept() == {0, 2}


def test_a_link_in_the_store_is_dropped_and_not_where_it_leads(room_for_two, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(bytes(2_000_000))
    use(0)
    link = data.cache_folder() / "runs" / ("f" * 32)
    link.symlink_to(tmp_path / "precious")
    use(1)
    assert {number_of(entry) for entry in entries() if entry != link} == {0, 1}, "what it leads to was counted"
    os.utime(link, (0, 0), follow_symlinks=False)
    for number in (2, 3):
        use(number)
    assert kept() == {2, 3} and (tmp_path / "precious" / "file").exists()


@pytest.mark.parametrize("value", ["two", "-1", "nan", "inf", "2 GB"])
def test_a_limit_that_is_no_number_is_an_error_before_anything_is_trained(monkeypatch, value):
    monkeypatch.setenv("LABCODE_CACHE_GB", value)
    maker = Maker()
    with pytest.raises(ValueError, match=f"LABCODE_CACHE_GB is '{value}': expected a number of gigabytes"):
        runs.find_or_make(made_by(0), maker)
    assert maker.count == 0


def test_unless_set_the_limit_is_two_gigabytes(monkeypatch):
    monkeypatch.delenv("LABCODE_CACHE_GB", raising=False)
    assert store.limit() == 2_000_000_000


def test_processes_that_make_and_drop_runs_at_once_do_not_disturb_each_other(room_for_two):
    last = [
        subprocess.Popen(means.command(MAKE, *arguments(first, 20)), stderr=subprocess.PIPE) for first in (0, 5, 10)
    ]
    with contextlib.ExitStack() as stack:
        errors = [stack.enter_context(process).communicate(timeout=means.PATIENCE)[1] for process in last]
    assert [process.returncode for process in last] == [0, 0, 0] and errors == [b"", b"", b""]
    Maker(99).find_or_make()
    assert len(kept()) <= 2
