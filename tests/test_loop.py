"""The GradientTape loop does what Keras ``fit`` does, compiled or not."""

import numpy as np
import pytest

from labcode import data, fitting, loop, models
from labcode.quiet import keras, tf

LOSS_EACH = keras.losses.sparse_categorical_crossentropy
MEAN_LOSS = keras.losses.SparseCategoricalCrossentropy()


@pytest.fixture(scope="module")
def digits():
    mnist_5k = data.load("mnist-5k")
    return mnist_5k.train_images, mnist_5k.train_labels


def sgd(learning_rate=0.1):
    return keras.optimizers.SGD(learning_rate)


def batches(order, batch_size):
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def assert_weights_agree(one, other, tolerance):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def assert_weights_moved(model, before, at_least):
    assert max(np.abs(a - b).max() for a, b in zip(model.get_weights(), before, strict=True)) > at_least


def test_a_step_returns_the_mean_loss_before_it_and_lowers_it(digits):
    images, labels = digits[0][:12], digits[1][:12]
    model = fitting.new_model("fc", 0)
    step = loop.make_train_step(model, LOSS_EACH, sgd(0.001))
    before = LOSS_EACH(labels, model(images)).numpy().mean()
    returned = step(images, labels)
    assert returned.shape == () and returned.dtype == tf.float32
    assert float(returned) == pytest.approx(before, rel=1e-6)
    assert LOSS_EACH(labels, model(images)).numpy().mean() < before


def test_with_a_loss_per_image_the_step_is_batch_times_as_long_as_with_their_mean(digits):
    images, labels = digits[0][:12], digits[1][:12]
    moves, losses = [], []
    for loss_fn in (LOSS_EACH, MEAN_LOSS):
        model = fitting.new_model("fc", 0)
        before = model.get_weights()
        losses.append(float(loop.make_train_step(model, loss_fn, sgd())(images, labels)))
        moves.append([after - b for after, b in zip(model.get_weights(), before, strict=True)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for summed, mean in zip(*moves, strict=True):
        np.testing.assert_allclose(summed, 12 * mean, atol=1e-5 * np.abs(summed).max())


def test_the_compiled_loop_is_the_eager_loop_and_its_last_step_takes_what_is_left(digits):
    images, labels = digits
    order = data.epoch_order(200, 0, 0)[:130]
    eager, compiled = fitting.new_model("fc", 0), fitting.new_model("fc", 0)
    start = eager.get_weights()
    step = loop.make_train_step(eager, LOSS_EACH, sgd(0.01))
    eager_losses = [float(step(images[batch], labels[batch])) for batch in batches(order, 12)]
    step = loop.make_train_step(compiled, LOSS_EACH, sgd(0.01))
    losses = loop.make_train_epoch(step, images, labels, batch_size=12)(order).numpy()
    assert losses.shape == (11,) and losses.dtype == np.float32  # 130 images: ten steps of 12 and one of 10
    np.testing.assert_allclose(losses, eager_losses, rtol=1e-5)
    assert_weights_agree(compiled, eager, 1e-6)
    assert_weights_moved(compiled, start, 1e-3)


@pytest.mark.parametrize(
    ("name", "optimizer", "used", "epochs", "steps"),
    [("fc", sgd, 3_200, 2, 100), ("fc", sgd, 330, 2, 12), ("cnn", sgd, 320, 2, 10)],
    ids=["FC, 100 steps", "FC, last batch of 10", "CNN, 10 steps"],
)
def test_the_compiled_loop_on_the_mean_loss_is_keras_fit(digits, name, optimizer, used, epochs, steps):
    images, labels = digits[0][:used], digits[1][:used]
    orders = [data.epoch_order(used, 0, epoch) for epoch in range(epochs)]

    by_fit = fitting.new_model(name, 0)
    start = by_fit.get_weights()
    by_fit.compile(optimizer(), "sparse_categorical_crossentropy")
    fed = fitting.epochs_of_batches(images, labels, orders, 64)
    history = by_fit.fit(fed, epochs=epochs, steps_per_epoch=steps // epochs, shuffle=False, verbose=0).history

    by_loop = fitting.new_model(name, 0)
    train_epoch = loop.make_train_epoch(loop.make_train_step(by_loop, MEAN_LOSS, optimizer()), images, labels, 64)
    losses = [train_epoch(order).numpy() for order in orders]

    assert sum(map(len, losses)) == steps
    assert_weights_agree(by_loop, by_fit, 1e-5)
    assert_weights_moved(by_loop, start, 1e-2)
    shares = [[len(batch) for batch in batches(order, 64)] for order in orders]
    assert history["loss"] == pytest.approx(list(map(np.average, losses, [None] * epochs, shares)), rel=1e-4)


def test_the_batches_for_fit_are_each_epochs_own_order_cut_in_pieces():
    images, labels = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1), np.arange(10)
    orders = [data.epoch_order(10, 0, epoch) for epoch in range(2)]
    fed = [(i.numpy().ravel(), n.numpy()) for i, n in fitting.epochs_of_batches(images, labels, orders, 4)]
    expected = [batch.tolist() for order in orders for batch in batches(order, 4)]
    assert [pixels.tolist() for pixels, _ in fed] == [names.tolist() for _, names in fed] == expected


def test_two_models_may_each_have_a_compiled_step(digits):
    images, labels = digits[0][:24], digits[1][:24]
    order = np.arange(24)
    pair = [fitting.new_model("fc", seed) for seed in (0, 1)]
    epochs = [
        loop.make_train_epoch(loop.make_train_step(model, LOSS_EACH, optimizer), images, labels, 12)
        for model, optimizer in zip(pair, (sgd(), keras.optimizers.Adam()), strict=True)
    ]
    untouched = pair[1].get_weights()
    epochs[0](order)
    assert all(map(np.array_equal, pair[1].get_weights(), untouched))
    epochs[1](order)
    epochs[0](order)
    assert_weights_moved(pair[1], untouched, 1e-4)


def test_the_optimizer_is_ready_before_the_first_step():
    optimizer = keras.optimizers.Adam()
    model = models.build_fc()
    loop.make_train_step(model, LOSS_EACH, optimizer)
    assert optimizer.built and len(optimizer.variables) > 2
