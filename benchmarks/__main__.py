"""``python -m benchmarks``: measure everything, print the ratios, and keep all in ``results/bench.json``.

``--quick`` takes less of everything, stays under three minutes, prints, and keeps nothing. PyTorch is compared with
where it is installed (``requirements-bench.txt``). Nothing else should run meanwhile. Most of the time goes into
building the report in the plain way on all of MNIST; ``LABCODE_DATASET=mnist-5k`` builds it on the 5,000 digits.
"""

import argparse
import os
from importlib import metadata

import joblib

from benchmarks import (
    accuracy,
    books,
    builds,
    convolutions,
    growth,
    parts,
    processes,
    steps,
    studies,
    timing,
    trainings,
)
from labcode import comparisons, data, provenance, speed, speed_tables

STEPS = {
    "cnn": steps.cnn,
    "parts": parts.parts,
    "convolutions": convolutions.convolutions,
    "pieces": parts.pieces,
    "fc": steps.fc,
    "tape": steps.tape,
}
FLOP = {"cnn": steps.flop_of_cnn, "parts": parts.flop, "convolutions": convolutions.flop}
TABLES = comparisons.table, speed_tables.first_calls, speed_tables.operations  # that are printed
FULL = {
    "rounds": 9,
    "steps": {"cnn": 40, "parts": 40, "convolutions": 40, "pieces": 40, "fc": 900, "tape": 200},
    "seeds": {target: limit.seeds for target, limit in comparisons.LIMITS.items()},
    "shorter": 3,
    "builds": (os.environ.get("LABCODE_DATASET") or "mnist", 2),
    "chapters": (7, 70),
    "images": (1_000, 4_000, 16_000, 60_000),
    "batches": (12, 32, 64, 128, 256),
    "study": (1, 10, 100),
}
QUICK = {
    "rounds": 3,
    "steps": {"cnn": 8, "convolutions": 8, "fc": 300, "tape": 20},
    "seeds": {"99.0 %": 2},
}


def measure(plan):
    """All measurements of a plan: a dict for JSON."""
    rounds = plan["rounds"]
    data.fetch("mnist")  # where it cannot be had, the end comes now; and no build downloads it
    made = provenance.here() | {"threads": joblib.cpu_count(), "PyTorch": _torch_version(), "commit": _commit()}
    found = {"made": made, "quick": plan is QUICK, "steps": {}}
    for name, count in plan["steps"].items():
        found["steps"][name] = {"steps": count, "ways": timing.in_turn(STEPS[name](count), rounds, name)}
        if name in FLOP:
            found["steps"][name]["flop"] = FLOP[name](count)
    found["sprints"] = accuracy.sprints(plan["seeds"])
    found["imports"] = builds.imports(rounds)
    if plan is FULL:
        found |= {
            "shorter": accuracy.shorter(plan["shorter"]),
            "builds": builds.report(*plan["builds"]),
            "chapters": books.rebuilds(plan["chapters"], rounds=5),
            "images": growth.images(plan["images"], rounds=3),
            "batches": growth.batches(plan["batches"], rounds=3),
            "cores": growth.cores(range(1, joblib.cpu_count() + 1), rounds=3),
            "study": studies.seeds(plan["study"], joblib.cpu_count(), rounds=3),
        }
        found |= trainings.whole(rounds=3)
    return found


def _torch_version():
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def _commit():
    """Of this program, marked where it was edited since; None where it is not a clone with Git at hand."""
    try:
        return processes.run(["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]).strip()
    except (OSError, RuntimeError):
        return None


def main():
    """The command line: see ``python -m benchmarks --help``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure how fast everything is.")
    parser.add_argument("--quick", action="store_true", help="under three minutes; keeps nothing")
    quick = parser.parse_args().quick
    found = measure(QUICK if quick else FULL)
    if not quick:
        speed.record(found, speed.BENCH)
    print(*(table(found) for table in TABLES), sep="\n\n")


if __name__ == "__main__":
    main()
