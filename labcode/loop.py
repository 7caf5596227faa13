"""The GradientTape loop: what Keras ``fit`` does in a training step, written out."""

from labcode.quiet import tf


def make_train_step(model, loss_fn, optimizer):
    """Return ``train_step(images, labels)``, one step of gradient descent.

    Args:
        model: maps images (batch, 28, 28, 1) to probabilities (batch, 10).
        loss_fn: maps labels and probabilities to a loss each, (batch,), or to one scalar.
        optimizer: a Keras optimizer. Its state is created here, before the step is compiled.

    Returns:
        A function of images (batch, 28, 28, 1) float32 and labels (batch,) int64 that changes
        the weights once and returns the mean loss of the batch before that, a float32 scalar.
        A tape differentiates a vector of losses as if it were their sum: with a loss each, the
        step is ``batch`` times as long as with their mean.
    """
    optimizer.build(model.trainable_variables)

    def train_step(images, labels):
        with tf.GradientTape() as tape:  # records what is computed below
            probabilities = model(images, training=True)
            loss = loss_fn(labels, probabilities)
        gradients = tape.gradient(loss, model.trainable_variables)  # backpropagation
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return tf.reduce_mean(loss)

    return train_step


def make_train_epoch(train_step, images, labels, batch_size):
    """Compile a walk over many batches into one TensorFlow function.

    Args:
        train_step: as ``make_train_step`` returns it.
        images, labels: (n, 28, 28, 1) float32 and (n,) int64; they stay in memory as tensors.
        batch_size: images in a step; the last step takes what is left.

    Returns:
        A function of an order, (m,) int64 indices into the images, that returns the loss of
        every step, (ceil(m / batch_size),) float32.
    """
    images, labels = tf.constant(images), tf.constant(labels)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def train_epoch(order):
        count = tf.size(order)
        steps = (count + batch_size - 1) // batch_size
        losses = tf.TensorArray(tf.float32, steps)
        for step in tf.range(steps):
            batch = order[step * batch_size : (step + 1) * batch_size]
            loss = train_step(tf.gather(images, batch), tf.gather(labels, batch))
            losses = losses.write(step, loss)
        return losses.stack()

    return train_epoch
