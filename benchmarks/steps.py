"""Training steps: ours beside Keras ``fit``, PyTorch, the lab's loop, and what the processor can do."""

import time

import joblib
import numpy as np

from labcode import data, fast, loop, models, speed
from labcode.network import FC, REPORT_CNN, SIDE
from labcode.quiet import keras, tf

BATCH = 64  # the report's
PRODUCT_SIDE = 2048  # rows and columns of the matrices whose product tells what the processor can do
PRODUCTS = 16
PRODUCT_FLOP = 2 * PRODUCT_SIDE**3 * PRODUCTS


def cnn(steps):
    """The report's CNN at batch 64 by Adam: each change towards ours, PyTorch, and matrix products."""
    images, labels = some_digits(BATCH * steps)
    seen = images[:, : REPORT_CNN.seen(), : REPORT_CNN.seen()]
    ways = {
        "Keras fit": keras_fit("cnn", keras.optimizers.Adam(), images, labels, BATCH),
        "one function": _one_function(models.build_cnn().layers, images, labels),
        "pixels that are seen": _one_function(models.build_cnn().layers, seen, labels),
        "ReLU after pooling": _one_function(_relu_after_pooling(models.build_cnn().layers), seen, labels),
    }
    for precision in fast.precisions():
        ways[f"matrix product, {precision}"] = matrix_product(precision)
        ways[f"ours, {precision}"] = ours(REPORT_CNN, fast.adam, images, labels, BATCH, precision)
    ways["batch 128"] = ours(REPORT_CNN, fast.adam, images, labels, 128, fast.precisions()[-1])
    return ways | _torch_ways(images, seen, labels)


def flop_of_cnn(steps):
    """The floating-point operations of a call of each of the ways of ``cnn`` that are compared by them."""
    network, images = REPORT_CNN, BATCH * steps
    done = network.training_flop(network.seen()) * images
    flop = {"all pixels": network.training_flop(SIDE) * images}
    for precision in fast.precisions():
        flop |= {f"ours, {precision}": done, f"matrix product, {precision}": PRODUCT_FLOP}
    return flop


def _one_function(layers, images, labels):
    """The GradientTape loop by Adam, on the mean loss, all steps in one TensorFlow function."""
    model = keras.Sequential([keras.Input(images.shape[1:]), *layers])
    step = loop.make_train_step(model, keras.losses.SparseCategoricalCrossentropy(), keras.optimizers.Adam())
    train_epoch, order = loop.make_train_epoch(step, images, labels, BATCH), np.arange(len(images))
    return lambda: train_epoch(order).numpy()


def _relu_after_pooling(layers):
    """The same layers with each ReLU behind the pooling that follows it."""
    changed = []
    for layer in layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.activation = keras.activations.linear
        changed += [layer, keras.layers.ReLU()] if isinstance(layer, keras.layers.MaxPool2D) else [layer]
    return changed


def fc(steps):
    """The report's fully connected network at batch 64 by gradient descent."""
    images, labels = some_digits(BATCH * steps)
    return {
        "Keras fit": keras_fit("fc", keras.optimizers.SGD(0.1), images, labels, BATCH),
        "ours, float32": ours(FC, fast.sgd, images, labels, BATCH),
    }


def tape(steps):
    """The GradientTape loop with the report's CNN at batch 12."""
    batch = 12
    images, labels = some_digits(batch * steps)
    loss = keras.losses.sparse_categorical_crossentropy
    eager_step = loop.make_train_step(models.build_cnn(), loss, keras.optimizers.SGD(0.001))
    step = loop.make_train_step(models.build_cnn(), loss, keras.optimizers.SGD(0.001))
    train_epoch, order = loop.make_train_epoch(step, images, labels, batch), np.arange(len(images))

    def eager():
        for start in range(0, len(images), batch):
            float(eager_step(images[start : start + batch], labels[start : start + batch]))

    return {
        "Keras fit": keras_fit("cnn", keras.optimizers.SGD(0.01), images, labels, batch),
        "the lab's loop, from Python": eager,
        "the lab's loop, compiled": lambda: train_epoch(order).numpy(),
        "ours, float32": ours(REPORT_CNN, fast.sgd, images, labels, batch),
    }


