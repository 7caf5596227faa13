"""How a network is trained and measured: by Keras ``fit`` or by the loop, with the same record of both.

Imports TensorFlow; ``training`` imports this module only when something trains.
"""

import functools
import math
import threading
import time

import numpy as np

from labcode import data, loop, models, progress, training
from labcode.quiet import keras, tf

PROBE = 10_000  # training images that the train accuracy is measured on after an epoch
OPTIMIZERS = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
ALONE = threading.Lock()
PREDICT_BATCH = 500  # images at once where nothing is learned; larger batches take memory and save no time


def fit_recipe(recipe, dataset, seed):
    """Train by that recipe; of several threads of a process, one at a time, for they share seeds and compiled models.

    Returns:
        history, weights and probabilities, as ``runs.Run`` describes them.
    """
    with ALONE:
        return _fit_recipe(recipe, dataset, seed)


def _fit_recipe(recipe, dataset, seed):
    model = new_model(recipe.model, seed)
    images, labels = dataset.train_images[: recipe.train_images], dataset.train_labels[: recipe.train_images]
    orders = [data.epoch_order(len(images), seed, epoch) for epoch in range(recipe.epochs)]
    recorder = Recorder(f"{model.name} on {dataset.name}, seed {seed}", recipe.epochs, (images, labels), dataset)
    if recipe.method == "fit":
        model = with_state_of(model, recipe)
        train_by_fit(model, images, labels, orders, recipe.batch_size, recorder)
    else:
        train_by_loop(model, new_optimizer(recipe), images, labels, orders, recipe.batch_size, recorder)
    return recorder.history, model.get_weights(), recorder.probabilities


def new_model(name, seed):
    """The model of that name, with the weights that a training with this seed starts from.

    Seeds Python, NumPy and TensorFlow, and makes TensorFlow's operations deterministic, for the whole process.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    model = models.BUILDERS[name]()
    models.draw_first_weights(model, seed)
    return model


def new_optimizer(recipe):
    """The Keras optimizer that the recipe names."""
    return OPTIMIZERS[recipe.optimizer](recipe.learning_rate)


def with_state_of(model, recipe):
    """A model like this new one and in its state, compiled for Keras ``fit`` by the recipe.

    It is the same one for all trainings with this network and optimizer: what ``fit`` traces for a model stays in
    memory when the model is gone, some 14 MB (Keras 3.15).
    """
    compiled, optimizer = _compiled(recipe.model, recipe.optimizer), new_optimizer(recipe)
    optimizer.build(compiled.trainable_variables)
    for old, new in [(compiled.optimizer, optimizer), *zip(compiled.layers, model.layers, strict=True)]:
        for variable, value in zip(old.variables, new.variables, strict=True):
            variable.assign(value)
    return compiled


@functools.cache
def _compiled(model_name, optimizer_name):
    model, optimizer = models.BUILDERS[model_name](), OPTIMIZERS[optimizer_name]()
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, training.LOSS, metrics=["accuracy", StepLoss()])
    return model


def make_predict(model):
    """Return ``predict(images)``: probabilities (n, 10) float32 of images (n, 28, 28, 1) float32.

    Compiled once for the model: ``model.predict`` takes some 50 ms to begin, which counts after each short epoch.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, *models.IMAGE_SHAPE), tf.float32)])
    def forward(images):
        return model(images, training=False)

    def predict(images):
        starts = range(0, len(images), PREDICT_BATCH)
        return np.concatenate([forward(images[start : start + PREDICT_BATCH]).numpy() for start in starts])

    return predict


def feature_maps(model, images, layers):
    """The outputs of these layers, by name, for images (n, 28, 28, 1): a list of (n, height, width, maps) float32."""
    extractor = keras.Model(model.inputs[0], [model.get_layer(name).output for name in layers])
    return [np.asarray(maps) for maps in extractor(images, training=False)]


def measure(probabilities, labels):
    """Mean cross-entropy in nats and accuracy in [0, 1], of probabilities (n, 10) and labels (n,)."""
    of_label = probabilities[np.arange(len(labels)), labels]
    loss = -np.log(np.maximum(of_label, keras.config.epsilon())).mean()
    return float(loss), float((probabilities.argmax(axis=1) == labels).mean())


