"""``python -m benchmarks``: measure everything, print the ratios, and keep all in ``results/bench.json``.

``--quick`` takes less of everything, stays under three minutes, prints, and keeps nothing. PyTorch is compared with
where it is installed (``requirements-bench.txt``). Nothing else should run meanwhile. Most of the time goes into
building the report in the plain way on all of MNIST; ``LABCODE_DATASET=mnist-5k`` builds it on the 5,000 digits.
"""

import argparse
import os
import sys
from importlib import metadata

import joblib

from benchmarks import accuracy, builds, growth, parts, steps, studies, timing
from labcode import comparisons, data, provenance, speed, speed_tables

STEPS = {"cnn": steps.cnn, "parts": parts.parts, "pieces": parts.pieces, "fc": steps.fc, "tape": steps.tape}
FULL = {
    "rounds": 9,
    "steps": {"cnn": 40, "parts": 40, "pieces": 40, "fc": 900, "tape": 200},
    "seeds": {"the report's CNN to 98.55 %": 5, "99.0 %": 10, "99.5 %": 5},
    "shorter": 3,
    "builds": (os.environ.get("LABCODE_DATASET") or "mnist", 2),
    "chapters": (7, 70),
    "images": (1_000, 4_000, 16_000, 60_000),
    "batches": (12, 32, 64, 128, 256),
    "study": (1, 10, 100),
}
QUICK = {
    "rounds": 3,
    "steps": {"cnn": 8, "fc": 100, "tape": 20},
    "seeds": {"99.0 %": 2},
}


def measure(plan):
    """All measurements of a plan: a dict for JSON."""
    rounds = plan["rounds"]
    data.fetch("mnist")  # where it cannot be had, the end comes now and not after half of the time
    made = provenance.here() | {"threads": joblib.cpu_count(), "PyTorch": _torch_version()}
    found = {"made": made, "quick": plan is QUICK, "steps": {}}
    for name, count in plan["steps"].items():
        found["steps"][name] = {"steps": count, "ways": timing.in_turn(STEPS[name](count), rounds, name)}
    found["steps"]["cnn"]["flop"] = steps.flop_of_cnn(plan["steps"]["cnn"])
    found["sprints"] = accuracy.sprints(plan["seeds"])
    found["imports"] = builds.imports(rounds)
    if plan is FULL:
        found |= {
            "shorter": accuracy.shorter(plan["shorter"]),
            "lab": accuracy.lab(),
            "builds": builds.report(*plan["builds"]),
            "chapters": builds.chapters(plan["chapters"], rounds=3),
            "images": growth.images(plan["images"], rounds=3),
            "batches": growth.batches(plan["batches"], rounds=3),
            "cores": growth.cores(range(1, joblib.cpu_count() + 1), rounds=3),
            "study": studies.seeds(plan["study"], joblib.cpu_count(), rounds=3),
        }
        if sys.platform == "linux":
            found["memory"] = growth.memory()
    return found


def _torch_version():
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def main():
    """The command line: see ``python -m benchmarks --help``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure how fast everything is.")
    parser.add_argument("--quick", action="store_true", help="under three minutes; keeps nothing")
    quick = parser.parse_args().quick
    found = measure(QUICK if quick else FULL)
    if not quick:
        speed.record(found)
    print(comparisons.table(found), speed_tables.first_calls(found), sep="\n\n")


if __name__ == "__main__":
    main()
