"""Gradients by other ways than TensorFlow's, as the oracle that its tape is held against."""

import numpy as np

from labcode import loop
from labcode.quiet import keras, tf


def gradients_by_hand(weights, images, labels):
    """Backpropagation through the fully connected network, written out (Rumelhart, Hinton and Williams 1986).

    Args:
        weights: hidden kernel (784, 128) and bias (128,), output kernel (128, 10) and bias (10,).
        images: (n, 28, 28, 1) in [0, 1].
        labels: (n,) int64.

    Returns:
        The gradient of the mean cross-entropy by each of the four arrays, float64, in their order.
    """
    weights = [np.asarray(array, np.float64) for array in weights]
    hidden_kernel, hidden_bias, output_kernel, output_bias = weights
    inputs = images.reshape(len(images), -1).astype(np.float64)

    # forward
    sums = inputs @ hidden_kernel + hidden_bias
    hidden = np.maximum(sums, 0)  # ReLU
    scores = hidden @ output_kernel + output_bias
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)

    # backward: softmax and cross-entropy together leave probabilities minus the one-hot label
    by_scores = (probabilities - np.eye(10)[labels]) / len(images)
    by_sums = (by_scores @ output_kernel.T) * (sums > 0)
    return [inputs.T @ by_sums, by_sums.sum(axis=0), hidden.T @ by_scores, by_scores.sum(axis=0)]


def gradients_by_tape(model, images, labels):
    """The gradient of the mean cross-entropy by each of the model's arrays, as the loop's own step takes it.

    One step of SGD with a learning rate of 1 moves each weight by its gradient; the model gets its weights back.
    """
    before = model.get_weights()
    step = loop.make_train_step(model, _mean_loss_fn, keras.optimizers.SGD(1.0))
    step(images, labels)
    moved = [old - new for old, new in zip(before, model.get_weights(), strict=True)]
    model.set_weights(before)
    return moved


def gradients_by_differences(model, images, labels, places, step=1e-6):
    """Central finite differences of the mean cross-entropy: (loss(w + step) - loss(w - step)) / (2 step).

    Args:
        model: in float64 (``in_float64``), for in float32 rounding drowns the difference.
        places: list of (index of the array, index into the flattened array).
        step: how far a weight is moved. A longer one takes some unit across the kink of its ReLU; a shorter one drowns
            in rounding.

    Returns:
        (len(places),) float64.
    """
    loss = tf.function(lambda: mean_loss(model, images, labels))  # compiled, for it is asked for twice at each place
    slopes = []
    for array, place in places:
        variable = model.trainable_variables[array]
        original = variable.numpy()
        losses = []
        for change in (step, -step):
            changed = original.copy()
            changed.flat[place] += change
            variable.assign(changed)
            losses.append(float(loss()))
        variable.assign(original)
        slopes.append((losses[0] - losses[1]) / (2 * step))
    return np.array(slopes)


def compare_slopes(model, images, labels, of_each=6):
    """Hold the tape's gradient against finite differences, for some weights of each array, drawn at random.

    Args:
        model: in float64, at weights where no unit lies exactly at its ReLU's kink, as biases of zero would put it.

    Returns:
        The largest difference, as a part of the largest gradient among them: a float.
    """
    by_tape = gradients_by_tape(model, images, labels)
    random = np.random.default_rng(0)
    places = [
        (i, int(at)) for i, array in enumerate(by_tape) for at in random.choice(array.size, of_each, replace=False)
    ]
    of_tape = np.array([by_tape[i].flat[at] for i, at in places])
    by_differences = gradients_by_differences(model, images, labels, places)
    return float(np.abs(of_tape - by_differences).max() / np.abs(of_tape).max())


def mean_loss(model, images, labels):
    """The model's mean cross-entropy in nats on images (n, 28, 28, 1) and labels (n,), a scalar tensor."""
    return _mean_loss_fn(labels, model(images, training=False))


def _mean_loss_fn(labels, probabilities):
    return tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))


def in_float64(build, weights):
    """The model that ``build`` builds, in double precision, with these weights."""
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy(usual)
    model.set_weights(weights)
    return model


def largest_difference(gradients, others):
    """The largest difference of two lists of arrays, as a part of the largest value in each array: a float."""
    pairs = zip(gradients, others, strict=True)
    return float(np.max([np.abs(one - other).max() / np.abs(other).max() for one, other in pairs]))  # keeps a NaN
