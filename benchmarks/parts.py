"""Where the time of a training step goes: the report's CNN at batch 64, in float32."""

import math

from benchmarks.steps import BATCH, PRODUCT_FLOP, in_order, matrix_product, ours, some_digits
from labcode import fast, models, speed
from labcode.network import POOL, REPORT_CNN
from labcode.quiet import keras, tf


def parts(steps):
    """A step of ours, broken off earlier and earlier; and matrix products."""
    images, labels = some_digits(BATCH * steps)
    side = REPORT_CNN.seen()
    stored, order = tf.constant(fast.as_bytes(images[:, :side, :side])), tf.constant(in_order(images, BATCH))
    weights = fast.initial_weights(REPORT_CNN, 0)

    def loss(step):
        answers = fast.logits(REPORT_CNN, weights, tf.gather(stored, order[step]))
        return fast.mean_loss(tf.gather(labels, order[step]), answers)

    def gradients(step):
        with tf.GradientTape() as tape:
            value = loss(step)
        return sum(tf.reduce_sum(each) for each in tape.gradient(value, weights))

    def batch(step):
        return tf.reduce_sum(tf.cast(tf.gather(stored, order[step]), tf.float32))

    return {
        "taking the batch": repeated(batch, steps),
        "and the answers": repeated(loss, steps),
        "and the gradients": repeated(gradients, steps),
        "and the update": ours(REPORT_CNN, fast.adam, images, labels, BATCH),
        speed.PRODUCT: matrix_product("float32"),
    }


def flop(steps):
    """The floating-point operations that each of ``parts`` adds to the one before, where it has some; and products'."""
    answers = 2 * sum(REPORT_CNN.multiply_adds(REPORT_CNN.seen()))
    added = {"and the answers": answers, "and the gradients": REPORT_CNN.training_flop(REPORT_CNN.seen()) - answers}
    return {name: each * BATCH * steps for name, each in added.items()} | {speed.PRODUCT: PRODUCT_FLOP}


def repeated(part, steps):
    """A function that calls a part for each step, in one TensorFlow function."""

    @tf.function
    def repeated():
        total = 0.0
        for step in tf.range(steps):
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)  # as if each changed the weights
            total += part(step)
        return total

    return lambda: repeated().numpy()


def pieces(steps):
    """What is done around a step's products in two ways: on more values or fewer, by more operations or fewer."""
    weights, gradients = (fast.initial_weights(REPORT_CNN, 0) for _ in range(2))
    update, optimizer, model = fast.adam(weights), keras.optimizers.Adam(), models.build_cnn()
    optimizer.build(model.trainable_variables)

    def by_keras(_):
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return 0.0

    def by_ours(_):
        update(gradients, 0.001)
        return 0.0

    return {
        "ReLU of all values": repeated(_around(lambda maps, _: tf.nn.relu(maps), 1), steps),
        "ReLU after pooling": repeated(_around(lambda maps, _: tf.nn.relu(maps), POOL**2), steps),
        "bias of all values": repeated(_around(tf.nn.bias_add, 1), steps),
        "bias after pooling": repeated(_around(tf.nn.bias_add, POOL**2), steps),
        "Adam by Keras": repeated(by_keras, steps),
        "Adam, an operation for each array": repeated(by_ours, steps),
    }


def _around(operation, fewer):
    """A part that takes an operation on each convolution's maps, and its gradients; on ``fewer`` times fewer values."""
    maps, biases = [], []
    counts, kernels = REPORT_CNN.multiply_adds(REPORT_CNN.seen()), REPORT_CNN.shapes()[::2]
    for (filters, _, _), count, kernel in zip(REPORT_CNN.convolutions, counts, kernels, strict=False):
        maps.append(tf.Variable(tf.random.normal((BATCH, count // math.prod(kernel) // fewer, 1, filters))))
        biases.append(tf.Variable(tf.zeros(filters)))

    def part(_):
        total = 0.0
        for each, bias in zip(maps, biases, strict=True):
            with tf.GradientTape() as tape:
                values = operation(each, bias)
            towards = tape.gradient(values, [each, bias], each.value(), unconnected_gradients="zero")
            total += values[0, 0, 0, 0] + sum(tf.reshape(gradient, [-1])[0] for gradient in towards)
        return total

    return part
