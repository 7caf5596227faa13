"""Many seeds: how far a recipe's results move from run to run.

``python -m labcode.study mnist-5k --seeds 30 --jobs 2`` trains what ``results/`` does not have yet and adds it there.
The trainings run side by side: in processes of this machine, or on a Dask cluster with ``--scheduler``. Each is kept as
soon as it is finished, so a study that was ended goes on where it was.

Both places are used through ``concurrent.futures``: joblib's loky has that shape, and so has Dask's client. Not through
``joblib.Parallel``: one task that fails ends all others there, and its Dask backend waits for ever for a task whose
worker died too often, because it calls nothing back then.
"""

import argparse
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from itertools import islice
from multiprocessing import resource_tracker

import joblib
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from labcode import data, records, training

LOOK_SECONDS = 5  # how long nothing may finish until the cluster is looked at
WORKER_SECONDS = 60  # how long a cluster may be without a worker
FEEDER_SECONDS = 5  # how long the end of a thread is waited for, which takes milliseconds
RESUME = "what was finished is recorded, and the same command goes on from there"


class StudyError(Exception):
    """The study cannot go on: what is missing, how far it came, and how it goes on."""


def train(name, dataset_name, seed, threads=None):
    """Train a recipe with a seed, in a worker.

    Args:
        name: a key of ``training.RECIPES``.
        dataset_name: of ``data.NAMES``.
        seed: a whole number from 0.
        threads: for TensorFlow, unless the worker's environment says TF_NUM_INTRAOP_THREADS; None for as many as the
            Dask worker has in which this runs.

    Returns:
        The entry for ``records.add``, or None, and why it failed, or None.
    """
    if threads is None:
        from distributed import get_worker

        threads = get_worker().state.nthreads
    # TensorFlow reads these when it is imported; joblib's own caps do not reach it.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(threads))
    try:
        dataset, recipe = data.load(dataset_name), training.RECIPES[name]
        return records.describe(training.train(recipe, dataset, seed), recipe, seed, dataset), None
    except Exception as error:  # whatever it is, the other trainings go on and the study reports it
        return None, _why(error)
    finally:
        gc.collect()  # models lie in cycles, and hold the images


def run(names, dataset_name, seeds, jobs=None, scheduler=None):
    """Train what is not recorded yet, and record it.

    Args:
        names: keys of ``training.RECIPES``.
        dataset_name: of ``data.NAMES``.
        seeds: how many, from 0.
        jobs: trainings at once; None for one on this machine, whose cores they share, and on a cluster for as many as
            it has workers.
        scheduler: the address of a Dask scheduler, as ``tcp://host:port``; None for processes of this machine.

    Returns:
        What failed, twice: a dict from (name, seed) to the reason.

    Raises:
        StudyError: the cluster's scheduler or all of its workers are gone, or the results cannot be written any more.
            What was finished is recorded.
        KeyboardInterrupt: by Ctrl-C, with the same words as a StudyError.
        records.RecordsError: the records cannot be read, or not be written; that is seen before anything is trained.
    """
    records.check_writable()
    recorded = {(name, r.seed) for name in names for r in records.find(training.RECIPES[name], dataset_name)}
    planned = [(name, seed) for seed in range(seeds) for name in names]
    left = [pair for pair in planned if pair not in recorded]
    failures = {}
    with (
        tqdm(total=len(planned), initial=len(planned) - len(left), unit="run") as bar,
        _how_far(bar, failures),
        _ThisMachine(jobs) if scheduler is None else _Cluster(scheduler, jobs) as place,
    ):
        # What fails is tried once more, alone: a worker that dies takes along what is trained beside it.
        for at_once in (place.jobs, 1):
            failures.clear()
            for pair, entry, why in _try(left, at_once, dataset_name, place):
                why = why or _why_another(entry, *pair, dataset_name)
                if not why:
                    records.add(entry, dataset_name)
                    bar.update()
                else:
                    failures[pair] = why
            left = list(failures)
    return failures


@contextlib.contextmanager
def _how_far(bar, failures):
    """Where the study cannot go on, say how far it came."""
    try:
        yield
    except (KeyboardInterrupt, StudyError, records.RecordsError) as end:
        why = "interrupted" if isinstance(end, KeyboardInterrupt) else end
        kind = KeyboardInterrupt if isinstance(end, KeyboardInterrupt) else StudyError
        raise kind(f"{why}; {_counts(bar.total, bar.n, len(failures))}; {RESUME}") from end


def _counts(planned, recorded, failed):
    return f"{planned} planned, {recorded} recorded, {failed} failed"


