"""What this build measured for each claim of the original report; ``claims.toml`` names these functions.

Three kinds. A *ranged* measurement is a number, or a row of numbers, of one or more runs; an *observed* one is a dict
of statements about them that hold or do not (None: a record cannot say). Both move with the seed, so they are computed
of recorded runs as well: their arguments are ``records.Record``. An *exact* one is a fact, or a dict of statements that
no record can answer.
"""

import functools

import numpy as np

from labcode import evaluation, training

RANGED = {}  # name -> (names of recipes, function of their Runs or Records)
OBSERVED = {}  # name -> (names of recipes, function of their Records)
EXACT = {}  # name -> function of (dataset, find), where find(recipe name) returns the Run
UNITS = {}  # name -> what it gives: percent, pp, nats, seconds, test, log, list; text for statements
COUNTS = {}  # name -> how many values its list has


def ranged(*recipes, unit):
    """Register a function of the Runs of these recipes that returns numbers."""
    return _register(RANGED, unit, lambda function: (recipes, function))


def observed(*recipes):
    """Register a function of the Records of these recipes that returns statements."""
    return _register(OBSERVED, "text", lambda function: (recipes, function))


def exact(unit, count=1):
    """Register a function of the data set and of a way to find Runs; a list that it returns has so many values."""

    def register(function):
        COUNTS[function.__name__] = count
        return _register(EXACT, unit, lambda function: function)(function)

    return register


def _register(registry, unit, entry):
    def register(function):
        registry[function.__name__], UNITS[function.__name__] = entry(function), unit
        return function

    return register


# Section 2: the fully connected network


@ranged("fc", unit="percent")
def fc_test_accuracy(fc):
    """FC's test accuracy after the last epoch, in [0, 1]."""
    return fc.test_accuracy


@ranged("fc", unit="test")
def fc_test(fc):
    """FC's test accuracy in [0, 1] and test loss in nats."""
    return [fc.test_accuracy, fc.history["val_loss"][-1]]


@ranged("fc-slow", unit="percent")
def fc_slow_train_accuracy(fc_slow):
    """The training accuracy that the log would end with at a learning rate of 0.01, in [0, 1]."""
    return fc_slow.history["bar_accuracy"][-1]


@ranged("fc", unit="log")
def fc_log(fc):
    """The log in the report's measure: five accuracies in [0, 1], then five losses in nats."""
    return fc.history["bar_accuracy"] + fc.history["bar_loss"]


@observed("fc")
def fc_test_below_its_log(fc):
    """Whether FC's test accuracy is below the training accuracy that its log ends with."""
    return {"test accuracy below the log's": fc.test_accuracy < fc.history["bar_accuracy"][-1]}


@ranged("fc", unit="pp")
def fc_gap(fc):
    """FC's training accuracy after the last epoch minus its test accuracy."""
    return fc.history["train_accuracy"][-1] - fc.test_accuracy


@ranged("fc-small", unit="nats")
def fc_small_loss(small):
    """Final test loss in nats of FC trained on 1,000 images."""
    return small.history["val_loss"][-1]


@ranged("fc-small-dropout", unit="nats")
def fc_small_dropout_loss(dropout):
    """The same with dropout."""
    return dropout.history["val_loss"][-1]


@ranged("fc-small-more", unit="nats")
def fc_small_more_loss(more):
    """The same on 4,000 images."""
    return more.history["val_loss"][-1]


@exact("seconds")
def fc_seconds(dataset, find):
    """What the steps of FC's training took, in s."""
    return find("fc").seconds


@exact("list", 3)
def fc_layers(dataset, find):
    """Output shape and parameters of FC's layers, a text each."""
    return _layers("fc")


@exact("list", 2)
def fc_parameters(dataset, find):
    """FC's parameters, without and with the variables of its optimizer."""
    from labcode import fitting

    model = fitting.new_model("fc", 0)
    optimizer = fitting.new_optimizer(training.RECIPES["fc"])
    optimizer.build(model.trainable_variables)
    return [model.count_params(), model.count_params() + len(optimizer.variables)]


@exact("list", 5)
def fc_recipe(dataset, find):
    """Optimizer, loss, batch size, epochs, and the steps that an epoch had."""
    recipe = training.RECIPES["fc"]
    steps = len(find("fc").history["step_loss"]) // recipe.epochs
    return [recipe.optimizer, training.LOSS, recipe.batch_size, recipe.epochs, steps]


# Section 3: the convolutional network


@ranged("cnn", unit="percent")
def cnn_test_accuracy(cnn):
    """CNN's test accuracy after the last epoch, in [0, 1]."""
    return cnn.test_accuracy


