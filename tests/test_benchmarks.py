"""What the benchmark measures has the names by which it is told: else a measurement of two hours ends with an error."""

import configparser
import dataclasses
import gc
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

from benchmarks import __main__ as benchmark
from benchmarks import accuracy, builds, choose, parts, steps, timing
from labcode import comparisons, data, models, speed, speed_tables, sprint
from labcode.network import REPORT_CNN
from labcode.quiet import keras


def test_ways_are_called_in_turn_and_the_first_calls_stand_apart():
    called, told = [], iter([9.0, 1.0, 3.0])

    def one():
        called.append("one")
        return next(told)

    results = timing.in_turn({"one": one, "other": lambda: called.append("other")}, rounds=2, title="ways")
    assert called == ["one", "other"] * 3
    assert results["one"] == {"first": 9.0, "seconds": [1.0, 3.0]}, "what a way says that it took"
    assert len(results["other"]["seconds"]) == 2 and 0 < results["other"]["first"] < 9


def test_a_result_is_not_taken_for_seconds():
    assert timing.timed(lambda: np.float64(900)) < 9


def test_no_garbage_is_collected_while_a_way_is_timed():
    collects = []
    timing.timed(lambda: collects.append(gc.isenabled()))
    assert collects == [False] and gc.isenabled()


@pytest.mark.soak
def test_the_changes_to_a_step_are_measured():
    ways = steps.cnn(2).keys()
    assert speed_tables.CHANGES.keys() - {"ours, bfloat16"} <= ways  # that one where the processor has it
    assert steps.flop_of_cnn(2).keys() - {"all pixels"} <= ways


@pytest.mark.soak
def test_the_layouts_of_pytorch_are_two():
    torch, layouts = pytest.importorskip("torch"), {}
    images, labels = steps.some_digits(steps.BATCH)
    for name, train in steps._torch_ways(images, images, labels).items():
        seen = layouts.setdefault(name, set())
        with torch.nn.modules.module.register_module_forward_hook(
            lambda layer, _, output, seen=seen: seen.add(output.is_contiguous())
        ):
            train()
    assert [False in seen for seen in layouts.values()] == [False, True] * 2


def test_the_changes_to_the_network_leave_its_answers():
    images, _ = steps.some_digits(20)
    model, side = models.build_cnn(), REPORT_CNN.seen()
    expected = model(images).numpy()
    for change in (list, steps._relu_after_pooling):
        changed = keras.Sequential([keras.Input((side, side, 1)), *change(model.layers)])
        np.testing.assert_allclose(changed(images[:, :side, :side]), expected, rtol=1e-4, atol=1e-6)


def test_the_pieces_of_the_predictions_are_measured():
    assert parts.pieces(1).keys() == {name for pair in speed_tables.SAVINGS.values() for name in pair}


def test_the_seeds_of_a_sprint_are_run_and_told(monkeypatch):
    monkeypatch.setattr(steps, "PRODUCT_SIDE", 64)
    short, sets = dataclasses.replace(sprint.SPRINTS["99.0 %"], steps=8), sprint.as_bytes(data.load("mnist-5k"))
    (row,) = accuracy.in_turn([("99.0 %", short, 2)], *sets, 100)
    assert row["accuracy"][1] == sprint.run(short, *sets, 101).accuracy != row["accuracy"][0]
    assert f"{100 * np.mean(row['accuracy']):.2f} % on average of 2 seeds" in comparisons.sprint_row(row).measured


@pytest.mark.parametrize("name", benchmark.STEPS)
def test_the_ways_that_are_recorded_are_those_that_are_measured(name):
    kept, measured = speed.recorded(speed.BENCH)["steps"][name]["ways"], benchmark.STEPS[name](2)
    of_here = ("PyTorch", "bfloat16")  # not every machine has them
    kept, measured = ({way for way in ways if not any(word in way for word in of_here)} for ways in (kept, measured))
    assert measured == kept, "others were recorded: run make bench"


@pytest.mark.parametrize("name", benchmark.FLOP)
def test_the_operations_that_are_recorded_are_those_that_are_counted(name):
    kept, counted = speed.recorded(speed.BENCH)["steps"][name], benchmark.FLOP[name](benchmark.FULL["steps"][name])
    assert kept["steps"] == benchmark.FULL["steps"][name]
    assert {way: kept["flop"][way] for way in counted.keys() & kept["flop"].keys()} == {
        way: count for way, count in counted.items() if "bfloat16" not in way or way in kept["flop"]
    }


def test_the_version_of_pytorch_is_told(monkeypatch):
    monkeypatch.setattr(benchmark.metadata, "version", {"torch": "9.9"}.__getitem__)
    assert benchmark._torch_version() == "9.9"


def test_what_the_quick_mode_measures_is_enough_for_its_tables():
    whole, plan = speed.recorded(speed.BENCH), benchmark.QUICK
    found = {key: whole[key] for key in ("made", "sprints", "imports")} | {"quick": True}
    found["steps"] = {name: whole["steps"][name] for name in plan["steps"]}
    assert [table(found) for table in benchmark.TABLES] and plan["rounds"] <= 3


@pytest.mark.soak
def test_executed_the_plain_way_the_chapters_show_what_is_stored(tmp_path):
    plain = builds._plain_copy(tmp_path / "plain", "mnist-5k")
    builds.build(plain, tmp_path / "pages", {})
    executed, stored = tmp_path / "pages" / "_build" / "jupyter_execute" / "book", builds.ROOT / "book"
    names = sorted(path.name for path in stored.glob("*.ipynb"))
    assert len(names) >= 10
    for name in names:
        assert shown(executed / name) == shown(stored / name), name


def shown(path):
    """The text that each cell of a notebook shows, without what moves from machine to machine, as nbval replaces it."""
    config = configparser.RawConfigParser()
    config.read(Path(__file__).with_name("nbval_sanitize.cfg"), "utf-8")
    measured, texts = re.compile(config["measured"]["regex"]), []
    for cell in nbformat.read(path, as_version=4).cells:
        outputs = [output.get("data", {"text": output.get("text", "")}) for output in cell.get("outputs", ())]
        parts = ["".join(data[kind]) for data in outputs for kind in sorted(data) if kind.startswith("text")]
        texts.append(measured.sub("", "".join(parts)))
    return texts


def test_every_sprint_is_measured_and_has_candidates():
    of_target = (benchmark.FULL["seeds"], comparisons.LIMITS, choose.CANDIDATES)
    assert all(each.keys() == sprint.SPRINTS.keys() for each in of_target)
    assert {target for target, *_ in accuracy.planned(benchmark.FULL["seeds"])} == sprint.SPRINTS.keys()
