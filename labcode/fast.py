"""The same descent with less around it: how fast a network can be trained on this processor.

What Keras ``fit`` and the GradientTape loop do for each batch is done less often, or on less: pixels that never reach
the answer are cut off; pooling comes before bias and ReLU, which it leaves a quarter of the values, and gives the same;
an optimizer's step is one operation for each array of weights; images stay bytes until their batch needs them; and all
steps run in one TensorFlow function. The results are those of ``fit``, to rounding.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labcode import models
from labcode.fitting import PREDICT_BATCH
from labcode.quiet import keras, tf

SIDE = models.IMAGE_SHAPE[0]  # of the images, in pixels
POOL = 2  # the side of the squares of which the maximum is kept
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # of Adam, as Keras has them


@dataclass(frozen=True)
class Network:
    """Convolutions with a ReLU, some with a 2x2 max pooling, then a hidden dense layer, then ten classes.

    Attributes:
        convolutions: (filters, side of the kernel, whether pooled) of each; none for a fully connected network.
        hidden: units of the dense layer.
    """

    convolutions: tuple
    hidden: int

    def shapes(self):
        """The shapes of the weights, kernels and biases in turn, as Keras orders them."""
        shapes, channels = [], 1
        for filters, kernel, _ in self.convolutions:
            shapes += [(kernel, kernel, channels, filters), (filters,)]
            channels = filters
        inputs = channels * self._sides(SIDE)[-1] ** 2
        return [*shapes, (inputs, self.hidden), (self.hidden,), (self.hidden, 10), (10,)]

    def seen(self):
        """The side of the square of pixels, from the top left corner, that reaches the answers.

        A pooling leaves out the last row and column of an odd number of them, and so what only they depend on.
        """
        side = self._sides(SIDE)[-1]
        for _, kernel, pooled in reversed(self.convolutions):
            side = side * (POOL if pooled else 1) + kernel - 1
        return side

    def _sides(self, side):
        """The side of the images, then of each convolution's maps after its pooling."""
        sides = [side]
        for _, kernel, pooled in self.convolutions:
            sides.append((sides[-1] - kernel + 1) // (POOL if pooled else 1))
        return sides

    def multiply_adds(self, side):
        """Those of the forward pass of one image of that side, by layer; which ``SIDE`` and ``seen()`` answer alike."""
        kernels = self.shapes()[::2]
        positions = [(side - kernel[0] + 1) ** 2 for side, kernel in zip(self._sides(side), kernels[:-2], strict=False)]
        return [math.prod(kernel) * count for kernel, count in zip(kernels, [*positions, 1, 1], strict=True)]

    def training_flop(self, side):
        """Floating-point operations of the training step of one image of that side, two to a multiply-add.

        Forward, towards the weights, and towards the layer's input; the last not for the first layer.
        """
        first, *others = self.multiply_adds(side)
        return 2 * (2 * first + 3 * sum(others))


@dataclass(frozen=True)
class Sprint:
    """All that decides a fast training by Adam, but for the data set and the seed.

    Attributes:
        network: a ``Network``.
        batch_size, steps: at least 1.
        learning_rate: the highest one; it rises to that in the first ``warm_up`` of the steps and then falls to 0.
        warm_up: above 0, below 1.
        shift: by how many pixels at most a batch is moved, at random, along each axis.
        dropout: the share of the hidden layer's units that each step silences.
        precision: ``"float32"``, or ``"bfloat16"`` for the layers' arithmetic alone.
    """

    network: Network
    batch_size: int
    steps: int
    learning_rate: float
    warm_up: float = 0.2
    shift: int = 0
    dropout: float = 0.0
    precision: str = "float32"

    def rates(self):
        """The learning rate of each step, (steps,) float64."""
        return np.interp(np.arange(self.steps) / self.steps, [0, self.warm_up, 1], [0.1, 1, 0]) * self.learning_rate

    def flop(self, tested):
        """Floating-point operations of the layers, on the pixels that are seen: all steps, and so many test images."""
        side = self.network.seen()
        trained = self.network.training_flop(side) * self.batch_size * self.steps
        return trained + 2 * sum(self.network.multiply_adds(side)) * tested

    def order(self, count, seed):
        """Which of ``count`` images each step takes, (steps, batch_size) int64: permutations, one after the other."""
        generator, needed = np.random.default_rng([seed, 0]), self.steps * self.batch_size
        permutations = [generator.permutation(count) for _ in range(math.ceil(needed / count))]
        return np.concatenate(permutations)[:needed].reshape(self.steps, self.batch_size)


REPORT_CNN = Network(((64, 3, True), (128, 3, True), (256, 3, True)), hidden=256)
FC = Network((), hidden=128)

# Their hyperparameters were chosen on the last 10,000 training images, by networks trained on the others.
SPRINTS = {
    "the report's CNN to 98.55 %": Sprint(REPORT_CNN, 128, 390, 0.006),
    "99.0 %": Sprint(Network(((16, 5, True), (64, 3, True)), hidden=128), 128, 410, 0.015, 0.15, shift=1),
    "99.5 %": Sprint(
        Network(((24, 5, True), (48, 3, True), (96, 3, False)), hidden=128), 128, 4690, 0.006, 0.15, 2, dropout=0.3
    ),
}


def logits(network, weights, images, precision="float32", dropout=0.0):
    """What the softmax is taken of: (n, 10) float32.

    Args:
        network: a ``Network``.
        weights: variables or arrays of its ``shapes()``.
        images: (n, side, side, 1) uint8, of which the square of side ``network.seen()`` is read.
        precision, dropout: as ``Sprint`` has them.
    """
    side = network.seen()
    values = tf.cast(images[:, :side, :side], precision) * tf.cast(1 / 255, precision)
    *layers, last = zip(*[iter(tf.cast(each, precision) for each in weights)] * 2, strict=True)
    for (kernel, bias), (_, _, pooled) in zip(layers[:-1], network.convolutions, strict=True):
        values = tf.nn.conv2d(values, kernel, 1, "VALID")
        if pooled:  # bias and ReLU keep the order of values, so the largest of a square is the same before and after
            values = tf.nn.max_pool2d(values, POOL, POOL, "VALID")
        values = tf.nn.relu(tf.nn.bias_add(values, bias))
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
    glorot = keras.initializers.GlorotUniform  # one for each kernel: each gives the same numbers again and again
    return [tf.Variable(glorot()(shape) if len(shape) > 1 else tf.zeros(shape)) for shape in network.shapes()]


def adam(weights):
    """Return ``update(gradients, rate)``, a step of Adam without its correction, which ``corrected`` puts in the rate.

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


def make_train(network, weights, update, images, labels, precision="float32", shift=0, dropout=0.0):
    """Compile the whole training into one TensorFlow function.

    Args:
        network: a ``Network``.
        weights: its variables.
        update: what ``adam`` or ``sgd`` returned for them.
        images, labels: (n, SIDE, SIDE, 1) uint8 and (n,) int64; they stay in memory as tensors.
        precision, shift, dropout: as ``Sprint`` has them.

    Returns:
        A function of indices into the images, (steps, batch) int64, rates (steps,) float32 and corners (steps, 2)
        int32 in 0..2 shift, which cut the images out of their frames. It returns the mean loss of each batch before
        its step, (steps,) float32.
    """
    side, frame = network.seen(), ((0, 0), (shift, shift), (shift, shift), (0, 0))
    images, labels = np.pad(images, frame)[:, : side + 2 * shift, : side + 2 * shift], tf.constant(labels)
    images = tf.constant(images)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int64),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([None, 2], tf.int32),
        ]
    )
    def train(order, rates, corners):
        losses = tf.TensorArray(tf.float32, tf.size(rates))
        for step in tf.range(tf.size(rates)):
            batch = tf.gather(images, order[step])
            if shift:
                top, left = corners[step, 0], corners[step, 1]
                batch = tf.ensure_shape(batch[:, top : top + side, left : left + side], (None, side, side, 1))
            with tf.GradientTape() as tape:
                answers = logits(network, weights, batch, precision, dropout)
                loss = mean_loss(tf.gather(labels, order[step]), answers)
            update(tape.gradient(loss, weights), rates[step])
            losses = losses.write(step, loss)
        return losses.stack()

    return train


def mean_loss(labels, answers):
    """The mean cross-entropy, float32, of labels (n,) int64 and ``logits`` (n, 10)."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, answers))


def make_predict(network, weights, precision="float32"):
    """Return ``predict(images)``: the likeliest digits, (n,) int64, of images (n, SIDE, SIDE, 1) uint8."""

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE, SIDE, 1], tf.uint8)])
    def forward(images):
        return tf.argmax(logits(network, weights, images, precision), axis=1)

    def predict(images):
        starts = range(0, len(images), PREDICT_BATCH)
        return np.concatenate([forward(images[start : start + PREDICT_BATCH]).numpy() for start in starts])

    return predict


