"""The same descent with less around it: how fast a network can be trained on this processor.

What Keras ``fit`` and the GradientTape loop do for each batch is done less often, or on less: pixels that never reach
the answer are cut off, for a fully connected network whose images are not moved those that are black in all of them;
bias and ReLU come after pooling, on a quarter of the values, with the same result; an optimizer's step is one operation
for each array of weights; images stay bytes until their batch needs them; and all steps run in one TensorFlow function,
which XLA compiles for a fully connected network. In float32, without shift, dropout and whitening, each step gives what
one of ``fit`` does, to rounding, which many steps enlarge.
"""

import os
from pathlib import Path

import numpy as np

from labcode import models
from labcode.fitting import PREDICT_BATCH
from labcode.network import POOL, SIDE
from labcode.quiet import keras, tf

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # of Adam, as Keras has them


def logits(network, weights, images, precision="float32", dropout=0.0):
    """What the softmax is taken of: (n, 10) float32.

    Args:
        network: a ``Network``.
        weights: variables or arrays of its ``shapes()``.
        images: (n, side, side, 1) uint8, of which the square of side ``network.seen()`` is read; for a fully connected
            network also (n, inputs) uint8.
        precision, dropout: as ``Sprint`` has them.
    """
    seen = images[:, : network.seen(), : network.seen()] if network.convolutions else images
    values = tf.cast(seen, precision) * tf.cast(1 / 255, precision)
    *layers, last = zip(*[iter(tf.cast(each, precision) for each in weights)] * 2, strict=True)
    for index, ((kernel, bias), (_, _, pooled)) in enumerate(zip(layers[:-1], network.convolutions, strict=True)):
        values = tf.nn.conv2d(values, kernel, 1, "VALID")
        if pooled:  # bias and ReLU keep the order of values, so the largest of a square is the same before and after
            values = tf.nn.max_pool2d(values, POOL, POOL, "VALID")
        is_whitened = network.whitened and index == 0  # its bias stays 0
        values = tf.nn.relu(values if is_whitened else tf.nn.bias_add(values, bias))
    kernel, bias = layers[-1]
    values = tf.nn.relu(tf.nn.bias_add(tf.reshape(values, (-1, kernel.shape[0])) @ kernel, bias))
    values = tf.nn.dropout(values, dropout) if dropout else values
    kernel, bias = last
    return tf.cast(tf.nn.bias_add(values @ kernel, bias), "float32")


def reached(model):
    """Which pixels the answers of a Keras model depend on, (28, 28) bool: those with a gradient on random images."""
    images = tf.Variable(np.random.default_rng(0).random((20, *models.IMAGE_SHAPE), np.float32))
    with tf.GradientTape() as tape:
        answers = model(images) ** 2  # squared, for the sum of probabilities is always 1
    return (tape.gradient(answers, images).numpy() != 0).any(axis=(0, 3))


def initial_weights(network, seed):
    """Variables of the network's ``shapes()``: kernels by Glorot's uniform rule, biases 0, as Keras begins."""
    keras.utils.set_random_seed(seed)
    glorot, seeds, shapes = keras.initializers.GlorotUniform, models.layer_seeds(seed), network.shapes()
    return [tf.Variable(glorot(next(seeds))(shape) if len(shape) > 1 else tf.zeros(shape)) for shape in shapes]


def adam(weights):
    """Return ``update(gradients, rate)``, a step of Adam without its correction for moments that begin at 0.

    ``corrected`` puts that into the rate.

    Source: Kingma and Ba 2015, end of section 2.
    """
    means, squares = ([tf.Variable(tf.zeros_like(each)) for each in weights] for _ in range(2))

    def update(gradients, rate):
        for weight, mean, square, gradient in zip(weights, means, squares, gradients, strict=True):
            of_weight = {"var": weight.handle, "m": mean.handle, "v": square.handle, "grad": gradient, "lr": rate}
            powers = {"beta1_power": 0.0, "beta2_power": 0.0}  # no correction
            tf.raw_ops.ResourceApplyAdam(**of_weight, **powers, beta1=BETA_1, beta2=BETA_2, epsilon=EPSILON)

    return update


def corrected(rates):
    """Learning rates (steps,) times Adam's correction for the moments that begin at 0."""
    step = np.arange(1, len(rates) + 1)
    return rates * np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)


def sgd(weights):
    """Return ``update(gradients, rate)``, a step of gradient descent."""

    def update(gradients, rate):
        for weight, gradient in zip(weights, gradients, strict=True):
            tf.raw_ops.ResourceApplyGradientDescent(var=weight.handle, alpha=rate, delta=gradient)

    return update


