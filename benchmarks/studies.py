"""How the cost of a study grows with its seeds.

A module of its own, without TensorFlow, which the process that hands out a study's trainings does not import either.
"""

from functools import partial

from benchmarks import processes, timing
from labcode import data, records, study


def seeds(counts, jobs, rounds):
    """Seconds for a study of FC on mnist-5k with so many seeds."""
    ways = {str(count): partial(processes.call_anew, run, count, jobs) for count in counts}
    return {"jobs": jobs, "ways": timing.in_turn(ways, rounds, "seeds")}


def run(count, jobs):
    """Run a study of FC on mnist-5k, and record it in this process's store instead of the project's folder.

    Raises:
        RuntimeError: a training has failed.
    """
    records.RESULTS = data.cache_folder()
    if failures := study.run(["fc"], "mnist-5k", count, jobs=jobs):
        raise RuntimeError(f"a study of {count} seeds: expected no failure, found {failures}")
