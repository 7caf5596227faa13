"""What limits a step: each convolution of the report's CNN alone, in each direction, beside matrix products."""

from functools import partial

from benchmarks import steps
from benchmarks.parts import repeated
from benchmarks.steps import BATCH
from labcode import speed
from labcode.network import POOL, REPORT_CNN
from labcode.quiet import tf

STRIDES = {"strides": [1, 1, 1, 1], "padding": "VALID"}


def convolutions(count):
    """Each convolution, so many times, at batch 64 on the pixels that are seen; and its pooling and ReLU, both ways."""
    ways, side, channels = {speed.PRODUCT: steps.matrix_product("float32")}, REPORT_CNN.seen(), 1
    for number, (filters, kernel, _) in enumerate(REPORT_CNN.convolutions, start=1):
        result = side - kernel + 1
        shapes = (BATCH, side, side, channels), (kernel, kernel, channels, filters), (BATCH, result, result, filters)
        arrays = [tf.Variable(tf.random.normal(shape)) for shape in shapes]
        directions = {"forward": _forward, "to the weights": _to_weights}
        if number > 1:  # nothing asks for the gradient of the images
            directions["to the input"] = _to_input
        for name, direction in directions.items():
            ways[f"conv {number}, {name}"] = repeated(partial(direction, *arrays), count)
        ways[f"pooling {number} and ReLU"] = repeated(partial(_pooling, *arrays), count)
        side, channels = result // POOL, filters
    return ways


def flop(count):
    """The floating-point operations of a call of each of the ways that have some."""
    of = {speed.PRODUCT: steps.PRODUCT_FLOP}
    for number, done in enumerate(REPORT_CNN.multiply_adds(REPORT_CNN.seen())[:-2], start=1):
        for name in ("forward", "to the weights", *["to the input"] * (number > 1)):
            of[f"conv {number}, {name}"] = 2 * done * BATCH * count
    return of


def _forward(images, weights, _, step):
    return tf.nn.conv2d(images, weights, **STRIDES)[0, 0, 0, 0]


def _to_weights(images, weights, maps, step):
    sizes = {"filter_sizes": weights.shape} | STRIDES
    return tf.raw_ops.Conv2DBackpropFilter(input=images, out_backprop=maps, **sizes)[0, 0, 0, 0]


def _to_input(images, weights, maps, step):
    sizes = {"input_sizes": images.shape} | STRIDES
    return tf.raw_ops.Conv2DBackpropInput(filter=weights, out_backprop=maps, **sizes)[0, 0, 0, 0]


def _pooling(images, weights, maps, step):
    with tf.GradientTape() as tape:
        pooled = tf.nn.relu(tf.nn.max_pool2d(maps, POOL, POOL, "VALID"))
    return tape.gradient(pooled, maps)[0, 0, 0, 0] + pooled[0, 0, 0, 0]