class WithoutBlackPixels:
    """The first kernel of a fully connected network, without the pixels that are black in all images.

    Their weights get gradients of 0, by which no optimizer here changes them, so they can stay out of the training.
    One pixel stays in any case.

    Args:
        kernel: a variable, (pixels, hidden).
        images: (n, height, width, 1) uint8.

    Attributes:
        images: (n, pixels that are left) uint8.
        kernel: a variable of the rows for these.
    """

    def __init__(self, kernel, images):
        pixels = images.reshape(len(images), -1)
        self._lit = np.flatnonzero(pixels.any(axis=0)) if pixels.any() else np.array([0])
        self._whole, self.images = kernel, pixels[:, self._lit]
        self.kernel = tf.Variable(tf.gather(kernel, self._lit))

    def begin(self):
        """Take the rows of the whole kernel."""
        self.kernel.assign(tf.gather(self._whole, self._lit))

    def end(self):
        """Put the rows back into the whole kernel."""
        rows = self._lit[:, np.newaxis]
        self._whole.assign(tf.tensor_scatter_nd_update(self._whole, rows, self.kernel))


def make_train(network, weights, optimizer, images, labels, precision="float32", shift=0, dropout=0.0):
    """Compile the whole training into one TensorFlow function.

    Args:
        network: a ``Network``.
        weights: its variables.
        optimizer: ``adam`` or ``sgd``.
        images, labels: (n, SIDE, SIDE, 1) uint8 and (n,) int64; they stay in memory as tensors.
        precision, shift, dropout: as ``Sprint`` has them.

    Returns:
        A function of indices into the images, (steps, batch) int64, rates (steps,) float32 and corners (steps, 2)
        int32 in 0..2 shift, which cut the images out of their frames. It returns the mean loss of each batch before
        its step, (steps,) float32.
    """
    side, frame = network.seen(), ((0, 0), (shift, shift), (shift, shift), (0, 0))
    images = np.pad(images, frame)[:, : side + 2 * shift, : side + 2 * shift]
    fewer = None if network.convolutions or shift else WithoutBlackPixels(weights[0], images)
    inner = [fewer.kernel, *weights[1:]] if fewer else weights
    update = optimizer(network.trained(inner))
    images, labels = tf.constant(fewer.images if fewer else images), tf.constant(labels)
    # XLA joins the small operations of the fully connected network, which cost more to begin than to do. It leaves
    # oneDNN's convolutions for slower ones, and draws dropout without regard to the seed.
    by_xla = bool(fewer) and not dropout

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int64),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([None, 2], tf.int32),
        ],
        jit_compile=by_xla,
    )
    def train(order, rates, corners):
        if fewer:
            fewer.begin()
        losses = tf.TensorArray(tf.float32, tf.size(rates))
        for step in tf.range(tf.size(rates)):
            indices, rate = tf.gather(order, step), tf.gather(rates, step)  # XLA can't compile order[step] for no steps
            batch = tf.gather(images, indices)
            if shift:
                top, left = corners[step, 0], corners[step, 1]
                batch = tf.ensure_shape(batch[:, top : top + side, left : left + side], (None, side, side, 1))
            with tf.GradientTape() as tape:
                answers = logits(network, inner, batch, precision, dropout)
                loss = mean_loss(tf.gather(labels, indices), answers)
            update(tape.gradient(loss, network.trained(inner)), rate)
            losses = losses.write(step, loss)
        if fewer:
            fewer.end()
        return losses.stack()

    return train


def mean_loss(labels, answers):
    """The mean cross-entropy, float32, of labels (n,) int64 and ``logits`` (n, 10)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, answers))


def make_predict(network, weights, precision="float32", shift=0):
    """Return ``predict(images)``: the likeliest digits, (n,) int64, of images (n, SIDE, SIDE, 1) uint8.

    Likeliest by the sum of the probabilities at all positions up to ``shift`` pixels away along each axis.
    """
    frame, moves = ((0, 0), (shift, shift), (shift, shift), (0, 0)), range(2 * shift + 1)

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 1], tf.uint8)])
    def forward(images):
        framed = tf.pad(images, frame)
        moved = (framed[:, top : top + SIDE, left : left + SIDE] for top in moves for left in moves)
        return tf.argmax(sum(tf.nn.softmax(logits(network, weights, each, precision)) for each in moved), axis=1)

    def predict(images):
        starts = range(0, len(images), PREDICT_BATCH)
        return np.concatenate([forward(images[start : start + PREDICT_BATCH]).numpy() for start in starts])

    return predict


def as_bytes(images):
    """Images in [0, 1] float32 as the bytes that they were made from, uint8."""
    return np.rint(images * 255).astype(np.uint8)


def precisions():
    """What this processor computes fast: float32, and bfloat16 where it has instructions for oneDNN to use."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text("utf-8").split()) if cpuinfo.exists() else set()
    is_fast = flags & {"avx512_bf16", "amx_bf16"} and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"
    return ("float32", "bfloat16") if is_fast else ("float32",)
