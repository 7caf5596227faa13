"""What the benchmark times is the work that it tells: images, steps and products are counted, clocks are exchanged."""

import contextlib
import dataclasses
import functools
import math
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import joblib
import nbformat
import numpy as np
import psutil
import pytest
import yaml

from benchmarks import __main__ as benchmark
from benchmarks import (
    accuracy,
    books,
    builds,
    choose,
    convolutions,
    growth,
    parts,
    processes,
    steps,
    studies,
    timing,
    trainings,
)
from labcode import comparisons, data, fast, models, network, records, speed, sprint, study, training, whitening
from labcode.network import FC, REPORT_CNN
from labcode.quiet import keras, tf

BATCH = steps.BATCH
WITHOUT = fast.WithoutBlackPixels
SMALL = 160  # images of each part of a data set that takes the place of another


@pytest.fixture
def eager():
    """TensorFlow's functions run as Python code, whose calls can be counted."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def losses(eager, monkeypatch):
    """Of each step's loss that is taken: how many images, and the mean."""
    taken, loss = [], tf.nn.sparse_softmax_cross_entropy_with_logits

    def counted(labels, logits):
        each = loss(labels=labels, logits=logits)
        taken.append((len(labels), float(tf.reduce_mean(each))))
        return each

    monkeypatch.setattr(tf.nn, "sparse_softmax_cross_entropy_with_logits", counted)
    with contextlib.suppress(ImportError):
        import torch

        cross_entropy = torch.nn.functional.cross_entropy

        def counted_by_torch(answers, labels, **options):
            mean = cross_entropy(answers, labels, **options)
            taken.append((len(labels), float(mean.detach())))
            return mean

        monkeypatch.setattr(torch.nn.functional, "cross_entropy", counted_by_torch)
    return taken


@pytest.mark.parametrize(("compare", "batch"), [(steps.cnn, BATCH), (steps.fc, BATCH), (steps.tape, 12)])
def test_every_way_trains_on_every_image_at_each_call(compare, batch, losses):
    count = 2
    for name, way in compare(count).items():
        if name.startswith("matrix product"):
            continue
        first, again = [], []
        for call in (first, again):
            losses.clear()
            way()
            call.extend(losses)
        epochs = 5 if name == "Keras fit" else 1  # in a call after its first
        sizes = [128] if name == "batch 128" else [batch] * count
        assert [size for size, _ in first] == sizes, name
        assert [size for size, _ in again] == epochs * sizes, name
        assert first[0][1] != again[0][1], f"{name}: its weights do not change"


def test_images_are_taken_in_their_order():
    np.testing.assert_array_equal(steps.in_order(np.zeros(6), 2), [[0, 1], [2, 3], [4, 5]])


@pytest.mark.parametrize(
    ("compare", "net", "optimizer"), [("cnn", REPORT_CNN, "adam"), ("fc", FC, "sgd"), ("tape", REPORT_CNN, "sgd")]
)
def test_ways_that_are_compared_train_one_network_by_one_optimizer(compare, net, optimizer, monkeypatch):
    ran, optimizers, step = [], [], steps.loop.make_train_step
    monkeypatch.setattr(fast, "precisions", lambda: ("float32", "bfloat16"))
    monkeypatch.setattr(steps, "matrix_product", lambda precision: precision)
    monkeypatch.setattr(steps, "ours", lambda *given: given)
    monkeypatch.setattr(steps, "keras_fit", lambda *given: ran.append(given[0]) or optimizers.append(given[1]))
    monkeypatch.setattr(steps.loop, "make_train_step", lambda *given: optimizers.append(given[2]) or step(*given))
    ways = getattr(steps, compare)(2)
    assert ran == ["fc" if net == FC else "cnn"]
    assert {type(each).__name__.lower() for each in optimizers} == {optimizer}
    for name in (name for name in ways if name.startswith("ours") or name == "batch 128"):
        network_of, optimizer_of, images, _, batch, *precision = ways[name]
        assert (network_of, optimizer_of.__name__) == (net, optimizer)
        assert (precision or ["float32"]) == [name.removeprefix("ours, ").replace("batch 128", "bfloat16")]
        assert len(images) == 2 * (12 if compare == "tape" else BATCH) and len(images) % batch == 0
    assert all(name == f"matrix product, {ways[name]}" for name in ways if name.startswith("matrix"))


def test_the_fast_way_s_steps_are_one_function_on_what_is_seen(monkeypatch):
    eagerly, logits, sides, conv, lit = [], fast.logits, set(), tf.nn.conv2d, []
    monkeypatch.setattr(fast, "logits", lambda *given: eagerly.append(tf.executing_eagerly()) or logits(*given))
    monkeypatch.setattr(tf.nn, "conv2d", lambda images, *given: sides.add(images.shape[1]) or conv(images, *given))
    images, labels = steps.some_digits(8)
    steps.ours(REPORT_CNN, fast.adam, images, labels, 4)()
    assert eagerly and not any(eagerly) and sides == {22, 10, 4}
    sides.clear()
    fast.make_predict(REPORT_CNN, fast.initial_weights(REPORT_CNN, 0))(fast.as_bytes(images))
    assert sides == {22, 10, 4}, "in the test too"
    monkeypatch.setattr(fast, "WithoutBlackPixels", lambda *given: lit.append(WITHOUT(*given)) or lit[0])
    steps.ours(FC, fast.sgd, images, labels, 4)()
    (fewer,) = lit
    assert fewer.kernel.shape[0] == np.count_nonzero(images.any(axis=0)) < 784


def test_ours_is_in_float32_where_nothing_else_is_said(monkeypatch):
    precisions, logits = [], fast.logits
    monkeypatch.setattr(fast, "logits", lambda *given: precisions.append(given[3]) or logits(*given))
    steps.ours(FC, fast.sgd, *steps.some_digits(8), 4)()
    assert set(precisions) == {"float32"}


