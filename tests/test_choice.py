"""The fast trainings follow from what their candidates gave on the images held back."""

import dataclasses
import json

import numpy as np
import pytest

from benchmarks import choose
from labcode import choice, comparisons, speed, speed_tables
from labcode.network import Network
from labcode.sprint import SPRINTS, Sprint

TARGET = "99.0 %"
SMALL = Sprint(Network(((8, 5, True),), 32, whitened=True), 64, 100, 0.01)


def row(plan, precision="float32", **changes):
    """A row of a candidate with three seeds, which keeps its time; in one of them the machine was slow."""
    plan = json.loads(json.dumps(dataclasses.asdict(dataclasses.replace(plan, precision=precision))))
    measured = {"accuracy": [0.992, 0.993, 0.9925], "seconds": [3.1, 3.0, 9.0], "product_seconds": [1.0, 1.0, 1.0]}
    told = {"target": TARGET, "precision": precision, "plan": plan, "flop": 2e12, "product_flop": 1e12}
    return told | measured | changes


def found(*rows):
    return {"held back": 10_000, "rows": list(rows)}


def test_a_plan_is_read_as_it_was_kept():
    for plan in (SMALL, *SPRINTS.values()):
        assert choice.plan(row(plan, "bfloat16")) == dataclasses.replace(plan, precision="bfloat16")


def test_the_most_accurate_of_those_that_keep_their_time_is_taken():
    poor, good, slow = (dataclasses.replace(SMALL, steps=steps) for steps in (100, 200, 300))
    rows = [row(poor), row(good, accuracy=3 * [0.993]), row(slow, accuracy=3 * [0.999], seconds=[3.0, 4.1, 4.1])]
    assert choice.taken(found(*rows), TARGET) == good
    with pytest.raises(ValueError, match="99.0 %: expected a candidate that keeps its time, found none"):
        choice.taken(found(rows[2]), TARGET)
    others = [dict(rows[0], target=target) for target in comparisons.LIMITS if target != TARGET]
    lines = speed_tables.tried(found(*rows, *others)).splitlines()
    assert [line.strip("| ").split(" | ")[1:] for line in lines if line.startswith(f"| {TARGET}")] == [
        ["steps 100", "3", "99.250 ± 0.029 %", "99.25 % (float32)", "3.1", "1.55", "yes"],
        ["**taken**", "3", "99.300 ± 0.000 %", "99.30 % (float32)", "3.1", "1.55", "yes"],
        ["steps 300", "3", "99.900 ± 0.000 %", "99.90 % (float32)", "4.1", "2.05", "no"],
    ]


def test_what_a_candidate_has_other_than_the_one_taken_is_told():
    network = dataclasses.replace(SMALL.network, whitened=False, convolutions=((8, 5, True), (16, 3, False)))
    other = dataclasses.replace(SMALL, network=network, learning_rate=0.02)
    rows = [row(SMALL), row(SMALL, "bfloat16", accuracy=3 * [0.9935]), row(other)]
    others = [dict(rows[0], target=target) for target in comparisons.LIMITS if target != TARGET]
    lines = speed_tables.tried(found(*rows, *others)).splitlines()
    taken, told = (line.strip("| ").split(" | ")[1:5] for line in lines if line.startswith(f"| {TARGET}"))
    assert taken == ["**taken**", "3", "99.300 ± 0.014 %", "99.25 % (float32), 99.35 % (bfloat16)"], "by seeds' means"
    layers = "convolutions 8 of 5 x 5, pooled; 16 of 3 x 3"
    assert told[0] == f"{layers} / first layer trained / peak learning rate 0.02"


def test_what_is_taken_is_ahead_by_differences_seed_by_seed():
    one, other, slow = (dataclasses.replace(SMALL, steps=steps) for steps in (100, 200, 300))
    better = [0.994, 0.9945, 0.9955]
    rows = [row(one), row(other, accuracy=better), row(slow, accuracy=3 * [0.999], seconds=3 * [4.1])]
    others = [dict(rows[0], target=target) for target in comparisons.LIMITS if target != TARGET]
    differences = [0.2, 0.15, 0.3]
    expected = f"{np.mean(differences):.3f} ± {np.std(differences, ddof=1) / np.sqrt(3):.3f} pp"
    assert speed_tables.margins(found(*rows, *others)).split(", ") == [
        "no other is in time",
        expected,
        "no other is in time",
    ]


def test_accuracy_counts_in_each_precision():
    one, other = SMALL, dataclasses.replace(SMALL, steps=200)
    rows = [row(one), row(one, "bfloat16", accuracy=3 * [0.98]), row(other), row(other, "bfloat16")]
    assert choice.accuracies(choice.candidates(found(*rows), TARGET)[one]).mean() == pytest.approx((0.9925 + 0.98) / 2)
    assert choice.taken(found(*rows), TARGET) == other


@pytest.mark.parametrize(
    ("changes", "keeps"),
    [
        ({"seconds": [3.99, 3.0, 9.9], "product_seconds": [9.0] * 3}, True),
        ({"seconds": [4.0, 3.0, 9.9], "product_seconds": [9.0] * 3}, False),
        ({"seconds": [3.1] * 3, "product_seconds": [0.1, 3.1 / 2 / 1.99, 2]}, True),
        ({"seconds": [3.1] * 3, "product_seconds": [0.1, 3.1 / 2 / 2.01, 2]}, False),
    ],
)
def test_a_candidate_keeps_both_limits_of_time_in_float32(changes, keeps):
    slow = row(SMALL, "bfloat16", seconds=3 * [9.0])
    assert choice.keeps_time(TARGET, {"float32": row(SMALL, **changes), "bfloat16": slow}) == keeps


@pytest.mark.parametrize("target", SPRINTS)
def test_every_training_is_that_which_its_candidates_choose(target):
    kept = speed.recorded(speed.CHOICE)
    assert choice.taken(kept, target) == SPRINTS[target]
    seeds, candidates = choose.CANDIDATES[target]
    of_plan = choice.candidates(kept, target)
    assert list(of_plan) == candidates, "others were tried: python -m benchmarks.choose"
    counts = {len(each["accuracy"]) for rows in of_plan.values() for each in rows.values()}
    assert counts == {seeds} and kept["held back"] == choose.HELD_BACK