def _try(pairs, at_once, dataset_name, place):
    """Yield each pair, its entry or None, and why it failed or None, as they come."""
    pairs, in_flight = iter(pairs), {}
    while True:
        # No more is handed out than is being worked at: what a dead worker takes along is little.
        for name, seed in islice(pairs, at_once - len(in_flight)):
            in_flight[place.submit(name, dataset_name, seed)] = name, seed
        if not in_flight:
            return
        finished = wait(in_flight, LOOK_SECONDS, FIRST_COMPLETED).done
        for future in finished:
            yield in_flight.pop(future), *_outcome(future)
        if not finished:
            place.look()


def _why_another(entry, name, seed, dataset_name):
    """Why an entry is not the one that was asked for, or "": a worker's checkout can be another one than this."""
    other = records.other_than_asked(entry, training.RECIPES[name], seed, dataset_name)
    return other and f"the worker trained something else: {other}; give it this checkout of the project"


def _outcome(future):
    """What ``train`` returned, or None and how its worker ended."""
    try:
        return future.result()
    except CancelledError:
        raise StudyError("the cluster's scheduler is gone") from None
    except Exception as error:
        return None, _why(error)


def _why(error):
    return f"{type(error).__name__}: {error}"


class _ThisMachine(contextlib.AbstractContextManager):
    """Processes of joblib's loky."""

    def __init__(self, jobs):
        self.jobs, self.threads = jobs or 1, max(1, joblib.cpu_count() // (jobs or 1))
        resource_tracker.ensure_running()  # as loky does, but in Python 3.11 that undoes what ``submit`` blocks

    def submit(self, *task):
        """Start ``train``: a future. The death of one process ends all of them; then this starts others.

        What is started here never sees Ctrl-C: this process gets it too, and then ends the others.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # processes and threads inherit it
        try:
            return get_reusable_executor(self.jobs).submit(train, *task, self.threads)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def look(self):
        """Nothing to see: a process that dies ends its future."""

    def __exit__(self, *_):
        get_reusable_executor(self.jobs).shutdown(kill_workers=True)
        # loky leaves alone the thread that fed its queue. Python's end would break it off while it removes the queue's
        # semaphores, of which loky's resource tracker then complains.
        for thread in threading.enumerate():
            if thread.name == "QueueFeederThread":
                thread.join(FEEDER_SECONDS)


class _Cluster(contextlib.AbstractContextManager):
    """The Dask cluster with that scheduler, which itself gives the tasks of a worker that died to another one."""

    def __init__(self, address, jobs):
        from distributed import Client

        self.address = address
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # StudyError says what is lost, once
        with self._or_study_error():
            self.client = Client(address)
            self.look()
            self.jobs = jobs or len(self.client.nthreads())
        self.executor = self.client.get_executor(pure=False)  # a key each: what failed is not remembered

    def submit(self, *task):
        """Start ``train``: a future, cancelled where the scheduler goes."""
        return self.executor.submit(train, *task)

    def look(self):
        """Wait until there is a worker, for the scheduler would wait for ever."""
        with self._or_study_error():
            self.client.wait_for_workers(1, WORKER_SECONDS)

    def __exit__(self, *_):
        self.executor.shutdown(wait=False)
        self.client.close()

    @contextlib.contextmanager
    def _or_study_error(self):
        try:
            yield
        except (OSError, ValueError) as error:  # TimeoutError is the first; what is no address gives the second
            raise StudyError(f"the cluster at {self.address}: {_why(error)}") from error


def _positive(text):
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 1")
    return int(text)


def main():
    """The command line: see ``python -m labcode.study --help``."""
    parser = argparse.ArgumentParser(description="Train recipes with many seeds and record the results.")
    parser.add_argument("dataset", choices=data.NAMES)
    parser.add_argument("--recipes", nargs="+", choices=training.RECIPES, default=list(training.RECIPES))
    parser.add_argument("--seeds", type=_positive, default=10, help="how many, from 0 (default: 10)")
    parser.add_argument("--jobs", type=_positive, help="trainings at once (default: 1; on a cluster, its workers)")
    parser.add_argument("--scheduler", help="of a Dask cluster, tcp://host:port (default: this machine's processes)")
    options = parser.parse_args()
    for sign in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(sign) is signal.SIG_DFL:  # not where `nohup` has it ignored
            signal.signal(sign, signal.default_int_handler)  # as Ctrl-C: no training outlives the study
    try:
        failures = run(options.recipes, options.dataset, options.seeds, options.jobs, options.scheduler)
    except KeyboardInterrupt as end:
        print(str(end) or f"interrupted; {RESUME}", file=sys.stderr)
        sys.exit(130)  # as shells count an end by Ctrl-C
    except (StudyError, records.RecordsError) as error:
        sys.exit(str(error))
    planned = len(options.recipes) * options.seeds
    print(_counts(planned, planned - len(failures), len(failures)))
    if failures:
        sys.exit("\n".join(f"{name}, seed {seed}: {why}" for (name, seed), why in failures.items()))


if __name__ == "__main__":
    from labcode import study  # under this name the workers find what they are sent

    study.main()