def test_pytorch_has_the_same_network_all_cores_and_its_quickest_adam(monkeypatch):
    torch, made = pytest.importorskip("torch"), []

    class Adam(torch.optim.Adam):
        def __init__(self, parameters, **options):
            parameters = list(parameters)
            made.append((sum(each.numel() for each in parameters), options))
            super().__init__(parameters, **options)

    monkeypatch.setattr(torch.optim, "Adam", Adam)
    images, labels = steps.some_digits(BATCH)
    assert len(steps._torch_ways(images, images, labels)) == len(made) == 4
    assert made == [(models.build_cnn().count_params(), {"fused": True})] * 4
    assert torch.get_num_threads() == joblib.cpu_count()


@pytest.mark.parametrize("name", ["PyTorch", "PyTorch on the pixels seen"])
def test_a_step_of_pytorch_is_that_of_keras(name, monkeypatch):
    torch, steps_taken = pytest.importorskip("torch"), []
    images, labels = steps.some_digits(2 * BATCH)
    seen = images[:, : REPORT_CNN.seen(), : REPORT_CNN.seen()]

    class Adam(torch.optim.Adam):
        def step(self):
            (weights,) = (group["params"] for group in self.param_groups)
            steps_taken.append([(each.detach().numpy().copy(), each.grad.numpy().copy()) for each in weights])
            super().step()

    monkeypatch.setattr(torch.optim, "Adam", Adam)
    torch.manual_seed(0)
    train, taken_in = steps._torch_ways(images, seen, labels)[name], set()
    with torch.nn.modules.module.register_module_forward_hook(lambda _, given, __: taken_in.add(given[0].shape[-1])):
        train()
    shown = seen if name in speed.PYTORCH_SEEN else images
    assert max(taken_in - {256}) == shown.shape[1]
    for number, taken in enumerate(steps_taken):
        weights, gradients = zip(*taken, strict=True)
        model = keras.Sequential([keras.Input(shown.shape[1:]), *models.build_cnn().layers])
        model.set_weights([as_keras_has_it(each) for each in weights])
        batch = slice(BATCH * number, BATCH * (number + 1))
        with tf.GradientTape() as tape:
            answers = model(shown[batch])
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels[batch], answers))
        for of_keras, of_torch in zip(tape.gradient(loss, model.weights), gradients, strict=True):
            differ = np.abs(of_keras - as_keras_has_it(of_torch)).max()
            assert differ < 1e-3 * np.abs(of_keras).max()
    assert len(steps_taken) == 2


