"""``python -m benchmarks.choose``: what the candidates for the sprints give, of which ``labcode.choice`` takes one.

Each is trained in each precision on all training images but the last 10,000, with several seeds, and tested on those;
the test set is not read. Nothing else should run meanwhile.
"""

import dataclasses

import joblib

from benchmarks import accuracy
from labcode import data, fast, provenance, speed, sprint
from labcode.network import REPORT_CNN, Network
from labcode.sprint import Sprint

HELD_BACK = 10_000  # training images
FIRST_SEED = 100  # those that are measured begin at 0
TWO, THREE = ((24, 5, True), (64, 3, True)), ((24, 5, True), (48, 3, True), (96, 3, False))
OF_THREE = {"warm_up": 0.15, "shift": 2, "dropout": 0.3}


def of_two(batch_size, steps, learning_rate, convolutions=TWO, hidden=128, whitened=True):
    """A candidate for 99.0 %."""
    return Sprint(Network(convolutions, hidden, whitened), batch_size, steps, learning_rate, 0.15, shift=1)


CANDIDATES = {  # by target: how many seeds, and what is tried
    "the report's CNN to 98.55 %": (
        4,
        [
            Sprint(REPORT_CNN, 128, steps, rate)
            for steps, rate in ((450, 0.006), (450, 0.003), (520, 0.006), (390, 0.006), (300, 0.006))
        ],
    ),
    "99.0 %": (
        8,
        [
            of_two(144, 320, 0.016),
            of_two(144, 340, 0.016),
            of_two(144, 290, 0.018),
            of_two(144, 320, 0.014),
            of_two(128, 360, 0.016),
            of_two(144, 320, 0.016, whitened=False),
            of_two(144, 320, 0.016, hidden=64),
            of_two(144, 360, 0.016, convolutions=((16, 5, True), (64, 3, True))),
            of_two(144, 320, 0.016, convolutions=((16, 5, True), (64, 5, True))),
            of_two(144, 310, 0.016, convolutions=((28, 5, True), (64, 3, True))),
            of_two(144, 300, 0.016, convolutions=((32, 5, True), (64, 3, True))),
        ],
    ),
    "99.5 %": (
        3,
        [
            Sprint(Network(THREE, 128), 128, 3200, 0.006, **OF_THREE, test_shift=1),
            Sprint(Network(THREE, 128), 128, 4690, 0.006, **OF_THREE),
            Sprint(Network(THREE, 128), 128, 2800, 0.006, **OF_THREE, test_shift=1),
            Sprint(Network(THREE, 128, whitened=True), 128, 3200, 0.006, **OF_THREE, test_shift=1),
        ],
    ),
}


def main():
    """Try all candidates in turn, seed by seed, and keep what they give in ``results/choice.json``."""
    (images, labels), _ = sprint.as_bytes(data.load("mnist"))
    training_set, held_back = ((images[part], labels[part]) for part in (slice(-HELD_BACK), slice(-HELD_BACK, None)))
    plans = [
        (target, dataclasses.replace(candidate, precision=precision), count)
        for target, (count, candidates) in CANDIDATES.items()
        for candidate in candidates
        for precision in fast.precisions()
    ]
    found = {"made": provenance.here() | {"threads": joblib.cpu_count()}, "held back": HELD_BACK}
    speed.record(found | {"rows": accuracy.in_turn(plans, training_set, held_back, FIRST_SEED)}, speed.CHOICE)


if __name__ == "__main__":
    main()