class StepLoss(keras.metrics.Metric):
    """The loss of the last batch alone; Keras's own ``loss`` is the running average over the epoch."""

    def __init__(self):
        super().__init__(name="step_loss")
        self.value = self.add_variable((), "zeros", name="value")

    def update_state(self, labels, probabilities, sample_weight=None):
        losses = keras.losses.sparse_categorical_crossentropy(tf.reshape(labels, [-1]), probabilities)
        self.value.assign(tf.reduce_mean(losses))

    def result(self):
        return self.value + 0.0


class Recorder(keras.callbacks.Callback):
    """Keeps the history of a training, and measures the model after each epoch.

    Args:
        title: how progress names the training.
        epochs: how many there are to be.
        training_set: (images, labels) that are trained on.
        dataset: whose test set is measured on.
    """

    def __init__(self, title, epochs, training_set, dataset):
        super().__init__()
        self.title, self.epochs = title, epochs
        self.probe = [values[:PROBE] for values in training_set]
        self.test = (dataset.test_images, dataset.test_labels)
        self.history, self.running, self.probabilities = {"step_loss": []}, [], None

    def set_model(self, model):
        super().set_model(model)
        self.predict = make_predict(model)

    def keep(self, **values):
        for key, value in values.items():
            self.history.setdefault(key, []).append(float(value))

    def on_epoch_begin(self, epoch, logs=None):
        progress.report(f"{self.title}: epoch {epoch + 1} of {self.epochs}")
        self.started, self.running = time.perf_counter(), []

    def on_train_batch_end(self, batch, logs=None):
        self.keep(step_loss=logs["step_loss"])
        self.running.append((logs["loss"], logs["accuracy"]))

    def on_epoch_end(self, epoch, logs=None):
        """Measure. With logs come the running averages that Keras ``fit`` gives, and those of older progress bars."""
        self.keep(seconds=time.perf_counter() - self.started)
        if self.running:
            bar_loss, bar_accuracy = np.mean(self.running, axis=0, dtype=np.float64)
            self.keep(loss=logs["loss"], accuracy=logs["accuracy"], bar_loss=bar_loss, bar_accuracy=bar_accuracy)
        train_loss, train_accuracy = measure(self.predict(self.probe[0]), self.probe[1])
        self.probabilities = self.predict(self.test[0])
        val_loss, val_accuracy = measure(self.probabilities, self.test[1])
        self.keep(train_loss=train_loss, train_accuracy=train_accuracy, val_loss=val_loss, val_accuracy=val_accuracy)


def train_by_fit(model, images, labels, orders, batch_size, recorder):
    """Train a compiled model by Keras ``fit``, in the given orders, on the mean loss of each batch."""
    steps = math.ceil(len(images) / batch_size)
    batches = epochs_of_batches(images, labels, orders, batch_size)
    model.fit(batches, epochs=len(orders), steps_per_epoch=steps, callbacks=[recorder], shuffle=False, verbose=0)


def epochs_of_batches(images, labels, orders, batch_size):
    """A ``tf.data.Dataset`` of (images, labels) batches, epoch after epoch, each in its own order."""
    images, labels = tf.constant(images), tf.constant(labels)
    epochs = tf.data.Dataset.from_tensor_slices(np.stack(orders))
    batches = epochs.flat_map(lambda order: tf.data.Dataset.from_tensor_slices(order).batch(batch_size))
    return batches.map(lambda batch: (tf.gather(images, batch), tf.gather(labels, batch))).prefetch(2)


def train_by_loop(model, optimizer, images, labels, orders, batch_size, recorder):
    """Train by the GradientTape loop, in the given orders, on the sum of each batch's losses, as the lab does."""
    step = loop.make_train_step(model, keras.losses.sparse_categorical_crossentropy, optimizer)
    train_epoch = loop.make_train_epoch(step, images, labels, batch_size)
    recorder.set_model(model)
    for epoch, order in enumerate(orders):
        recorder.on_epoch_begin(epoch)
        losses = train_epoch(order).numpy().tolist()
        recorder.history["step_loss"] += losses
        recorder.keep(loss=np.mean(losses))
        recorder.on_epoch_end(epoch)
