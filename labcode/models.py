"""The networks of the report. Each takes images (n, 28, 28, 1) in [0, 1] and returns probabilities (n, 10).

Layers are named, for Keras numbers unnamed ones by what was built before in the process.
"""

import random

from labcode.quiet import keras

Input, Sequential = keras.Input, keras.Sequential
Conv2D, Dense, Dropout = keras.layers.Conv2D, keras.layers.Dense, keras.layers.Dropout
Flatten, MaxPool2D = keras.layers.Flatten, keras.layers.MaxPool2D

IMAGE_SHAPE = (28, 28, 1)


def build_fc():
    """The fully connected network: 101,770 parameters, 0.10 million multiply-adds an image."""
    return Sequential(
        [
            Input(IMAGE_SHAPE),
            Flatten(name="flatten"),  # 784
            Dense(128, activation="relu", name="hidden"),  # 128
            Dense(10, activation="softmax", name="probabilities"),  # 10
        ],
        name="fc",
    )


def build_fc_dropout():
    """The fully connected network, half of whose hidden units are silenced at random in each training step."""
    return Sequential(
        [
            Input(IMAGE_SHAPE),
            Flatten(name="flatten"),
            Dense(128, activation="relu", name="hidden"),
            Dropout(0.5, name="dropout"),
            Dense(10, activation="softmax", name="probabilities"),
        ],
        name="fc_dropout",
    )


def build_cnn():
    """The convolutional network: 438,026 parameters, 12.03 million multiply-adds an image."""
    return Sequential(
        [
            Input(IMAGE_SHAPE),
            Conv2D(64, 3, activation="relu", name="conv_1"),  # 26 x 26 x 64
            MaxPool2D(2, name="pool_1"),  # 13 x 13 x 64
            Conv2D(128, 3, activation="relu", name="conv_2"),  # 11 x 11 x 128
            MaxPool2D(2, name="pool_2"),  # 5 x 5 x 128
            Conv2D(256, 3, activation="relu", name="conv_3"),  # 3 x 3 x 256
            MaxPool2D(2, name="pool_3"),  # 1 x 1 x 256
            Flatten(name="flatten"),  # 256
            Dense(256, activation="relu", name="hidden"),  # 256
            Dense(10, activation="softmax", name="probabilities"),  # 10
        ],
        name="cnn",
    )


BUILDERS = {"fc": build_fc, "fc_dropout": build_fc_dropout, "cnn": build_cnn}


def layer_seeds(seed):
    """The seeds of a network's layers, one after the other: whole numbers.

    They are those that Keras draws after ``keras.utils.set_random_seed(seed)``, but Keras draws from Python's own
    generator, from which other threads can draw in between: those of a Dask worker do.
    """
    generator = random.Random(seed)  # noqa: S311
    while True:
        yield generator.randint(1, int(1e9))


def draw_first_weights(model, seed):
    """Set a new model's kernels by Glorot's uniform rule, and where its dropout begins; biases stay 0."""
    seeds = layer_seeds(seed)
    for layer in model.layers:
        if isinstance(layer, (Conv2D, Dense)):
            layer.kernel.assign(keras.initializers.GlorotUniform(next(seeds))(layer.kernel.shape))
        elif isinstance(layer, Dropout):
            layer.seed_generator.state.assign((next(seeds), 0))


def multiply_adds(model):
    """Multiply-adds of one image's forward pass: each weight of a layer once for every position it is used at."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, Conv2D):
            _, height, width, _ = layer.output.shape
            total += layer.kernel.shape.num_elements() * height * width
        elif isinstance(layer, Dense):
            total += layer.kernel.shape.num_elements()
    return total