@ranged("cnn", unit="test")
def cnn_test(cnn):
    """CNN's test accuracy in [0, 1] and test loss in nats."""
    return [cnn.test_accuracy, cnn.history["val_loss"][-1]]


@ranged("cnn", unit="log")
def cnn_log(cnn):
    """The log in the report's measure: five accuracies in [0, 1], then five losses in nats."""
    return cnn.history["bar_accuracy"] + cnn.history["bar_loss"]


@ranged("fc", "cnn", unit="pp")
def cnn_gain(fc, cnn):
    """CNN's test accuracy minus FC's."""
    return cnn.test_accuracy - fc.test_accuracy


@ranged("cnn", unit="pp")
def cnn_gap(cnn):
    """CNN's training accuracy after the last epoch minus its test accuracy."""
    return cnn.history["train_accuracy"][-1] - cnn.test_accuracy


@ranged("fc", "cnn", unit="pp")
def gap_difference(fc, cnn):
    """CNN's gap minus FC's."""
    return cnn_gap(cnn) - fc_gap(fc)


@observed("fc", "cnn")
def cnn_gap_is_smaller(fc, cnn):
    """Whether CNN's gap is smaller than FC's."""
    return {"gap smaller than FC's": cnn_gap(cnn) < fc_gap(fc)}


@exact("seconds")
def cnn_seconds(dataset, find):
    """What the steps of CNN's training took, in s."""
    return find("cnn").seconds


@exact("list", 9)
def cnn_layers(dataset, find):
    """Output shape and parameters of CNN's layers, a text each."""
    return _layers("cnn")


@exact("list", 6)
def cnn_parameters(dataset, find):
    """CNN's parameters, in all and of each layer that has some."""
    from labcode import models

    model = models.build_cnn()
    return [model.count_params(), *(layer.count_params() for layer in model.layers if layer.count_params())]


@exact("list", 5)
def cnn_recipe(dataset, find):
    """Optimizer, learning rate, loss, batch size, epochs."""
    recipe = training.RECIPES["cnn"]
    return [recipe.optimizer, recipe.learning_rate, training.LOSS, recipe.batch_size, recipe.epochs]


def cost_to_reach(fc, cnn, image_count):
    """What each network had cost when its test accuracy first reached FC's final one.

    Args:
        fc, cnn: their Runs or Records.
        image_count: how many images an epoch has.

    Returns:
        A dict by measure, ``epochs``, ``multiply-adds`` (of forward passes) and ``seconds`` of training steps (of Runs
        only), each of (FC's cost, CNN's cost); infinity where it was never reached.
    """
    costs = {}
    for run, work in ((fc, _multiply_adds("fc")), (cnn, _multiply_adds("cnn"))):
        epochs = np.ones(len(run.history["val_accuracy"]))
        of_run = {"epochs": epochs, "multiply-adds": epochs * work * image_count}
        if "seconds" in run.history:
            of_run["seconds"] = run.history["seconds"]
        for measure, cost in of_run.items():
            reached = evaluation.first_to_reach(run.history["val_accuracy"], cost, fc.test_accuracy)
            costs.setdefault(measure, []).append(reached)
    return costs


@functools.cache
def _multiply_adds(name):
    from labcode import models

    return models.multiply_adds(models.BUILDERS[name]())


@observed("fc", "cnn")
def cnn_learns_faster(fc, cnn):
    """By which measures CNN reaches FC's final test accuracy at a lower cost."""
    costs = cost_to_reach(fc, cnn, 1)  # which is lower, no number of images decides
    lower = {measure: cnn_cost < fc_cost for measure, (fc_cost, cnn_cost) in costs.items()}
    return {f"by {measure}": lower.get(measure) for measure in ("epochs", "multiply-adds", "seconds")}


def nearest_mean_accuracies(dataset, cnn):
    """How well the nearest class mean names the test images, from the pixels and from each block's output.

    Each image is named after the class whose mean over the first 1,000 training images lies nearest (Euclidean).

    Returns:
        A dict from the representation's name to an accuracy in [0, 1], in the order of depth.
    """
    from labcode import fitting

    network = fitting.new_model("cnn", 0)
    network.set_weights(cnn.weights)
    blocks = ("pool_1", "pool_2", "pool_3")
    train, labels = dataset.train_images[:1000], dataset.train_labels[:1000]
    test, test_labels = dataset.test_images[:1000], dataset.test_labels[:1000]
    pairs = zip(fitting.feature_maps(network, train, blocks), fitting.feature_maps(network, test, blocks), strict=True)
    accuracies = {"the pixels": _nearest_mean(train, labels, test, test_labels)}
    for block, (train_maps, test_maps) in zip(("first", "second", "third"), pairs, strict=True):
        accuracies[f"the {block} block's output"] = _nearest_mean(train_maps, labels, test_maps, test_labels)
    return accuracies


