"""Trainings in seconds: what decides one, and running it from its first weights to its test."""

import math
import time
from dataclasses import dataclass

import numpy as np

from labcode.network import REPORT_CNN, Network


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
        test_shift: by how many pixels at most each test image is moved along each axis; the probabilities at all these
            positions are added.
        precision: ``"float32"``, or ``"bfloat16"`` for the layers' arithmetic alone.
    """

    network: Network
    batch_size: int
    steps: int
    learning_rate: float
    warm_up: float = 0.2
    shift: int = 0
    dropout: float = 0.0
    test_shift: int = 0
    precision: str = "float32"

    def rates(self):
        """The learning rate of each step, (steps,) float64."""
        return np.interp(np.arange(self.steps) / self.steps, [0, self.warm_up, 1], [0.1, 1, 0]) * self.learning_rate

    def flop(self, tested):
        """Floating-point operations of the layers, on the pixels that are seen: all steps, and so many test images."""
        side = self.network.seen()
        trained = self.network.training_flop(side) * self.batch_size * self.steps
        return trained + 2 * sum(self.network.multiply_adds(side)) * tested * (2 * self.test_shift + 1) ** 2

    def order(self, count, seed):
        """Which of ``count`` images each step takes, (steps, batch_size) int64: permutations, one after the other."""
        generator, needed = np.random.default_rng([seed, 0]), self.steps * self.batch_size
        permutations = [generator.permutation(count) for _ in range(math.ceil(needed / count))]
        return np.concatenate(permutations)[:needed].reshape(self.steps, self.batch_size)

    def corners(self, seed):
        """Where each step cuts its images out of their frames, (steps, 2) int32 in 0..2 shift."""
        return np.random.default_rng([seed, 1]).integers(0, 2 * self.shift + 1, (self.steps, 2), np.int32)


@dataclass(frozen=True)
class Result:
    """What a sprint gave.

    Attributes:
        accuracy: on the test set, in [0, 1].
        losses: the mean loss of each step's batch before the step, (steps,) float32.
        seconds: of the training and the test; in the first training of a process with what TensorFlow does once there.
        preparing: seconds before that: first weights, images in memory, and what TensorFlow takes to make functions of
            the Python code.
    """

    accuracy: float
    losses: np.ndarray
    seconds: float
    preparing: float


# Those that ``choice.taken`` takes of the candidates, which ``benchmarks/choose.py`` tries on images held back.
SPRINTS = {
    "the report's CNN to 98.55 %": Sprint(REPORT_CNN, 128, 520, 0.006),
    "99.0 %": Sprint(Network(((24, 5, True), (64, 3, True)), 128, whitened=True), 144, 340, 0.016, 0.15, shift=1),
    "99.5 %": Sprint(
        network=Network(((24, 5, True), (48, 3, True), (96, 3, False)), hidden=128, whitened=True),
        batch_size=128,
        steps=3200,
        learning_rate=0.006,
        warm_up=0.15,
        shift=2,
        dropout=0.3,
        test_shift=1,
    ),
}


def as_bytes(dataset):
    """A data set's training and test set as ``run`` takes them: (images uint8, labels) each."""
    from labcode import fast  # imports TensorFlow, which takes seconds and a plan does not need

    parts = ((dataset.train_images, dataset.train_labels), (dataset.test_images, dataset.test_labels))
    return [(fast.as_bytes(images), labels) for images, labels in parts]


def run(sprint, training_set, test_set, seed=0):
    """Train a network in a sprint, and test it once.

    Args:
        sprint: a ``Sprint``.
        training_set, test_set: (images (n, SIDE, SIDE, 1) uint8, labels (n,) int64).
        seed: a whole number from 0; it decides first weights, order, shifts and dropout.

    Returns:
        A ``Result``.
    """
    from labcode import fast, whitening

    begun, network = time.perf_counter(), sprint.network
    weights = fast.initial_weights(network, seed)
    chosen = {field: getattr(sprint, field) for field in ("precision", "shift", "dropout")}
    train = fast.make_train(network, weights, fast.adam, *training_set, **chosen)
    predict = fast.make_predict(network, weights, sprint.precision, sprint.test_shift)
    train(np.zeros((0, sprint.batch_size), np.int64), np.zeros(0, np.float32), np.zeros((0, 2), np.int32))
    predict(training_set[0][:1])
    prepared = time.perf_counter()
    if network.whitened:
        weights[0].assign(whitening.kernel(training_set[0], weights[0].shape))
    order, corners = sprint.order(len(training_set[0]), seed), sprint.corners(seed)
    losses = train(order, fast.corrected(sprint.rates()).astype(np.float32), corners).numpy()
    accuracy = float((predict(test_set[0]) == test_set[1]).mean())
    return Result(accuracy, losses, time.perf_counter() - prepared, prepared - begun)
