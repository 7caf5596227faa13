"""How the cost of a study grows with its seeds.

A module of its own, without TensorFlow, which the process that hands out a study's trainings does not import either.
"""

from functools import partial
from pathlib import Path

from benchmarks import processes, timing
from labcode import records, study


def seeds(counts, jobs, rounds):
    """Seconds for a study of FC on mnist-5k with so many seeds."""
    ways = {str(count): partial(_in_a_process, count, jobs) for count in counts}
    return {"jobs": jobs, "ways": timing.in_turn(ways, rounds, "seeds")}


def _in_a_process(count, jobs):
    with processes.new_folder() as folder:
        processes.call(run, count, jobs, str(folder), env=processes.with_store(folder))


def run(count, jobs, folder):
    """Run a study of FC on mnist-5k, and record it in a folder instead of the project's.

    Raises:
        RuntimeError: a training has failed.
    """
    records.RESULTS = Path(folder)
    if failures := study.run(["fc"], "mnist-5k", count, jobs=jobs):
        raise RuntimeError(f"a study of {count} seeds: expected no failure, found {failures}")