def _nearest_mean(train, train_labels, test, test_labels):
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    means = np.stack([train[train_labels == digit].mean(axis=0) for digit in range(10)])
    # |x - m|^2 = |x|^2 - 2 x.m + |m|^2, where |x|^2 is the same for all classes
    distances = (means**2).sum(axis=1) - 2 * test @ means.T
    return float((distances.argmin(axis=1) == test_labels).mean())


@exact("text")
def blocks_sort_better(dataset, find):
    """Whether the nearest class mean names more digits from each block's output than from the one before."""
    accuracies = list(nearest_mean_accuracies(dataset, find("cnn")).values())[1:]  # without the pixels
    return {"each block sorts the digits better than the one before": bool((np.diff(accuracies) > 0).all())}


@observed("fc", "cnn")
def network_comparison(fc, cnn):
    """Whether CNN's test accuracy is above FC's."""
    return {"CNN above FC on this test set": cnn.test_accuracy > fc.test_accuracy}


# Section 4: predictions


@exact("text")
def first_prediction_is_distribution(dataset, find):
    """Whether CNN's first prediction is a probability distribution over ten digits."""
    first = find("cnn").probabilities[0]
    sums_to_1 = abs(float(first.sum()) - 1) < 1e-5
    return {"10 numbers": first.shape == (10,), "none below 0": bool((first >= 0).all()), "sum to 1": sums_to_1}


@observed("cnn")
def first_prediction_is_right(cnn):
    """Whether the largest of CNN's first prediction is at the label."""
    return {"argmax is the label": bool(cnn.correct[0])}


@observed("cnn")
def grid_of_predictions(cnn):
    """Whether CNN is right on the first 20 test images, and on most with a confidence that rounds to 100 %."""
    return {"all 20 right": bool(cnn.correct[:20].all()), "most at 100 %": bool(cnn.sure[:20].mean() > 0.5)}


@observed("cnn")
def often_confident_where_right(cnn):
    """Whether over half of CNN's right predictions have a confidence that rounds to 100 %."""
    return {"over half of the right ones at 100 %": bool(cnn.sure[cnn.correct].mean() > 0.5)}


# Section 5: the loop


@ranged("loop", unit="percent")
def loop_test_accuracy(loop):
    """The loop's test accuracy after its epoch, in [0, 1]."""
    return loop.test_accuracy


@observed("loop")
def loop_loss_falls(loop):
    """Whether the smoothed loss falls from each tenth of the loop's run to the next."""
    falls = np.diff(loop.history["loss_tenths"]) < 0
    return {"each tenth of the smoothed loss lower than the one before": bool(falls.all())}


@exact("text")
def gradients_agree(dataset, find):
    """Whether the tape's gradients are those by hand (FC) and by finite differences (CNN), in double precision."""
    from labcode import backprop, fitting, models

    images, labels = dataset.train_images[:64], dataset.train_labels[:64]
    model = backprop.in_float64(models.build_fc, fitting.new_model("fc", 0).get_weights())
    by_tape = backprop.gradients_by_tape(model, images, labels)
    by_hand = backprop.gradients_by_hand(model.get_weights(), images, labels)
    cnn = backprop.in_float64(models.build_cnn, find("loop").weights)
    slopes = backprop.compare_slopes(cnn, images[:4], labels[:4])
    return {
        "gradients equal those by hand": backprop.largest_difference(by_tape, by_hand) < 1e-12,
        "and finite differences": slopes < 1e-6,
    }


# Section 1: the data


@exact("list", 3)
def data_size(dataset, find):
    """Images in all, their height and width."""
    train, test = len(dataset.train_images), len(dataset.test_images)
    return [train + test, *dataset.train_images.shape[1:3]]


@exact("list", 5)
def data_preparation(dataset, find):
    """Type and range of the images, their channels, type of the labels."""
    images, labels = dataset.train_images, dataset.train_labels
    return [str(images.dtype), float(images.min()), float(images.max()), images.shape[-1], str(labels.dtype)]


def _layers(name):
    from labcode import models

    layers = models.BUILDERS[name]().layers
    return ["x".join(map(str, layer.output.shape[1:])) + f": {layer.count_params()}" for layer in layers]
