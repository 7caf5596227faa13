"""A study of many seeds: on this machine and on a real Dask cluster, with workers that die or never end."""

import contextlib
import dataclasses
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import joblib
import means
import psutil
import pytest
from distributed import Client
from joblib.externals.loky.backend import queues
from tiny_book import heed_signals

from labcode import records, study, training

SEEDS = 4
BAD = 1  # the seed whose training goes wrong where a test says so
PATIENCE = 120  # seconds until a test that waits for another process gives up
SMALL = dataclasses.replace(training.RECIPES["fc"], epochs=1, train_images=640)  # what "fc" is in these tests
# What a process runs when it starts, by Python's own hook: from then on it trains less, and the bad seed does this.
HOOK = """
import os, sys, time

def train(recipe, dataset, seed):
    if seed == {bad}:
        {deed}
    return found(recipe, dataset, seed)

if not any("resource_tracker" in word or word == "scheduler" for word in sys.orig_argv):  # these never train
    from labcode import training

    training.RECIPES["fc"] = training.{recipe}
    found, training.train = training.train, train
"""
# The command line, recording in the folder that is named first.
MAIN = "import sys; from labcode import records, study; records.RESULTS = records.Path(sys.argv.pop(1)); study.main()"


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Each test trains anew and records apart; one thread each, for bits depend on their number."""
    monkeypatch.setenv("LABCODE_CACHE", str(tmp_path / "store"))
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    hook(tmp_path, monkeypatch)


def hook(folder, monkeypatch, deed="pass"):
    """From now on processes start with ``HOOK``, which is written to that folder; this one trains less, too."""
    (folder / "sitecustomize.py").write_text(HOOK.format(recipe=SMALL, bad=BAD, deed=deed), "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    monkeypatch.setitem(training.RECIPES, "fc", SMALL)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store that has the Runs of these seeds: a study that finds them there needs no TensorFlow."""
    store = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABCODE_CACHE", str(store))
        patch.setenv("TF_NUM_INTRAOP_THREADS", "1")
        patch.setattr(records, "RESULTS", store / "results")
        hook(store, patch)
        assert study.run(["fc"], "mnist-5k", SEEDS) == {}
    return store


@pytest.fixture
def half_trained(trained, tmp_path, monkeypatch):
    """A store of its own for a test, in which only seed 1 is found."""
    store = shutil.copytree(trained, tmp_path / "half trained")
    for seed, folder in runs_in(store):
        if seed != 1:
            shutil.rmtree(folder)
    monkeypatch.setenv("LABCODE_CACHE", str(store))
    return store


@pytest.fixture
def bad_training(trained, tmp_path, monkeypatch):
    """Call it with what the bad seed's training shall do in a worker; all others are found."""
    monkeypatch.setenv("LABCODE_CACHE", str(trained))
    return functools.partial(hook, tmp_path, monkeypatch)