def as_keras_has_it(array):
    """PyTorch's weights of a convolution or a layer, (out, in, ...), as Keras orders them."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def test_each_change_to_the_cnn_is_made_after_those_before_it(monkeypatch):
    changed = {}

    def one_function(layers, images, labels):
        kinds = [type(layer).__name__ for layer in layers]
        changed[len(changed)] = images.shape[1], kinds[1] == "MaxPooling2D" and kinds[2] == "ReLU"

    monkeypatch.setattr(steps, "_one_function", one_function)
    steps.cnn(2)
    assert list(changed.values()) == [(28, False), (22, False), (22, True)]


@pytest.mark.parametrize(("tested_at", "seconds"), [(3.0, 2.0), (None, 4.0)])
def test_an_epoch_ends_where_its_test_begins(tested_at, seconds, monkeypatch):
    now, clock = [1.0], steps.EpochClock()
    monkeypatch.setattr(steps, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    clock.on_epoch_begin(0)
    if tested_at:
        now[0] = tested_at
        clock.on_test_begin()
    now[0] = 5.0
    clock.on_epoch_end(0)
    assert clock.seconds == [seconds]


def test_the_lab_s_loop_runs_from_python_and_chapter_6_s_does_not(monkeypatch):
    eagerly, loss = [], keras.losses.sparse_categorical_crossentropy
    noting = lambda *given: eagerly.append(tf.executing_eagerly()) or loss(*given)  # noqa: E731
    monkeypatch.setattr(keras.losses, "sparse_categorical_crossentropy", noting)
    ways = steps.tape(2)
    for name, expected in (("the lab's loop, from Python", True), ("the lab's loop, compiled", False)):
        eagerly.clear()
        ways[name]()
        assert set(eagerly) == {expected}, name


def test_of_keras_fit_the_shortest_epoch_after_the_first_counts(monkeypatch):
    optimizer = keras.optimizers.SGD(0.1)
    train = steps.keras_fit("fc", optimizer, *steps.some_digits(3 * BATCH), BATCH)
    traced, loss = [], tf.nn.sparse_softmax_cross_entropy_with_logits
    monkeypatch.setattr(
        tf.nn, "sparse_softmax_cross_entropy_with_logits", lambda **given: traced.append(1) or loss(**given)
    )
    squared = SimpleNamespace(perf_counter=lambda: float(optimizer.iterations.numpy()) ** 2)  # each epoch takes longer
    monkeypatch.setattr(steps, "time", squared)
    assert train() is None and optimizer.iterations.numpy() == 3, "the first call is timed as a whole"
    assert train() == 9**2 - 6**2 and optimizer.iterations.numpy() == 3 + 5 * 3
    assert 1 <= len(traced) <= 3, "compiled, as Keras does by itself"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_matrix_product_takes_the_operations_that_are_counted(precision, eager, monkeypatch):
    done, multiply = [], tf.matmul
    monkeypatch.setattr(steps, "PRODUCT_SIDE", 64)

    def counted(one, other):
        done.append(2 * math.prod(one.shape) * other.shape[1])
        assert one.dtype == other.dtype == precision
        return multiply(one, other)

    monkeypatch.setattr(tf, "matmul", counted)
    steps.matrix_product(precision)()
    assert sum(done) * (2048 // 64) ** 3 == steps.PRODUCT_FLOP


def test_the_steps_are_compared_by_the_operations_of_their_images():
    flop = steps.flop_of_cnn(3)
    assert flop["ours, float32"] == REPORT_CNN.training_flop(22) * 3 * BATCH
    assert flop["all pixels"] == REPORT_CNN.training_flop(28) * 3 * BATCH
    assert flop["matrix product, float32"] == steps.PRODUCT_FLOP


def test_the_seconds_of_a_sprint_are_those_of_its_steps_and_its_test(eager, monkeypatch):
    clock, logits, kernel = [0.0], fast.logits, whitening.kernel

    def answered(net, weights, images, *settings):
        clock[0] += len(images)
        return logits(net, weights, images, *settings)

    def whitened(*arguments):
        clock[0] += 1000
        return kernel(*arguments)

    order = sprint.Sprint.order

    def ordered(*arguments):
        clock[0] += 10_000
        return order(*arguments)

    monkeypatch.setattr(fast, "logits", answered)
    monkeypatch.setattr(whitening, "kernel", whitened)
    monkeypatch.setattr(sprint.Sprint, "order", ordered)
    monkeypatch.setattr(sprint, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    plan = sprint.Sprint(network.Network(((8, 5, True),), 16, whitened=True), 32, 3, 0.01, test_shift=1)
    (images, labels), (test_images, test_labels) = sprint.as_bytes(data.load("mnist-5k"))
    result = sprint.run(plan, (images, labels), (test_images[:50], test_labels[:50]))
    assert result.seconds == 10_000 + 1000 + 3 * 32 + 9 * 50
    assert result.preparing == 9, "one image is predicted before"


def test_a_sprint_computes_all_in_its_precision(monkeypatch):
    precisions, logits = [], fast.logits

    def answered(net, weights, images, precision="float32", *settings):
        precisions.append(precision)
        return logits(net, weights, images, precision, *settings)

    monkeypatch.setattr(fast, "logits", answered)
    sets = [(images[:40], labels[:40]) for images, labels in sprint.as_bytes(data.load("mnist-5k"))]
    sprint.run(sprint.Sprint(FC, 8, 2, 0.01, precision="bfloat16"), *sets)
    assert len(precisions) >= 2 and set(precisions) == {"bfloat16"}, "in its steps and in its test"


@pytest.fixture
def loaded(monkeypatch):
    """The data sets that are asked for by name; whichever it is, a small part of mnist-5k takes its place."""
    names, whole = [], data.load("mnist-5k")
    few = {
        field: getattr(whole, field)[:SMALL] for field in ("train_images", "train_labels", "test_images", "test_labels")
    }
    small = dataclasses.replace(whole, **few, digest="0" * 64)
    monkeypatch.setattr(data, "load", lambda name: names.append(name) or small)
    return names


@pytest.fixture
def here(monkeypatch):
    """What is to be called in a process of its own is called in this one, where what it calls can be exchanged."""

    def call(function, *arguments, env):
        monkeypatch.setenv("LABCODE_CACHE", env["LABCODE_CACHE"])
        return function(*arguments)

    monkeypatch.setattr(processes, "call", call)


@pytest.fixture
def ran(monkeypatch):
    """The sprints that are run; each gives the same, a bit slower than the one before, and products take a second."""
    given = []

    def run(*arguments):
        given.append(arguments)
        return sprint.Result(0.9, np.zeros(1), 3.0 + len(given), 0.5)

    monkeypatch.setattr(fast, "precisions", lambda: ("float32", "bfloat16"))
    monkeypatch.setattr(sprint, "run", run)
    monkeypatch.setattr(steps, "matrix_product", lambda precision: lambda: 1.0)
    monkeypatch.setattr(timing, "timed", lambda way: way())  # without its collection of garbage, hundreds of times
    return given


def test_sprints_are_run_on_mnist_with_seeds_from_0_in_each_precision(loaded, ran):
    rows = accuracy.sprints({"99.0 %": 3, "99.5 %": 2})
    assert loaded == ["mnist"]
    small, turn = data.load("mnist"), [("99.0 %", 3), ("99.5 %", 2)]
    expected = [
        (dataclasses.replace(sprint.SPRINTS[target], precision=precision), seed)
        for seed in range(3)
        for precision in ("bfloat16", "float32")
        for target, count in turn
        if seed < count
    ]
    assert [(plan, seed) for plan, _, _, seed in ran] == expected, "seed by seed, all in turn"
    for _, (images, labels), (test_images, test_labels), _ in ran:
        assert len(images) == len(test_images) == SMALL
        np.testing.assert_array_equal(labels, small.train_labels)
        np.testing.assert_array_equal(test_labels, small.test_labels)
    assert [(row["target"], row["precision"]) for row in rows] == [
        (target, precision) for precision in ("bfloat16", "float32") for target, _ in turn
    ]
    assert [row["seconds"] for row in rows] == [[4, 8, 12], [5, 9], [6, 10, 13], [7, 11]]


def test_shorter_trainings_take_a_share_of_the_steps_and_are_tested_on_the_test_images(loaded, ran):
    rows = accuracy.shorter(2)
    whole = sprint.SPRINTS.items()
    shares = [(target, round(share * plan.steps)) for target, plan in whole for share in (1 / 16, 1 / 8, 1 / 4, 1 / 2)]
    assert [(row["target"], row["plan"]["steps"]) for row in rows] == shares and loaded == ["mnist"]
    assert [(plan.steps, seed) for plan, *_, seed in ran] == [(count, seed) for seed in (0, 1) for _, count in shares]
    small = data.load("mnist")
    for plan, (_, labels), (_, test_labels), _ in ran:
        assert plan.precision == "bfloat16"
        np.testing.assert_array_equal(labels, small.train_labels)
        np.testing.assert_array_equal(test_labels, small.test_labels)


def test_a_row_of_seeds_says_what_each_run_gave_and_what_products_took_meanwhile(monkeypatch):
    results = [sprint.Result(0.9, np.zeros(1), 3.0, 0.5), sprint.Result(0.8, np.zeros(1), 4.0, 0.25)]
    given, asked, times = iter(results), [], iter([99.0, 1.0, 7.0, 2.0, 3.0, 5.0, 4.0])
    monkeypatch.setattr(sprint, "run", lambda *_: next(given))
    monkeypatch.setattr(steps, "matrix_product", lambda precision: asked.append(precision) or (lambda: next(times)))
    plan = dataclasses.replace(sprint.SPRINTS["99.0 %"], precision="bfloat16")
    rows = accuracy.in_turn([("99.0 %", plan, 2)], ([], []), (np.zeros(70), np.zeros(70)))
    assert asked == ["bfloat16"] and rows == [
        {
            "target": "99.0 %",
            "precision": "bfloat16",
            "plan": dataclasses.asdict(plan),
            "flop": plan.flop(70),
            "product_flop": steps.PRODUCT_FLOP,
            "product_seconds": [2.0, 4.0],  # the median of three after each; the first of all is not counted
            "accuracy": [0.9, 0.8],
            "seconds": [3.0, 4.0],
            "preparing": [0.5, 0.25],
        }
    ]


def test_candidates_are_compared_on_training_images_that_are_held_back(loaded, ran, monkeypatch):
    kept = []
    monkeypatch.setattr(speed, "record", lambda *given: kept.append(given))
    monkeypatch.setattr(choose, "HELD_BACK", 100)
    choose.main()
    (images, labels), _ = sprint.as_bytes(data.load("mnist"))
    for _, training_set, held_back, seed in ran:
        for whole, trained, tested in zip((images, labels), training_set, held_back, strict=True):
            np.testing.assert_array_equal(np.concatenate([trained, tested]), whole)
            assert len(tested) == 100
        assert seed >= max(benchmark.FULL["seeds"].values())
    tried = {(plan.precision, dataclasses.replace(plan, precision="float32")) for plan, *_ in ran}
    candidates = {plan for _, plans in choose.CANDIDATES.values() for plan in plans}
    assert tried == {(precision, plan) for precision in ("float32", "bfloat16") for plan in candidates}
    ((found, path),) = kept
    assert loaded == ["mnist", "mnist"] and path == speed.CHOICE and found["held back"] == 100
    assert sum(len(row["seconds"]) for row in found["rows"]) == len(ran)
    assert found.keys() == speed.recorded(speed.CHOICE).keys()


def test_builds_are_timed_in_turn_and_from_nothing(monkeypatch):
    clock, order = [0.0], []

    def build(source, output, env):
        store, plainly = env.get("LABCODE_CACHE"), source != builds.ROOT
        made = [output, *([source / "stores"] if plainly else [Path(store)])]
        anew = not any(path.exists() for path in made)
        order.append(("plain" if plainly else env["LABCODE_DATASET"], anew))
        assert Path(env["MNIST_DIR"]).is_absolute() and ("LABCODE_CACHE" in env) != plainly
        for path in made:
            path.mkdir(exist_ok=True)
        clock[0] += 50 if plainly else 5 if anew else 0.5

    monkeypatch.setattr(builds, "build", build)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    report = builds.report("mnist", 2)
    assert order == [("mnist", True), ("mnist", False), ("plain", True), ("mnist", False)] * 2
    assert report["dataset"] == "mnist"
    seconds = {name: way["seconds"] for name, way in report["ways"].items()}
    assert seconds == {"ours": [5.0] * 2, "the plain way": [50.0] * 2, "nothing changed": [0.5] * 4}


def test_the_plain_way_has_the_same_chapters_and_none_of_our_extensions(tmp_path):
    plain = builds._plain_copy(tmp_path, "mnist-5k")
    names = {path.name for path in (builds.ROOT / "book").glob("*.ipynb")}
    assert {path.name for path in (plain / "book").glob("*.ipynb")} == names
    assert (plain / "_toc.yml").read_text("utf-8") == (builds.ROOT / "_toc.yml").read_text("utf-8")
    config = yaml.safe_load((plain / "_config.yml").read_text("utf-8"))
    assert config["execute"] == {"execute_notebooks": "force", "timeout": 3600, "raise_on_error": True}
    assert not any("extensions" in key for key in config["sphinx"]) and "papermill" not in str(config)
    for name in names:
        text = (plain / "book" / name).read_text("utf-8")
        added = f"\ndataset = 'mnist-5k'\nimport os\nos.environ['LABCODE_CACHE'] = '{plain}/stores/{Path(name).stem}'"
        source = nbformat.read(builds.ROOT / "book" / name, as_version=4)
        cells = nbformat.reads(text, as_version=4).cells
        first = next(place for place, cell in enumerate(cells) if cell.cell_type == "code")
        source.cells[first].source += added
        assert [cell.source for cell in cells] == [cell.source for cell in source.cells], "each trains what it needs"


def test_a_build_is_one_command_with_the_environment_that_is_given(monkeypatch):
    ran = []
    monkeypatch.setattr(processes, "run", lambda *given: ran.append(given))
    builds.build("source", "output", {"LABCODE_DATASET": "mnist"})
    (((command, *words), env),) = ran
    assert command.name == "jupyter-book" and env == {"LABCODE_DATASET": "mnist"}
    assert words == ["build", "source", "--path-output", "output"]


def test_cost_by_images_and_batch_size_is_of_whole_epochs(losses):
    counts = {}
    for count, batch in ((128, 64), (60, 12)):
        losses.clear()
        growth._epoch(count, batch)()
        counts[count] = [size for size, _ in losses]
    assert counts == {128: [64] * 2, 60: [12] * 5}


def test_growth_is_of_the_report_s_cnn_by_adam_on_as_many_images(monkeypatch):
    asked = []
    monkeypatch.setattr(steps, "ours", lambda *given: asked.append(given))
    growth._epoch(120, 12)
    ((net, optimizer, images, labels, batch),) = asked
    assert (net, optimizer, batch) == (REPORT_CNN, fast.adam, 12) and len(images) == len(labels) == 120


def test_one_epoch_is_timed_after_a_first(monkeypatch):
    called, told = [], iter([9.0, 2.0])
    monkeypatch.setattr(growth, "_epoch", lambda *arguments: called.append(arguments) or (lambda: next(told)))
    assert growth.one_epoch() == 2.0 and called == [(growth.IMAGES, BATCH)]


def test_images_and_batches_are_rounded_to_whole_steps(monkeypatch):
    asked = []
    monkeypatch.setattr(growth, "_epoch", lambda *arguments: asked.append(arguments) or (lambda: 1.0))
    fits = []
    monkeypatch.setattr(steps, "keras_fit", lambda *given: fits.append(given) or (lambda: 2.0))
    assert growth.images((1000,), rounds=2) == {"960": {"first": 1.0, "seconds": [1.0, 1.0]}}
    found = growth.batches((12, 64), rounds=1)
    assert asked == [(960, 64), (growth.IMAGES, 12), (growth.IMAGES, 64)] and found["images"] == growth.IMAGES
    assert [(name, optimizer, len(images), size) for name, optimizer, images, _, size in fits] == [
        ("cnn", "adam", growth.IMAGES, size) for size in (12, 64)
    ]
    assert {name: way["seconds"] for name, way in found["ways"].items()} == {
        "ours, 12": [1.0],
        "Keras fit, 12": [2.0],
        "ours, 64": [1.0],
        "Keras fit, 64": [2.0],
    }


def test_threads_are_those_of_a_process(monkeypatch):
    def call(function, env):
        assert function is growth.one_epoch and env["TF_NUM_INTRAOP_THREADS"] == env["TF_NUM_INTEROP_THREADS"]
        return float(env["TF_NUM_INTRAOP_THREADS"])

    monkeypatch.setattr(processes, "call", call)
    ways = growth.cores((1, 2), rounds=1)["ways"]
    assert {threads: way["seconds"] for threads, way in ways.items()} == {"1": [1.0], "2": [2.0]}


def test_whole_trainings_are_those_of_the_lab_the_book_and_the_fast_way(loaded, losses, monkeypatch):
    done, target = [], "the report's CNN to 98.55 %"
    monkeypatch.setitem(sprint.SPRINTS, target, dataclasses.replace(sprint.SPRINTS[target], steps=7))

    def call(function, *arguments, env):
        monkeypatch.setenv("LABCODE_CACHE", env["LABCODE_CACHE"])  # in which nothing is trained already
        losses.clear()
        told = function(*arguments)
        done.append((function.__name__, *arguments, sum(size for size, _ in losses), told))
        return told

    monkeypatch.setattr(processes, "call", call)
    found = trainings.whole(2)
    turn = [[("by_script", "fc"), ("by_script", "cnn"), ("by_fast_way", seed), ("by_book", seed)] for seed in (0, 1)]
    assert [tuple(names) for *names, _, _ in done] == [*turn[0], *turn[1]]
    assert loaded == ["mnist"] * 8
    for *names, trained, _ in done:
        exact = {"by_script": 5 * 2 * SMALL, "by_fast_way": 7 * 128}.get(names[0])
        assert trained == exact if exact else trained >= 5 * SMALL, (names, trained)
    fc, cnn, fast_way, book = ([told for *_, told in done[way::4]] for way in range(4))
    for recipe, told in (("fc", fc), ("cnn", cnn)):
        for name in ("seconds", "val_accuracy"):
            assert found["lab"][recipe][name] == [each[name] for each in told]
            assert all(len(epochs) == 5 and min(epochs) > 0 for epochs in found["lab"][recipe][name])
        assert len(set(map(tuple, found["lab"][recipe]["val_accuracy"]))) == 2, "each is another training"
    assert found["fast"] == {name: [each[name] for each in fast_way] for name in ("seconds", "accuracy")}
    assert min(found["fast"]["seconds"]) > 0
    if sys.platform == "linux":
        assert list(found["memory"].values()) == [[each["peak"] for each in cnn], book, [e["peak"] for e in fast_way]]
        assert all(2**27 < peak < 2**36 for peaks in found["memory"].values() for peak in peaks)


@pytest.mark.parametrize("name", ["fc", "cnn"])
def test_the_lab_s_script_trains_by_its_recipe_on_all_images(name, loaded, monkeypatch):
    done, recipe, builder = [], training.RECIPES[name], models.BUILDERS[name]

    def build():
        model = builder()
        fit = model.fit
        model.fit = lambda *given, **options: done.append((model, given, options)) or fit(*given, **options)
        return model

    monkeypatch.setattr(models, "BUILDERS", {name: build})
    told, small = trainings.by_script(name), data.load("mnist")
    ((model, (images, labels), options),) = done
    assert type(model.optimizer).__name__.lower() == recipe.optimizer and model.loss == training.LOSS
    assert float(model.optimizer.learning_rate) == pytest.approx(recipe.learning_rate)
    assert (options["batch_size"], options["epochs"]) == (recipe.batch_size, recipe.epochs) == (64, 5)
    assert images.dtype == np.float32, "as the script has them in memory"
    given = {"train_images": images, "train_labels": labels}
    given |= dict(zip(("test_images", "test_labels"), options["validation_data"], strict=True))
    for field, values in given.items():
        np.testing.assert_array_equal(values, getattr(small, field))
    assert told["val_accuracy"][-1] == pytest.approx(model.evaluate(small.test_images, small.test_labels, verbose=0)[1])


def test_the_report_s_cnn_is_trained_as_the_book_and_as_the_fast_way_do(loaded, monkeypatch):
    def run(plan, *_):
        asked.append((plan.network, _[-1]))
        return sprint.Result(accuracy=0.9, losses=np.zeros(3, np.float32), seconds=2.0, preparing=1.0)

    asked = []
    monkeypatch.setattr(training, "train", lambda recipe, _, seed: asked.append((recipe, seed)))
    monkeypatch.setattr(sprint, "run", run)
    trainings.by_book(3)
    told = trainings.by_fast_way(4)
    assert (told["seconds"], told["accuracy"]) == (2.0, 0.9)
    assert asked == [(training.RECIPES["cnn"], 3), (REPORT_CNN, 4)] and loaded == ["mnist"] * 2


def test_the_lab_s_script_sets_no_seed_under_which_keras_would_repeat_one_order(loaded, monkeypatch):
    monkeypatch.setattr(keras.utils, "set_random_seed", lambda seed: pytest.fail("the script sets none"))
    monkeypatch.setattr(tf.random, "set_seed", lambda seed: pytest.fail("the script sets none"))
    trainings.by_script("fc")


def peak_beside_memory():
    """The peak of this process as ``trainings`` tells it, and what it has, in bytes, with an array and without it."""
    array = np.ones(50_000_000)
    held = trainings._peak(), psutil.Process().memory_info().rss
    del array
    return [*held, trainings._peak(), psutil.Process().memory_info().rss]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_the_peak_of_memory_is_in_bytes_and_stays_when_the_memory_is_given_back():
    env = {"PYTHONPATH": str(Path(__file__).parent)}
    peak, held, peak_after, held_after = processes.call(peak_beside_memory, env=env)
    assert peak == pytest.approx(held, rel=0.01) and peak_after == pytest.approx(peak, rel=0.01)
    assert held_after < peak - 300e6


def test_digits_are_mnist_s_where_it_is_at_hand(loaded, monkeypatch):
    monkeypatch.setattr(data, "at_hand", lambda name: name == "mnist")
    images, labels = steps.some_digits(SMALL + 40)
    assert loaded == ["mnist"] and len(images) == len(labels) == SMALL + 40
    np.testing.assert_array_equal(images[SMALL:], images[:40])


def test_a_study_runs_so_many_seeds_and_records_elsewhere(monkeypatch, here):
    ran, stores = [], {os.environ["LABCODE_CACHE"]}
    monkeypatch.setattr(records, "RESULTS", records.RESULTS)

    def run(names, dataset, count, jobs):
        ran.append((names, dataset, count, jobs))
        assert str(records.RESULTS) == os.environ["LABCODE_CACHE"] and not list(records.RESULTS.iterdir())
        stores.add(os.environ["LABCODE_CACHE"])
        return {}

    monkeypatch.setattr(study, "run", run)
    found = studies.seeds((1, 3), 2, rounds=1)
    assert ran == [(["fc"], "mnist-5k", count, 2) for count in (1, 3)] * 2
    assert len(stores) == 1 + len(ran), "each time an empty one"
    assert found["jobs"] == 2 and found["ways"].keys() == {"1", "3"}


def test_a_study_that_fails_is_not_timed(monkeypatch):
    monkeypatch.setattr(records, "RESULTS", records.RESULTS)
    monkeypatch.setattr(study, "run", lambda *_, **__: {("fc", 0): "no"})
    with pytest.raises(RuntimeError, match="a study of 1 seeds.*no"):
        studies.run(1, 2)


def test_a_function_is_called_in_a_process_of_its_own_with_its_environment():
    env = {"LABCODE_NOTE": "kept", "PYTHONPATH": str(Path(__file__).parent)}
    *told, process = processes.call(noted, 3, ["x"], env=env)
    assert told == [[3, ["x"]], "kept"] and process != os.getpid()


def noted(*arguments):
    """Called by name in another process."""
    return arguments, os.environ.get("LABCODE_NOTE"), os.getpid()


def test_of_a_book_one_chapter_changes_or_none(monkeypatch):
    built = []

    def build(source, output, env):
        chapters = {path.name: nbformat.read(path, as_version=4).cells for path in source.glob("*.ipynb")}
        built.append(
            {name: [each.source for each in cells if each.cell_type == "code"] for name, cells in chapters.items()}
        )

    monkeypatch.setattr(builds, "build", build)
    found = books.rebuilds((2, 3), rounds=1)
    assert {count: list(ways) for count, ways in found.items()} == dict.fromkeys(
        (2, 3), ["one changed", "nothing changed"]
    )
    of_three = [chapters for chapters in built if len(chapters) == 3]
    changed = [
        sum(one[name] != other[name] for name in one) for one, other in zip(of_three, of_three[1:], strict=False)
    ]
    assert len(built) == 2 + 2 * 4 and changed == [1, 0, 1, 0], "built once, then each way twice"


def test_the_chapters_of_a_book_are_as_long_as_the_report_s(tmp_path):
    cells = nbformat.read(books._book_of(tmp_path, 3), as_version=4).cells
    texts, codes = ([each.source for each in cells if each.cell_type == kind] for kind in ("markdown", "code"))
    shown = sum("plots.show" in source for source in codes)
    measured = {}
    for path in (books.ROOT / "book").glob("[0-9]*.ipynb"):
        of = nbformat.read(path, as_version=4).cells
        of = [[each.source for each in of if each.cell_type == kind] for kind in ("markdown", "code")]
        measured[path.stem] = *map(len, of), sum(map(len, of[0])), sum("plots.show" in source for source in of[1])
    usual = np.median(list(measured.values()), axis=0)
    assert len(measured) == 10 and [len(texts), len(codes), shown] == pytest.approx(usual[[0, 1, 3]], abs=0.5)
    assert sum(map(len, texts)) == pytest.approx(usual[2], rel=0.25)
    assert len(list(tmp_path.glob("chapter_*.ipynb"))) == 3


@pytest.mark.parametrize("edited", [True, False])
def test_the_commit_says_whether_the_program_was_edited(edited, tmp_path, monkeypatch):
    def git(*words):
        return processes.run(["git", "-c", "user.name=a", "-c", "user.email=a", *words])

    monkeypatch.setattr(processes, "ROOT", tmp_path)
    assert benchmark._commit() is None, "no clone"
    git("init")
    (tmp_path / "program").write_text("1")
    git("add", "program")
    git("commit", "-m", "Begin")
    (tmp_path / "program").write_text("2" if edited else "1")
    assert benchmark._commit() == git("rev-parse", "HEAD").strip() + "-dirty" * edited


def test_an_import_is_timed_beside_python_alone(monkeypatch):
    ran = []
    monkeypatch.setattr(processes, "python", ran.append)
    assert builds.imports(rounds=1).keys() == {"nothing", "import labcode"} and ran == ["pass", "import labcode"] * 2


def test_a_step_is_broken_off_later_and_later(losses, monkeypatch):
    taken, gradient, options = [], tf.GradientTape.gradient, []
    monkeypatch.setattr(tf.GradientTape, "gradient", lambda *given: taken.append(1) or gradient(*given))
    monkeypatch.setattr(tf.autograph.experimental, "set_loop_options", lambda **given: options.append(given))
    monkeypatch.setattr(parts, "matrix_product", lambda precision: lambda: precision)
    summed, reduce_sum, answered, logits, updates = [], tf.reduce_sum, [], fast.logits, []
    monkeypatch.setattr(tf, "reduce_sum", lambda values: summed.append(tf.size(values).numpy()) or reduce_sum(values))
    monkeypatch.setattr(fast, "logits", lambda *given: answered.append(given[3:]) or logits(*given))
    update = fast.adam
    monkeypatch.setattr(fast, "adam", lambda weights: updates.append(len(weights)) or update(weights))
    done, ways, flop = {}, parts.parts(1), parts.flop(1)
    assert ways.pop(speed.PRODUCT)() == "float32" and flop.pop(speed.PRODUCT) == steps.PRODUCT_FLOP
    assert list(flop) == ["and the answers", "and the gradients"]
    assert flop["and the answers"] == 2 * sum(REPORT_CNN.multiply_adds(22)) * BATCH
    assert sum(flop.values()) == REPORT_CNN.training_flop(22) * BATCH
    for name, way in ways.items():
        for noted in (losses, taken, summed, answered):
            noted.clear()
        way()
        done[name] = (len(losses), len(taken))
        assert all(not given or given[0] == "float32" for given in answered), "precision"
        if name == "and the gradients":
            assert sum(summed) == models.build_cnn().count_params(), "none is left out"
    names = ["taking the batch", "and the answers", "and the gradients", "and the update"]
    assert done == dict(zip(names, [(0, 0), (1, 0), (1, 1), (1, 1)], strict=True))
    assert options == [{"parallel_iterations": 1}] * 3, "one after the other, as ours"
    assert updates == [10], "by Adam"


def test_parts_are_repeated_in_one_function():
    eagerly = []
    parts.repeated(lambda step: eagerly.append(tf.executing_eagerly()) or 0.0, 3)()
    assert eagerly and not any(eagerly)


def test_each_convolution_takes_the_operations_that_are_counted(eager, monkeypatch):
    done, calls = [], {(tf.nn, "conv2d"): tf.nn.conv2d}
    calls |= {
        (tf.raw_ops, f"Conv2DBackprop{of}"): getattr(tf.raw_ops, f"Conv2DBackprop{of}") for of in ("Filter", "Input")
    }

    def counted(call, images=None, weights=None, **given):
        result = call(*(each for each in (images, weights) if each is not None), **given)
        kernel = given.get("filter_sizes", given.get("filter", weights))
        kernel = getattr(kernel, "shape", kernel)
        maps = given.get("out_backprop", result)
        done.append((call.__name__.lower(), 2 * math.prod(kernel) * math.prod(maps.shape[:3])))
        return result

    for (module, name), call in calls.items():
        monkeypatch.setattr(module, name, functools.partial(counted, call))
    monkeypatch.setattr(steps, "matrix_product", lambda precision: lambda: precision)
    flop, names = convolutions.flop(2), {"forward": "conv2d", "weights": "filter", "input": "input"}
    ways = convolutions.convolutions(2)
    assert len(flop) == 1 + 3 + 3 + 2 and len(ways) == len(flop) + 3 and flop.keys() < ways.keys()
    assert flop.pop(speed.PRODUCT) == steps.PRODUCT_FLOP and ways[speed.PRODUCT]() == "float32"
    for name, count in flop.items():
        done.clear()
        ways[name]()
        assert [each for _, each in done] == [count / 2] * 2, name
        assert all(names[name.split()[-1]] in call for call, _ in done), name


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_pooling_is_timed_with_its_relu_and_both_their_gradients(number, eager, monkeypatch):
    pooled, gradients, pool, gradient = [], [], tf.nn.max_pool2d, tf.GradientTape.gradient
    monkeypatch.setattr(tf.nn, "max_pool2d", lambda maps, *given: pooled.append(maps.shape) or pool(maps, *given))

    def of_maps(tape, target, source):
        gradients.append((bool(tf.reduce_all(target >= 0)), source.shape))
        return gradient(tape, target, source)

    monkeypatch.setattr(tf.GradientTape, "gradient", of_maps)
    convolutions.convolutions(1)[f"pooling {number} and ReLU"]()
    expected = [(BATCH, 20, 20, 64), (BATCH, 8, 8, 128), (BATCH, 2, 2, 256)][number - 1]
    assert pooled == [expected] and gradients == [(True, expected)]


@pytest.mark.parametrize("fewer", [1, 4])
def test_pieces_are_timed_on_as_many_values_as_they_say(fewer, eager):
    sizes = []
    parts._around(lambda maps, _: sizes.append(math.prod(maps.shape)) or tf.identity(maps), fewer)(0)
    assert sizes == [BATCH * count // fewer for count in (20 * 20 * 64, 8 * 8 * 128, 2 * 2 * 256)]


def test_pieces_are_relu_bias_and_adam_on_all_values_or_after_pooling(monkeypatch):
    sizes, gradients, updates = [], [], []
    relu, bias_add, gradient = tf.nn.relu, tf.nn.bias_add, tf.GradientTape.gradient

    def counted(operation):
        return lambda maps, *rest: sizes.append(math.prod(maps.shape)) or operation(maps, *rest)

    def to_all(tape, target, sources, *given, **options):
        gradients.append(len(sources))
        return gradient(tape, target, sources, *given, **options)

    monkeypatch.setattr(tf.nn, "relu", counted(relu))
    monkeypatch.setattr(tf.nn, "bias_add", counted(bias_add))
    monkeypatch.setattr(tf.GradientTape, "gradient", to_all)
    for module, name in ((keras.optimizers.Adam, "apply_gradients"), (tf.raw_ops, "ResourceApplyAdam")):
        call = getattr(module, name)
        noting = lambda *given, call=call, name=name, **options: updates.append(name) or call(*given, **options)  # noqa: E731
        monkeypatch.setattr(module, name, noting)
    done = {}
    for name, way in parts.pieces(1).items():
        for noted in (sizes, gradients, updates):
            noted.clear()
        way()
        done[name] = (sum(sizes), list(gradients), list(updates))
    every = BATCH * (20 * 20 * 64 + 8 * 8 * 128 + 2 * 2 * 256)
    both = [2, 2, 2]  # of each convolution's maps and biases
    assert done == {
        "ReLU of all values": (every, both, []),
        "ReLU after pooling": (every / 4, both, []),
        "bias of all values": (every, both, []),
        "bias after pooling": (every / 4, both, []),
        "Adam by Keras": (0, [], ["apply_gradients"]),
        "Adam, an operation for each array": (0, [], ["ResourceApplyAdam"] * 10),
    }


def test_a_whole_run_measures_everything_that_is_recorded(monkeypatch):
    asked = {}

    def note(name):
        def measured(*given, **options):
            asked[name] = (*given, *options.values())
            return {}

        return measured

    def in_turn(ways, *given):
        turns.append((ways, *given))
        return {}

    turns = []
    monkeypatch.setattr(data, "fetch", note("fetch"))
    monkeypatch.setattr(timing, "in_turn", in_turn)
    measuring = {
        accuracy: ("sprints", "shorter"),
        books: ("rebuilds",),
        builds: ("report", "imports"),
        growth: ("images", "batches", "cores"),
        studies: ("seeds",),
    }
    for module, names in measuring.items():
        for name in names:
            monkeypatch.setattr(module, name, note(name))
    monkeypatch.setattr(
        trainings, "whole", lambda rounds: dict.fromkeys(("lab", "fast", "memory"), {}) if rounds >= 3 else {}
    )
    counted = {name: lambda count, name=name: (name, count) for name in benchmark.STEPS}
    monkeypatch.setattr(benchmark, "STEPS", counted)
    found = benchmark.measure(benchmark.FULL)
    assert turns == [((name, count), 9, name) for name, count in benchmark.FULL["steps"].items()]
    assert {name: row["steps"] for name, row in found["steps"].items()} == benchmark.FULL["steps"]
    for name, flop in (("cnn", steps.flop_of_cnn), ("parts", parts.flop), ("convolutions", convolutions.flop)):
        assert found["steps"][name]["flop"] == flop(40)
    kept = speed.recorded(speed.BENCH)
    assert found.keys() | {"memory"} == kept.keys() | {"memory", "fast"}  # on Linux alone; not in the record yet
    assert found["steps"].keys() == kept["steps"].keys() and found["made"].keys() == kept["made"].keys()
    assert asked["fetch"] == ("mnist",) and asked["rebuilds"] == ((7, 70), 5)
    assert asked["report"] == ("mnist", 2) and asked["imports"] == (9,) and asked["shorter"] == (3,)
    assert asked["seeds"] == ((1, 10, 100), joblib.cpu_count(), 3) and asked["batches"][1] == 3
    assert asked["sprints"] == ({target: limit.seeds for target, limit in comparisons.LIMITS.items()},)
    assert asked["cores"] == (range(1, joblib.cpu_count() + 1), 3)
    assert asked["images"][0][0] == 1_000 and asked["images"][0][-1] == 60_000 and asked["images"][1] == 3


@pytest.mark.parametrize("quick", [True, False])
def test_the_quick_mode_takes_its_own_plan_and_keeps_nothing(quick, monkeypatch):
    whole, kept, plans = speed.recorded(speed.BENCH), [], []
    monkeypatch.setattr(sys, "argv", ["benchmarks", *["--quick"] * quick])
    monkeypatch.setattr(benchmark, "measure", lambda plan: plans.append(plan) or whole)
    monkeypatch.setattr(speed, "record", lambda *given: kept.append(given))
    benchmark.main()
    assert plans == [benchmark.QUICK if quick else benchmark.FULL] and kept == ([] if quick else [(whole, speed.BENCH)])


def test_the_quick_mode_trains_with_few_seeds(monkeypatch):
    asked = []
    monkeypatch.setattr(data, "fetch", str)
    monkeypatch.setattr(timing, "in_turn", lambda *given: {})
    monkeypatch.setattr(builds, "imports", lambda rounds: {})
    monkeypatch.setattr(accuracy, "sprints", asked.append)
    monkeypatch.setattr(benchmark, "STEPS", dict.fromkeys(benchmark.STEPS, str))
    assert benchmark.measure(benchmark.QUICK)["quick"] and asked == [{"99.0 %": 2}]
