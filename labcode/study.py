"""Many seeds: how far a recipe's results move from run to run.

``python -m labcode.study mnist-5k --seeds 30 --jobs 2`` trains what ``results/`` does not have yet and adds it there.
The trainings run side by side over joblib: in processes of this machine, or on a Dask cluster with ``--scheduler``.
Each is kept as soon as it is finished, so a study that was ended goes on where it was.
"""

import argparse
import contextlib
import gc
import os
import sys
from collections import Counter, deque

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool
from tqdm import tqdm

from labcode import data, records, training

TRIES = 2


def train(name, dataset_name, seed, threads):
    """Train a recipe with a seed, in a worker.

    Args:
        name: a key of ``training.RECIPES``.
        dataset_name: of ``data.NAMES``.
        seed: a whole number from 0.
        threads: for TensorFlow, unless the worker's environment says TF_NUM_INTRAOP_THREADS.

    Returns:
        (name, seed), the entry for ``records.add``, or None, and why it failed, or None.
    """
    # TensorFlow reads these when it is imported; joblib's own caps do not reach it.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(threads))
    try:
        dataset, recipe = data.load(dataset_name), training.RECIPES[name]
        entry = records.describe(training.train(recipe, dataset, seed), recipe, seed, dataset)
    except Exception as error:  # whatever it is, the other trainings go on and the study reports it
        return (name, seed), None, f"{type(error).__name__}: {error}"
    finally:
        gc.collect()  # models lie in cycles, and hold the images
    return (name, seed), entry, None


def run(names, dataset_name, seeds, jobs=1, scheduler=None):
    """Train what is not recorded yet, and record it.

    Args:
        names: keys of ``training.RECIPES``.
        dataset_name: of ``data.NAMES``.
        seeds: how many, from 0.
        jobs: trainings at once; they share this machine's cores.
        scheduler: the address of a Dask scheduler, as ``tcp://host:port``; None for processes of this machine.

    Returns:
        What failed, twice: a dict from (name, seed) to the reason.
    """
    recorded = {(name, r.seed) for name in names for r in records.find(training.RECIPES[name], dataset_name)}
    planned = [(name, seed) for seed in range(seeds) for name in names]
    waiting = deque(pair for pair in planned if pair not in recorded)
    tries, failures = Counter(), {}
    with tqdm(total=len(planned), initial=len(planned) - len(waiting), unit="run") as bar, _backend(scheduler):
        while waiting:
            for pair, entry, why in _train_all(waiting, tries, dataset_name, jobs):
                if entry:
                    records.add(entry, dataset_name)
                    bar.update()
                elif tries[pair] < TRIES:
                    waiting.append(pair)
                else:
                    failures[pair] = why
    return failures


def _train_all(waiting, tries, dataset_name, jobs):
    """Yield what ``train`` returns for each pair waiting, as it comes; of a worker that died, its pairs as failed."""
    threads, in_flight = max(1, joblib.cpu_count() // jobs), []

    def tasks():
        while waiting:
            pair = waiting.popleft()
            in_flight.append(pair)
            tries[pair] += 1
            yield joblib.delayed(train)(pair[0], dataset_name, pair[1], threads)

    # No more is handed out than is being worked at, so that what a dead worker takes along is known.
    parallel = joblib.Parallel(jobs, return_as="generator_unordered", pre_dispatch=jobs, batch_size=1)
    try:
        for pair, entry, why in parallel(tasks()):
            in_flight.remove(pair)
            yield pair, entry, why
    except BrokenProcessPool as error:
        for pair in in_flight:
            yield pair, None, f"its worker process died: {type(error).__name__}"


@contextlib.contextmanager
def _backend(scheduler):
    """Where joblib sends the trainings."""
    if scheduler is None:
        with joblib.parallel_config("loky"):
            yield
        return
    from distributed import Client

    with Client(scheduler), joblib.parallel_config("dask"):
        yield


def main():
    """The command line: see ``python -m labcode.study --help``."""
    parser = argparse.ArgumentParser(description="Train recipes with many seeds and record the results.")
    parser.add_argument("dataset", choices=data.NAMES)
    parser.add_argument("--recipes", nargs="+", choices=training.RECIPES, default=list(training.RECIPES))
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 (default: 5)")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once (default: 1)")
    parser.add_argument("--scheduler", help="of a Dask cluster, tcp://host:port (default: this machine's processes)")
    options = parser.parse_args()
    failures = run(options.recipes, options.dataset, options.seeds, options.jobs, options.scheduler)
    planned = len(options.recipes) * options.seeds
    print(f"{planned} planned, {planned - len(failures)} recorded, {len(failures)} failed")
    if failures:
        sys.exit("\n".join(f"{name}, seed {seed}: {why}" for (name, seed), why in failures.items()))


if __name__ == "__main__":
    main()