@pytest.fixture
def processes():
    """Processes that a test starts; neither they nor what they started outlives it."""
    started = []
    yield started
    for process in started:
        if process.poll() is None:
            for child in [*psutil.Process(process.pid).children(recursive=True), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        process.wait()


def recorded():
    """The measured part of the records, by seed."""
    found = records.find(training.RECIPES["fc"], "mnist-5k")
    timeless = [{key: values for key, values in record.history.items() if key != "seconds"} for record in found]
    return {record.seed: (history, record.correct.tolist()) for record, history in zip(found, timeless, strict=True)}


def runs_in(store):
    """The seed and the folder of each Run in that store."""
    manifests = list(store.glob("runs/*/manifest.json"))
    return [(json.loads(path.read_text("utf-8"))["made_by"]["seed"], path.parent) for path in manifests]


def assert_as_on_this_machine(trained, monkeypatch):
    """What is recorded now is, bit for bit, what was recorded when nothing went wrong."""
    found = recorded()
    monkeypatch.setattr(records, "RESULTS", trained / "results")
    assert found == recorded()


def kill_once_there_are(count, *victims):
    """In a thread: kill these processes, each an id or what finds it, as soon as there are so many records."""

    def kill():
        means.wait_until(lambda: len(recorded()) >= count)
        for victim in victims:
            os.kill(victim() if callable(victim) else victim, signal.SIGKILL)
        killed.set()

    killed = threading.Event()
    threading.Thread(target=kill, daemon=True).start()
    return killed


def workers_of(pid):
    """The processes of a study's pool: the children that run loky's worker."""
    children = psutil.Process(pid).children(recursive=True)
    return [child for child in children if "popen_loky" in " ".join(child.cmdline())]


def start_cluster(processes, *options):
    """A Dask scheduler and two workers, of one thread each; the scheduler's address."""
    file = records.RESULTS.parent / "scheduler.json"
    file.unlink(missing_ok=True)  # of a cluster before
    log = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": records.RESULTS.parent}
    dask = [sys.executable, "-m", "dask"]
    scheduler = ["--port", "0", "--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", str(file)]
    processes.append(subprocess.Popen([*dask, "scheduler", *scheduler], **log))
    worker = [*dask, "worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard", *options]
    means.wait_until(lambda: file.exists() and file.stat().st_size)
    processes += [subprocess.Popen(worker, **log) for _ in range(2)]
    with Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(2, PATIENCE)
    return json.loads(file.read_text("utf-8"))["address"]


def start_study(processes, *options, prefix=()):
    """The command line in a process of its own, with a process group of its own as a terminal gives it."""
    command = [*prefix, sys.executable, "-c", MAIN, str(records.RESULTS), "mnist-5k", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes.append(subprocess.Popen(command, start_new_session=True, preexec_fn=heed_signals, **pipes))
    return processes[-1]


def beside_the_bar(errors):
    """The lines of what a process wrote to stderr that are no progress bar."""
    return [line for line in errors.splitlines() if line and "run/s]" not in line and "s/run]" not in line]


def how_far(done):
    """What a study that ended early says of that, where nothing failed."""
    return f"{SEEDS} planned, {done} recorded, 0 failed; {study.RESUME}"


def assert_it_ends(process, done, send=os.killpg, sign=signal.SIGINT):
    """A signal, by default Ctrl-C as a terminal sends it to a study and all that it started: one line, nothing left."""
    started = psutil.Process(process.pid).children(recursive=True)
    send(process.pid, sign)
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, "")
    assert beside_the_bar(errors) == [f"interrupted; {how_far(done)}"]
    assert started and psutil.wait_procs(started, timeout=5)[1] == []


def test_what_fails_is_tried_twice_and_reported_and_the_rest_goes_on(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "argv", ["study", "mnist", "--recipes", "fc", "--seeds", "2"])
    with pytest.raises(SystemExit) as end:
        study.main()
    assert capsys.readouterr().out == "2 planned, 0 recorded, 2 failed\n"
    for seed in range(2):
        assert f"fc, seed {seed}: DataError" in str(end.value) and "MNIST_DIR" in str(end.value)


@pytest.mark.soak
def test_a_study_goes_on_where_it_was_and_survives_a_dead_worker(trained, bad_training, tmp_path, monkeypatch):
    died = tmp_path / "died"
    bad_training(f"os.path.exists({str(died)!r}) or (open({str(died)!r}, 'w'), os.kill(os.getpid(), 9))")
    assert study.run(["fc"], "mnist-5k", 1) == {}
    store = shutil.copytree(trained, tmp_path / "all but the recorded one")
    shutil.rmtree(dict(runs_in(store))[0])
    monkeypatch.setenv("LABCODE_CACHE", str(store))
    assert study.run(["fc"], "mnist-5k", SEEDS, jobs=2) == {}
    assert died.exists() and recorded().keys() == set(range(SEEDS))
    histories = [json.dumps(history) for history, _ in recorded().values()]
    assert len(set(histories)) == SEEDS, "each seed gives other numbers"
    assert {seed for seed, _ in runs_in(store)} == set(range(1, SEEDS)), "what was recorded is not trained again"
    assert_as_on_this_machine(trained, monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize("where", ["here", "cluster"])
def test_a_training_that_kills_its_worker_each_time_fails_alone(where, bad_training, processes, monkeypatch):
    bad_training("os.kill(os.getpid(), 9)")
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    address = start_cluster(processes) if where == "cluster" else None
    failures = study.run(["fc"], "mnist-5k", SEEDS, jobs=2, scheduler=address)
    assert failures.keys() == {("fc", BAD)} and recorded().keys() == set(range(SEEDS)) - {BAD}
    assert {"here": "TerminatedWorkerError", "cluster": "KilledWorker"}[where] in failures["fc", BAD]


@pytest.mark.soak
def test_a_scheduler_that_is_gone_ends_the_study_with_one_line_and_once_back_it_goes_on(
    bad_training, processes, trained, monkeypatch
):
    bad_training("time.sleep(3600)")
    address = start_cluster(processes, "--no-nanny")
    process = start_study(processes, "--recipes", "fc", "--seeds", str(SEEDS), "--scheduler", address)
    means.wait_until(lambda: len(recorded()) == SEEDS - 1)
    processes[0].kill()
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and recorded().keys() == set(range(SEEDS)) - {BAD}
    assert beside_the_bar(errors) == [f"the cluster's scheduler is gone; {how_far(SEEDS - 1)}"]

    bad_training("pass")
    back = start_cluster(processes)
    assert study.run(["fc"], "mnist-5k", SEEDS, scheduler=back) == {}
    assert_as_on_this_machine(trained, monkeypatch)


@pytest.mark.parametrize("address", ["nonsense", "ftp://somewhere:1", "", "tcp://127.0.0.1:port"])
def test_what_is_no_address_of_a_scheduler_ends_the_study(address):
    with pytest.raises(study.StudyError, match=f"the cluster at {address}: ValueError: .*1 planned, 0 recorded"):
        study.run(["fc"], "mnist-5k", 1, scheduler=address)


@pytest.mark.soak
def test_a_cluster_without_workers_ends_the_study(bad_training, processes, monkeypatch):
    bad_training("time.sleep(3600)")
    monkeypatch.setattr(study, "LOOK_SECONDS", 0.5)
    monkeypatch.setattr(study, "WORKER_SECONDS", 1)
    address = start_cluster(processes, "--no-nanny")
    killed = kill_once_there_are(SEEDS - 1, *[process.pid for process in processes[1:]])
    with pytest.raises(study.StudyError, match=f"cluster at {address}: .*0/1 workers.*; {how_far(SEEDS - 1)}"):
        study.run(["fc"], "mnist-5k", SEEDS, scheduler=address)
    assert killed.is_set() and recorded().keys() == set(range(SEEDS)) - {BAD}


@pytest.mark.soak
@pytest.mark.usefixtures("half_trained")
def test_a_cluster_that_loses_a_worker_gives_the_bits_of_this_machine(processes, trained, monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    monkeypatch.setattr(joblib, "cpu_count", lambda: 64)  # this machine's cores are not the cluster's
    address = start_cluster(processes, "--no-nanny")
    killed = kill_once_there_are(1, processes[-1].pid)
    assert study.run(["fc"], "mnist-5k", SEEDS, scheduler=address) == {}
    assert killed.is_set() and recorded().keys() == set(range(SEEDS))
    threads = {record.made["threads"] for record in records.find(training.RECIPES["fc"], "mnist-5k")}
    assert threads == {1}, "as many as a worker has"
    assert_as_on_this_machine(trained, monkeypatch)


@pytest.mark.soak
def test_the_same_study_twice_at_once_trains_and_records_a_seed_once(processes, tmp_path, monkeypatch):
    monkeypatch.setenv("LABCODE_PROGRESS", str(tmp_path / "progress"))
    studies = [start_study(processes, "--recipes", "fc", "--seeds", "1") for _ in range(2)]
    for process in studies:
        out, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (0, "1 planned, 1 recorded, 0 failed\n"), errors
    events = [json.loads(line)["text"] for line in (tmp_path / "progress").read_text("utf-8").splitlines()]
    begun = [text for text in events if text.endswith("epoch 1 of 1")]
    assert begun == ["fc on mnist-5k, seed 0: epoch 1 of 1"]
    assert len(records.find(training.RECIPES["fc"], "mnist-5k")) == 1


@pytest.mark.soak
@pytest.mark.parametrize(
    ("send", "sign"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM), (os.kill, signal.SIGHUP)]
)
def test_an_end_from_outside_ends_all_processes_and_keeps_what_was_finished(bad_training, processes, send, sign):
    bad_training("try: time.sleep(3600)\n        finally: os.write(2, b'a worker speaks of its end')")
    process = start_study(processes, "--recipes", "fc", "--seeds", str(SEEDS), "--jobs", "2")
    means.wait_until(lambda: len(recorded()) == SEEDS - 1)
    assert_it_ends(process, SEEDS - 1, send, sign)


@pytest.mark.soak
def test_ctrl_c_while_the_workers_start_ends_all_processes(bad_training, processes):
    bad_training("time.sleep(3600)")
    process = start_study(processes, "--recipes", "fc", "--seeds", str(SEEDS), "--jobs", "2")
    means.wait_until(lambda: any(sum(worker.cpu_times()[:2]) > 0.05 for worker in workers_of(process.pid)))
    assert_it_ends(process, 0)


@pytest.mark.soak
def test_without_room_for_the_results_a_study_ends_with_one_line_and_goes_on_where_it_was(
    bad_training, processes, trained, monkeypatch
):
    bad_training("pass")
    assert study.run(["fc"], "mnist-5k", 1) == {}
    file = records.RESULTS / "mnist-5k.json"
    before = file.read_bytes()
    limit = ["prlimit", f"--fsize={len(before) + 1000}"]  # not enough for a second entry
    process = start_study(processes, "--recipes", "fc", "--seeds", str(SEEDS), prefix=limit)
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1, "")
    (line,) = beside_the_bar(errors)
    assert "results: cannot be written ([Errno 27] File too large); make room" in line and line.endswith(how_far(1))
    assert file.read_bytes() == before and not list(records.RESULTS.glob("*.writing"))
    assert study.run(["fc"], "mnist-5k", SEEDS) == {}
    assert_as_on_this_machine(trained, monkeypatch)


@pytest.mark.soak
def test_no_thread_outlives_a_study(trained, monkeypatch):
    def feed_and_linger(*args, feed=queues.Queue._feed):
        feed(*args)
        time.sleep(0.5)

    monkeypatch.setenv("LABCODE_CACHE", str(trained))
    monkeypatch.setattr(queues.Queue, "_feed", staticmethod(feed_and_linger))
    before = set(threading.enumerate())
    assert study.run(["fc"], "mnist-5k", 1) == {}
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert left <= {"tqdm_monitor"}, "Python's end would break it off"


@pytest.mark.parametrize("option", ["--jobs", "--seeds"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_a_count_below_one_is_refused(option, value, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["study", "mnist-5k", f"{option}={value}"])
    with pytest.raises(SystemExit, match="2"):
        study.main()
    assert f"argument {option}: '{value}': expected a whole number of at least 1" in capsys.readouterr().err


def test_a_worker_of_another_checkout_is_found_out_and_nothing_of_it_is_recorded(bad_training, monkeypatch):
    bad_training()
    monkeypatch.setitem(training.RECIPES, "fc", dataclasses.replace(SMALL, learning_rate=0.2))  # here, not in workers
    found = records.find(training.RECIPES["fc"], "mnist-5k")
    failures = study.run(["fc"], "mnist-5k", 1)
    assert failures.keys() == {("fc", 0)} and not found and not recorded()
    assert re.search(r"recipe \{.*'learning_rate': 0.1.*\}, asked for \{.*'learning_rate': 0.2", failures["fc", 0])
    assert not list(records.RESULTS.glob("*.json"))


def test_results_that_cannot_be_written_are_noticed_before_anything_is_trained(tmp_path, monkeypatch):
    (tmp_path / "results").write_text("no folder")
    monkeypatch.setattr(study, "_ThisMachine", lambda jobs: pytest.fail("a worker was started"))
    monkeypatch.setattr(sys, "argv", ["study", "mnist-5k", "--recipes", "fc", "--seeds", "1"])
    with pytest.raises(SystemExit, match=r"^/.*results: cannot be written \(.*\); make room, or make it a folder"):
        study.main()
