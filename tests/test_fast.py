"""The fast way gives what Keras gives: the same answers, gradients and steps."""

import numpy as np
import pytest

from labcode import data, fast, fitting, models
from labcode.network import FC, REPORT_CNN, SIDE
from labcode.quiet import keras, tf

NETWORKS = {"fc": FC, "cnn": REPORT_CNN}
BATCH = 64
LOSS = keras.losses.SparseCategoricalCrossentropy()


@pytest.fixture(scope="module")
def dataset():
    return data.load("mnist-5k")


@pytest.fixture(scope="module")
def train_set(dataset):
    return fast.as_bytes(dataset.train_images), dataset.train_labels


@pytest.fixture(params=NETWORKS)
def pair(request):
    """A network, its weights as variables, and Keras's model with the same weights."""
    model = fitting.new_model(request.param, 0)
    return NETWORKS[request.param], [tf.Variable(each) for each in model.get_weights()], model


def straight(steps, rate):
    """What a compiled training takes: images in their order, one learning rate, nothing moved."""
    order = np.arange(steps * BATCH).reshape(steps, BATCH)
    return order, np.full(steps, rate, np.float32), np.zeros((steps, 2), np.int32)


def largest_difference(one, other):
    return max(np.abs(a - b).max() / np.abs(a).max() for a, b in zip(one, other, strict=True))


def test_images_as_bytes_are_the_images(dataset, train_set):
    assert train_set[0].dtype == np.uint8
    np.testing.assert_array_equal(train_set[0].astype(np.float32) / 255, dataset.train_images)


def test_shapes_and_multiply_adds_are_those_of_keras(pair):
    network, weights, model = pair
    assert network.shapes() == [tuple(each.shape) for each in weights]
    assert sum(network.multiply_adds(SIDE)) == models.multiply_adds(model)


def test_pixels_that_are_not_seen_never_reach_the_answer_and_all_others_do(pair):
    network, _, model = pair
    expected = np.zeros((SIDE, SIDE), bool)
    expected[: network.seen(), : network.seen()] = True
    np.testing.assert_array_equal(fast.reached(model), expected)
    assert network.seen() == {"fc": 28, "cnn": 22}[model.name]


def test_answers_and_gradients_are_those_of_keras(pair, dataset, train_set):
    network, weights, model = pair
    images, labels = train_set
    for start in (0, 1000, 2000):
        batch = slice(start, start + BATCH)
        with tf.GradientTape() as by_keras:
            of_keras = LOSS(labels[batch], model(dataset.train_images[batch], training=True))
        with tf.GradientTape() as by_fast:
            of_fast = fast.mean_loss(labels[batch], fast.logits(network, weights, images[batch]))
        assert float(of_fast) == pytest.approx(float(of_keras), rel=1e-5)
        gradients = by_keras.gradient(of_keras, model.trainable_variables), by_fast.gradient(of_fast, weights)
        assert largest_difference(*gradients) < 1e-5


@pytest.mark.parametrize("method", ["sgd", "adam"])
def test_many_steps_are_those_of_keras_fit(method, dataset, train_set):
    model, steps = fitting.new_model("fc", 0), 30
    weights = [tf.Variable(each) for each in model.get_weights()]
    optimizer, ours, rate = {
        "sgd": (keras.optimizers.SGD(0.1), fast.sgd, 0.1),
        "adam": (keras.optimizers.Adam(0.001), fast.adam, 0.001),
    }[method]
    model.compile(optimizer, LOSS)
    count = steps * BATCH
    model.fit(dataset.train_images[:count], train_set[1][:count], batch_size=BATCH, shuffle=False, verbose=0)
    order, rates, corners = straight(steps, rate)
    rates = fast.corrected(rates).astype(np.float32) if method == "adam" else rates
    first = [each.numpy() for each in weights]
    weights[0].assign(-weights[0])
    train = fast.make_train(FC, weights, ours, *train_set)
    for weight, value in zip(weights, first, strict=True):  # what it trains is what there is when it is called
        weight.assign(value)
    losses = train(order, rates, corners).numpy()
    assert losses.shape == (steps,) and losses[-5:].mean() < 0.7 * losses[:5].mean()
    assert largest_difference(model.get_weights(), [each.numpy() for each in weights]) < 1e-4