def run(sprint, training_set, test_set, seed=0):
    """Train a network in a sprint, and test it once.

    Args:
        sprint: a ``Sprint``.
        training_set, test_set: (images (n, SIDE, SIDE, 1) uint8, labels (n,) int64).
        seed: a whole number from 0; it decides first weights, order and shifts.

    Returns:
        accuracy: on the test set, in [0, 1].
        seconds: of the training and the test, with the first use of each operation.
        tracing: seconds that TensorFlow took before to make functions of the Python code.
    """
    begun = time.perf_counter()
    weights = initial_weights(sprint.network, seed)
    chosen = {field: getattr(sprint, field) for field in ("precision", "shift", "dropout")}
    train = make_train(sprint.network, weights, adam(weights), *training_set, **chosen)
    predict = make_predict(sprint.network, weights, sprint.precision)
    order, rates = sprint.order(len(training_set[0]), seed), corrected(sprint.rates()).astype(np.float32)
    corners = np.random.default_rng([seed, 1]).integers(0, 2 * sprint.shift + 1, (sprint.steps, 2), np.int32)
    train(order[:0], rates[:0], corners[:0])
    predict(test_set[0][:1])
    traced = time.perf_counter()
    train(order, rates, corners).numpy()
    accuracy = (predict(test_set[0]) == test_set[1]).mean()
    return float(accuracy), time.perf_counter() - traced, traced - begun


def as_bytes(images):
    """Images in [0, 1] float32 as the bytes that they were made from, uint8."""
    return np.rint(images * 255).astype(np.uint8)


def precisions():
    """What this processor computes fast: float32, and bfloat16 where it has instructions for it, else that is slow."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text("utf-8").split()) if cpuinfo.exists() else set()
    return ("float32", "bfloat16") if flags & {"avx512_bf16", "amx_bf16"} else ("float32",)
