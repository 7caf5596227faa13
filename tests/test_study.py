"""A study of many seeds: on this machine and on a real Dask cluster, with workers that die."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from joblib.externals.loky import get_reusable_executor

from labcode import records, study, training

SEEDS = 4
PATIENCE = 120  # seconds until a test that waits for another process gives up


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Each test trains anew and records apart; one thread each, for bits depend on their number."""
    monkeypatch.setenv("LABCODE_CACHE", str(tmp_path / "store"))
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    get_reusable_executor().shutdown()  # its processes have the environment of an earlier test
    yield
    get_reusable_executor().shutdown()


@pytest.fixture
def processes():
    """Processes that a test starts; none outlives it."""
    started = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def recorded():
    """The measured part of the records, by seed."""
    found = records.find(training.RECIPES["fc"], "mnist-5k")
    timeless = [{key: values for key, values in record.history.items() if key != "seconds"} for record in found]
    return {record.seed: (history, record.correct.tolist()) for record, history in zip(found, timeless, strict=True)}


def wait_until(condition):
    for _ in range(PATIENCE * 10):
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def kill_once_there_are(count, find_victim):
    """In a thread: kill the process that ``find_victim`` returns, as soon as there are so many records."""

    def kill():
        wait_until(lambda: len(recorded()) >= count)
        os.kill(find_victim(), signal.SIGKILL)
        killed.set()

    killed = threading.Event()
    threading.Thread(target=kill, daemon=True).start()
    return killed


def training_worker():
    """A process of this machine's pool: the youngest child that runs loky's worker."""
    children = psutil.Process().children(recursive=True)
    workers = [child for child in children if "popen_loky" in " ".join(child.cmdline())]
    return max(workers, key=lambda child: child.create_time()).pid


def start_cluster(processes):
    """A Dask scheduler and two worker processes, of one thread each; the scheduler's address."""
    file = records.RESULTS.parent / "scheduler.json"
    log = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": records.RESULTS.parent}
    dask = [sys.executable, "-m", "dask"]
    options = ["--port", "0", "--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", str(file)]
    processes.append(subprocess.Popen([*dask, "scheduler", *options], **log))
    address = wait_until(lambda: file.exists() and file.stat().st_size and json.loads(file.read_text())["address"])
    worker = [*dask, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    processes += [subprocess.Popen(worker, **log) for _ in range(2)]
    return address


def test_what_fails_is_tried_twice_and_reported_and_the_rest_goes_on(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "argv", ["study", "mnist", "--recipes", "fc", "--seeds", "2"])
    with pytest.raises(SystemExit) as end:
        study.main()
    assert capsys.readouterr().out == "2 planned, 0 recorded, 2 failed\n"
    for seed in range(2):
        assert f"fc, seed {seed}: DataError" in str(end.value) and "MNIST_DIR" in str(end.value)


def test_a_study_goes_on_where_it_was_and_survives_a_dead_worker(tmp_path):
    assert study.run(["fc"], "mnist-5k", 1, jobs=2) == {}
    first = recorded()
    killed = kill_once_there_are(2, training_worker)
    assert study.run(["fc"], "mnist-5k", SEEDS, jobs=2) == {}
    assert killed.is_set() and recorded().keys() == set(range(SEEDS)) and recorded()[0] == first[0]
    histories = [json.dumps(history) for history, _ in recorded().values()]
    assert len(set(histories)) == SEEDS, "each seed gives other numbers"
    folders = [path for path in (tmp_path / "store" / "runs").iterdir() if (path / "manifest.json").exists()]
    assert len(folders) == SEEDS, "what was recorded is not trained again"


def test_a_cluster_that_loses_a_worker_gives_the_bits_of_this_machine(processes, tmp_path, monkeypatch):
    address = start_cluster(processes)
    killed = kill_once_there_are(1, lambda: processes[-1].pid)
    assert study.run(["fc"], "mnist-5k", SEEDS, jobs=2, scheduler=address) == {}
    assert killed.is_set() and recorded().keys() == set(range(SEEDS))
    by_cluster = recorded()
    monkeypatch.setattr(records, "RESULTS", tmp_path / "here")
    monkeypatch.setenv("LABCODE_CACHE", str(tmp_path / "another-store"))
    assert study.run(["fc"], "mnist-5k", SEEDS, jobs=2) == {}
    assert recorded() == by_cluster