def some_digits(count):
    """So many of MNIST's first training images and labels; in tests, which may not have it, of mnist-5k's."""
    dataset = data.load("mnist" if data.at_hand("mnist") else "mnist-5k")
    chosen = np.arange(count) % len(dataset.train_images)
    return dataset.train_images[chosen], dataset.train_labels[chosen]


def keras_fit(name, optimizer, images, labels, batch):
    """A function that trains by Keras's own loop over arrays, as the report does.

    Its first call trains one epoch, and traces and compiles. Later ones return the seconds of the shortest of some
    epochs after the first: now and then ``fit`` takes a second more for an epoch, which weighs little in the report's
    epochs of 938 steps, and much in these short ones.
    """
    model, clock = models.BUILDERS[name](), EpochClock()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])

    def train():
        is_first, clock.seconds = not clock.seconds, []
        epochs = 1 if is_first else 5
        model.fit(images, labels, batch_size=batch, epochs=epochs, callbacks=[clock], verbose=0)
        return None if is_first else min(clock.seconds[1:])

    return train


class EpochClock(keras.callbacks.Callback):
    """Appends the seconds of each epoch's steps, its test left out, to ``seconds``, a list."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        """Called by Keras."""
        self.begun, self.ended = time.perf_counter(), None

    def on_test_begin(self, logs=None):
        """Called by Keras."""
        self.ended = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Called by Keras."""
        self.seconds.append((self.ended or time.perf_counter()) - self.begun)


def ours(network, optimizer, images, labels, batch, precision="float32"):
    """A function that trains in the fast way."""
    weights = fast.initial_weights(network, 0)
    train = fast.make_train(network, weights, optimizer, fast.as_bytes(images), labels, precision)
    order = in_order(images, batch)
    rates, corners = np.full(len(order), 0.001, np.float32), np.zeros((len(order), 2), np.int32)
    return lambda: train(order, rates, corners).numpy()


def in_order(images, batch):
    """The indices of so many images, in batches, (steps, batch)."""
    return np.arange(len(images)).reshape(-1, batch)


def matrix_product(precision):
    """A function that takes ``PRODUCT_FLOP`` operations in products of two large matrices."""
    factor = tf.cast(tf.random.normal((PRODUCT_SIDE, PRODUCT_SIDE)), precision)

    @tf.function
    def products():
        result = factor
        for _ in range(PRODUCTS):
            result = tf.matmul(result, factor)
        return result[0, 0]

    return lambda: products().numpy()


def _torch_ways(images, seen, labels):
    """The same network in PyTorch, in both layouts, on all pixels and on those seen; none where it is not installed."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(joblib.cpu_count())  # as many as TensorFlow takes; by itself one for each physical core
    labels, ways = torch.from_numpy(labels), {}
    for names, pixels in ((speed.PYTORCH, images), (speed.PYTORCH_SEEN, seen)):
        pixels = torch.from_numpy(np.ascontiguousarray(pixels).reshape(len(pixels), 1, *pixels.shape[1:3]))
        for name, memory_format in zip(names, (torch.contiguous_format, torch.channels_last), strict=True):
            ways[name] = _torch_way(torch, pixels, labels, memory_format)
    return ways


def _torch_way(torch, images, labels, memory_format):
    nn = torch.nn
    sizes, layers = [1, 64, 128, 256], []
    for channels, filters in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    network = network.to(memory_format=memory_format)
    images = images.contiguous(memory_format=memory_format)
    optimizer, loss = torch.optim.Adam(network.parameters(), fused=True), nn.CrossEntropyLoss()

    def train():
        for start in range(0, len(images), BATCH):
            optimizer.zero_grad(set_to_none=True)
            loss(network(images[start : start + BATCH]), labels[start : start + BATCH]).backward()
            optimizer.step()

    return train
