"""What is said of recorded times follows from them."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from labcode import choice, comparisons, plots, speed, speed_tables
from labcode.network import Network
from labcode.sprint import SPRINTS, Result, Sprint


def of_seconds(**ways):
    return {name.replace("_", " "): {"first": 9.0, "seconds": seconds} for name, seconds in ways.items()}


def measurements(**changes):
    """What a run of the benchmark keeps, with round numbers."""
    cnn = {
        "Keras fit": [3.0, 3.0],
        "one function": [2.5, 2.5],
        "pixels that are seen": [2.2, 2.4],
        "ReLU after pooling": [2.1, 2.3],
        "ours, float32": [2.0, 2.0],
        "ours, bfloat16": [1.0, 1.0],
        "batch 128": [0.8, 0.9],
    }
    cnn |= {"PyTorch": [4.0, 3.0], "PyTorch, channels last": [3.2, 3.6]}
    cnn |= dict.fromkeys(speed.PYTORCH_SEEN, [2.5, 2.5])
    cnn |= {"matrix product, float32": [1.5, 1.5], "matrix product, bfloat16": [0.9, 0.9]}
    flop = {f"{way}, {each}": 1e12 for way in speed.RATES for each in ("float32", "bfloat16")} | {"all pixels": 3e12}
    tape = {"Keras fit": [1.5, 1.5], "the lab's loop, from Python": [3.0, 4.0], "ours, float32": [1.0, 1.0]}
    tape["the lab's loop, compiled"] = [1.25, 1.25]
    pieces = {"ReLU of all values": [0.5, 0.5], "ReLU after pooling": [0.1, 0.1]}
    pieces |= {"bias of all values": [0.6, 0.6], "bias after pooling": [0.3, 0.3]}
    pieces |= {"Adam by Keras": [0.9, 0.9], "Adam, an operation for each array": [0.4, 0.4]}
    operations = {
        "matrix product, float32": [1.0, 1.0],
        "conv 1, forward": [0.5, 1.0],
        "pooling 1 and ReLU": [0.2, 0.2],
    }
    steps = {
        "convolutions": {
            "steps": 10,
            "ways": of_seconds(**operations),
            "flop": {"matrix product, float32": 1e12, "conv 1, forward": 4e11},
        },
        "pieces": {"steps": 20, "ways": of_seconds(**pieces)},
        "cnn": {"steps": 10, "ways": of_seconds(**cnn), "flop": flop},
        "fc": {"steps": 100, "ways": of_seconds(**{"Keras fit": [1.0, 1.0], "ours, float32": [0.25, 0.25]})},
        "tape": {"steps": 10, "ways": of_seconds(**tape)},
    }
    sprint = {
        "target": "99.0 %",
        "precision": "float32",
        "flop": 2e12,
        "accuracy": 5 * [0.991, 0.99],
        "seconds": 5 * [3.0, 3.5],
        "preparing": 5 * [0.4, 0.6],
        "product_flop": 1e12,
        "product_seconds": 5 * [1.5, 1.2],
    }
    return {
        "quick": False,
        "steps": steps,
        "sprints": [sprint],
        "imports": of_seconds(**{"nothing": [0.02, 0.03], "import labcode": [0.03, 0.05]}),
        "builds": {
            "dataset": "mnist",
            "ways": of_seconds(
                **{
                    "ours": [50.0, 50.0, 60.0],
                    "the plain way": [300.0, 310.0, 300.0],
                    "nothing changed": [2.0, 2.5, 1.55, 2.0, 2.0, 2.0],
                }
            ),
        },
        "chapters": {
            "7": of_seconds(**{"one changed": [3.0], "nothing changed": [1.0, 1.0]}),
            "70": of_seconds(**{"one changed": [5.0], "nothing changed": [1.63, 2.26]}),
        },
        "cores": {"images": 3840, "ways": of_seconds(**{"1": [4.0, 4.2], "2": [2.2, 2.2]})},
        "study": {"jobs": 2, "ways": of_seconds(**{"1": [5.0], "100": [105.0]})},
        "memory": {"the lab's plain script": [2e9, 2e9], "the book's training": [2.4e9, 2.5e9], "ours": [3.0e9, 3.4e9]},
        **changes,
    }


def test_a_ratio_is_taken_round_by_round():
    ways = of_seconds(slow=[2.0, 9.0, 10.0], quick=[1.0, 3.0, 1.0])
    assert speed.ratio(ways, "slow", "quick") == (3.0, 2.0, 10.0)


def test_of_several_ways_each_round_s_shortest_counts():
    ways = of_seconds(one=[4.0, 2.0], other=[2.0, 6.0], quick=[1.0, 1.0])
    assert speed.ratio(ways, ["one", "other", "missing"], "quick") == (2.0, 2.0, 2.0)


def test_the_share_of_the_possible_rate():
    cnn = measurements()["steps"]["cnn"]
    assert speed.peak_share(cnn, "float32") == pytest.approx([0.75, 0.75])
    assert speed.rate(cnn, "ours, bfloat16") == pytest.approx([1e12, 1e12])


def rows_of(found):
    return {(row.what, row.against): (row.measured, row.reached) for row in comparisons.rows(found)}


def test_each_comparison_says_what_was_measured_and_whether_it_was_reached():
    rows = rows_of(measurements())
    assert rows[CNN, PYTORCH] == ("1.55 times (1.50 to 1.60)", True)
    assert rows[CNN, PYTORCH_SEEN] == ("1.25 times (1.25 to 1.25)", None)
    products = "the rate of float32 matrix products"
    assert rows["CNN, batch 64, float32, counting all pixels", products] == ("225 % (225 to 225 %)", True)
    assert rows["CNN, batch 64, float32, counting what it computes", products] == ("75 % (75 to 75 %)", True)
    assert rows["CNN, batch 64, float32", "Keras fit"] == ("1.50 times (1.50 to 1.50)", None)
    assert rows["FC, batch 64", "Keras fit"] == ("4.00 times (4.00 to 4.00)", True)
    ours, chapter = (f"GradientTape loop, batch 12, {whose}" for whose in ("the fast way", "chapter 6"))
    assert rows[ours, "Keras fit"] == ("1.50 times (1.50 to 1.50)", True)
    assert rows[ours, "the lab's loop from Python"] == ("3.50 times (3.00 to 4.00)", True)
    assert rows[chapter, "Keras fit"] == ("1.20 times (1.20 to 1.20)", False)
    assert rows[SPRINT] == (
        "99.05 % on average of 10 seeds, in 3.2 s (3.0 to 3.5), 1.23 times the least (1.00 to 1.46), "
        "after 0.5 s of preparation",
        True,
    )
    assert rows["`import labcode`", "Python alone"] == ("15 ms more (10 to 20)", True)
    plainly = "executed the plain way"
    assert rows["the report on mnist, ours", plainly] == (
        "6.0 times (5.0 to 6.2; 50.0 s, 50.0 to 60.0, for 300.0 s, 300.0 to 310.0)",
        True,
    )
    assert rows["the report on mnist, nothing changed", plainly] == (
        "150.0 times (120.0 to 200.0; 2.0 s, 1.6 to 2.5, for 300.0 s, 300.0 to 310.0)",
        True,
    )
    assert rows["a further unchanged chapter", "a book of 7 chapters"] == ("15 ms (10 to 20)", True)
    assert rows["peak of memory, the book's training", "the lab's plain script"][1]
    memory = rows["peak of memory, the fast way, the report's CNN", "the lab's plain script"]
    assert memory == ("1.60 times (1.50 to 1.70; 3.20 GB for 2.00 GB)", False)


CNN, PRODUCTS = "CNN, batch 64, float32", "the rate of float32 matrix products"
PYTORCH, PYTORCH_SEEN = (f"PyTorch, {pixels}, its better layout" for pixels in ("all pixels", "the pixels seen"))
LOOP, EAGER, PLAINLY = "GradientTape loop, batch 12, ", "the lab's loop from Python", "executed the plain way"
SPRINT = ("99.0 %, float32", comparisons.LIMITS["99.0 %"].others)
WAYS = {each: f"steps/{each}/ways/" for each in ("cnn", "fc", "tape")}
AT_LEAST = [  # the row, what is to be reached, a measurement, and what it is where that is just reached
    ((CNN, PYTORCH), 1.5, WAYS["cnn"] + "PyTorch/seconds", lambda x: 2 * x),
    ((f"{CNN}, counting all pixels", PRODUCTS), 75, WAYS["cnn"] + "matrix product, float32/seconds", lambda x: x / 150),
    ((f"{CNN}, counting what it computes", PRODUCTS), 75, WAYS["cnn"] + "ours, float32/seconds", lambda x: 150 / x),
    (("FC, batch 64", "Keras fit"), 3, WAYS["fc"] + "Keras fit/seconds", lambda x: x / 4),
    ((f"{LOOP}the fast way", "Keras fit"), 1.4, WAYS["tape"] + "Keras fit/seconds", lambda x: x),
    ((f"{LOOP}the fast way", EAGER), 3.5, WAYS["tape"] + "ours, float32/seconds", lambda x: 3.5 / x),
    ((f"{LOOP}chapter 6", "Keras fit"), 1.4, WAYS["tape"] + "Keras fit/seconds", lambda x: 1.25 * x),
    ((f"{LOOP}chapter 6", EAGER), 3.5, WAYS["tape"] + "the lab's loop, from Python/seconds", lambda x: 1.25 * x),
    (SPRINT, 99.0, "sprints/0/accuracy", lambda x: x / 100),
    (("the report on mnist, ours", PLAINLY), 3, "builds/ways/ours/seconds", lambda x: 300 / x),
    (("the report on mnist, nothing changed", PLAINLY), 100, "builds/ways/nothing changed/seconds", lambda x: 300 / x),
]
AT_MOST = [
    (SPRINT, 4, "sprints/0/seconds", lambda x: x),
    (SPRINT, 2, "sprints/0/product_seconds", lambda x: 3.25 / x / 2),
    (("`import labcode`", "Python alone"), 50, "imports/import labcode/seconds", lambda x: 0.025 + x / 1000),
    (
        ("a further unchanged chapter", "a book of 7 chapters"),
        20,
        "chapters/70/nothing changed/seconds",
        lambda x: 1 + 63e-3 * x,
    ),
    (
        ("peak of memory, the book's training", "the lab's plain script"),
        1.5,
        "memory/the book's training",
        lambda x: 2e9 * x,
    ),
]


def put(found, path, value):
    """Put a value at this place of nested dicts and lists; where a list stands there, for each of its values."""
    *above, last = (int(key) if key == "0" else key for key in path.split("/"))
    for key in above:
        found = found[key]
    found[last] = [value] * len(found[last]) if isinstance(found[last], list) else value


@pytest.mark.parametrize(
    ("row", "limit", "path", "measured", "good"),
    [(*each, 1) for each in AT_LEAST] + [(*each, -1) for each in AT_MOST],
)
def test_what_is_to_be_reached_is_told_and_decides(row, limit, path, measured, good):
    for side in (1, -1):
        found = measurements()
        put(found, path, measured(limit * (1 + side / 1000)))
        (told,) = (each for each in comparisons.rows(found) if (each.what, each.against) == row)
        assert told.reached == (side == good) and f"{limit} " in told.reach, told


@pytest.mark.parametrize(
    ("target", "accuracy", "seconds", "seeds"),
    [("the report's CNN to 98.55 %", 98.55, 25, 5), ("99.0 %", 99.0, 4, 10), ("99.5 %", 99.5, 60, 5)],
)
def test_each_accuracy_has_its_limits(target, accuracy, seconds, seeds):
    def reached(change, count=seeds):
        (row,) = measurements()["sprints"]
        exact = {
            "accuracy": accuracy / 100 + 1e-6,
            "seconds": seconds - 0.01,
            "preparing": 1,
            "product_seconds": seconds,
        }
        values = {name: [value] * count for name, value in (exact | change).items()}
        told = comparisons.sprint_row(row | {"target": target} | values)
        missed.append(told.missed)
        return told.reached

    missed = []
    assert reached({}) and reached({}, seeds - 1) is None and reached({"seconds": seconds}, seeds - 1) is None
    assert missed == ["", "", ""]
    assert not reached({"accuracy": accuracy / 100 - 1e-6}) and not reached({"seconds": seconds})
    assert missed[3:] == [f"at least {accuracy} % on average of {seeds} seeds", f"below {seconds} s"]


def test_microseconds_of_an_image_in_each_round():
    row = {"images": 10, "ways": of_seconds(one=[1.0, 2.0, 9.0])}
    assert speed.microseconds(row, "one") == pytest.approx([1e5, 2e5, 9e5])


def test_what_was_measured_on_less_than_is_asked_is_not_judged():
    (sprint,) = measurements()["sprints"]
    few = {key: sprint[key][:9] for key in ("accuracy", "seconds", "preparing", "product_seconds")}
    small = measurements(sprints=[sprint | few])
    small["builds"]["dataset"] = "mnist-5k"
    del small["memory"]
    rows = rows_of(small)
    assert rows[SPRINT][1] is None
    assert rows["the report on mnist-5k, ours", "executed the plain way"][1] is None
    assert not any("memory" in what for what, _ in rows)


def test_the_table_says_which_of_several_conditions_was_missed():
    found = measurements()
    (sprint,) = found["sprints"]
    sprint["seconds"] = [3.9] * 10
    lines = comparisons.table(found).splitlines()
    (told,) = (line.split(" | ") for line in lines if line.startswith(f"| {SPRINT[0]} |"))
    assert told[1] == "yes", told
    sprint["product_seconds"] = [0.9] * 10
    lines = comparisons.table(found).splitlines()
    (told,) = (line.split(" | ") for line in lines if line.startswith(f"| {SPRINT[0]} |"))
    assert told[1] == "no: below 2 times the least" and "below 4 s" in told[3], told
    assert any(line.startswith("| GradientTape loop, batch 12, chapter 6 | no | 1.20 times") for line in lines), lines


def test_where_pytorch_is_missing_the_row_says_so():
    found = measurements()
    for name in speed.PYTORCH + speed.PYTORCH_SEEN:
        del found["steps"]["cnn"]["ways"][name]
    rows = rows_of(found)
    for against in (PYTORCH, PYTORCH_SEEN):
        assert rows[CNN, against] == ("not installed", None)


def test_the_quick_mode_has_no_builds():
    assert not any("report on" in what for what, _ in rows_of(measurements(quick=True)))


def test_the_changes_are_predicted_from_other_measurements():
    lines = speed_tables.changes(measurements()).splitlines()
    predicted, measured = ([line.split("|")[column].strip() for line in lines[2:]] for column in (2, 3))
    assert lines[2].endswith("| – | 300.0 | 300.0 to 300.0 | – | 213 |")
    assert lines[4].endswith("| 83.3 | 230.0 | 220.0 to 240.0 | 1.09 (1.04 to 1.14) | 278 |")
    assert lines[6].split(" | ")[4] == "1.10 (1.05 to 1.15)", "over that before it, not over the first"
    assert measured == ["300.0", "250.0", "230.0", "220.0", "200.0", "100.0", "85.0"]
    assert predicted == [
        "–",
        "292.5",  # less what fit takes for a step of FC
        "83.3",  # as the operations
        "210.0",  # less ReLU of the values that pooling leaves out
        "180.0",  # less their bias, and Keras's Adam instead of ours
        "120.0",  # times the ratio of the matrix products
        "90.0",  # less every second update
    ]


def test_without_bfloat16_the_last_change_follows_from_float32():
    found = measurements()
    for name in ("ours, bfloat16", "matrix product, bfloat16"):
        del found["steps"]["cnn"]["ways"][name]
    assert speed_tables.changes(found).splitlines()[-1].split("|")[2].strip() == "190.0"


def test_the_first_call_is_told_by_what_it_takes_more():
    rows = speed_tables.first_calls(measurements()).splitlines()[2:]
    assert rows[0] == "| CNN, batch 64 | 6.0 | 6.5 | 7.0 | 5.5 |"
    assert rows[1] == "| FC, batch 64 | 8.0 | – | 8.8 | – |"
    assert rows[2] == "| CNN, batch 12 | 7.5 | 7.8 | 8.0 | – |"


def test_each_operation_is_held_against_matrix_products():
    lines = speed_tables.operations(measurements()).splitlines()[2:]
    assert lines == [
        "| conv 1, forward | 75.00 | 50.00 to 100.00 | 60 % |",
        "| pooling 1 and ReLU | 20.00 | 20.00 to 20.00 | – |",
    ]


def test_costs_name_all_that_was_measured():
    costs = speed_tables.costs(measurements())
    assert "| rebuild of a book of which one chapter changed | 7 chapters: 3.0 s; 70 chapters: 5.0 s |" in costs
    assert "| rebuild of a book of which nothing changed | 7 chapters: 1.0 s" in costs
    assert "| 7 chapters: 1.0 s, 1.0 to 1.0; 70 chapters: 1.9 s, 1.6 to 2.3 |" in costs
    assert "| 1 thread: 4.1 s, 4.0 to 4.2; 2 threads: 2.2 s, 2.2 to 2.2 |" in costs
    assert "| a study of FC on mnist-5k, 2 at a time | 1 seed: 5.0 s; 100 seeds: 105.0 s |" in costs


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.9, 0.98, 0.986, 0.99], "first passes 98.55 % after 3 epochs. It takes 6.0 times as many images"),
        ([0.986, 0.98, 0.986, 0.99], "first passes 98.55 % after 1 epoch. It takes 2.0 times as many images"),
        ([0.9, 0.91, 0.92, 0.98549], "in its 4 epochs, does not reach 98.55 %."),
    ],
)
def test_fit_is_compared_at_the_accuracy_of_the_fast_way(accuracies, expected):
    (sprint,) = measurements()["sprints"]
    target = "the report's CNN to 98.55 %"
    curve = {
        "val_accuracy": 3 * [accuracies],
        "seconds": [[4.0, 5.0, 7.0, 70.0], [4.0, 5.0, 6.0, 9.0], [4.0, 1.0, 2.0, 80.0]],
    }
    found = measurements(
        lab={"cnn": curve}, shorter=[], sprints=[sprint | {"target": target, "seconds": [2.0, 2.5, 3]}]
    )
    said = speed_tables.beside_fit(found, target, 30_000, "float32")
    assert expected in said
    slower = {3: (4 + 5 + 6) / 2.5 / 6, 1: 4 / 2.5 / 2}
    assert "not" in said or any(
        f"{epochs} epoch" in said and f" {slower[epochs]:.1f} times" in said for epochs in slower
    )


def test_fit_is_told_by_all_its_epochs_and_seeds():
    accuracies = [[0.99, 0.985], [0.98, 0.984], [0.97, 0.989]]
    curve = {"val_accuracy": accuracies, "seconds": [[4.0, 6.0], [3.0, 4.0], [6.0, 6.0]]}
    assert speed_tables.by_fit({"lab": {"cnn": curve}}) == "10 s (7 to 12) to 98.50 % (98.40 to 98.90 %)"


@pytest.mark.parametrize(("accuracy", "lies"), [(0.9900, "in"), (0.9870, "OUTSIDE"), (0.9940, "OUTSIDE")])
def test_one_more_training_is_held_against_the_recorded_ones(accuracy, lies):
    (sprint,) = measurements()["sprints"]
    found = measurements(sprints=[sprint, sprint | {"precision": "bfloat16", "accuracy": [0.5, 0.99]}])
    sprint["accuracy"][0] = 0.9  # of the seed that is trained once more, and not held against itself
    lines = speed_tables.once_more(found, "99.0 %", 0, Result(accuracy, np.zeros(1), 3.21, 0.42)).splitlines()
    assert lines[0].endswith(f"≈ {100 * accuracy:.2f} % in ≈ 3.2 s, after ≈ 0.4 s of preparation")
    values = sprint["accuracy"][1:]
    reach = stats.t.ppf(0.9995, 8) * np.std(values, ddof=1) * np.sqrt(1 + 1 / 9)
    low, high = 100 * (np.mean(values) - reach), 100 * (np.mean(values) + reach)
    assert 98.70 < low < 98.77 and lines[1].startswith(f"its accuracy lies {lies} {low:.2f} to {high:.2f} %")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, "PyTorch 2.0, commit 0123456"), ({"PyTorch": None, "commit": None}, "PyTorch not installed, commit unknown")],
)
def test_where_it_was_measured(changes, expected):
    made = {"processor": "a processor", "threads": 2, "date": "2026-11-30T10:00", "versions": {"TensorFlow": "2.20"}}
    made |= {"PyTorch": "2.0", "commit": "0123456789"} | changes
    assert speed_tables.where({"made": made}) == f"a processor, 2 threads, 2026-11-30, TensorFlow 2.20, {expected}"


def test_the_best_of_each_network_is_that_of_its_whole_trainings():
    (sprint,) = measurements()["sprints"]
    half = {"target": "99.0 %", "precision": "float32", "steps": 9, "seconds": [1.0], "accuracy": [0.97]}
    other = sprint | {"precision": "bfloat16", "accuracy": [0.9], "seconds": [2.0]}
    found = measurements(shorter=[half], sprints=[other, sprint, sprint | {"target": "99.5 %", "accuracy": [0.995]}])
    assert speed_tables.best(found, "float32") == [
        "99.05 % in 3.2 s (a small CNN of two convolutions)",
        "99.50 % in 3.2 s (a small CNN of three convolutions)",
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([2.5, 2.5], "takes 1.25 times (1.25 to 1.25) as long, longer in every round."),
        ([1.5, 2.5], "takes 1.00 times (0.75 to 1.25) as long, in some rounds longer, in some not."),
        ([1.8, 1.6], "takes 0.85 times (0.80 to 0.90) as long, in no round longer."),
    ],
)
def test_on_the_same_pixels_every_round_says_who_is_faster(seconds, expected):
    found = measurements()
    ways = found["steps"]["cnn"]["ways"]
    ways["ours, float32"]["seconds"] = [2.0, 2.0]
    for name in speed.PYTORCH_SEEN:
        ways[name]["seconds"] = seconds
    assert speed_tables.beside_pytorch(found) == f"On the same pixels PyTorch {expected}"
    for name in speed.PYTORCH_SEEN:
        del ways[name]
    assert "not installed" in speed_tables.beside_pytorch(found)


def test_slow_rounds_are_counted_by_their_matrix_products():
    found = measurements()
    found["steps"]["cnn"]["ways"]["matrix product, float32"]["seconds"] = [
        1.0,
        1.1,
        1.0,
        1.31,
        1.29,
        2.0,
        1.0,
        1.0,
        1.0,
    ]
    assert speed_tables.slow_rounds(found).startswith("In 2 of 9 rounds of the CNN matrix products took over 1.3 times")
    assert "the machine was slow there" in speed_tables.slow_rounds(found)
    assert speed_tables.slow_rounds(measurements()).startswith("In none of 2 rounds")
    assert "slow" not in speed_tables.slow_rounds(measurements())


def test_what_bfloat16_adds_is_told_of_every_target_that_has_both():
    (sprint,) = measurements()["sprints"]
    rough = sprint | {"precision": "bfloat16", "accuracy": 5 * [0.992, 0.9911]}
    said = speed_tables.in_bfloat16(measurements(sprints=[rough, sprint, rough | {"target": "99.5 %"}]))
    interval = stats.ttest_rel(rough["accuracy"], sprint["accuracy"]).confidence_interval()
    interval = f"+{100 * interval.low:.2f} to +{100 * interval.high:.2f}"
    assert said == f"+0.11 pp (95 % interval {interval}) for a small CNN of two convolutions"
    assert "not measured" in speed_tables.in_bfloat16(measurements())


def test_plans_say_all_that_decides_a_training():
    network = Network(((8, 5, True), (16, 3, False)), 32, whitened=True)
    plan = Sprint(network, 64, 1200, 0.01, 0.3, shift=2, dropout=0.25, test_shift=1)
    rows = [line.strip("| ").split(" | ") for line in speed_tables.plans({"97 %": plan}).splitlines()]
    head, line, *rows = rows
    assert head == ["target", "97 %"] and line == ["---|---"]
    layers, numbers = "8 of 5 x 5, pooled; 16 of 3 x 3", ["32", "64", "1,200", "0.01", "30 % of steps"]
    assert [value for _, value in rows] == [layers, "whitened, not trained", *numbers, "2 px", "25 %", "9"]
    learned = dataclasses.replace(plan, network=dataclasses.replace(network, whitened=False))
    assert "| first layer | trained |" in speed_tables.plans({"97 %": learned})


def test_what_is_recorded_can_be_read_and_has_every_comparison():
    found = speed.recorded(speed.BENCH)
    assert not found["quick"] and found["builds"]["dataset"] == "mnist", "the whole report is asked for"
    assert found["made"]["PyTorch"] and not found["made"]["commit"].endswith("-dirty")
    assert found["made"].keys() >= {"date", "processor", "versions", "threads", "PyTorch"}
    sprints = {(each["target"], each["precision"]) for each in found["sprints"]}
    of_sprints = {(f"{target}, {precision}", comparisons.LIMITS[target].others) for target, precision in sprints}
    alike = measurements(**{key: found[key] for key in ("builds", "memory") if key in found})
    if "memory" not in found:  # which is measured on Linux
        del alike["memory"]
    assert rows_of(found).keys() == rows_of(alike).keys() | of_sprints  # those have one sprint, in float32
    targets = [each["target"] for each in found["sprints"] if each["precision"] == found["sprints"][0]["precision"]]
    assert targets == list(comparisons.LIMITS) == list(speed.SPRINT_NAMES)
    for sprint in found["sprints"]:
        plan = dataclasses.replace(SPRINTS[sprint["target"]], precision=sprint["precision"])
        assert choice.plan(sprint) == plan and sprint["flop"] == plan.flop(10_000), "other plans now: run make bench"
        assert len(sprint["seconds"]) == len(sprint["accuracy"]) >= (10 if sprint["target"] == "99.0 %" else 5)
    fastest, shares = found["sprints"][0]["precision"], (1 / 16, 1 / 8, 1 / 4, 1 / 2)
    assert [choice.plan(row) for row in found["shorter"]] == [
        dataclasses.replace(plan, precision=fastest, steps=round(share * plan.steps))
        for plan in SPRINTS.values()
        for share in shares
    ]


@pytest.mark.parametrize("target", comparisons.LIMITS)
def test_both_precisions_reach_the_same_accuracy(target):
    of = {
        each["precision"]: each["accuracy"]
        for each in speed.recorded(speed.BENCH)["sprints"]
        if each["target"] == target
    }
    if len(of) == 1:
        pytest.skip(f"recorded in {next(iter(of))} alone")
    differences = stats.ttest_rel(of["bfloat16"], of["float32"]).confidence_interval()  # seed by seed, 95 %
    assert -0.002 < differences.low < differences.high < 0.002


def test_trainings_of_each_length_stand_in_order_and_in_one_precision():
    part = {"target": "99.0 %", "precision": "float32", "steps": 9, "seconds": [1.0, 2.0], "accuracy": [0.97, 0.96]}
    (whole,) = measurements()["sprints"]
    found = measurements(shorter=[part], sprints=[whole | {"precision": "bfloat16"}, whole])
    expected = [([1.0, 2.0], [0.97, 0.96]), (whole["seconds"], whole["accuracy"])]
    assert speed.lengths(found, "float32") == {"99.0 %": expected}


def test_figures_of_speed_draw_what_they_are_given():
    figure, axes = plots.panels(4)
    plots.rates(axes[0], ["a", "b"], [1.0, 2.0], [3.0, 4.0])
    assert [bar.get_width() for bar in axes[0].patches] == [3, 4, 1, 2]
    plots.growth(axes[1], [(plots.OURS, [1, 10], [[3.0, 1.0, 2.0], [4.0, 4.0, 5.0]])], "x", "y")
    assert axes[1].lines[0].get_ydata().tolist() == [2, 4] and axes[1].get_xscale() == axes[1].get_yscale() == "log"
    ranges = [segment.tolist() for segment in axes[1].collections[0].get_segments()]
    assert ranges == [[[1, 1], [1, 3]], [[10, 4], [10, 5]]]
    curve = (plots.FC, [1.0, 2.0], [0.9, 0.95])
    lengths = [([0.5], [0.9]), ([3.0, 5.0], [0.98, 0.99])]
    plots.seconds_to_accuracy(axes[2], [curve], [("small", "o", lengths)])
    line, ours, *points = axes[2].lines
    assert line.get_xdata().tolist() == [1, 3] and line.get_ydata().tolist() == [90, 95]
    assert ours.get_xdata().tolist() == [0.5, 4] and ours.get_ydata().tolist() == pytest.approx([90, 98.5])
    assert [each.get_ydata().tolist() for each in points] == [[90], [98, 99]]
    plots.waterfall(axes[3], ["a", "b"], np.array([1.0, 2.0]), "ms")
    assert [(bar.get_x(), bar.get_width()) for bar in axes[3].patches] == [(0, 1), (1, 2)]
    plots.plt.close(figure)