@pytest.mark.parametrize("method", ["sgd", "adam"])
def test_steps_of_the_cnn_on_cut_images_are_those_of_keras_fit(method, dataset, train_set):
    model, steps = fitting.new_model("cnn", 0), 10
    optimizer, ours, rate = {  # more steps and higher rates enlarge what rounding makes
        "sgd": (keras.optimizers.SGD(0.01), fast.sgd, 0.01),
        "adam": (keras.optimizers.Adam(1e-4), fast.adam, 1e-4),
    }[method]
    weights = [tf.Variable(each) for each in model.get_weights()]
    begun, count = model.get_weights(), steps * BATCH
    model.compile(optimizer, LOSS)
    model.fit(dataset.train_images[:count], train_set[1][:count], batch_size=BATCH, shuffle=False, verbose=0)
    order, rates, corners = straight(steps, rate)
    rates = fast.corrected(rates).astype(np.float32) if method == "adam" else rates
    fast.make_train(REPORT_CNN, weights, ours, *train_set)(order, rates, corners)
    for of_keras, weight, first in zip(model.get_weights(), weights, begun, strict=True):
        way = np.linalg.norm(of_keras - first)
        assert np.linalg.norm(of_keras - weight.numpy()) < 1e-3 * way and way > 0


@pytest.mark.parametrize("optimizer", [fast.sgd, fast.adam])
@pytest.mark.parametrize("options", [{}, {"dropout": 0.5}, {"precision": "bfloat16"}])
def test_pixels_that_are_black_in_all_images_change_nothing_and_stay_out(train_set, optimizer, options):
    images, labels = train_set[0][: 3 * BATCH], train_set[1][: 3 * BATCH]
    with_a_white_one = np.concatenate([images, np.full((1, SIDE, SIDE, 1), 255, np.uint8)]), np.append(labels, 0)
    black, trained = ~images.any(axis=0).ravel(), []
    assert 0 < black.sum() < black.size
    for dataset in ((images, labels), with_a_white_one):  # which no batch takes
        weights = fast.initial_weights(FC, 0)
        first = weights[0].numpy()
        train = fast.make_train(FC, weights, optimizer, *dataset, **options)
        for _ in range(2):
            train(*straight(3, 0.01))
        trained.append([each.numpy() for each in weights])
        np.testing.assert_array_equal(trained[-1][0][black], first[black])
        assert (trained[-1][0][~black] != first[~black]).any(axis=1).all()
    assert largest_difference(*trained) < 1e-4


@pytest.mark.parametrize(
    ("network", "options", "by_xla"),
    [(FC, {}, True), (FC, {"dropout": 0.5}, False), (FC, {"shift": 1}, False), (REPORT_CNN, {}, False)],
)
def test_xla_compiles_the_fully_connected_network_where_nothing_is_drawn(network, options, by_xla, train_set):
    weights = fast.initial_weights(network, 0)
    train = fast.make_train(network, weights, fast.sgd, *(each[:BATCH] for each in train_set), **options)
    assert train.get_concrete_function().function_def.attr["_XlaMustCompile"].b is by_xla


def test_images_that_are_all_black_train_the_biases(train_set):
    weights = fast.initial_weights(FC, 0)
    fast.make_train(FC, weights, fast.sgd, np.zeros_like(train_set[0]), train_set[1])(*straight(1, 0.1))
    assert weights[3].numpy().any()


def test_the_faintest_pixel_is_trained(train_set):
    images, weights = np.zeros_like(train_set[0]), fast.initial_weights(FC, 0)
    images[:, 0, 5], first = 1, weights[0].numpy()
    fast.make_train(FC, weights, fast.sgd, images, train_set[1])(*straight(1, 1.0))
    changed = (weights[0].numpy() != first).any(axis=1)
    assert changed[5] and changed.sum() == 1


@pytest.mark.parametrize("change", [{"precision": "bfloat16"}, {"dropout": 0.5}])
def test_a_training_heeds_precision_and_dropout(change, train_set):
    losses = []
    for options in ({}, {}, change):
        weights = fast.initial_weights(FC, 0)
        train = fast.make_train(FC, weights, fast.sgd, *train_set, **options)
        losses.append(train(*straight(3, 0.1)).numpy())
    np.testing.assert_array_equal(losses[0], losses[1])
    assert 1e-6 < np.abs(losses[2] - losses[0]).max() < 1


def test_first_weights_are_glorot_s_and_each_kernel_has_its_own():
    weights = [each.numpy() for each in fast.initial_weights(REPORT_CNN, 0)]
    kernels, biases = weights[::2], weights[1::2]
    assert not any(bias.any() for bias in biases)
    for kernel in kernels:
        field = np.prod(kernel.shape[:-2], dtype=int)
        limit = np.sqrt(6 / (field * (kernel.shape[-2] + kernel.shape[-1])))
        assert 0.98 * limit < np.abs(kernel).max() <= limit and abs(kernel.mean()) < 0.2 * limit
    first = [kernel.ravel()[:500] / np.abs(kernel).max() for kernel in kernels]
    assert np.abs(np.corrcoef(first) - np.eye(len(first))).max() < 0.2
    again, other = fast.initial_weights(REPORT_CNN, 0), fast.initial_weights(REPORT_CNN, 1)
    assert (weights[2] == again[2].numpy()).all() and (weights[2] != other[2].numpy()).any()


@pytest.mark.parametrize(
    ("flags", "onednn", "expected"),
    [
        ("avx2 avx512f", "1", ("float32",)),
        ("avx512f avx512_bf16", "1", ("float32", "bfloat16")),
        ("amx_bf16", "1", ("float32", "bfloat16")),
        ("amx_bf16", "0", ("float32",)),
        (None, "1", ("float32",)),
    ],
)
def test_bfloat16_is_for_processors_that_list_its_instructions(flags, onednn, expected, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", onednn)
    cpuinfo = tmp_path / "cpuinfo"
    if flags:
        cpuinfo.write_text(f"model name\t: one\nflags\t\t: fpu {flags} sse2\n", "utf-8")
    monkeypatch.setattr(fast, "Path", {"/proc/cpuinfo": cpuinfo}.get)
    assert fast.precisions() == expected


def test_bfloat16_answers_nearly_the_same(pair, train_set):
    network, weights, _ = pair
    exact, rough = (fast.logits(network, weights, train_set[0][:100], each) for each in ("float32", "bfloat16"))
    assert rough.dtype == tf.float32
    assert 0 < np.abs(exact - rough).max() < 0.05 * np.abs(exact).max()


def test_a_batch_is_cut_out_of_its_frame_where_the_corners_say(train_set):
    images, labels = train_set
    weights = fast.initial_weights(FC, 0)
    train = fast.make_train(FC, weights, fast.sgd, images, labels, shift=2)
    order, nothing = np.arange(BATCH)[np.newaxis], np.zeros(1, np.float32)
    for corner in ((2, 2), (0, 4), (3, 1)):
        moved = np.roll(
            np.pad(images[:BATCH], ((0, 0), (2, 2), (2, 2), (0, 0))), (2 - corner[0], 2 - corner[1]), (1, 2)
        )
        expected = fast.mean_loss(labels[:BATCH], fast.logits(FC, weights, moved[:, 2:-2, 2:-2]))
        (loss,) = train(order, nothing, np.array([corner], np.int32)).numpy()
        assert loss == pytest.approx(float(expected), rel=1e-5), corner


def test_the_likeliest_digit_is_that_of_all_positions_together(train_set):
    images, weights = train_set[0][:300], fast.initial_weights(FC, 0)
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    together, alone = 0, []
    for top in range(3):
        for left in range(3):
            probabilities = tf.nn.softmax(fast.logits(FC, weights, framed[:, top : top + SIDE, left : left + SIDE]))
            together, alone = together + probabilities.numpy(), [*alone, probabilities.numpy().argmax(axis=1)]
    np.testing.assert_array_equal(fast.make_predict(FC, weights)(images), alone[4])
    np.testing.assert_array_equal(fast.make_predict(FC, weights, shift=1)(images), together.argmax(axis=1))
    assert (alone[4] != together.argmax(axis=1)).any()


def test_dropout_silences_that_share_of_the_hidden_layer_and_only_where_it_is_asked_for(train_set):
    weights = [*fast.initial_weights(FC, 0)[:2], tf.ones((128, 10)), tf.zeros(10)]
    whole = fast.logits(FC, weights, train_set[0][:200]).numpy()
    np.testing.assert_array_equal(whole, fast.logits(FC, weights, train_set[0][:200]))
    silenced = fast.logits(FC, weights, train_set[0][:200], dropout=0.75).numpy()
    assert silenced.mean() == pytest.approx(whole.mean(), rel=0.05) and np.abs(silenced / whole - 1).mean() > 0.1
